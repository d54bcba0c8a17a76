package evidence

import (
	"github.com/securego/gosec/v2/analyzers"
	"github.com/securego/gosec/v2/rules"

	"conclave"
)

// A ruleDoc is what an analyser's own documentation says of a rule.
type ruleDoc struct {
	title, text, url string
}

// ruleDocs returns what is known of rules, by "tool/rule".
func ruleDocs() map[string]ruleDoc {
	docs := map[string]ruleDoc{
		toolCompile + "/compile": {title: "The package does not compile"},
		toolFormat + "/format":   {title: "The file is not formatted as gofmt formats it", text: "Run gofmt -w on the file."},
		toolTest + "/fail":       {title: "A test failed"},
		toolTest + "/build":      {title: "The tests do not compile"},
		toolTest + "/package":    {title: "A package failed outside its tests"},
		toolTest + "/ended":      {title: "The tests ended without a result"},
		toolTest + "/command":    {title: "The test command failed"},
	}
	docs[toolLicences+"/"+string(conclave.LicenceDenied)] = ruleDoc{title: "The licence of a dependency is denied", text: "Replace the dependency, or take the licence off the list in config/compliance_rules.yml."}
	docs[toolLicences+"/"+string(conclave.LicenceUnlisted)] = ruleDoc{title: "The licence of a dependency is not on the list of allowed ones", text: "Decide whether it fits, and put it on a list in config/compliance_rules.yml."}
	docs[toolLicences+"/"+string(conclave.LicenceUnknown)] = ruleDoc{title: "The licence of a dependency is not recognised", text: "Read it, and say under modules in config/compliance_rules.yml which one it is."}
	for name, r := range lintRules() {
		docs[r.tool+"/"+name] = ruleDoc{r.title, r.text, r.analyzer.URL}
	}
	for id, r := range rules.Generate(false).Rules {
		docs[toolGosec+"/"+id] = ruleDoc{title: r.Description, url: gosecRules}
	}
	for id, a := range analyzers.Generate(false).Analyzers {
		docs[toolGosec+"/"+id] = ruleDoc{title: a.Description, url: gosecRules}
	}
	return docs
}

const gosecRules = "https://github.com/securego/gosec/blob/master/RULES.md"

// rule describes the rule of a finding.
func (d ruleDoc) rule(f conclave.Finding) sarifRule {
	r := sarifRule{ID: f.Rule, HelpURI: d.url, Properties: sarifProperties{Tags: []string{f.Category}}}
	if d.title != "" {
		r.ShortDescription = &sarifMessage{d.title}
	}
	if d.text != "" {
		r.Help = &sarifMessage{d.text}
	}
	switch f.Tool {
	case toolVuln:
		r.HelpURI = "https://pkg.go.dev/vuln/" + f.Rule
	case "shellcheck":
		r.HelpURI = "https://www.shellcheck.net/wiki/" + f.Rule
	}
	return r
}
