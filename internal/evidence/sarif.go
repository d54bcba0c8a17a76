package evidence

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"conclave"
)

// Report is what becomes a part of a SARIF log.
type Report struct {
	Evidence conclave.Evidence
	// Base is the evidence that Evidence was compared with. Nil: results carry
	// no baseline state.
	Base *conclave.Evidence
	// Review holds reviewers' findings. One that was refuted becomes a
	// suppressed result.
	Review []conclave.ReviewFinding
	// Compliance with rule sets, as properties of the log; what violates a rule is
	// tagged with it.
	Compliance []conclave.Compliance
	// Version of Conclave, shown with its own checks.
	Version string
}

// sarifSchema is where SARIF 2.1.0's schema is published.
const sarifSchema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

// The parts of SARIF 2.1.0 that we write, by the names of its chapter 3.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool         `json:"tool"`
		Invocations []sarifInvocation `json:"invocations,omitempty"`
		ColumnKind  string            `json:"columnKind"`
		Results     []sarifResult     `json:"results"`
		Properties  map[string]any    `json:"properties,omitempty"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		Version        string      `json:"version,omitempty"`
		InformationURI string      `json:"informationUri,omitempty"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               string          `json:"id"`
		ShortDescription *sarifMessage   `json:"shortDescription,omitempty"`
		Help             *sarifMessage   `json:"help,omitempty"`
		HelpURI          string          `json:"helpUri,omitempty"`
		Properties       sarifProperties `json:"properties"`
	}
	sarifMessage struct {
		Text string `json:"text"`
	}
	sarifProperties struct {
		Tags     []string `json:"tags,omitempty"`
		Fixable  bool     `json:"fixable,omitempty"`
		Reviewer string   `json:"reviewer,omitempty"`
		Evidence string   `json:"evidence,omitempty"`
		Agreed   []string `json:"agreed,omitempty"`
	}
	sarifResult struct {
		RuleID              string             `json:"ruleId"`
		RuleIndex           int                `json:"ruleIndex"`
		Level               string             `json:"level"`
		Message             sarifMessage       `json:"message"`
		Locations           []sarifLocation    `json:"locations,omitempty"`
		PartialFingerprints map[string]string  `json:"partialFingerprints,omitempty"`
		BaselineState       string             `json:"baselineState,omitempty"`
		Suppressions        []sarifSuppression `json:"suppressions,omitempty"`
		Properties          sarifProperties    `json:"properties"`
	}
	sarifLocation struct {
		PhysicalLocation sarifPhysicalLocation `json:"physicalLocation"`
	}
	sarifPhysicalLocation struct {
		ArtifactLocation sarifArtifactLocation `json:"artifactLocation"`
		Region           *sarifRegion          `json:"region,omitempty"`
	}
	sarifArtifactLocation struct {
		URI       string `json:"uri"`
		URIBaseID string `json:"uriBaseId,omitempty"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Status        string `json:"status"`
		Justification string `json:"justification"`
	}
	sarifInvocation struct {
		CommandLine         string              `json:"commandLine,omitempty"`
		ExecutionSuccessful bool                `json:"executionSuccessful"`
		ExitDescription     string              `json:"exitCodeDescription,omitempty"`
		Notifications       []sarifNotification `json:"toolExecutionNotifications,omitempty"`
	}
	sarifNotification struct {
		Level   string       `json:"level"`
		Message sarifMessage `json:"message"`
	}
)

// SARIF writes reports as a SARIF 2.1.0 log: a run for each tool, and one of
// Conclave's own that tells how the checks ended and what was not checked.
func SARIF(reports ...Report) ([]byte, error) {
	log := sarifLog{Schema: sarifSchema, Version: "2.1.0", Runs: []sarifRun{}}
	docs := ruleDocs()
	for _, r := range reports {
		log.Runs = append(log.Runs, r.checksRun())
		results := r.results()
		var tools []string
		for tool := range results {
			tools = append(tools, tool)
		}
		slices.Sort(tools)
		violated := r.violated()
		for _, tool := range tools {
			log.Runs = append(log.Runs, toolRun(tool, results[tool], docs, violated))
		}
	}
	data, err := json.MarshalIndent(log, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing SARIF: %w", err)
	}
	return append(data, '\n'), nil
}

// checksRun tells of the checks as invocations. A skipped one did not execute.
func (r Report) checksRun() sarifRun {
	run := sarifRun{ColumnKind: "utf16CodeUnits", Results: []sarifResult{}, Tool: sarifTool{sarifDriver{
		Name: "conclave", Version: r.Version, Rules: []sarifRule{},
	}}}
	run.Properties = map[string]any{}
	if r.Evidence.Tree != "" {
		run.Properties["tree"], run.Properties["evidence"] = r.Evidence.Tree, r.Evidence.Hash
	}
	if len(r.Compliance) > 0 {
		run.Properties["compliance"] = r.Compliance
	}
	own := sarifInvocation{ExecutionSuccessful: true}
	for _, u := range r.Evidence.Unchecked {
		own.Notifications = append(own.Notifications, sarifNotification{"note", sarifMessage{u}})
	}
	run.Invocations = append(run.Invocations, own)
	for _, c := range r.Evidence.Checks {
		i := sarifInvocation{CommandLine: c.Command, ExecutionSuccessful: c.Passed}
		level, text := "note", c.Name+" passed"
		switch {
		case c.Skipped != "":
			text = c.Name + " was skipped: " + c.Skipped
		case !c.Passed && c.Baseline:
			level, text = "warning", c.Name+" failed, as it did before"
		case !c.Passed:
			level, text = "error", c.Name+" failed"
		}
		if c.Tests > 0 {
			text += fmt.Sprintf(" (%d tests, %d failed)", c.Tests, c.Failed)
		}
		i.ExitDescription = text
		i.Notifications = []sarifNotification{{level, sarifMessage{text}}}
		run.Invocations = append(run.Invocations, i)
	}
	return run
}

// A toolResult is a finding with what is known of it beyond that.
type toolResult struct {
	conclave.Finding
	state  string
	review []conclave.ReviewFinding
}

// results groups the findings by tool: those of the evidence with what
// reviewers said of them, those of reviewers alone, and those that are gone.
func (r Report) results() map[string][]toolResult {
	var all []toolResult
	at := map[string]int{}
	add := func(f conclave.Finding, state string) {
		at[f.Key()] = len(all)
		all = append(all, toolResult{Finding: f, state: state})
	}
	for _, f := range r.Evidence.Findings {
		state := ""
		switch {
		case r.Base == nil:
		case slices.Contains(r.Evidence.New, f.Key()):
			state = "new"
		default:
			state = "unchanged"
		}
		add(f, state)
	}
	for _, f := range r.Review {
		if _, ok := at[f.Key()]; !ok {
			add(f.Finding, "")
		}
		i := at[f.Key()]
		all[i].review = append(all[i].review, f)
	}
	if r.Base != nil {
		for _, f := range r.Base.Findings {
			if slices.Contains(r.Evidence.Gone, f.Key()) {
				add(f, "absent")
			}
		}
	}
	byTool := map[string][]toolResult{}
	for _, t := range all {
		byTool[t.Tool] = append(byTool[t.Tool], t)
	}
	return byTool
}

// violated lists the rules that each finding violates, by its key.
func (r Report) violated() map[string][]string {
	by := map[string][]string{}
	for _, c := range r.Compliance {
		for _, key := range c.Findings {
			by[key] = append(by[key], c.Set+" "+c.Rule)
		}
	}
	return by
}

func toolRun(tool string, results []toolResult, docs map[string]ruleDoc, violated map[string][]string) sarifRun {
	run := sarifRun{
		ColumnKind:  "utf16CodeUnits",
		Tool:        sarifTool{sarifDriver{Name: tool, InformationURI: toolURI(tool), Rules: []sarifRule{}}},
		Invocations: []sarifInvocation{{ExecutionSuccessful: true}},
	}
	index := map[string]int{}
	for _, t := range results {
		i, ok := index[t.Rule]
		if !ok {
			i = len(run.Tool.Driver.Rules)
			index[t.Rule] = i
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, docs[tool+"/"+t.Rule].rule(t.Finding))
		}
		result := t.result(i)
		result.Properties.Tags = append(result.Properties.Tags, violated[t.Key()]...)
		run.Results = append(run.Results, result)
	}
	return run
}

func (t toolResult) result(rule int) sarifResult {
	out := sarifResult{
		RuleID: t.Rule, RuleIndex: rule, Level: string(t.Level), Message: sarifMessage{t.Message}, BaselineState: t.state,
		Properties: sarifProperties{Tags: []string{t.Category}, Fixable: t.Fixable},
	}
	if t.Fingerprint != "" {
		out.PartialFingerprints = map[string]string{"conclave/v1": t.Fingerprint}
	}
	if t.Path != "" {
		place := sarifPhysicalLocation{ArtifactLocation: sarifArtifactLocation{URI: pathURI(t.Path), URIBaseID: "%SRCROOT%"}}
		if t.Line > 0 {
			place.Region = &sarifRegion{StartLine: t.Line, StartColumn: t.Column}
		}
		out.Locations = []sarifLocation{{place}}
	}
	for _, r := range t.review {
		out.Properties.Reviewer, out.Properties.Evidence = string(r.Reviewer), r.Evidence
		out.Properties.Agreed = append(out.Properties.Agreed, r.Agreed...)
		if r.Refuted != "" {
			out.Suppressions = append(out.Suppressions, sarifSuppression{"external", "accepted", r.Refuted})
		}
	}
	return out
}

// pathURI escapes a slash path as a relative URI.
func pathURI(p string) string {
	parts := strings.Split(p, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

func toolURI(tool string) string {
	switch tool {
	case toolStaticcheck:
		return "https://staticcheck.dev/"
	case toolGosec:
		return "https://github.com/securego/gosec"
	case toolVet:
		return "https://pkg.go.dev/cmd/vet"
	case toolModernize:
		return "https://pkg.go.dev/golang.org/x/tools/go/analysis/passes/modernize"
	case toolGitleaks:
		return "https://github.com/gitleaks/gitleaks"
	case toolLicences:
		return "https://spdx.org/licenses/"
	case toolVuln:
		return "https://go.dev/security/vuln/"
	case "shellcheck":
		return "https://www.shellcheck.net/"
	case "ruff":
		return "https://docs.astral.sh/ruff/"
	}
	return ""
}
