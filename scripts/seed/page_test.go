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

// What is not a command is found, too; the page has each of these.
func TestTheRestOfThePage(t *testing.T) {
	text, err := os.ReadFile("testdata/seed.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	var paths []string
	for _, f := range filesOf(page) {
		paths = append(paths, f.path)
	}
	if want := []string{"config/agent_pool.yml", "config/collaboration_rules.yml"}; !slices.Equal(paths, want) {
		t.Errorf("files %q, want %q", paths, want)
	}
	ports := portsOf(page)
	slices.Sort(ports)
	if want := []string{"3000", "80", "8001", "8002", "8003", "8004", "8010", "8011", "8012", "8013", "8014", "8015", "8016", "8500", "9090"}; !slices.Equal(ports, want) {
		t.Errorf("ports %q, want %q", ports, want)
	}
	links := linksOf(page)
	for _, want := range []string{"LICENSE", "docs/api/", "docs/getting-started.md", "examples/custom_integration/main.go"} {
		if !slices.Contains(links, want) {
			t.Errorf("%s is not among the links %q", want, links)
		}
	}
	if m := metricsOf(page); len(m) != 6 || m[3] != (measured{"Response Time", "< 30s"}) {
		t.Errorf("metrics %q", m)
	}
	if d := dashboardsOf(page); len(d) != 5 || d[0] != "A2A Overview" || d[4] != "Workflow Analytics" {
		t.Errorf("dashboards %q", d)
	}
}
