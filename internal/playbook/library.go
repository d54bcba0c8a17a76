package playbook

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"slices"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"
)

//go:embed knowledge/library.yml
var libraryKnowledge []byte

//go:embed templates/library
var libraryTemplates embed.FS

// topic is a data structure or an algorithm that the playbook can write.
type topic struct {
	Key     string           `yaml:"topic"`
	Package string           `yaml:"package"`
	Title   string           `yaml:"title"`   // a noun phrase, for README and plan
	Names   []string         `yaml:"names"`   // how tasks call it
	Generic bool             `yaml:"generic"` // its name also occurs in tasks about other topics
	Words   []string         `yaml:"words"`   // its vocabulary; says nothing that would be left out
	Assume  []string         `yaml:"assume"`
	Safety  string           `yaml:"safety"` // always, option, values (immutable), or "" for never
	Ops     []topicOperation `yaml:"operations"`
	Reviews []reviewNote     `yaml:"reviews"`
}

// topicOperation is something that a topic offers, and the words that ask for it.
type topicOperation struct {
	As      string   `yaml:"as"` // what the code has for it
	Phrases []string `yaml:"phrases"`
}

// reviewNote is what a role has to say about a topic or a capability.
type reviewNote struct {
	Role      string `yaml:"role"`
	Step      string `yaml:"step"`
	Text      string `yaml:"text"`
	Cites     string `yaml:"cites"`
	Criterion string `yaml:"criterion"`
}

// libraryTopics is the catalogue. It is embedded and tested, so that a mistake
// in it is a defect of the program.
var libraryTopics = sync.OnceValue(func() []topic {
	var topics []topic
	dec := yaml.NewDecoder(bytes.NewReader(libraryKnowledge))
	dec.KnownFields(true)
	if err := dec.Decode(&topics); err != nil {
		panic(fmt.Errorf("decoding knowledge/library.yml: %w", err))
	}
	return topics
})

func topicOf(key string) (topic, bool) {
	i := slices.IndexFunc(libraryTopics(), func(t topic) bool { return t.Key == key })
	if i < 0 {
		return topic{}, false
	}
	return libraryTopics()[i], true
}

// libraryNouns ask for a package rather than for a program.
var libraryNouns = []string{
	"library", "package", "module", "data structure", "reusable type|types", "sdk", "lib", "collection|type in|for go", "go implementation",
}

// programNouns ask for something that runs: not a library, whatever else is said.
var programNouns = []string{
	"cli", "command line", "terminal|console|shell program|tool|app|application", "rest api?", "http|web|json|graphql|grpc api|service|server|backend",
	"microservice", "endpoint", "crud", "website|webapp|frontend|dashboard", "web app|application|page|site", "daemon", "api for|to|that|with",
}

// leadingWords is how near to its start a task names its subject.
const leadingWords = 6

// lendingWords tell of a library of books, or a package in the post.
var lendingWords = []string{"book|books|member|members|loan|loans|borrow|borrows|borrowing|lend|lends|patron|patrons|shelf|shelves", "package delivery|tracking", "deliver|delivers|courier|couriers|parcel|parcels"}

// otherWork begins tasks that change what exists.
var otherWork = strings.Fields("fix debug refactor upgrade update migrate optimize optimise improve rename review document bump investigate")

// changesExisting reports whether a task is about code that is already there.
func changesExisting(w *wording) bool {
	return len(w.words) > 0 && slices.Contains(otherWork, w.words[0].lower) ||
		w.has("the|our|this|my existing|current *", "to|in|of|from our|existing *")
}

// parseLibrary reads a task for a library. The strings are the clauses that
// the catalogue does not offer, quoted; the bool says whether it is such a task.
func parseLibrary(task string, facts Facts) (*LibrarySpec, []string, bool) {
	w := readWording(task)
	asked := w.has(libraryNouns...)
	if w.has("cli", "command line", "rest api?", "crud", "microservice", "endpoint") || !asked && w.has(programNouns...) || changesExisting(w) {
		return nil, nil, false
	}
	found := findTopics(w)
	if len(found) == 0 {
		if !w.has("go|golang library|package|lib|module", "library|package|lib for|to|that") || w.has(lendingWords...) {
			return nil, nil, false
		}
		return &LibrarySpec{Name: "library"}, []string{strings.TrimSpace(task)}, true
	}
	spec := &LibrarySpec{Name: w.named()}
	safe := explainSafety(w)
	for _, f := range found {
		p := LibraryPackage{Topic: f.Key, Name: f.Package}
		for _, s := range w.explain(f.Names...) {
			spec.cover(w.clauseOf(s), "package "+p.Name+": "+f.Title)
		}
		w.explain(f.Words...)
		for _, op := range f.Ops {
			spans := w.explain(op.Phrases...)
			if len(spans) == 0 {
				continue
			}
			p.Operations = append(p.Operations, op.As)
			spec.cover(w.clauseOf(spans[0]), op.As)
		}
		spec.Assumptions = append(spec.Assumptions, f.Assume...)
		if len(safe) > 0 {
			spec.coverSafety(w, f.topic, &p, safe)
		}
		spec.Packages = append(spec.Packages, p)
	}
	w.explain(libraryNouns...)
	w.explain("generic|generics", "collection", "struct", "type", "algorithm", "interface", "class", "object", "implementation", "api")
	w.explain(packagePhrases...)
	w.explainFillers()
	leads := found[0].at.from < leadingWords
	if !w.claimed((asked || leads) && !w.has(lendingWords...)) {
		return nil, nil, false
	}
	spec.settleNames(facts)
	return spec, append(w.uncovered(), olderGo(facts)...), true
}

