package main

import (
	"os"
	"slices"
	"testing"
)

func TestCommandsOf(t *testing.T) {
	page := "make not-a-command\n```bash\n# a comment\nmake dev    # start\nmake a && make b\nmake dev\nJWT_SECRET=x\n```\n```yaml\nsize: 1\n```\n```\nmake diagram\n```\n"
	var got []string
	for _, c := range commandsOf(page) {
		got = append(got, c.text)
	}
	if want := []string{"make dev", "make a", "make b", "JWT_SECRET=x bin/conclave doctor"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Every exception and every honest end stands for a command of the page; one
// that no longer does would excuse something else one day.
func TestExceptionsAreOfThePage(t *testing.T) {
	page, err := os.ReadFile("testdata/seed.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := commandsOf(string(page))
	if len(commands) < 50 {
		t.Errorf("the page has only %d commands", len(commands))
	}
	for _, e := range exceptions() {
		if !slices.ContainsFunc(commands, func(c command) bool { return e.of.MatchString(c.text) }) {
			t.Errorf("no command of the page is %v", e.of)
		}
	}
	for _, h := range honest() {
		if !slices.ContainsFunc(commands, func(c command) bool { return h.of.MatchString(c.text) }) {
			t.Errorf("no command of the page is %v", h.of)
		}
	}
}
