package main

import (
	"regexp"
	"slices"
	"strings"
)

// command is a line of a code block, or one of several that it joins with &&.
type command struct{ text string }

// commandsOf returns the commands of a page's bash blocks in order, each once.
// Lines that only set variables become one start of the program with each of
// them, because nothing else would read them.
func commandsOf(page string) []command {
	var list []command
	seen := map[string]bool{}
	inside := false
	for line := range strings.Lines(page) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```bash"
			continue
		case !inside:
			continue
		}
		if comment := trailing.FindStringIndex(line); comment != nil {
			line = line[:comment[0]]
		}
		for text := range strings.SplitSeq(line, " && ") {
			text = strings.TrimSpace(text)
			if text == "" || seen[text] {
				continue
			}
			seen[text] = true
			if assignment.MatchString(text) {
				text += " bin/conclave doctor"
			}
			list = append(list, command{text})
		}
	}
	return list
}

var (
	trailing   = regexp.MustCompile(`(^|\s+)#.*$`)
	assignment = regexp.MustCompile(`^[A-Z_]+=\S+$`)
	makeTarget = regexp.MustCompile(`^make ([a-z0-9-]+)`)
)

// target is the make target of the command; empty for another one.
func (c command) target() string {
	if m := makeTarget.FindStringSubmatch(c.text); m != nil {
		return m[1]
	}
	return ""
}

// follows reports whether the command runs until it is interrupted.
func (c command) follows() bool {
	switch c.target() {
	case "monitoring-conversations", "dev-logs", "dev-redis-monitor", "dev-kafka-console":
		return true
	}
	return false
}

// file is a block of YAML that the page gives as the content of a file.
type file struct{ path, text string }

// filesOf returns the page's YAML blocks, whose first line names the file.
func filesOf(page string) []file {
	var list []file
	for _, m := range yamlBlock.FindAllStringSubmatch(page, -1) {
		list = append(list, file{path: m[1], text: m[2]})
	}
	return list
}

// portsOf returns the ports on which the page says that something is, in order,
// each once; 80 is that of an address without one.
func portsOf(page string) []string {
	var list []string
	for _, m := range portNamed.FindAllStringSubmatch(page, -1) {
		port := m[1] + m[2] + m[3]
		if port == "" {
			port = "80"
		}
		if !slices.Contains(list, port) {
			list = append(list, port)
		}
	}
	return list
}

// linksOf returns the files of the repository that the page links to. Its
// examples were written in Python; ours of the same name are programs in Go.
func linksOf(page string) []string {
	var list []string
	for _, m := range fileLinked.FindAllStringSubmatch(page, -1) {
		path := m[1]
		if name, python := strings.CutSuffix(path, ".py"); python {
			path = name + "/main.go"
		}
		if !slices.Contains(list, path) {
			list = append(list, path)
		}
	}
	return list
}

// measured is a row of the page's table of key metrics.
type measured struct{ name, target string }

// metricsOf returns the key metrics with their targets.
func metricsOf(page string) []measured {
	var list []measured
	for _, m := range metricRow.FindAllStringSubmatch(page, -1) {
		list = append(list, measured{m[1], m[2]})
	}
	return list
}

// dashboardsOf returns the titles of the dashboards.
func dashboardsOf(page string) []string {
	_, after, _ := strings.Cut(page, "### **Dashboards Available**\n")
	section, _, _ := strings.Cut(after, "\n#")
	var list []string
	for _, m := range boldItem.FindAllStringSubmatch(section, -1) {
		list = append(list, m[1])
	}
	return list
}

var (
	yamlBlock  = regexp.MustCompile("(?s)```yaml\n# (\\S+)\n(.*?)```")
	portNamed  = regexp.MustCompile(`http://localhost(?::(\d+))?|\(Port (\d+)\)|\+ A2A \((\d+)\)`)
	fileLinked = regexp.MustCompile(`\]\(([A-Za-z][^):]*)\)`)
	metricRow  = regexp.MustCompile(`(?m)^\| \*\*([^*]+)\*\* \| [^|]+ \| ([<>] [0-9.]+[%s]?) \|$`)
	boldItem   = regexp.MustCompile(`(?m)^- \*\*([^*]+)\*\*`)
)
