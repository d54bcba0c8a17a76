package playbook

import (
	"bytes"
	_ "embed" // for the knowledge below
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"
)

//go:embed knowledge/cli.yml
var cliKnowledgeFile []byte

// cliKnowledge is what the playbook can make of a task for a program.
type cliKnowledge struct {
	Formats  []formatKnowledge  `yaml:"formats"`
	Features []featureKnowledge `yaml:"features"`
	Commands []commandKnowledge `yaml:"commands"`
	Kinds    []recordKnowledge  `yaml:"records"`
	Actions  []featureKnowledge `yaml:"actions"`
}

type formatKnowledge struct {
	Name    string            `yaml:"name"`
	Title   string            `yaml:"title"`
	Names   []string          `yaml:"names"`
	Read    bool              `yaml:"read"`
	Write   bool              `yaml:"write"`
	Table   bool              `yaml:"table"`   // rows of cells under named columns
	Untyped bool              `yaml:"untyped"` // everything in it is text
	Nested  bool              `yaml:"nested"`  // values may have fields of their own
	Sample  string            `yaml:"sample"`  // two records, in this format
	One     string            `yaml:"one"`     // the first of them alone
	Outputs map[string]string `yaml:"outputs"` // where the sample is not those records
}

type featureKnowledge struct {
	Key     string   `yaml:"key"`
	As      string   `yaml:"as"`
	Phrases []string `yaml:"phrases"`
}

type commandKnowledge struct {
	Key     string             `yaml:"key"`
	Verb    string             `yaml:"verb"` // its name among several commands
	About   string             `yaml:"about"`
	Name    string             `yaml:"name"` // of the program, where it is the only command
	Phrases []string           `yaml:"phrases"`
	Words   []string           `yaml:"words"`
	Options []optionKnowledge  `yaml:"options"`
	Ops     []featureKnowledge `yaml:"operations"`
	Assume  []string           `yaml:"assume"`
	Inputs  bool               `yaml:"inputs"` // reads files or standard input
	Before  []string           `yaml:"before"` // arguments that must stand before the files
	Output  bool               `yaml:"output"` // can write to a file
	Cases   []caseKnowledge    `yaml:"cases"`
	Reviews []reviewNote       `yaml:"reviews"`
}

// optionKnowledge is a default of a flag that the task can set.
type optionKnowledge struct {
	Key     string   `yaml:"key"`
	As      string   `yaml:"as"`
	Default string   `yaml:"default"`
	Value   string   `yaml:"value"` // what the phrases set; "#" is the number in them
	Phrases []string `yaml:"phrases"`
}

// caseKnowledge is a run of the program, written by hand: it shows in the help
// and in the README, and is a test of the generated program.
type caseKnowledge struct {
	Args  []string          `yaml:"args"`
	Stdin string            `yaml:"stdin"`
	Files map[string]string `yaml:"files"`
	Want  string            `yaml:"want"` // standard output
	Error string            `yaml:"error"`
	Code  int               `yaml:"code"`
	Match string            `yaml:"match"` // a pattern, where the output is not always the same
	Show  bool              `yaml:"show"`
	Shell string            `yaml:"shell"` // how help shows it
}

var knownCLI = sync.OnceValue(func() cliKnowledge {
	var k cliKnowledge
	dec := yaml.NewDecoder(bytes.NewReader(cliKnowledgeFile))
	dec.KnownFields(true)
	if err := dec.Decode(&k); err != nil {
		panic(fmt.Errorf("decoding knowledge/cli.yml: %w", err))
	}
	return k
})

// cliNouns ask for a program that is run from a shell.
var cliNouns = []string{
	"cli tool|program|app|application|utility?", "command line tool|program|app|application|utility|interface|client?",
	"terminal|console|shell tool|program|app|application|utility|command|script?", "executable|binary", "commandline tool|program|utility?",
}

// toolNouns may mean such a program.
var toolNouns = []string{"tool", "utility", "program", "app|application", "script", "command", "filter program", "generator", "converter", "one liner"}

var serviceNouns = []string{
	"rest api?", "http|web|json|graphql|grpc api|service|server|backend", "microservice", "endpoint|endpoints", "website|webapp|frontend|dashboard",
	"web app|application|page|site|ui|interface", "daemon", "api", "gui", "desktop", "mobile", "server", "bot", "slack|discord|telegram",
}

// parseCLI reads a task for a command-line program. The strings are the clauses
// that the playbook can't do, quoted; the bool says whether it is such a task.
func parseCLI(task string, facts Facts) (*CLISpec, []string, bool) {
	w := readWording(task)
	cli := w.has(cliNouns...)
	if changesExisting(w) || !cli && (w.has(serviceNouns...) || w.has(libraryNouns...)) || w.has("rest api", "endpoint", "microservice") {
		return nil, nil, false
	}
	spec := &CLISpec{Name: w.named()}
	tool := w.has(toolNouns...)
	understood := (cli || tool) && spec.parseRecords(w) || spec.parseConvert(w) || spec.parseCommands(w)
	if !understood {
		if !cli {
			return nil, nil, false
		}
		return &CLISpec{Name: "tool"}, []string{strings.TrimSpace(task)}, true
	}
	for _, s := range w.explain(cliNouns...) {
		spec.cover(w.clauseOf(s), "a program with flags, -h, and exit codes 0, 1 and 2")
	}
	w.explain(toolNouns...)
	for _, q := range cliQualities() {
		if spans := w.explain(q.Phrases...); len(spans) > 0 {
			spec.cover(w.clauseOf(spans[0]), q.As)
		}
	}
	w.explainFillers()
	if !cli && !w.claimed(tool) {
		return nil, nil, false
	}
	spec.settleName(facts)
	return spec, append(w.uncovered(), olderGo(facts)...), true
}

