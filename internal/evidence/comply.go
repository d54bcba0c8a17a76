package evidence

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"conclave"
)

// licenceSet is the rule set about the licences of dependencies.
const licenceSet = "licences"

// Comply says of each rule of the rule sets whether what was measured meets it. A
// finding that reviewers refuted violates nothing. A rule is met only if
// the code of every language was looked at.
func Comply(e conclave.Evidence, review []conclave.ReviewFinding) []conclave.Compliance {
	c := complier{evidence: e, refuted: map[string]string{}}
	for _, f := range review {
		if f.Refuted != "" {
			c.refuted[f.Key()] = f.Refuted
		}
	}
	var all []conclave.Compliance
	covered := map[string]bool{}
	for _, r := range asvsRules() {
		chapter, _, _ := strings.Cut(r.id, ".")
		covered["V"+chapter] = true
		all = append(all, c.asvs(r))
	}
	for _, ch := range asvsChapters() {
		why := "no analyser here decides any of its requirements; they need judgement"
		if covered[ch.id] {
			why = "its requirements beyond those listed need judgement"
		}
		all = append(all, conclave.Compliance{Set: asvsSet, Rule: ch.id, Title: ch.title, Status: conclave.ComplianceNotChecked, Evidence: []string{why}})
	}
	return append(all, c.licences()...)
}

type complier struct {
	evidence conclave.Evidence
	refuted  map[string]string
}

func (c complier) asvs(r asvsRule) conclave.Compliance {
	out := conclave.Compliance{Set: asvsSet, Rule: r.id, Title: r.title, Status: conclave.ComplianceMet, Evidence: []string{}}
	for _, f := range c.evidence.Findings {
		if !slices.ContainsFunc(r.by, func(v violates) bool { return v.is(f) }) {
			continue
		}
		c.violation(&out, f)
	}
	for _, v := range r.by {
		if why := c.missing(v.tool); why != "" {
			out.Evidence = append(out.Evidence, why)
			if out.Status == conclave.ComplianceMet {
				out.Status = conclave.ComplianceNotChecked
			}
		} else if out.Status == conclave.ComplianceMet {
			out.Evidence = append(out.Evidence, strings.TrimSpace(v.tool+" "+strings.Join(v.rules, ", "))+" found nothing")
		}
	}
	return out
}

// violation notes a finding, unless it was refuted.
func (c complier) violation(out *conclave.Compliance, f conclave.Finding) {
	place := f.Path
	if f.Line > 0 {
		place = fmt.Sprintf("%s:%d", f.Path, f.Line)
	}
	text := fmt.Sprintf("%s: %s %s: %s", place, f.Tool, f.Rule, f.Message)
	if why, ok := c.refuted[f.Key()]; ok {
		out.Evidence = append(out.Evidence, text+"; refuted: "+why)
		return
	}
	out.Status = conclave.ComplianceNotMet
	out.Evidence = append(out.Evidence, text)
	out.Findings = append(out.Findings, f.Key())
}

func (v violates) is(f conclave.Finding) bool {
	return f.Tool == v.tool && (v.rules == nil || slices.Contains(v.rules, f.Rule)) && strings.Contains(f.Message, v.says)
}

// missing says why a tool did not look at all of the code, or nothing.
func (c complier) missing(tool string) string {
	begins := func(prefix string) string {
		i := slices.IndexFunc(c.evidence.Unchecked, func(u string) bool { return strings.HasPrefix(u, prefix) })
		if i < 0 {
			return ""
		}
		return c.evidence.Unchecked[i]
	}
	if why := begins("analysers: "); why != "" {
		return why
	}
	if tool == toolGitleaks {
		return begins("files: ")
	}
	if c.evidence.Languages["Go"] == 0 {
		return tool + " looks at Go, and there is none"
	}
	if why := begins(lintFailed); why != "" {
		return why
	}
	if why := begins("vulnerable dependencies"); why != "" && tool == toolVuln {
		return why
	}
	var others []string
	for _, language := range slices.Sorted(maps.Keys(c.evidence.Languages)) {
		if language != "Go" && language != "Shell" && language != "SQL" {
			others = append(others, language)
		}
	}
	if len(others) > 0 {
		return fmt.Sprintf("%s looks at Go; nothing here looks at %s", tool, strings.Join(others, ", "))
	}
	return ""
}

