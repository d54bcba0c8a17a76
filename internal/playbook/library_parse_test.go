package playbook

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParseLibrary(t *testing.T) {
	for _, c := range []struct{ task, want, uncovered string }{
		{"library for intervals", "interval", ""},
		{"a Go library for working with intervals: merge, intersect, subtract, contains", "interval", ""},
		{"Implement a library for half-open intervals over ordered types with union, intersection, gaps and sets of intervals, with docs and examples", "interval", ""},
		{"a library of time intervals that can be merged and intersected, with property tests and benchmarks", "interval", ""},
		{"an interval tree library with persistence", "interval", "an interval tree library|persistence"},
		{"an LRU cache with TTL", "lru", ""},
		{"thread-safe LRU cache with TTL and eviction callback", "lru!", ""},
		{"an LRU cache that persists to disk", "lru", "persists to disk"},
		{"library for parsing semantic versions", "semver", ""},
		{"A small Go library for semantic versions: parse, compare, sort, increment and check constraints", "semver", ""},
		{"money library with currencies", "money", ""},
		{"a ring buffer", "ringbuffer", ""},
		{"lock-free ring buffer", "ringbuffer", "lock-free ring buffer"},
		{"rate limiter token bucket", "ratelimit", ""},
		{"Create a library with a token bucket rate limiter that supports bursts and per-client limits", "ratelimit", ""},
		{"a sliding window rate limiter", "ratelimit", "a sliding window rate limiter"},
		{"priority queue", "priorityqueue", ""},
		{"Write a Go package that implements a generic priority queue with a custom comparator, and unit tests", "priorityqueue", ""},
		{"trie with prefix search", "trie", ""},
		{"undirected graph with shortest paths", "graph", ""},
		{"graph library with A* search", "graph", "A* search"},
		{"thread-safe graph library", "graph", "thread-safe graph library"},
		{"matrix", "matrix", ""},
		{"matrix library with eigenvalues", "matrix", "eigenvalues"},
		{"bloom filter", "bloom", ""},
		{"roman numerals", "roman", ""},
		{"text wrapping", "textwrap", ""},
		{"levenshtein distance", "levenshtein", ""},
		{"set with union, intersection", "set", ""},
		{"concurrent-safe set", "set!", ""},
		{"retry with backoff", "retry", ""},
		{"a retry library with exponential backoff, jitter and context support", "retry", ""},
		{"event bus", "eventbus", ""},
		{"expression evaluator", "expr", ""},
		{"duration/ISO 8601 parser", "isoduration", ""},
		{"IP range", "iprange", ""},
		{"histogram / running statistics", "stats", ""},
		{"a library that provides a set and a trie", "set trie", ""},
		{"a library that provides a stack and a trie", "trie", "provides a stack"},
		{"a library for parsing YAML", "", "a library for parsing YAML"},
		{"a library for intervals with no allocations in Rust", "interval", "no allocations in Rust"},
	} {
		spec, uncovered, ok := parseLibrary(c.task, emptyRepository())
		if !ok {
			t.Errorf("%q is not taken for a library", c.task)
			continue
		}
		var got []string
		for _, p := range spec.Packages {
			name := p.Topic
			if p.Safe {
				name += "!"
			}
			got = append(got, name)
		}
		if got := strings.Join(got, " "); got != c.want {
			t.Errorf("%q is understood as %q, want %q", c.task, got, c.want)
		}
		if got := strings.Join(uncovered, "|"); got != c.uncovered {
			t.Errorf("%q leaves %q, want %q", c.task, got, c.uncovered)
		}
		for _, quote := range uncovered {
			if !strings.Contains(c.task, quote) {
				t.Errorf("%q is not a quotation from %q", quote, c.task)
			}
		}
	}
}

func TestOtherTasksAreNotLibraries(t *testing.T) {
	for _, task := range []string{
		"REST API for a library with books and loans", "a CLI for roman numerals", "Fix the LRU cache", "a web application with a graph",
		"Optimize the matrix multiplication",
	} {
		if spec, _, ok := parseLibrary(task, emptyRepository()); ok {
			t.Errorf("%q is taken for a library: %+v", task, spec)
		}
	}
}

func TestCatalogueIsWhole(t *testing.T) {
	if n := len(libraryTopics()); n < 19 {
		t.Errorf("only %d topics", n)
	}
	seen := map[string]bool{}
	for _, topic := range libraryTopics() {
		if seen[topic.Key] || len(topic.Ops) == 0 || len(topic.Reviews) == 0 || topic.Title == "" {
			t.Errorf("topic %q occurs twice, or lacks something", topic.Key)
		}
		seen[topic.Key] = true
		if !slices.Contains(ownFiles(topic.Key), topic.Key+".go") {
			t.Errorf("topic %q has no code: %v", topic.Key, ownFiles(topic.Key))
		}
	}
}