// cliQualities hold for every generated program.
func cliQualities() []featureKnowledge {
	return []featureKnowledge{
		{As: "it reads standard input and writes standard output", Phrases: []string{"stdin|stdout|stderr", "standard input|output|error|in|out", "pipe|pipes|pipeline|piping|piped", "streams?"}},
		{As: "exit codes 0, 1 and 2", Phrases: []string{"exit code|codes|status", "non zero|nonzero exit? code|status?", "exit 'non' zero"}},
		{As: "-h prints usage with examples", Phrases: []string{"help text|message|flag|output|option|page?", "usage", "flag|flags", "command line flag|option|argument|args", "option|options", "argument|arguments|args"}},
		{As: "errors go to standard error and name the file and the line", Phrases: []string{"report|reports|reporting? error|errors", "good|clear|useful error|errors message|messages?", "error|errors? line|lines number|numbers?", "error to? stderr", "invalid|malformed|bad|broken input|data|json|csv|row|rows|line|lines"}},
	}
}

func (c *CLISpec) cover(clause, as string) {
	covered := Covered{Clause: clause, As: as}
	if clause != "" && !slices.Contains(c.Covered, covered) {
		c.Covered = append(c.Covered, covered)
	}
}

// settleName finds a name that is free in the repository.
func (c *CLISpec) settleName(facts Facts) {
	if c.Name == "" {
		c.Name = c.defaultName()
	}
	for base, n := c.Name, 2; c.taken(facts); n++ {
		c.Name = base + strconv.Itoa(n)
	}
}

func (c *CLISpec) defaultName() string {
	switch {
	case c.Convert != nil:
		return c.Convert.name()
	case c.Records != nil:
		return kebabName(c.Records.Noun)
	case len(c.Commands) == 1:
		return commandOf(c.Commands[0].Key).Name
	}
	return "texttool"
}

// taken reports whether the directories of the program have code that is not
// the playbook's own.
func (c *CLISpec) taken(facts Facts) bool {
	own := c.ownPaths(facts)
	return slices.ContainsFunc(facts.Files, func(path string) bool {
		ours := strings.HasPrefix(path, "cmd/"+c.Name+"/") || strings.HasPrefix(path, "internal/"+packageName(c.Name)+"/")
		return ours && !slices.Contains(own, path)
	})
}

func commandOf(key string) commandKnowledge {
	commands := knownCLI().Commands
	if i := slices.IndexFunc(commands, func(k commandKnowledge) bool { return k.Key == key }); i >= 0 {
		return commands[i]
	}
	return commandKnowledge{}
}

// parseCommands finds the commands on text and files that the task asks for.
func (c *CLISpec) parseCommands(w *wording) bool {
	type found struct {
		commandKnowledge
		at wordSpan
	}
	var all []found
	for _, k := range knownCLI().Commands {
		if spans := w.findAny(k.Phrases); len(spans) > 0 {
			all = append(all, found{k, slices.MinFunc(spans, wordSpan.compare)})
		}
	}
	slices.SortStableFunc(all, func(a, b found) int { return a.at.compare(b.at) })
	var abouts []string
	for _, f := range all {
		if c.has(f.Key) || w.allUsed(f.at) {
			continue // the words already asked for something else
		}
		spec := CommandSpec{Key: f.Key, Options: map[string]string{}}
		c.cover(w.clauseOf(f.at), f.About)
		w.explain(f.Phrases...)
		for _, o := range f.Options {
			if _, set := spec.Options[o.Key]; !set {
				spec.Options[o.Key] = o.Default
			}
			for _, s := range w.explain(o.Phrases...) {
				value := o.Value
				if n, ok := w.numberIn(s); ok {
					value = strings.ReplaceAll(value, "#", strconv.Itoa(n))
				}
				spec.Options[o.Key] = value
				c.cover(w.clauseOf(s), strings.ReplaceAll(o.As, "#", value))
			}
		}
		for _, op := range f.Ops {
			for _, s := range w.explain(op.Phrases...) {
				c.cover(w.clauseOf(s), op.As)
			}
		}
		w.explain(f.Words...)
		c.Assumptions = append(c.Assumptions, f.Assume...)
		c.Commands = append(c.Commands, spec)
		abouts = append(abouts, f.About)
	}
	c.About = strings.Join(abouts, "; ")
	return len(c.Commands) > 0
}

func (c *CLISpec) has(command string) bool {
	return slices.ContainsFunc(c.Commands, func(s CommandSpec) bool { return s.Key == command })
}

func (w *wording) allUsed(s wordSpan) bool {
	return !slices.ContainsFunc(w.words[s.from:s.to], func(t taskWord) bool { return !t.used })
}

// sortedKeys are the keys of a set of features, for output that never varies.
func sortedKeys(m map[string]bool) []string { return slices.Sorted(maps.Keys(m)) }
