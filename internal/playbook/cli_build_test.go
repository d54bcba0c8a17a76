package playbook

import (
	"slices"
	"strings"
	"testing"
)

// buildTask generates what a task asks for into a new directory and checks it.
func buildTask(t *testing.T, task string) string {
	t.Helper()
	facts := emptyRepository()
	spec, uncovered, ok := parseCLI(task, facts)
	if !ok || len(uncovered) > 0 {
		t.Fatalf("parseCLI(%q) leaves %q, %t", task, uncovered, ok)
	}
	s := Spec{Archetype: CLI, Task: task, Name: spec.Name, CLI: spec}
	dir := t.TempDir()
	paths := generate(t, dir, s, facts, planCLI(s, facts), buildCLI)
	for _, want := range []string{"go.mod", "README.md", "cmd/" + spec.Name + "/main.go", ".gitignore"} {
		if !slices.Contains(paths, want) {
			t.Errorf("no %s among %v", want, paths)
		}
	}
	checkTree(t, dir)
	return dir
}

func TestConvertersBuild(t *testing.T) {
	skipIfShort(t)
	for _, task := range []string{
		"a CLI that converts CSV to JSON",
		"a command line tool that converts JSON to YAML",
		"convert TSV to Markdown table with column selection",
		"CLI that converts between CSV, TSV, JSON, JSON Lines, XML and Markdown tables, with filtering, sorting, column selection, renaming of columns, limit, unique rows and aggregation",
		"a tool that converts JSON Lines to CSV, an HTML table, a text table and SQL insert statements",
		"a CLI to convert INI files to JSON",
		"a command-line tool that sorts a CSV file by column",
		"a CLI that pretty prints JSON",
	} {
		t.Run(strings.ReplaceAll(task, " ", "_"), func(t *testing.T) { buildTask(t, task) })
	}
}

func TestEveryCommandBuilds(t *testing.T) {
	skipIfShort(t)
	for _, k := range knownCLI().Commands {
		t.Run(k.Key, func(t *testing.T) { checkCommands(t, k.Key) })
	}
	t.Run("several", func(t *testing.T) { checkCommands(t, "dedupe", "encode", "checksum", "grep") })
}

// checkCommands generates a program with the given commands and checks it.
func checkCommands(t *testing.T, keys ...string) {
	t.Helper()
	spec := &CLISpec{Name: "sample", About: "is a sample"}
	for _, key := range keys {
		options := map[string]string{}
		for _, o := range commandOf(key).Options {
			options[o.Key] = o.Default
		}
		spec.Commands = append(spec.Commands, CommandSpec{Key: key, Options: options})
	}
	facts := emptyRepository()
	s := Spec{Archetype: CLI, Name: spec.Name, CLI: spec}
	dir := t.TempDir()
	generate(t, dir, s, facts, planCLI(s, facts), buildCLI)
	checkTree(t, dir)
}

func TestRecordKeepersBuild(t *testing.T) {
	skipIfShort(t)
	for _, task := range []string{
		"a todo list CLI with add/list/done",
		"expense tracker CLI with add, list filtered by month, delete and totals per category",
		"a command line notes app: add, edit, search and remove notes with tags, stored in a JSON file",
		"task manager CLI with due dates, priorities and tags, sorted by due date",
	} {
		t.Run(strings.NewReplacer(" ", "_", "/", "-").Replace(task), func(t *testing.T) { buildTask(t, task) })
	}
}
