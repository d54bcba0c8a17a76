package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"conclave"
	"conclave/internal/playbook"
)

// field is what a role looks at in a change.
type field struct {
	categories []string // of findings; empty means all
	checks     []string // gates whose failure is its finding; empty means none, "*" all
}

func fieldOf(role conclave.Role) field {
	switch role {
	case conclave.RoleSecurity:
		return field{categories: []string{"security", "secret", "licence"}}
	case conclave.RoleCodeReviewer:
		return field{categories: []string{"correctness", "style"}, checks: []string{"*"}}
	case conclave.RoleQA:
		return field{categories: []string{"test"}, checks: []string{"test"}}
	case conclave.RolePerformanceReviewer:
		return field{categories: []string{"performance"}}
	}
	return field{checks: []string{"*"}}
}

func (f field) has(category string) bool {
	return len(f.categories) == 0 || slices.Contains(f.categories, category)
}

func (f field) watches(check string) bool {
	return slices.Contains(f.checks, "*") || slices.Contains(f.checks, check)
}

func (f field) String() string {
	if len(f.categories) == 0 {
		return "any kind"
	}
	return strings.Join(f.categories, " or ")
}

// newFindings are those that this change brought: the base does not have them. A
// review of the tree as it is, without a change, is about all of them.
func newFindings(a conclave.Assignment) []conclave.Finding {
	e := a.Evidence
	if len(e.New) > 0 {
		return slices.DeleteFunc(slices.Clone(e.Findings), func(f conclave.Finding) bool { return !slices.Contains(e.New, f.Key()) })
	}
	base := baseline(a)
	if base == nil || base.Tree == e.Tree {
		return e.Findings
	}
	return slices.DeleteFunc(slices.Clone(e.Findings), func(f conclave.Finding) bool { return hasKey(base, f.Key()) })
}

func baseline(a conclave.Assignment) *conclave.Evidence {
	if a.Facts == nil {
		return nil
	}
	return a.Facts.Baseline
}

func hasKey(e *conclave.Evidence, key string) bool {
	return slices.ContainsFunc(e.Findings, func(f conclave.Finding) bool { return f.Key() == key })
}

func failed(c conclave.Check) bool { return !c.Passed && c.Skipped == "" && !c.Baseline }

// maxReviewFindings bounds a review; whoever has more has other worries.
const maxReviewFindings = 200

// review judges from what was measured, each role in its own field. Nothing here
// is an opinion: each finding is an analyser's or a failed check's, except for
// what a reader could see from names alone, which is advice.
func review(r Request) (Reply, error) {
	a := r.Assignment
	if a.Evidence == nil {
		return Reply{}, conclave.Errorf(conclave.ErrUnsupported, "the playbook reviews what was measured, and there is no evidence")
	}
	mine := fieldOf(r.Agent.Role)
	all := newFindings(a)
	findings := []conclave.ReviewFinding{}
	for _, f := range all {
		if mine.has(f.Category) && len(findings) < maxReviewFindings {
			findings = append(findings, conclave.ReviewFinding{Finding: f, Reviewer: r.Name, Evidence: f.Key()})
		}
	}
	for _, c := range a.Evidence.Checks {
		// Failing tests are findings of their own; what failed as a whole is one too.
		if failed(c) && mine.watches(c.Name) && !(c.Name == "test" && hasCategory(findings, "test")) {
			findings = append(findings, checkFinding(r.Name, c))
		}
	}
	if r.Agent.Role == conclave.RoleQA {
		findings = append(findings, untested(r)...)
	}
	blocking := slices.DeleteFunc(slices.Clone(findings), func(f conclave.ReviewFinding) bool { return !f.Blocks() })
	text := reviewText(r, len(all), findings, blocking)
	return Reply{Text: text, Data: conclave.ReviewReply{
		Approve: len(blocking) == 0, Summary: text, Findings: findings, Usage: noModel(),
	}}, nil
}

func hasCategory(findings []conclave.ReviewFinding, category string) bool {
	return slices.ContainsFunc(findings, func(f conclave.ReviewFinding) bool { return f.Category == category })
}