// licences are the rules about what the tree is built with.
func (c complier) licences() []conclave.Compliance {
	rule := func(id, title string) conclave.Compliance { // named by what it asks for
		return conclave.Compliance{Set: licenceSet, Rule: id, Title: title, Status: conclave.ComplianceMet, Evidence: []string{}}
	}
	own := rule("own", "The repository says under which licence it is")
	own.Status, own.Evidence = conclave.ComplianceNotChecked, []string{"no file at its root is recognised as a licence; whether it needs one is its owner's to say"}
	var dependencies []conclave.Licence
	for _, l := range c.evidence.Licences {
		if l.Module == "." {
			own.Status, own.Evidence = conclave.ComplianceMet, []string{strings.Join(l.Licences, " and ")}
			continue
		}
		dependencies = append(dependencies, l)
	}
	rules := []conclave.Compliance{
		rule("known", "The licence of every dependency is known"),
		rule("allowed", "Every known licence of a dependency is on the list of allowed ones, or denied"),
		rule("not-denied", "No licence of a dependency is denied"),
	}
	violated := []conclave.LicenceVerdict{conclave.LicenceUnknown, conclave.LicenceUnlisted, conclave.LicenceDenied}
	var unchecked []string
	for _, u := range c.evidence.Unchecked {
		if strings.HasPrefix(u, strings.TrimSuffix(licencesUnchecked, " ")) || strings.HasPrefix(u, "analysers: ") {
			unchecked = append(unchecked, u)
		}
	}
	for i := range rules {
		r := &rules[i]
		for _, f := range c.evidence.Findings {
			if f.Tool == toolLicences && f.Rule == string(violated[i]) {
				c.violation(r, f)
			}
		}
		if r.Status == conclave.ComplianceMet {
			if len(dependencies) > 0 || len(unchecked) == 0 {
				r.Evidence = append(r.Evidence, inventory(dependencies))
			}
			if len(unchecked) > 0 {
				r.Status = conclave.ComplianceNotChecked
				r.Evidence = append(r.Evidence, unchecked...)
			}
		}
	}
	return append([]conclave.Compliance{own}, rules...)
}

// inventory counts dependencies by their licences.
func inventory(list []conclave.Licence) string {
	if len(list) == 0 {
		return "there are no dependencies in Go modules"
	}
	counts := map[string]int{}
	for _, l := range list {
		counts[strings.Join(l.Licences, " and ")]++
	}
	var parts []string
	for _, id := range slices.Sorted(maps.Keys(counts)) {
		name := id
		if name == "" {
			name = "unknown"
		}
		parts = append(parts, fmt.Sprintf("%d × %s", counts[id], name))
	}
	return fmt.Sprintf("%d modules: %s", len(list), strings.Join(parts, ", "))
}

// ComplianceSummary counts the rules of each set by their status.
func ComplianceSummary(list []conclave.Compliance) string {
	var sets []string
	counts := map[string]map[conclave.ComplianceStatus]int{}
	for _, c := range list {
		if counts[c.Set] == nil {
			counts[c.Set] = map[conclave.ComplianceStatus]int{}
			sets = append(sets, c.Set)
		}
		counts[c.Set][c.Status]++
	}
	var parts []string
	for _, set := range sets {
		n := counts[set]
		parts = append(parts, fmt.Sprintf("%s: %d met, %d not met, %d not checked", set, n[conclave.ComplianceMet], n[conclave.ComplianceNotMet], n[conclave.ComplianceNotChecked]))
	}
	return strings.Join(parts, "; ")
}

// ComplianceMarkdown is the section of a report: what is not met first, and what
// is not checked as a whole in one line.
func ComplianceMarkdown(list []conclave.Compliance) string {
	var b strings.Builder
	fmt.Fprintf(&b, "## Compliance\n\n%s. Met means that what looks for violations ran over all of the code and found none.\n\n| rule | what it asks for | status | evidence |\n|---|---|---|---|\n", ComplianceSummary(list))
	var chapters []string
	for _, status := range []conclave.ComplianceStatus{conclave.ComplianceNotMet, conclave.ComplianceMet, conclave.ComplianceNotChecked} {
		for _, c := range list {
			switch {
			case c.Status != status:
			case strings.HasPrefix(c.Rule, "V"):
				chapters = append(chapters, c.Rule+" "+c.Title)
			default:
				word := strings.ReplaceAll(string(c.Status), "_", " ")
				if c.Status == conclave.ComplianceNotMet {
					word = "**" + word + "**"
				}
				fmt.Fprintf(&b, "| %s %s | %s | %s | %s |\n", c.Set, c.Rule, tableCell(c.Title), word, tableCell(strings.Join(firstFew(c.Evidence), "; ")))
			}
		}
	}
	if len(chapters) > 0 {
		fmt.Fprintf(&b, "\nNot checked, because it needs judgement: what else %s asks for in %s.\n", asvsSet, strings.Join(chapters, ", "))
	}
	return b.String()
}

// firstFew bounds what a cell lists.
func firstFew(list []string) []string {
	const few = 5
	if len(list) <= few {
		return list
	}
	return append(slices.Clone(list[:few]), fmt.Sprintf("and %d more", len(list)-few))
}

func tableCell(s string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ").Replace(s)
}

// Language names the language of a file with code, by its name; empty for others.
func Language(name string) string {
	switch strings.ToLower(path.Ext(name)) {
	case ".go":
		return "Go"
	case ".py":
		return "Python"
	case ".js", ".jsx", ".mjs", ".cjs":
		return "JavaScript"
	case ".ts", ".tsx":
		return "TypeScript"
	case ".rs":
		return "Rust"
	case ".java":
		return "Java"
	case ".kt":
		return "Kotlin"
	case ".c", ".h":
		return "C"
	case ".cc", ".cpp", ".cxx", ".hpp":
		return "C++"
	case ".cs":
		return "C#"
	case ".rb":
		return "Ruby"
	case ".php":
		return "PHP"
	case ".swift":
		return "Swift"
	case ".sh", ".bash":
		return "Shell"
	case ".sql":
		return "SQL"
	}
	return ""
}
