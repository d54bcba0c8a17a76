package agent_test

import (
	"slices"
	"strings"
	"testing"

	"conclave"
)

// said is what a role says and cites about the first plan of a task, and the
// reasons of its vote on the revised one.
func said(t *testing.T, role conclave.Role, task string) (comments, reasons []string) {
	t.Helper()
	plan, _ := drafted(t, task)
	c, _ := reply[conclave.CommentReply](t, role, conclave.Assignment{Kind: conclave.AssignComment, Task: task, Plan: &plan})
	for _, comment := range c.Comments {
		if comment.Text == "" || comment.Cites == "" {
			t.Errorf("%s on %q: a comment without a text or a source: %+v", role, task, comment)
		}
		comments = append(comments, comment.Text)
	}
	plan.Comments = c.Comments
	d, _ := reply[conclave.DraftReply](t, conclave.RolePlanner, conclave.Assignment{Kind: conclave.AssignRevise, Task: task, Plan: &plan})
	next := conclave.Plan{Version: 2, Author: "planner-1", PlanContent: d.Content}
	motion := &conclave.Motion{Title: "Approve version 2 of the plan", Kind: conclave.MotionApprove, Subject: conclave.Subject{Kind: "plan"}}
	v, _ := reply[conclave.VoteReply](t, role, conclave.Assignment{Kind: conclave.AssignVote, Task: task, Plan: &next, Motion: motion})
	if v.Verdict != conclave.VerdictApprove || len(v.Reasons) == 0 {
		t.Errorf("%s on %q votes %+v", role, task, v)
	}
	return comments, v.Reasons
}

// A dialogue that is the same for every task says nothing about any of them.
func TestTwoTasksOfOneArchetypeAreSpokenOfDifferently(t *testing.T) {
	for archetype, tasks := range map[string][2]string{
		"service": {libraryTask, "Build a clinic service with patients, doctors and appointments; a doctor's appointments can't overlap; an appointment must end after it starts"},
		"library": {"Create a library with a token bucket rate limiter that supports bursts and per-client limits", "Write a Go package that implements a thread-safe LRU cache with TTL"},
		"cli":     {"Build a command-line tool in Go that converts CSV files to JSON", "Build a todo list CLI with add, list and done"},
	} {
		spoke := false
		for _, role := range []conclave.Role{conclave.RoleSecurity, conclave.RoleQA, conclave.RoleArchitect, conclave.RoleDeveloper} {
			comments, reasons := said(t, role, tasks[0])
			others, otherReasons := said(t, role, tasks[1])
			spoke = spoke || len(comments) > 0 && len(others) > 0
			for _, c := range comments {
				if slices.Contains(others, c) {
					t.Errorf("%s, %s says the same of both tasks: %q", archetype, role, c)
				}
			}
			for _, r := range reasons {
				if slices.Contains(otherReasons, r) {
					t.Errorf("%s, %s votes with the same reason on both tasks: %q", archetype, role, r)
				}
			}
		}
		if !spoke {
			t.Errorf("nobody has anything to say about a %s", archetype)
		}
	}
}

// The roles of one vote do not repeat each other.
func TestRolesGiveReasonsOfTheirOwn(t *testing.T) {
	by := map[string]conclave.Role{}
	for _, role := range []conclave.Role{conclave.RoleSecurity, conclave.RoleQA, conclave.RoleArchitect, conclave.RoleDeveloper} {
		_, reasons := said(t, role, libraryTask)
		for _, r := range reasons {
			if other, ok := by[r]; ok {
				t.Errorf("%s and %s both say %q", other, role, r)
			}
			by[r] = role
		}
	}
}

func TestTreeVotesCiteTheChange(t *testing.T) {
	motion := &conclave.Motion{Title: "Accept api", Kind: conclave.MotionApprove, Subject: conclave.Subject{Kind: "tree"}}
	for role, want := range map[conclave.Role]string{
		conclave.RoleQA:           "TestRefusesUnknownMembers",
		conclave.RoleSecurity:     "new.go",
		conclave.RoleCodeReviewer: "old.go:1",
		conclave.RoleArchitect:    "new_test.go",
	} {
		a := measured()
		a.Kind, a.Motion = conclave.AssignVote, motion
		a.Evidence.Checks[1].Passed = true
		old := a.Evidence.Findings[0]
		old.Level = conclave.LevelNote
		a.Findings = []conclave.ReviewFinding{{Finding: old, Reviewer: "code-reviewer-1", Evidence: old.Key()}}
		v, _ := reply[conclave.VoteReply](t, role, a)
		if all := strings.Join(v.Reasons, "; "); v.Verdict != conclave.VerdictApprove || !strings.Contains(all, want) || !strings.Contains(all, "9 tests") {
			t.Errorf("%s votes %s: %s; want something of %s", role, v.Verdict, all, want)
		}
	}
}

// What was decided is told where it shows, and nowhere else.
func TestDecisionsAreToldWhereTheyShow(t *testing.T) {
	plan, _ := drafted(t, libraryTask)
	told := map[string]string{}
	for _, s := range plan.Steps {
		_, text := reply[conclave.BuildReply](t, conclave.RoleDeveloper, conclave.Assignment{Kind: conclave.AssignBuild, Task: libraryTask, Plan: &plan, Step: &s,
			Worktree: t.TempDir(), Choices: map[string]string{"identifiers": "random", "persistence": "journal"}})
		_, told[s.Key], _ = strings.Cut(text, "As decided, ")
	}
	if !strings.Contains(told["storage"], "persistence is journal") || strings.Contains(told["storage"], "identifiers") {
		t.Errorf("of the storage it is said: %q", told["storage"])
	}
	if !strings.Contains(told["domain"], "identifiers is random") {
		t.Errorf("of the records it is said: %q", told["domain"])
	}
}