func checkFinding(by conclave.AgentName, c conclave.Check) conclave.ReviewFinding {
	category := "correctness"
	if c.Name == "test" {
		category = "test"
	}
	message := fmt.Sprintf("%s failed", c.Command)
	if line := lastLine(c.Output); line != "" {
		message += ": " + line
	}
	return conclave.ReviewFinding{Reviewer: by, Evidence: "check:" + c.Name, Finding: conclave.Finding{
		Tool: string(by), Rule: "check:" + c.Name, Level: conclave.LevelError, Category: category, Path: ".",
		Message: message, Fingerprint: fingerprint("check", c.Name, c.Command),
	}}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return clip(strings.TrimSpace(lines[len(lines)-1]), 99)
}

func fingerprint(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:8])
}

// reviewText tells what was looked at and what came of it.
func reviewText(r Request, all int, findings, blocking []conclave.ReviewFinding) string {
	a := r.Assignment
	what := "this tree"
	if a.Step != nil {
		what = a.Step.Key
	}
	if len(blocking) > 0 {
		text := fmt.Sprintf("I ask for changes to %s: %s", what, shown(blocking[0]))
		if len(blocking) > 1 {
			text += fmt.Sprintf(", then %s", shown(blocking[1]))
		}
		if len(blocking) > 2 {
			text += fmt.Sprintf(", and %d more", len(blocking)-2)
		}
		return text + "."
	}
	text := fmt.Sprintf("I accept %s: ", what)
	if len(findings) > 0 {
		text += fmt.Sprintf("what I found is advice, first %s", shown(findings[0]))
		if len(findings) > 1 {
			text += fmt.Sprintf(", and %d more", len(findings)-1)
		}
		return text + "."
	}
	return text + looked(r, all) + "."
}

// looked says what a role looked at, when it found nothing there.
func looked(r Request, all int) string {
	a := r.Assignment
	files := changed(a.Diff)
	where := "in the tree"
	if len(files) > 0 {
		where = "in " + list(files, 4)
	}
	switch mine := fieldOf(r.Agent.Role); {
	case r.Agent.Role == conclave.RoleQA:
		return tested(a)
	case r.Agent.Role == conclave.RoleArchitect && a.Step != nil && len(files) > 0:
		return fmt.Sprintf("it changes %s, as %s may", list(files, 4), a.Step.Key)
	case all > 0:
		return fmt.Sprintf("of %s none is about %s %s", count(all, "finding"), mine, where)
	default:
		return fmt.Sprintf("%s found nothing about %s %s", analysers(a.Evidence), mine, where)
	}
}

// analysers are the programs that looked for findings.
func analysers(e *conclave.Evidence) string {
	for _, c := range e.Checks {
		if c.Name == "lint" && c.Skipped == "" {
			return strings.TrimSuffix(c.Command, " ./...")
		}
	}
	return "what was run"
}

// tested says what the tests showed, and which of them the change brings.
func tested(a conclave.Assignment) string {
	text := "no test was run"
	for _, c := range a.Evidence.Checks {
		switch {
		case c.Name != "test":
		case c.Skipped != "":
			text = fmt.Sprintf("%s was not run (%s)", c.Command, c.Skipped)
		case c.Passed && c.Tests > 0:
			text = fmt.Sprintf("%s passed %s", c.Command, count(c.Tests, "test"))
		case c.Passed:
			text = c.Command + " passed, and counted no test"
		case c.Baseline:
			text = c.Command + " fails as it did before"
		default:
			text = c.Command + " failed"
		}
	}
	if a.Diff == "" {
		return text
	}
	var names []string
	for _, m := range newTest.FindAllStringSubmatch(a.Diff, -1) {
		names = append(names, m[1])
	}
	if len(names) == 0 {
		return text + "; the change brings none"
	}
	return text + "; the change brings " + list(names, 3)
}

// changed are the files of a diff.
func changed(diff string) []string {
	var names []string
	for _, m := range diffFile.FindAllStringSubmatch(diff, -1) {
		names = append(names, m[1])
	}
	return names
}

func shown(f conclave.ReviewFinding) string {
	return fmt.Sprintf("%s %s at %s (%s)", f.Tool, f.Rule, place(f.Finding), clip(oneLine(f.Message), 99))
}

func place(f conclave.Finding) string {
	if f.Line == 0 {
		return f.Path
	}
	return fmt.Sprintf("%s:%d", f.Path, f.Line)
}

var (
	newTest  = regexp.MustCompile(`(?m)^\+(?:func |\s*def )((?:Test|Example|Fuzz|Benchmark|test_)\w*)\(`)
	diffFile = regexp.MustCompile(`(?m)^\+\+\+ b/(.+)$`)
	word     = regexp.MustCompile(`[\p{L}\d]{4,}`)
)

