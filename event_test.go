package conclave_test

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"conclave"
)

// AssignmentKinds names each constant of assignment.go.
func TestAssignmentKindsAreComplete(t *testing.T) {
	source, err := os.ReadFile("assignment.go")
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`(?m)^\tAssign\w+ +AssignmentKind = "([a-z.]+)"`).FindAllStringSubmatch(string(source), -1)
	for _, m := range declared {
		if !slices.Contains(conclave.AssignmentKinds(), conclave.AssignmentKind(m[1])) {
			t.Errorf("%s is not listed", m[1])
		}
	}
	if n := len(conclave.AssignmentKinds()); n != len(declared) || n < 5 {
		t.Errorf("%d kinds are listed, %d declared", n, len(declared))
	}
}

// EventKinds names each constant of event.go, or a filter would refuse a kind that there is.
func TestEventKindsAreComplete(t *testing.T) {
	source, err := os.ReadFile("event.go")
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`(?m)^\tEvent\w+ +EventKind = "([a-z.]+)"`).FindAllStringSubmatch(string(source), -1)
	for _, m := range declared {
		if !slices.Contains(conclave.EventKinds(), conclave.EventKind(m[1])) {
			t.Errorf("%s is not listed", m[1])
		}
	}
	if n := len(conclave.EventKinds()); n != len(declared) || n < 20 {
		t.Errorf("%d kinds are listed, %d declared", n, len(declared))
	}
}
