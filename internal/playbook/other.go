package playbook

import (
	"regexp"
	"strings"
)

var (
	repairWords = map[RepairClass]*regexp.Regexp{
		RepairFindings:     regexp.MustCompile(`\b(?:analy[sz]ers?|analysis|lint(?:er|ers|ing)?|findings?|warnings?|vet|staticcheck|gosec|static analysis|code smells?|suggested fixes|security issues|security findings|insecure code)\b`),
		RepairFormat:       regexp.MustCompile(`\b(?:format(?:ting)?|gofmt|goimports|prettier|code style)\b`),
		RepairDependencies: regexp.MustCompile(`\b(?:dependenc(?:y|ies)|vulnerab(?:le|ilities)|cves?|modules?|packages?|govulncheck)\b`),
	}
	repairStart = pattern(`^(?:please )?(?:fix|repair|apply|resolve|address|mend|clean up|correct|tidy|format|gofmt|reformat|lint|upgrade|update|bump|patch|run)\b`)
	repairKnown = pattern(`\b(?:please|fix|fixes|repair|apply|resolve|address|mend|clean|up|correct|tidy|format|reformat|formatting|run|and|the|all|any|of|in|this|our|my|code|codebase|repository|repo|project|what|that|find|finds|found|reports?|reported|by|to|with|upgrade|update|bump|patch|vulnerable|vulnerability|vulnerabilities|dependency|dependencies|known|issues?|problems?|errors?|warnings?|findings?|lint|linter|linters|linting|analy[sz]ers?|static|analysis|go|vet|staticcheck|gosec|gofmt|goimports|everything|every|source|files?|suggested|security|packages?|modules?|third-party|outdated|cves?|govulncheck|style|from|on|a|an|is|are|have|has|its|it|them|remaining|versions?|safe|latest|secure|patched|insecure|where|possible|whole|tree|for)\b`)
)

// parseOther recognises the archetypes that are not a service. ok is false
// when the task may be one.
func parseOther(task string, facts Facts) (Spec, bool) {
	for _, read := range []func(string, Facts) (Spec, bool){parseDocument, parseRepair, parseProgram, parsePackage, parseExisting} {
		if spec, ok := read(task, facts); ok {
			return spec, true
		}
	}
	return Spec{}, false
}

// existing are tasks about code that is there already.
var existing = pattern(`(?i)^\s*(?:please )?(?:refactor|improve|migrate|port|convert|translate|rewrite|remove|rename|upgrade|extend|change|update|optimi[sz]e|debug|investigate|explain|document|review|move|split|merge|replace|integrate|deploy|add)\b|\b(?:this|existing|our) (?:api|service|codebase|code|repository|repo|project|app|application|server|program)\b`)

// parseExisting leaves changes of existing code to whoever can read it.
func parseExisting(task string, facts Facts) (Spec, bool) {
	if !existing().MatchString(task) {
		return Spec{}, false
	}
	return Spec{Task: task, Name: kebab(facts.Name), Uncovered: []string{strings.TrimSpace(task)}}, true
}

func parseProgram(task string, facts Facts) (Spec, bool) {
	cli, uncovered, ok := parseCLI(task, facts)
	if !ok {
		return Spec{}, false
	}
	return Spec{Archetype: CLI, Task: task, Name: kebab(facts.Name), CLI: cli, Uncovered: uncovered}, true
}

func parsePackage(task string, facts Facts) (Spec, bool) {
	library, uncovered, ok := parseLibrary(task, facts)
	if !ok {
		return Spec{}, false
	}
	return Spec{Archetype: Library, Task: task, Name: kebab(facts.Name), Library: library, Uncovered: uncovered}, true
}

func parseRepair(task string, facts Facts) (Spec, bool) {
	text := strings.ToLower(strings.TrimSpace(task))
	if !repairStart().MatchString(text) {
		return Spec{}, false
	}
	spec := Spec{Archetype: Repair, Task: task, Name: kebab(facts.Name)}
	for _, class := range []RepairClass{RepairFindings, RepairFormat, RepairDependencies} {
		if repairWords[class].MatchString(text) {
			spec.Repair = append(spec.Repair, class)
			spec.Covered = append(spec.Covered, Covered{Clause: task, As: "repair of " + string(class)})
		}
	}
	if len(spec.Repair) == 0 {
		return Spec{}, false
	}
	rest := repairKnown().ReplaceAllString(text, "")
	if rest = strings.Trim(rest, " .,;!'’\n-"); rest != "" {
		spec.Uncovered = append(spec.Uncovered, strings.TrimSpace(task))
	}
	return spec, true
}