// untested is what a reader sees from the change alone: code without tests, and
// acceptance criteria of which no test says a word. It is advice: names prove nothing.
func untested(r Request) []conclave.ReviewFinding {
	a := r.Assignment
	if a.Diff == "" {
		return nil
	}
	tests, code := testLines(a.Diff)
	var out []conclave.ReviewFinding
	advise := func(rule, where, message string) {
		out = append(out, conclave.ReviewFinding{Reviewer: r.Name, Finding: conclave.Finding{
			Tool: string(r.Name), Rule: rule, Level: conclave.LevelNote, Category: "test", Path: where, Message: message,
			Fingerprint: fingerprint(rule, where, message),
		}})
	}
	if tests == "" {
		if code != "" {
			advise("no-test", code, "the change has code, and no test")
		}
		return out
	}
	if a.Step == nil {
		return out
	}
	said := map[string]bool{}
	for _, w := range word.FindAllString(splitNames(tests), -1) {
		said[stem(w)] = true
	}
	for _, criterion := range a.Step.Acceptance {
		words := word.FindAllString(criterion, -1)
		hits := 0
		for _, w := range words {
			if said[stem(w)] {
				hits++
			}
		}
		if len(words) > 0 && hits*4 < len(words) {
			advise("untested-criterion", a.Step.Key, fmt.Sprintf("no test speaks of “%s”", criterion))
		}
	}
	return out
}

// testLines returns what a diff adds to test files, with their names, and the
// first other code file.
func testLines(diff string) (tests, code string) {
	var b strings.Builder
	inTest := false
	for line := range strings.Lines(diff) {
		if m := diffFile.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
			name := m[1]
			inTest = strings.Contains(strings.ToLower(path.Base(name)), "test") || strings.Contains(name, "testdata/")
			switch {
			case inTest:
				b.WriteString(name + "\n")
			case code == "" && isCode(name):
				code = name
			}
			continue
		}
		if inTest && strings.HasPrefix(line, "+") {
			b.WriteString(line[1:])
		}
	}
	return b.String(), code
}

func isCode(name string) bool {
	return slices.Contains([]string{".go", ".py", ".js", ".ts", ".tsx", ".java", ".rs", ".c", ".cc", ".cpp", ".rb", ".php", ".cs", ".kt", ".swift"}, path.Ext(name))
}

var camel = regexp.MustCompile(`([\p{Ll}\d])(\p{Lu})`)

// splitNames takes names like TestRejectsUnknownISBN apart into words.
func splitNames(text string) string {
	return strings.ReplaceAll(camel.ReplaceAllString(text, "$1 $2"), "_", " ")
}

// stem brings the forms of a word together, roughly: it is for advice.
func stem(w string) string {
	w = strings.ToLower(w)
	for _, suffix := range []string{"ing", "ed", "es", "s"} {
		if short, ok := strings.CutSuffix(w, suffix); ok && len(short) >= 4 {
			return short
		}
	}
	return w
}

// refute drops findings that were there before the run. The rest holds as far as
// the evidence tells.
func refute(r Request) (Reply, error) {
	a := r.Assignment
	base := baseline(a)
	refuted := map[string]string{}
	var first string
	for _, f := range a.Findings {
		// A review of the base itself is about what is there.
		if base == nil || a.Evidence != nil && a.Evidence.Tree == base.Tree || !hasKey(base, f.Key()) {
			continue
		}
		refuted[f.Key()] = fmt.Sprintf("it was there before the run, on %s", clip(base.Tree, 12))
		if first == "" {
			first = fmt.Sprintf("%s at %s was there before the run", f.Rule, place(f.Finding))
		}
	}
	text := fmt.Sprintf("I could refute none of the %s", count(len(a.Findings), "finding"))
	switch {
	case len(refuted) > 0:
		text = fmt.Sprintf("%d of %s do not hold against this change: %s", len(refuted), count(len(a.Findings), "finding"), first)
	case base == nil:
		text += ": there is no measurement of the base to compare with"
	case a.Evidence != nil && a.Evidence.Tree == base.Tree:
		text += ": each was measured on the tree that is under review"
	default:
		text += ": the base does not have them"
	}
	return Reply{Text: text + ".", Data: conclave.RefuteReply{Refuted: refuted, Usage: noModel()}}, nil
}

