package playbook

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// summary is what a spec says, in one line.
func (c *CLISpec) summary() string {
	switch {
	case c.Convert != nil:
		s := strings.Join(c.Convert.From, "+") + ">" + strings.Join(c.Convert.To, "+")
		for _, f := range sortedKeys(c.Convert.Features) {
			s += " " + f
		}
		if c.Convert.Types {
			s += " types"
		}
		if c.Convert.NoHeader {
			s += " no-header"
		}
		if c.Convert.Delimiter != "," {
			s += " " + c.Convert.Delimiter
		}
		return s
	case c.Records != nil:
		s := c.Records.Noun
		for _, f := range c.Records.Fields {
			s += " " + f.Name
		}
		return s + ": " + strings.Join(c.Records.Actions, " ")
	}
	var parts []string
	for _, command := range c.Commands {
		part := command.Key
		for _, o := range commandOf(command.Key).Options {
			if v := command.Options[o.Key]; v != o.Default && !strings.Contains(part, o.Key+"=") {
				part += " " + o.Key + "=" + v
			}
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}

func TestParseCLI(t *testing.T) {
	for _, c := range []struct {
		task      string
		want      string
		uncovered string // joined by |
	}{
		{"a CLI that converts CSV to JSON", "csv>json", ""},
		{"a command line tool that converts JSON to YAML", "json>yaml", ""},
		{"convert TSV to Markdown table with column selection", "tsv>markdown select", ""},
		{"Build a command-line tool in Go that converts CSV files to JSON, with options for the delimiter, header row and pretty printing", "csv>json", ""},
		{"a CLI which converts between CSV and JSON in both directions, reading stdin and writing stdout", "csv+json>csv+json", ""},
		{"a CLI that converts semicolon separated CSV without header to JSON Lines with type inference", "csv>jsonl types no-header ;", ""},
		{"CLI that filters CSV rows by column=value and sorts them by a column", "csv>csv filter sort", ""},
		{"Write a CLI tool that reads a CSV file and prints the sum of a column grouped by another column", "csv>csv aggregate", ""},
		{"convert XML to JSON", "xml>json", ""},
		{"a CLI to convert INI files to JSON", "ini>json", ""},
		{"a CLI that converts YAML to JSON", "json>json", "converts YAML to JSON"},
		{"a CLI that converts CSV to Excel", "csv>csv", "converts CSV to Excel"},
		{"a CLI that converts CSV to JSON and uploads the result to S3", "csv>json", "uploads the result to S3"},
		{"a CLI that converts JSON to CSV, flattening nested objects", "json>csv", "flattening nested objects"},
		{"a CLI that converts CSV to JSON, streaming large files", "csv>json", ""},
		{"a CLI that converts JSON to CSV, streaming large files", "json>csv", "streaming large files"},
		{"CLI that counts words per file and prints the top ten", "frequencies n=10 perfile=true", ""},
		{"a word frequency counter that ignores stop words, top 5", "frequencies n=5 ignore=" + stopWords(t), ""},
		{"a CLI that counts lines, words and bytes like wc", "count lines=true words=true bytes=true", ""},
		{"a tool that removes duplicate lines keeping order", "dedupe", ""},
		{"a tool that removes duplicate lines, ignoring case", "dedupe ignorecase=true", ""},
		{"a CLI for sorting lines of a file numerically in reverse", "sortlines numeric=true reverse=true", ""},
		{"CLI that renames files by date", "rename pattern={date}-{name}{ext}", ""},
		{"CLI that renames photos by EXIF date", "rename", "renames photos by EXIF date"},
		{"password generator", "password", ""},
		{"a command-line password generator with 20 characters, without symbols", "password length=20 symbols=false", ""},
		{"a password generator that copies to the clipboard", "password", "copies to the clipboard"},
		{"a CLI to compute SHA-256 checksums of files and verify them", "checksum", ""},
		{"a CLI to compute MD5 checksums", "checksum", "a CLI to compute MD5 checksums"},
		{"a command line tool that finds duplicate files by content", "duplicates", ""},
		{"a command line tool that finds and deletes duplicate files", "duplicates", "deletes duplicate files"},
		{"grep-like tool with regex, case-insensitive search and line numbers", "grep ignorecase=true numbers=true", ""},
		{"a find and replace tool for files with regex support", "replace expression=true", ""},
		{"a tool to base64 encode and decode files", "encode", ""},
		{"CLI that converts text to snake case", "changecase style=snake", ""},
		{"CLI that lists the 10 largest files in a directory tree", "usage top=10", ""},
		{"CLI that renames files in a folder by a regex, with a dry run flag", "rename", ""},
		{"Write a CLI todo list: add, list, done, remove; stored in a JSON file; list only open items by default", "task title: done add list remove store", ""},
		{"CLI which finds duplicate files by SHA-256 and prints how many bytes could be freed", "duplicates freed=true", ""},
		{"a password generator, length default 12", "password length=12", ""},
		{"A command line expense tracker: add an expense with amount, category and date; list filtered by month; sum per category", "expense description amount category date: add list search total month", ""},
		{"expense tracker CLI: add, list, totals per month", "expense description amount category date: add list total", "totals per month"},
		{"CLI that shows the top 10 most frequent words of a text, ignoring case and stop words from a file", "frequencies n=10", ""},
		{"CLI that prints the top 5 words of a file, ignoring stop words from a file", "frequencies n=5", ""},
		{"a todo list CLI with add/list/done", "task title: done add list", ""},
		{"task manager CLI with due dates, priorities and tags, sorted by due date", "task title due priority tags: done sort", ""},
		{"expense tracker CLI with add, list, delete and totals per category", "expense description amount category date: add list remove total", ""},
		{"a todo CLI with sync to Google Calendar", "task title: done", "sync to Google Calendar"},
		{"a CLI that downloads images from a URL", "", "a CLI that downloads images from a URL"},
		{"a CLI that sends emails", "", "a CLI that sends emails"},
		{"a CLI that counts words, in Python", "count words=true", "in Python"},
		{"a CLI that converts CSV to JSON but never overwrites files", "csv>json", "never overwrites files"},
	} {
		spec, uncovered, ok := parseCLI(c.task, emptyRepository())
		if !ok {
			t.Errorf("%q is not taken for a CLI", c.task)
			continue
		}
		if got := spec.summary(); got != c.want {
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

func stopWords(t *testing.T) string {
	t.Helper()
	for _, o := range commandOf("frequencies").Options {
		if o.Key == "ignore" {
			return o.Value
		}
	}
	t.Fatal("no stop words")
	return ""
}

func TestOtherTasksAreNotCLIs(t *testing.T) {
	for _, task := range []string{
		"REST API for managing books", "Fix the bug in the CSV parser", "add tests to the existing CLI", "a web application for todo lists",
		"Refactor the command line parsing", "library for intervals", "an HTTP service that converts CSV to JSON",
	} {
		if spec, _, ok := parseCLI(task, emptyRepository()); ok {
			t.Errorf("%q is taken for a CLI: %+v", task, spec)
		}
	}
}

// TestConverterByHand runs a built binary as a user would, on input that the
// generated tests don't have.
func TestConverterByHand(t *testing.T) {
	dir := buildTask(t, "a CLI that converts CSV or JSON to CSV, JSON or YAML, with column selection, filtering, sorting, limit and type inference")
	binary := filepath.Join(dir, "tool.bin")
	command := filepath.Join(dir, "cmd")
	entries, err := os.ReadDir(command)
	if err != nil {
		t.Fatal(err)
	}
	goTool(t, dir, "go", "build", "-o", binary, "./cmd/"+entries[0].Name())
	input := "\uFEFFid,name,age\n1,\"Lovelace, Ada\",36\n2,Bob,9\n3,\"two\nlines\",007\n"
	if err := os.WriteFile(filepath.Join(dir, "in.csv"), []byte(input), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, want string }{
		{"-to json -compact", `[{"id":1,"name":"Lovelace, Ada","age":36},{"id":2,"name":"Bob","age":9},{"id":3,"name":"two\nlines","age":"007"}]` + "\n"},
		{"-to json -compact -where age>8 -sort age -columns age,id -limit 2", `[{"age":"007","id":3}]` + "\n"},
		{"-to csv -columns name -where id=2", "name\nBob\n"},
	} {
		got := goTool(t, dir, append([]string{binary, "-from", "csv", "in.csv"}, strings.Fields(c.args)...)...)
		if c.args == "-to json -compact -where age>8 -sort age -columns age,id -limit 2" {
			c.want = `[{"age":9,"id":2},{"age":36,"id":1}]` + "\n" // 007 is 7
		}
		if got != c.want {
			t.Errorf("%s gives\n%s\nwant\n%s", c.args, got, c.want)
		}
	}
}

// TestExistingModule generates beside other code without touching it.
func TestExistingModule(t *testing.T) {
	task := "a CLI that converts CSV to JSON"
	facts := Facts{
		ModulePath: "example.com/shop", Name: "shop", GoVersion: "1.25",
		Files: []string{"go.mod", "README.md", ".gitignore", "main.go", "cmd/csv2json/main.go", "cmd/csv2json/other.go", ".github/workflows/build.yml"},
	}
	spec, uncovered, ok := parseCLI(task, facts)
	if !ok || len(uncovered) > 0 || spec.Name != "csv2json2" {
		t.Fatalf("parseCLI = %+v, %q, %t", spec, uncovered, ok)
	}
	s := Spec{CLI: spec}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.com/shop\n\ngo 1.25\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range generate(t, dir, s, facts, planCLI(s, facts), buildCLI) {
		if slices.Contains(facts.Files, path) {
			t.Errorf("%s was there before", path)
		}
	}
	checkTree(t, dir)
	facts.GoVersion = "1.20"
	if _, uncovered, _ := parseCLI(task, facts); len(uncovered) != 1 || !strings.Contains(uncovered[0], "go 1.20") {
		t.Errorf("an old language version leaves %q", uncovered)
	}
}

func TestReviewsFollowFromTheSpec(t *testing.T) {
	for _, task := range []string{"a CLI that converts XML to HTML tables", "password generator", "a todo list CLI with add/list/done"} {
		spec, uncovered, _ := parseCLI(task, emptyRepository())
		s := Spec{CLI: spec, Task: task, Uncovered: append(uncovered, "something else")}
		steps := planCLI(s, emptyRepository())
		for _, role := range []string{"security", "qa", "architect"} {
			comments := reviewCLI(role, s, emptyRepository(), steps)
			if len(comments) == 0 {
				t.Errorf("%s has nothing to say about %q", role, task)
			}
			for _, c := range comments {
				known := slices.ContainsFunc(steps, func(s Step) bool { return s.Key == c.StepKey })
				if !known || c.Cites == "" || c.Text == "" || c.Role != role {
					t.Errorf("%q: comment %+v", task, c)
				}
			}
			if quoted := strings.Contains(fmt.Sprint(comments), "something else"); quoted != (role == "qa") {
				t.Errorf("%s about what is uncovered: %v", role, comments)
			}
		}
	}
}