// TestIntervalsByHand uses the generated package from outside, as another
// module's code would.
func TestIntervalsByHand(t *testing.T) {
	facts := Facts{ModulePath: "example.com/app", GoVersion: "1.25", Files: []string{"go.mod", "main.go", "README.md", "interval/other.go"}}
	task := "a library for intervals with merge, gaps and subtraction"
	library, uncovered, ok := parseLibrary(task, facts)
	if !ok || len(uncovered) > 0 || library.Packages[0].Name != "interval2" {
		t.Fatalf("parseLibrary = %+v, %q, %t", library, uncovered, ok)
	}
	spec := Spec{Library: library}
	dir := t.TempDir()
	for _, path := range generate(t, dir, spec, facts, planLibrary(spec, facts), buildLibrary) {
		if slices.Contains(facts.Files, path) {
			t.Errorf("%s was there before", path)
		}
	}
	outside := `package outside

import (
	"fmt"
	"testing"
	"time"

	"example.com/app/interval2"
)

func TestOutside(t *testing.T) {
	night := interval2.Must(interval2.New(22.5, 24, interval2.Closed))
	late := interval2.Must(interval2.New(23, 24.5, interval2.Open))
	if got := fmt.Sprint(night.Subtract(late), night.Intersect(late)); got != "[[22.5, 23]] (23, 24]" {
		t.Error(got)
	}
	day := time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)
	hours := func(from, to int) interval2.Interval[time.Time] {
		return interval2.Must(interval2.NewFunc(time.Time.Compare, day.Add(time.Duration(from)*time.Hour), day.Add(time.Duration(to)*time.Hour), interval2.HalfOpen))
	}
	free := interval2.NewSet(hours(9, 17)).Remove(hours(10, 11), hours(11, 12), hours(16, 20))
	if free.Len() != 2 || !free.Contains(day.Add(15*time.Hour)) || free.Contains(day.Add(16*time.Hour)) {
		t.Error(free)
	}
	if gaps := interval2.Gaps(hours(1, 2), hours(5, 6), hours(2, 3)); len(gaps) != 1 || !gaps[0].Equal(hours(3, 5)) {
		t.Error(gaps)
	}
}
`
	for path, content := range map[string]string{"go.mod": "module example.com/app\n\ngo 1.25\n", "outside/outside_test.go": outside} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	checkTree(t, dir)
}

func TestSeveralPackages(t *testing.T) {
	library, uncovered, ok := parseLibrary("a library with a set, a trie and a ring buffer", emptyRepository())
	if !ok || len(uncovered) > 0 || len(library.Packages) != 3 {
		t.Fatalf("parseLibrary = %+v, %q, %t", library, uncovered, ok)
	}
	spec := Spec{Library: library}
	dir := t.TempDir()
	generate(t, dir, spec, emptyRepository(), planLibrary(spec, emptyRepository()), buildLibrary)
	checkTree(t, dir)
}

func TestLibraryReviews(t *testing.T) {
	library, _, _ := parseLibrary("thread-safe LRU cache with TTL", emptyRepository())
	spec := Spec{Library: library}
	steps := planLibrary(spec, emptyRepository())
	for _, role := range []string{"security", "qa", "architect", "performance"} {
		comments := reviewLibrary(role, spec, emptyRepository(), steps)
		if len(comments) == 0 {
			t.Errorf("%s has nothing to say", role)
		}
		for _, c := range comments {
			known := slices.ContainsFunc(steps, func(s Step) bool { return s.Key == c.StepKey })
			if !known || c.Cites == "" || c.Text == "" || c.Role != role {
				t.Errorf("comment %+v", c)
			}
		}
	}
}

// TestPhrasesAreWellFormed finds a mark of an optional word that stands inside
// a list of alternatives, where it would be taken for a letter.
func TestPhrasesAreWellFormed(t *testing.T) {
	var all []string
	for _, topic := range libraryTopics() {
		all = append(append(all, topic.Names...), topic.Words...)
		for _, op := range topic.Ops {
			all = append(all, op.Phrases...)
		}
	}
	k := knownCLI()
	for _, f := range k.Formats {
		all = append(all, f.Names...)
	}
	for _, f := range append(slices.Clone(k.Features), k.Actions...) {
		all = append(all, f.Phrases...)
	}
	for _, c := range k.Commands {
		all = append(append(all, c.Phrases...), c.Words...)
		for _, f := range c.Ops {
			all = append(all, f.Phrases...)
		}
		for _, o := range c.Options {
			all = append(all, o.Phrases...)
		}
	}
	all = slices.Concat(all, convertWords, convertVerbs, streamWords, cliNouns, toolNouns, libraryNouns, qualityPhrases, packagePhrases)
	for _, phrase := range all {
		if strings.TrimSpace(phrase) == "" {
			t.Errorf("an empty phrase")
		}
		for _, part := range strings.Fields(phrase) {
			if strings.Contains(strings.TrimSuffix(part, "?"), "?") {
				t.Errorf("phrase %q: %q", phrase, part)
			}
		}
		if strings.Contains(phrase, "*") && !strings.Contains(phrase, "+ - *") && phrase != "*" {
			t.Errorf("phrase %q explains a word that it doesn't know", phrase)
		}
	}
}
