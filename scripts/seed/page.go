package main

import (
	"regexp"
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