func (l *LibrarySpec) cover(clause, as string) {
	c := Covered{Clause: clause, As: as}
	if clause != "" && !slices.Contains(l.Covered, c) {
		l.Covered = append(l.Covered, c)
	}
}

// settleNames makes the names of packages unique, and free in the repository.
func (l *LibrarySpec) settleNames(facts Facts) {
	if l.Name != "" && len(l.Packages) == 1 {
		l.Packages[0].Name = packageName(l.Name)
	}
	if l.Name == "" {
		l.Name = l.Packages[0].Name
		if len(l.Packages) > 1 {
			l.Name = "collections"
		}
	}
	for i := range l.Packages {
		p := &l.Packages[i]
		for base, n := p.Name, 2; l.taken(i, facts); n++ {
			p.Name = fmt.Sprintf("%s%d", base, n)
		}
	}
}

// taken reports whether the directory of package i has code that is not the
// playbook's own.
func (l *LibrarySpec) taken(i int, facts Facts) bool {
	dir := libraryDir(l, i, facts)
	if dir == "" {
		return false
	}
	own := append(ownFiles(l.Packages[i].Topic), "README.md")
	return slices.ContainsFunc(facts.Files, func(path string) bool {
		rest, in := strings.CutPrefix(path, dir)
		return in && !strings.Contains(rest, "/") && !slices.Contains(own, rest)
	})
}

type foundTopic struct {
	topic
	at wordSpan
}

// findTopics returns the topic that the task asks for, and those that it lists
// beside it: "a stack, a queue and a trie".
func findTopics(w *wording) []foundTopic {
	var all []foundTopic
	for _, t := range libraryTopics() {
		for _, name := range t.Names {
			for _, s := range w.find(name) {
				all = append(all, foundTopic{t, s})
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	slices.SortStableFunc(all, func(a, b foundTopic) int {
		return cmp.Or(cmp.Compare(a.at.from, b.at.from), cmp.Compare(b.at.to, a.at.to))
	})
	first, last := 0, all[0].at
	for i, f := range all {
		switch {
		case f.at.from >= last.to && w.listed(last, f.at):
			last = f.at
		case all[first].Generic && !f.Generic:
			first, last = i, f.at
		}
	}
	found := []foundTopic{all[first]}
	for _, f := range all[first+1:] {
		last := found[len(found)-1]
		repeated := slices.ContainsFunc(found, func(g foundTopic) bool { return g.Key == f.Key })
		if !repeated && f.at.from >= last.at.to && w.listed(last.at, f.at) {
			found = append(found, f)
		}
	}
	return found
}

// listed reports whether only the words of a list stand between a and b.
func (w *wording) listed(a, b wordSpan) bool {
	between := w.words[min(a.to, b.from):b.from]
	separated := b.from < len(w.words) && w.words[b.from].breaks
	for _, t := range between {
		if t.lower == "and" || t.lower == "or" || t.lower == "&" || t.breaks {
			separated = true
		}
		if !slices.Contains(strings.Fields("a an the and or & plus also simple generic data structure structures go"), t.lower) {
			return false
		}
	}
	return separated
}

// explainSafety marks the words that ask for use by several goroutines.
func explainSafety(w *wording) []wordSpan {
	return w.explain(
		"concurrency safe|safety", "concurrency", "thread|goroutine safe|safety", "threadsafe", "thread safely",
		"safe? for? concurrent use|access|usage|reads|writes|goroutine|readers|writers", "concurrent safe?",
		"safe for|from|across|by? multiple|several|many? concurrent? goroutine|thread", "safely", "concurrently", "'safe' for concurrent use",
		"multiple|several goroutine|thread", "race free", "mutex", "synchronized")
}

func (l *LibrarySpec) coverSafety(w *wording, t topic, p *LibraryPackage, safe []wordSpan) {
	clause := w.clauseOf(safe[0])
	switch t.Safety {
	case "always":
		l.cover(clause, t.Title+" is safe for concurrent use; a test uses it from several goroutines")
	case "option":
		p.Safe = true
		l.cover(clause, "a mutex guards "+t.Title+"; a test uses it from several goroutines")
	case "values":
		l.cover(clause, "values are immutable and functions keep no state, so that any goroutine may use them")
	default: // the words stay unexplained
		for _, s := range safe {
			for i := s.from; i < s.to; i++ {
				w.words[i].used = false
			}
		}
	}
}

// minimumGo is what the generated code needs of the go directive.
const minimumGo = 23

// olderGo is the demand that the repository's own language version makes.
func olderGo(facts Facts) []string {
	if facts.ModulePath == "" {
		return nil
	}
	rest, ok := strings.CutPrefix(strings.TrimPrefix(facts.GoVersion, "go"), "1.")
	if !ok {
		return nil
	}
	minor := 0
	if _, err := fmt.Sscanf(rest, "%d", &minor); err != nil || minor >= minimumGo {
		return nil
	}
	return []string{fmt.Sprintf("go %s (go.mod; the generated code needs go 1.%d)", facts.GoVersion, minimumGo)}
}