// vote judges a motion by its subject.
func vote(r Request) (Reply, error) {
	var v conclave.VoteReply
	switch m := r.Assignment.Motion; {
	case m == nil:
		return Reply{}, conclave.Errorf(conclave.ErrInvalid, "there is no motion to vote on")
	case m.Kind == conclave.MotionRank:
		v = rank(r)
	case m.Subject.Kind == "plan" && r.Assignment.Plan != nil:
		v = judgePlan(r)
	case m.Subject.Kind == "tree" && r.Assignment.Evidence != nil:
		v = judgeTree(r)
	default:
		v = abstain(fmt.Sprintf("a playbook can't judge “%s”: nothing about it was measured", m.Title))
	}
	v.Usage = noModel()
	if v.Reasons == nil {
		v.Reasons = []string{}
	}
	return Reply{Text: voteText(r, v), Data: v}, nil
}

// judgePlan approves a plan that holds together. First among the reasons is what
// became of the criteria that this role asks for.
func judgePlan(r Request) conclave.VoteReply {
	spec, facts := study(r.Assignment)
	role, steps := string(r.Agent.Role), toSteps(r.Assignment.Plan.Steps)
	approve, reasons := playbook.Judge(role, spec, facts, steps)
	if !approve {
		return conclave.VoteReply{Verdict: conclave.VerdictReject, Reasons: reasons}
	}
	asks := playbook.Review(role, spec, facts, playbook.Plan(spec, facts))
	var missing []string
	for _, c := range playbook.Review(role, spec, facts, steps) {
		if c.Change != nil { // the others ask for nothing
			missing = append(missing, c.Cites)
		}
	}
	asks = slices.DeleteFunc(asks, func(c playbook.Comment) bool { return c.Change == nil })
	switch {
	case len(asks) > 0 && len(missing) == 0:
		got := fmt.Sprintf("%s is answered in %s: “%s”", asks[0].Cites, stepOr(asks[0].StepKey, "the plan"), asked(asks[0]))
		if more := len(asks) - 1; more > 0 {
			got += fmt.Sprintf(", and %d more that %s asks for", more, role)
		}
		reasons = append([]string{got}, reasons...)
	case len(missing) > 0:
		reasons = append(reasons, fmt.Sprintf("I would still like %s to be covered; it does not stop the plan", list(missing, 3)))
	}
	return conclave.VoteReply{Verdict: conclave.VerdictApprove, Reasons: reasons}
}

// asked is what a comment wants in the plan.
func asked(c playbook.Comment) string {
	if c.Change.Step != nil {
		return c.Change.Step.Title
	}
	return c.Change.Criterion
}

func abstain(why string) conclave.VoteReply {
	return conclave.VoteReply{Verdict: conclave.VerdictAbstain, Reasons: []string{why}}
}

func voteText(r Request, v conclave.VoteReply) string {
	m := r.Assignment.Motion
	reason := ""
	if len(v.Reasons) > 0 {
		reason = ": " + strings.TrimSuffix(v.Reasons[0], ".")
	}
	subject := strings.TrimSuffix(m.Title, ".")
	switch {
	case v.Verdict == conclave.VerdictAbstain:
		return fmt.Sprintf("I abstain on “%s”%s.", subject, reason)
	case len(v.Ranking) > 0:
		return fmt.Sprintf("On “%s” I put %s first%s.", subject, v.Ranking[0], reason)
	case v.Verdict == conclave.VerdictReject:
		return fmt.Sprintf("I vote against “%s”%s.", subject, reason)
	}
	return fmt.Sprintf("I vote for “%s”%s.", subject, reason)
}

// rank orders the options of a question that the playbook knows. Options that it
// does not know come last, in the order given: it can say nothing for them.
func rank(r Request) conclave.VoteReply {
	a := r.Assignment
	spec, facts := study(a)
	var own playbook.Question
	ok := false
	if a.Question != nil {
		own, ok = known(spec, facts, a.Question.Key)
	}
	if !ok || len(own.Criteria) == 0 {
		if v, ok := rankByUse(a); ok {
			return v
		}
		return abstain("the playbook knows nothing by which to compare " + list(a.Motion.Options, 6))
	}
	var v conclave.VoteReply
	for _, line := range playbook.Rank(string(r.Agent.Role), own, spec, facts) {
		key, reason, _ := strings.Cut(line, ": ")
		if slices.Contains(a.Motion.Options, key) && !slices.Contains(v.Ranking, key) {
			v.Ranking = append(v.Ranking, key)
			v.Reasons = append(v.Reasons, key+" scores "+reason)
		}
	}
	for _, key := range a.Motion.Options {
		if !slices.Contains(v.Ranking, key) {
			v.Ranking = append(v.Ranking, key)
			v.Reasons = append(v.Reasons, key+" is not in the playbook, so it comes last")
		}
	}
	return v
}

