package workflow

import (
	"flag"
	"os"
	"strings"
	"testing"

	"conclave"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMarkdown(t *testing.T) {
	calls, cost := int64(3), 0.0125
	grave := conclave.Finding{Tool: "go", Rule: "vet", Level: conclave.LevelError, Message: "a | b", Path: "a.go", Line: 3}
	doc := ReportDoc{
		Run: conclave.Run{ID: "run-1", Status: conclave.RunDone, Workflow: "collaborative", Task: "Add a route\nwith a test", Repo: "/home/ada/shop", Base: "0123456789abcdef",
			Branch: "conclave/run-1", Head: "fedcba9876543210", Reason: "merged | delivered", Brain: "offline", Offline: true, Warnings: []string{"no sandbox"},
			Usage: conclave.Usage{ModelCalls: &calls, CostUSD: &cost}},
		Plan: &conclave.Plan{Version: 2, Author: "planner-1", PlanContent: conclave.PlanContent{Summary: "One route.", Uncovered: []string{"make it nice"},
			Steps: []conclave.PlanStep{{Key: "api", Title: "Serve the route", Description: "It answers.", Acceptance: []string{"GET /health is 200"}}}}},
		Decisions: []conclave.Decision{
			{Motion: conclave.Motion{Title: "Take the plan?", Subject: conclave.Subject{Hash: "sha256:0123456789abcdef0123456789abcdef"}}, Outcome: conclave.OutcomeApproved,
				Reason: "3 of 3", DecidedBy: "vote"},
			{Motion: conclave.Motion{Title: "Which store?"}, Outcome: conclave.OutcomeChosen, Option: "file", Reason: "beats all", DecidedBy: "senior architect-1", Dissent: []string{"qa-1: sql"}},
		},
		Findings: []conclave.ReviewFinding{
			{Finding: grave, Reviewer: "qa-1", Evidence: "vet"},
			{Finding: grave, Reviewer: "qa-2"},
			{Finding: grave, Reviewer: "qa-2", Evidence: "vet", Refuted: "it is\nnot so"},
		},
		Compliance: []conclave.Compliance{
			{Set: "licences", Rule: "known", Title: "The licence of every dependency is known", Status: conclave.ComplianceMet, Evidence: []string{"2 modules: 2 × MIT"}},
			{Set: "OWASP ASVS 5.0.0", Rule: "1.2.5", Title: "Commands take no untrusted text", Status: conclave.ComplianceNotMet, Evidence: []string{"a.go:3: gosec G204: a | b"}},
			{Set: "OWASP ASVS 5.0.0", Rule: "V6", Title: "Authentication", Status: conclave.ComplianceNotChecked, Evidence: []string{"it needs judgement"}},
		},
		Messages: []conclave.Message{{From: "planner-1", To: "roles/qa", Text: "Please look.\nAt all of it."}},
	}
	const path, header = "testdata/report.md.golden", "<!-- Guards against cells that break the table (a bar, a new line) and against a zero for what was not measured. -->\n"
	got := header + markdown(doc)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the report is\n%s\nwant\n%s", got, want)
	}
	for _, line := range strings.Split(got, "\n") {
		bars := strings.Count(line, "|") - strings.Count(line, `\|`)
		if strings.HasPrefix(line, "|") && bars != 3 && bars != 5 && bars != 6 && bars != 7 {
			t.Errorf("a row of %d cells: %s", bars-1, line)
		}
	}
}