// rankByUse orders options by where the repository uses them already: what is in
// use costs nothing to introduce. It says nothing when none of them is.
func rankByUse(a conclave.Assignment) (v conclave.VoteReply, ok bool) {
	if a.Question == nil {
		return v, false
	}
	options := slices.DeleteFunc(slices.Clone(a.Question.Options), func(o conclave.Option) bool { return !slices.Contains(a.Motion.Options, o.Key) })
	if !slices.ContainsFunc(options, func(o conclave.Option) bool { return o.InUse > 0 }) {
		return v, false
	}
	slices.SortStableFunc(options, func(a, b conclave.Option) int { return b.InUse - a.InUse })
	for _, o := range options {
		v.Ranking = append(v.Ranking, o.Key)
		if o.InUse == 0 {
			v.Reasons = append(v.Reasons, o.Key+": nothing in the repository names it, so it would have to be introduced")
			continue
		}
		v.Reasons = append(v.Reasons, fmt.Sprintf("%s is in use already: %s", o.Key, strings.Join(o.Facts, "; ")))
	}
	return v, true
}

// judgeTree rejects for a blocking finding in the role's field, or a check that
// failed and had not failed before.
func judgeTree(r Request) conclave.VoteReply {
	a := r.Assignment
	mine := fieldOf(r.Agent.Role)
	var against []string
	for _, c := range a.Evidence.Checks {
		if failed(c) {
			against = append(against, fmt.Sprintf("%s (%s) failed", c.Name, c.Command))
		}
	}
	findings := a.Findings
	if findings == nil {
		for _, f := range newFindings(a) {
			findings = append(findings, conclave.ReviewFinding{Finding: f, Evidence: f.Key()})
		}
	}
	var own, others []conclave.ReviewFinding
	for _, f := range findings {
		switch {
		case strings.HasPrefix(f.Rule, "check:"): // said above
		case !mine.has(f.Category):
			others = append(others, f)
		case f.Blocks():
			against = append([]string{shown(f)}, against...)
		default:
			own = append(own, f)
		}
	}
	if len(against) > 0 {
		return conclave.VoteReply{Verdict: conclave.VerdictReject, Reasons: against[:min(len(against), 20)]}
	}
	var reasons []string
	switch {
	case len(own) > 0:
		reasons = append(reasons, stands(own[0]))
		if more := len(own) - 1; more > 0 {
			reasons = append(reasons, count(more, "other finding")+" likewise")
		}
	case len(others) > 0 && r.Agent.Role == conclave.RoleCodeReviewer:
		reasons = append(reasons, fmt.Sprintf("%s of %s is not about %s", others[0].Rule, stepOr(string(others[0].Reviewer), others[0].Tool), mine))
	}
	if r.Agent.Role != conclave.RoleCodeReviewer {
		reasons = append(reasons, looked(r, len(others)))
	}
	return conclave.VoteReply{Verdict: conclave.VerdictApprove, Reasons: append(reasons, passed(a.Evidence)...)}
}

// stands says why a finding in the voter's field does not stop it.
func stands(f conclave.ReviewFinding) string {
	switch what := fmt.Sprintf("%s %s at %s", f.Tool, f.Rule, place(f.Finding)); {
	case f.Refuted != "":
		return what + " is refuted: " + f.Refuted
	case f.Evidence == "":
		return what + " is advice without evidence"
	default:
		return fmt.Sprintf("%s is a %s, and stops nothing", what, f.Level)
	}
}

// passed is one line on the checks that passed, and one on each that failed as before.
func passed(e *conclave.Evidence) []string {
	var names, before []string
	for _, c := range e.Checks {
		switch {
		case c.Passed && c.Tests > 0:
			names = append(names, fmt.Sprintf("%s (%s)", c.Name, count(c.Tests, "test")))
		case c.Passed:
			names = append(names, c.Name)
		case c.Baseline:
			before = append(before, c.Name+" fails as it did before")
		}
	}
	if len(names) > 0 {
		return append(before, list(names, 5)+" passed")
	}
	return before
}
