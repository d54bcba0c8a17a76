package monitor_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/internal/identity"
)

const (
	liveRun    conclave.RunID = "run-7c41"
	waitingRun conclave.RunID = "run-7b90"
	council                   = string(conclave.ServiceCouncil)
	workflow                  = string(conclave.ServiceWorkflow)
)

// newFixture records one run in full, in the middle of its work, and a few that
// ended in each way that a run can.
func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, keys: map[conclave.AgentName]*identity.Key{}, grew: make(chan struct{}), now: time.Now().Add(-74 * time.Hour)}
	f.endedRuns()
	f.now = time.Now().Add(-31 * time.Minute)
	f.waitingForApproval()
	f.now = time.Now().Add(-6 * time.Minute)
	f.running()
	f.now = time.Now()
	f.team()
	return f
}

func (f *fixture) team() {
	add := func(name string, role conclave.Role, description, brain string, active, capacity int, state conclave.AgentState, skills ...string) {
		f.agents = append(f.agents, conclave.Agent{
			Name: conclave.AgentName(name), Role: role, Description: description, Skills: skills, Brain: brain, Service: conclave.ServicePool,
			URL: "local:", PublicKey: f.key(conclave.AgentName(name)).Public(), State: state, Active: active, Capacity: capacity, Seen: f.now.Add(-4 * time.Second),
		})
	}
	model := "model:claude-sonnet-4-5"
	add("architect-1", conclave.RoleArchitect, "Proposes and weighs designs, and keeps the parts of a system apart.", "model:claude-opus-4-1", 0, 2, conclave.AgentLive, "plan.comment", "design.options", "vote")
	add("code-reviewer-1", conclave.RoleCodeReviewer, "Reads changes for correctness, with evidence or not at all.", model, 1, 4, conclave.AgentLive, "review", "refute", "vote")
	add("developer-1", conclave.RoleDeveloper, "Changes code in a worktree until its acceptance criteria hold.", model, 1, 2, conclave.AgentLive, "build")
	add("developer-2", conclave.RoleDeveloper, "Changes code in a worktree until its acceptance criteria hold.", model, 2, 2, conclave.AgentLive, "build")
	add("domain-expert-1", conclave.RoleDomainExpert, "Knows HTTP APIs: their semantics, limits and idioms.", model, 0, 2, conclave.AgentLive, "plan.comment", "ask", "vote")
	add("performance-reviewer-1", conclave.RolePerformanceReviewer, "Looks for work that grows faster than its input.", "playbook", 0, 2, conclave.AgentLost, "review", "vote")
	add("planner-1", conclave.RolePlanner, "Turns a task into steps with acceptance criteria and write sets.", "model:claude-opus-4-1", 0, 2, conclave.AgentLive, "plan.draft", "plan.revise")
	add("qa-1", conclave.RoleQA, "Asks how each claim would be tested, and writes the test.", model, 1, 4, conclave.AgentLive, "plan.comment", "review", "vote")
	add("security-1", conclave.RoleSecurity, "Looks for what an attacker would try first.", model, 1, 4, conclave.AgentLive, "plan.comment", "review", "refute", "vote")
}

// endedRun records a run that has ended, without its conversation.
func (f *fixture) endedRun(id conclave.RunID, status conclave.RunStatus, task, repo, reason string, took time.Duration, usage conclave.Usage) {
	started := f.now
	f.record(conclave.EventRunStarted, "ana", id, "", task)
	ended := f.pass(took)
	run := conclave.Run{
		ID: id, Status: status, Workflow: "collaborative", Task: task, Repo: repo, Base: "4be1f0c2a97d", Human: "ana", Brain: "claude-sonnet-4-5", Reason: reason,
		Conversation: conclave.ConversationID("conv-" + id), Usage: usage, Created: started, Ended: &ended,
	}
	if usage.ModelCalls == nil {
		run.Brain, run.Offline = "offline", true
	}
	if status == conclave.RunDone {
		run.Branch, run.Head = "conclave/"+string(id), "91d3ac04be17"
	}
	f.runs = append([]conclave.RunDetail{{Run: run}}, f.runs...)
	f.record(conclave.EventRunEnded, workflow, id, "", string(status)+": "+reason)
}

func (f *fixture) endedRuns() {
	f.endedRun("run-6f02", conclave.RunRejected, "Replace the hand-written SQL with an ORM", "/home/ana/src/harbor", "the plan was rejected: 1 of 5 for it, 60 % needed", 4*time.Minute+11*time.Second, spent(19, 84_210, 9_400, 0.41))
	f.pass(20 * time.Hour)
	f.endedRun("run-70aa", conclave.RunNeedsModel, "Translate the billing emails and make their tone friendlier", "/home/ana/src/ledger", "2 of 3 steps are beyond the playbooks: \"make their tone friendlier\"", 8*time.Second, conclave.Usage{})
	f.pass(26 * time.Hour)
	f.endedRun("run-7a13", conclave.RunFailed, "Move the job queue from polling to LISTEN/NOTIFY", "/home/ana/src/harbor", "build:listener failed its tests three times; the worktree is kept at refs/conclave/salvage/lease-31", 22*time.Minute+40*time.Second, spent(141, 1_204_118, 96_020, 5.87))
	f.pass(2 * time.Hour)
	f.endedRun("run-7b2e", conclave.RunDone, "Add a --json flag to every command that prints a table", "/home/ana/src/anchor", "delivered to main", 11*time.Minute+3*time.Second, spent(64, 402_771, 31_877, 1.92))
}

func spent(calls, in, out int64, cost float64) conclave.Usage {
	return conclave.Usage{ModelCalls: &calls, InputTokens: &in, OutputTokens: &out, CostUSD: &cost}
}

// waitingForApproval records an offline run that is ready to be delivered.
func (f *fixture) waitingForApproval() {
	id, started := waitingRun, f.now
	f.record(conclave.EventRunStarted, "ana", id, "", "Upgrade vulnerable dependencies and fix what gosec finds")
	f.say(id, "t-w1", workflow, "roles/planner", conclave.AssignDraft, "Draft a plan: upgrade vulnerable dependencies and fix what gosec finds.", nil)
	f.say(id, "t-w1", "planner-1", workflow, conclave.AssignDraft, "Two steps: upgrade golang.org/x/crypto, and handle the three unchecked errors.", nil)
	f.say(id, "t-w2", workflow, "roles/developer", conclave.AssignBuild, "Build upgrade: golang.org/x/crypto to a version without GO-2025-3487.", nil)
	f.say(id, "t-w2", "developer-1", workflow, conclave.AssignBuild, "Upgraded to v0.35.0; go vet and the tests pass.", nil)
	done := func(key, kind, title string, after ...string) conclave.Step {
		s, e := f.pass(2*time.Second), f.pass(9*time.Second)
		return conclave.Step{ID: conclave.StepID(id) + "/" + conclave.StepID(key), Run: id, Kind: kind, Key: key, Title: title, State: conclave.StepDone, DependsOn: after, Epoch: 1, Started: &s, Ended: &e}
	}
	steps := []conclave.Step{
		done("intake", "intake", "Look at the repository"),
		done("draft", "draft", "Draft the plan", "intake"),
		done("vote:plan", "vote", "Vote on the plan", "draft"),
		done("build:upgrade", "build", "Upgrade x/crypto", "vote:plan"),
		done("build:errors", "build", "Check errors", "vote:plan"),
		done("verify:upgrade", "verify", "Verify upgrade", "build:upgrade"),
		done("verify:errors", "verify", "Verify errors", "build:errors"),
		done("merge:upgrade", "merge", "Merge upgrade", "verify:upgrade"),
		done("merge:errors", "merge", "Merge errors", "verify:errors", "merge:upgrade"),
		{ID: conclave.StepID(id) + "/deliver", Run: id, Kind: "deliver", Key: "deliver", Title: "Deliver the branch", State: conclave.StepWaiting, DependsOn: []string{"merge:upgrade", "merge:errors"}, Epoch: 1, Started: &f.now},
	}
	asked := f.pass(time.Second)
	dir := f.t.TempDir()
	report := conclave.Report{Markdown: filepath.Join(dir, "report.md"), JSON: filepath.Join(dir, "report.json"), SARIF: filepath.Join(dir, "report.sarif")}
	for path, text := range map[string]string{report.Markdown: "# Upgrade vulnerable dependencies\n", report.JSON: `{"run":"run-7b90"}`, report.SARIF: `{"version":"2.1.0","runs":[]}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			f.t.Fatal(err)
		}
	}
	f.runs = append([]conclave.RunDetail{{
		Run: conclave.Run{
			ID: id, Status: conclave.RunWaiting, Workflow: "collaborative", Task: "Upgrade vulnerable dependencies and fix what gosec finds", Repo: "/home/ana/src/ledger",
			Base: "c01dbeefcafe", Branch: "conclave/run-7b90", Head: "5e8a77d1903b", Human: "ana", Brain: "offline", Offline: true, Reason: "waits for approval to move main",
			Conversation: conclave.ConversationID("conv-" + id), Report: report, Created: started,
			Warnings: []string{"govulncheck is not installed; the upgrade rests on the advisory that the playbook carries"},
		},
		Steps: steps,
		Approvals: []conclave.Approval{{
			ID: "apr-19", Run: id, Kind: "deliver", Title: "Move main to conclave/run-7b90", Subject: "5e8a77d1903b", Asked: asked,
			Detail: "2 commits, 4 files changed. Fast-forward from c01dbeef to 5e8a77d1. All 212 tests pass on the merged tree; gosec finds nothing new.",
		}},
	}}, f.runs...)
	f.record(conclave.EventApprovalAsked, workflow, id, "apr-19", "approve: move main to conclave/run-7b90")
}

// running records a run in the middle of its work, with everything that the page shows.
func (f *fixture) running() {
	id, started := liveRun, f.now
	task := "Add rate limiting to the public API: per-token limits, 429 with Retry-After, and metrics"
	f.record(conclave.EventRunStarted, "ana", id, "", task)
	steps := []conclave.Step{}
	step := func(key, kind, title string, state conclave.StepState, took time.Duration, after ...string) *conclave.Step {
		s := conclave.Step{ID: conclave.StepID(id) + "/" + conclave.StepID(key), Run: id, Kind: kind, Key: key, Title: title, State: state, DependsOn: after}
		if state != conclave.StepBlocked && state != conclave.StepReady {
			begin := f.now
			s.Started, s.Epoch = &begin, 1
			f.record(conclave.EventStepStarted, workflow, id, key, "started "+title)
			if state == conclave.StepDone {
				end := f.now.Add(took)
				s.Ended = &end
				f.record(conclave.EventStepEnded, workflow, id, key, title+": done")
			}
		}
		steps = append(steps, s)
		return &steps[len(steps)-1]
	}
	const done, runs, blocked = conclave.StepDone, conclave.StepRunning, conclave.StepBlocked

	step("intake", "intake", "Look at the repository", done, 1800*time.Millisecond)
	step("draft", "draft", "Draft the plan", done, 14*time.Second, "intake")
	f.say(id, "t-01", workflow, "roles/planner", conclave.AssignDraft, "Draft a plan: "+task+".", nil)
	v1 := f.plan(id, 1, task)
	f.say(id, "t-01", "planner-1", workflow, conclave.AssignDraft, "Three steps: a token bucket, the middleware that applies it, and its metrics. One question is left open: where the buckets live.", nil)

	ask := "Comment on version 1 of the plan, from your role's side."
	step("comment:security", "comment", "Security comments", done, 9*time.Second, "draft")
	step("comment:qa", "comment", "QA comments", done, 11*time.Second, "draft")
	step("comment:architect", "comment", "Architect comments", done, 8*time.Second, "draft")
	f.say(id, "t-02", workflow, "roles/security", conclave.AssignComment, ask, nil)
	f.say(id, "t-03", workflow, "roles/qa", conclave.AssignComment, ask, nil)
	f.say(id, "t-04", workflow, "roles/architect", conclave.AssignComment, ask, nil)
	f.say(id, "t-04", "architect-1", workflow, conclave.AssignComment, "No objection to the shape. The limiter must not know HTTP; keep it in a package of its own.", nil)
	f.say(id, "t-02", "security-1", workflow, conclave.AssignComment, "The key must be the authenticated token, never X-Forwarded-For: internal/api/server.go trusts that header today.", nil)
	f.say(id, "t-03", "qa-1", workflow, conclave.AssignComment, "Retry-After needs a test with a fake clock. The existing tests sleep, and CI already flakes on them.", nil)
	v1.Comments = []conclave.Comment{
		{Author: "security-1", Role: conclave.RoleSecurity, Step: "middleware", Text: "Limits keyed by a header that the client sets limit nobody.", Cites: "internal/api/server.go reads X-Forwarded-For", Created: f.now,
			Change: &conclave.Change{AddAcceptance: []string{"The limit's key is the authenticated token; unauthenticated calls share one bucket per address"}}},
		{Author: "qa-1", Role: conclave.RoleQA, Step: "limiter", Text: "Time must be passed in, or the tests will sleep.", Cites: "12 of 40 test files call time.Sleep", Created: f.now,
			Change: &conclave.Change{AddAcceptance: []string{"The limiter takes its clock from outside"}}},
		{Author: "architect-1", Role: conclave.RoleArchitect, Text: "Say in the README what a client sees when it is limited.", Cites: "README.md documents every status code but 429", Created: f.now,
			Change: &conclave.Change{AddStep: &conclave.PlanStep{Key: "docs", Title: "Document the limits"}}},
	}
	f.plans = append(f.plans, v1)
	f.record(conclave.EventPlanProposed, "planner-1", id, string(v1.ID), "plan version 1: 3 steps")
	f.record(conclave.EventPlanCommented, "security-1", id, string(v1.ID), "3 comments on version 1")

	step("revise", "revise", "Revise the plan", done, 12*time.Second, "comment:security", "comment:qa", "comment:architect")
	f.say(id, "t-05", workflow, "agents/planner-1", conclave.AssignRevise, "Revise the plan after 3 comments.", nil)
	v2 := f.plan(id, 2, task)
	f.plans = append(f.plans, v2)
	f.say(id, "t-05", "planner-1", workflow, conclave.AssignRevise, "All three comments are in: the key is the token, the clock is passed in, and there is a step for the README.", nil)
	f.record(conclave.EventPlanProposed, "planner-1", id, string(v2.ID), "plan version 2: 4 steps, 2 changed")

	step("vote:plan", "vote", "Vote on the plan", done, 21*time.Second, "revise")
	f.voteOnPlan(id, v2)
	step("design:store", "design", "Decide: where buckets live", done, 33*time.Second, "vote:plan")
	f.rankStores(id)

	step("build:limiter", "build", "Token bucket", done, 41*time.Second, "design:store")
	step("build:docs", "build", "Document the limits", done, 17*time.Second, "design:store")
	f.say(id, "t-20", workflow, "roles/developer", conclave.AssignBuild, "Build limiter: a token bucket in internal/limit, with its clock from outside.", nil)
	f.say(id, "t-21", workflow, "roles/developer", conclave.AssignBuild, "Build docs: say in the README what a limited client sees.", nil)
	f.say(id, "t-21", "developer-2", workflow, conclave.AssignBuild, "README.md has a section on limits, with the headers and an example.", nil)
	f.say(id, "t-22", "developer-1", "agents/domain-expert-1", conclave.AssignAsk, "Retry-After: seconds or a date, when the wait is under a second?", nil)
	f.say(id, "t-22", "domain-expert-1", "developer-1", conclave.AssignAsk, "Seconds, rounded up, never 0: RFC 9110 §10.2.3 has no fractions, and 0 invites a loop.", nil)
	f.say(id, "t-20", "developer-1", workflow, conclave.AssignBuild, "internal/limit is done: 118 lines, 9 tests, no sleep. Allow returns how long to wait, rounded up.", nil)
	f.record(conclave.EventWorktreeCommited, "developer-1", id, "lease-42", "internal/limit: 3 files")

	verify := step("verify:limiter", "verify", "Verify limiter", done, 38*time.Second, "build:limiter")
	step("verify:docs", "verify", "Verify docs", done, 12*time.Second, "build:docs")
	evidence := f.evidence()
	f.reviewLimiter(id, evidence)
	verify.Output = f.raw(map[string]any{"evidence": evidence})
	step("merge:limiter", "merge", "Merge limiter", done, 6*time.Second, "verify:limiter")
	step("merge:docs", "merge", "Merge docs", done, 5*time.Second, "verify:docs", "merge:limiter")
	f.record(conclave.EventMergeDone, string(conclave.ServiceWorktree), id, "lease-42", "conclave/run-7c41 is at 3fa9c1d2, 221 tests pass")

	step("build:middleware", "build", "Middleware", done, 52*time.Second, "merge:limiter")
	f.say(id, "t-40", workflow, "roles/developer", conclave.AssignBuild, "Build middleware: apply the limit by token, answer 429 with Retry-After.", nil)
	f.say(id, "t-40", "developer-2", workflow, conclave.AssignBuild, "The middleware is in place before the router; 429 carries Retry-After and a problem document.", nil)
	step("build:metrics", "build", "Metrics", runs, 0, "merge:limiter")
	f.say(id, "t-41", workflow, "roles/developer", conclave.AssignBuild, "Build metrics: count allowed and limited calls, by route and not by token.", nil)
	step("verify:middleware", "verify", "Verify middleware", runs, 0, "build:middleware")
	f.reviewMiddleware(id, evidence)
	step("verify:metrics", "verify", "Verify metrics", blocked, 0, "build:metrics")
	step("merge:middleware", "merge", "Merge middleware", blocked, 0, "verify:middleware")
	step("merge:metrics", "merge", "Merge metrics", blocked, 0, "verify:metrics", "merge:middleware")
	step("deliver", "deliver", "Deliver the branch", blocked, 0, "merge:docs", "merge:metrics")

	usage := spent(71, 512_904, 38_211, 2.34)
	f.runs = append([]conclave.RunDetail{{
		Run: conclave.Run{
			ID: id, Status: conclave.RunRunning, Workflow: "collaborative", Task: task, Repo: "/home/ana/src/harbor", Base: "a41c07e9d2b3", Branch: "conclave/run-7c41", Head: "3fa9c1d2e07b",
			Conversation: conclave.ConversationID("conv-" + id), Human: "ana", Brain: "claude-sonnet-4-5", Usage: usage, Created: started,
		},
		Steps: steps, Plan: &v2,
	}}, f.runs...)
}

// plan makes a version of the running run's plan.
func (f *fixture) plan(run conclave.RunID, version int, task string) conclave.Plan {
	limiter := conclave.PlanStep{
		Key: "limiter", Title: "Token bucket", Description: "A token bucket in a package of its own that knows nothing of HTTP.",
		Acceptance: []string{"A bucket of n lets n calls through at once, then one per interval", "It tells how long to wait"}, Writes: []string{"internal/limit/**"},
	}
	middleware := conclave.PlanStep{
		Key: "middleware", Title: "Middleware", Description: "Applies the limit to every public route.", DependsOn: []string{"limiter"},
		Acceptance: []string{"A call over the limit gets 429 with Retry-After", "Health and metrics are never limited"}, Writes: []string{"internal/api/**"},
	}
	metrics := conclave.PlanStep{
		Key: "metrics", Title: "Metrics", Description: "Counts allowed and limited calls.", DependsOn: []string{"limiter"},
		Acceptance: []string{"http_limited_total rises when a call is limited", "No label holds a token"}, Writes: []string{"internal/telemetry/**"},
	}
	content := conclave.PlanContent{
		Task: task, Summary: "Limit calls per token with a token bucket in front of the router, and show what it does.", Steps: []conclave.PlanStep{limiter, middleware, metrics},
		Questions: []conclave.Question{{Key: "store", Text: "Where do the buckets live?", Options: []conclave.Option{
			{Key: "memory", Title: "In each process", Description: "A map with a lock per shard.", Pros: []string{"No new dependency", "40 ns a call"}, Cons: []string{"Each replica counts for itself"}},
			{Key: "redis", Title: "In Redis", Description: "One script call per request.", Pros: []string{"One limit for all replicas"}, Cons: []string{"A round trip on every call", "A limit that fails with Redis"}},
		}}},
	}
	if version == 2 {
		content.Steps[0].Acceptance = append(content.Steps[0].Acceptance, "The limiter takes its clock from outside")
		content.Steps[1].Acceptance = []string{"A call over the limit gets 429 with Retry-After in whole seconds", "Health and metrics are never limited", "The limit's key is the authenticated token; unauthenticated calls share one bucket per address"}
		content.Steps = append(content.Steps, conclave.PlanStep{Key: "docs", Title: "Document the limits", Description: "What a limited client sees.", Acceptance: []string{"README.md names 429, Retry-After and the defaults"}, Writes: []string{"README.md"}})
	}
	return conclave.Plan{ID: "plan-31", Run: run, Version: version, Hash: f.hash(content), Author: "planner-1", Created: f.now, PlanContent: content}
}

func (f *fixture) voteOnPlan(run conclave.RunID, plan conclave.Plan) {
	m := conclave.Motion{
		ID: "mot-11", Run: run, Conversation: conclave.ConversationID("conv-" + run), Kind: conclave.MotionApprove, Title: "Plan version 2", Subject: conclave.Subject{Kind: "plan", ID: string(plan.ID), Hash: plan.Hash},
		Authors: []conclave.AgentName{"planner-1"}, Voters: []string{"roles/architect", "roles/security", "roles/qa", "roles/domain-expert", "roles/performance-reviewer"},
		Rule: conclave.Rule{Name: "threshold", Threshold: 0.6, Quorum: 3}, Rounds: 2, Round: 1, Deadline: f.now.Add(2 * time.Minute), Human: "ana", State: conclave.MotionOpen, Created: f.now,
	}
	f.record(conclave.EventMotionOpened, council, run, string(m.ID), "vote on plan version 2")
	voters := []struct {
		name    conclave.AgentName
		role    conclave.Role
		verdict conclave.Verdict
		reason  string
	}{
		{"architect-1", conclave.RoleArchitect, conclave.VerdictApprove, "The limiter stands alone, so a shared store can replace it later."},
		{"security-1", conclave.RoleSecurity, conclave.VerdictReject, "One bucket per address for calls without a token lets one host behind a NAT lock out its neighbours. Refuse such calls instead."},
		{"qa-1", conclave.RoleQA, conclave.VerdictApprove, "Every criterion can be tested without waiting."},
		{"domain-expert-1", conclave.RoleDomainExpert, conclave.VerdictApprove, "429 with whole seconds is what clients expect (RFC 6585 §4, RFC 9110 §10.2.3)."},
	}
	text := "Vote on version 2 of the plan, hash " + strings.TrimPrefix(plan.Hash, "sha256:")[:8] + "."
	for i, v := range voters {
		f.say(run, fmt.Sprintf("t-1%d", i), council, "roles/"+string(v.role), conclave.AssignVote, text, nil)
	}
	f.say(run, "t-14", council, "roles/performance-reviewer", conclave.AssignVote, text, nil)
	var ballots []conclave.Ballot
	for i, v := range voters {
		ballots = append(ballots, f.ballot(m, v.name, v.role, v.verdict, nil, v.reason))
		f.say(run, fmt.Sprintf("t-1%d", i), string(v.name), council, conclave.AssignVote, v.reason, conclave.VoteReply{Verdict: v.verdict, Reasons: []string{v.reason}})
		f.record(conclave.EventBallotCast, string(v.name), run, string(m.ID), string(v.name)+": "+string(v.verdict))
	}
	d := f.decide(conclave.Decision{
		Motion: m, Outcome: conclave.OutcomeApproved, Ballots: ballots, Absent: []string{"performance-reviewer-1"},
		Reason: "3 of 4 for it (75 %); 60 % needed, quorum of 3 met", Dissent: []string{"security-1: " + voters[1].reason},
		Ladder: []string{"round 1: 3 for, 1 against, 1 absent"}, DecidedBy: "vote",
	})
	m.State = conclave.MotionDecided
	f.motions = append(f.motions, conclave.MotionStatus{Motion: m, Ballots: ballots, Decision: d})
	f.record(conclave.EventMotionDecided, council, run, string(m.ID), "plan version 2 approved, with 1 dissent")
}

func (f *fixture) rankStores(run conclave.RunID) {
	options := []string{"memory", "redis"}
	m := conclave.Motion{
		ID: "mot-12", Run: run, Conversation: conclave.ConversationID("conv-" + run), Kind: conclave.MotionRank, Title: "Where do the buckets live?", Subject: conclave.Subject{Kind: "options", ID: "store", Hash: f.hash(options)},
		Options: options, Voters: []string{"roles/architect", "roles/security", "roles/qa"}, Rule: conclave.Rule{Name: "condorcet", Quorum: 2}, Rounds: 2, Round: 1,
		Deadline: f.now.Add(2 * time.Minute), Human: "ana", State: conclave.MotionOpen, Created: f.now,
	}
	f.record(conclave.EventMotionOpened, council, run, string(m.ID), "rank: where do the buckets live?")
	text := "Rank the options: where do the buckets live?"
	var ballots []conclave.Ballot
	voters := []struct {
		name    conclave.AgentName
		role    conclave.Role
		ranking []string
		reason  string
	}{
		{"architect-1", conclave.RoleArchitect, []string{"memory", "redis"}, "The service runs two replicas; an error of a factor of two is fine for abuse."},
		{"security-1", conclave.RoleSecurity, []string{"redis", "memory"}, "An attacker who finds both replicas doubles the limit."},
		{"qa-1", conclave.RoleQA, []string{"memory", "redis"}, "It can be tested without a server."},
	}
	for i, v := range voters {
		f.say(run, fmt.Sprintf("t-1%d", 5+i), council, "roles/"+string(v.role), conclave.AssignVote, text, nil)
	}
	for i, v := range voters {
		ballots = append(ballots, f.ballot(m, v.name, v.role, "", v.ranking, v.reason))
		f.say(run, fmt.Sprintf("t-1%d", 5+i), string(v.name), council, conclave.AssignVote, v.reason, conclave.VoteReply{Ranking: v.ranking, Reasons: []string{v.reason}})
		f.record(conclave.EventBallotCast, string(v.name), run, string(m.ID), string(v.name)+" ranked the options")
	}
	d := f.decide(conclave.Decision{
		Motion: m, Outcome: conclave.OutcomeChosen, Option: "memory", Ranking: options, Ballots: ballots,
		Reason: "memory beats redis by 2 to 1, so it is the Condorcet winner", Dissent: []string{"security-1 put redis first: " + voters[1].reason}, DecidedBy: "vote",
	})
	m.State = conclave.MotionDecided
	f.motions = append(f.motions, conclave.MotionStatus{Motion: m, Ballots: ballots, Decision: d})
	f.record(conclave.EventMotionDecided, council, run, string(m.ID), "memory was chosen")
}

func (f *fixture) evidence() conclave.Evidence {
	e := conclave.Evidence{
		Tree: "7d20c4f1ab93e6550f",
		Checks: []conclave.Check{
			{Name: "build", Command: "go build ./...", Passed: true, Millis: 2140},
			{Name: "test", Command: "go test ./...", Passed: true, Tests: 221, Millis: 18_420},
			{Name: "lint", Command: "go vet ./...", Passed: true, Millis: 1310},
			{Name: "race", Command: "go test -race ./internal/limit", Passed: false, Tests: 9, Failed: 1, Millis: 6021, Output: "WARNING: DATA RACE\n  limit.go:74: (*Limiter).evict()\n--- FAIL: TestEvictWhileAllowing (0.02s)"},
			{Name: "e2e", Command: "make e2e", Skipped: "needs a Docker engine", Millis: 0},
		},
		Findings: []conclave.Finding{
			{Tool: "gosec", Rule: "G115", Level: conclave.LevelWarning, Category: "security", Path: "internal/limit/limit.go", Line: 52, Message: "Integer overflow conversion int64 -> int", Fingerprint: "a1"},
			{Tool: "staticcheck", Rule: "ST1005", Level: conclave.LevelNote, Category: "style", Path: "internal/limit/limit.go", Line: 31, Message: "Error strings should not be capitalized", Fingerprint: "b2", Fixable: true},
		},
		Unchecked: []string{"govulncheck is not installed"},
	}
	e.Hash = f.hash(e)
	return e
}

func (f *fixture) reviewLimiter(run conclave.RunID, e conclave.Evidence) {
	ask := "Review limiter: 3 files, 118 lines. Judge before you see the others."
	race := conclave.ReviewFinding{
		Finding:  conclave.Finding{Tool: "code-reviewer-1", Rule: "data-race", Level: conclave.LevelError, Category: "correctness", Path: "internal/limit/limit.go", Line: 74, Message: "evict walks the shard without its lock while Allow writes to it.", Fingerprint: "c3"},
		Reviewer: "code-reviewer-1", Evidence: "go test -race ./internal/limit fails in TestEvictWhileAllowing", Agreed: []string{"security-1"},
	}
	timing := conclave.ReviewFinding{
		Finding:  conclave.Finding{Tool: "security-1", Rule: "timing", Level: conclave.LevelWarning, Category: "security", Path: "internal/limit/limit.go", Line: 40, Message: "The map look-up may tell by its time whether a token exists.", Fingerprint: "d4"},
		Reviewer: "security-1", Refuted: "the key is a hash of an already authenticated token",
	}
	f.say(run, "t-30", workflow, "roles/code-reviewer", conclave.AssignReview, ask, nil)
	f.say(run, "t-31", workflow, "roles/security", conclave.AssignReview, ask, nil)
	f.say(run, "t-30", "code-reviewer-1", workflow, conclave.AssignReview, "One data race, reproduced under -race: eviction does not take the shard's lock.", conclave.ReviewReply{Summary: "One race.", Findings: []conclave.ReviewFinding{race}})
	f.say(run, "t-31", "security-1", workflow, conclave.AssignReview, "Nothing that an attacker could use, beyond a doubtful timing difference.", conclave.ReviewReply{Approve: true, Summary: "Fine.", Findings: []conclave.ReviewFinding{timing}})
	f.say(run, "t-32", workflow, "agents/developer-1", conclave.AssignBuild, "Mend: evict walks the shard without its lock.", nil)
	f.say(run, "t-32", "developer-1", workflow, conclave.AssignBuild, "evict takes the lock of one shard at a time; -race passes a thousand times.", nil)
}

// reviewMiddleware leaves a vote open, with one ballot still to come.
func (f *fixture) reviewMiddleware(run conclave.RunID, e conclave.Evidence) {
	m := conclave.Motion{
		ID: "mot-13", Run: run, Conversation: conclave.ConversationID("conv-" + run), Kind: conclave.MotionApprove, Title: "Middleware, as reviewed", Subject: conclave.Subject{Kind: "tree", ID: "verify:middleware", Hash: "sha256:" + e.Tree},
		Authors: []conclave.AgentName{"developer-2"}, Voters: []string{"roles/code-reviewer", "roles/security", "roles/qa"}, Rule: conclave.Rule{Name: "threshold", Threshold: 0.66, Quorum: 2},
		Rounds: 2, Round: 1, Deadline: f.now.Add(2 * time.Minute), Human: "ana", State: conclave.MotionOpen, Created: f.now, Material: f.raw(conclave.Assignment{Kind: conclave.AssignVote, Run: run, Evidence: &e}),
	}
	f.record(conclave.EventMotionOpened, council, run, string(m.ID), "vote on the middleware's tree")
	text := "Vote on the middleware: tree 7d20c4f1, evidence attached."
	f.say(run, "t-50", council, "roles/code-reviewer", conclave.AssignVote, text, nil)
	f.say(run, "t-51", council, "roles/security", conclave.AssignVote, text, nil)
	f.say(run, "t-52", council, "roles/qa", conclave.AssignVote, text, nil)
	reasons := []string{"The key is the token, and the tests show it.", "Unauthenticated calls are refused before the limiter now; my objection to the plan is met."}
	f.motions = append(f.motions, conclave.MotionStatus{Motion: m})
	f.cast(m, "t-50", "code-reviewer-1", conclave.RoleCodeReviewer, reasons[0])
	f.cast(m, "t-51", "security-1", conclave.RoleSecurity, reasons[1])
}

// cast counts an approving ballot on the newest motion, and says so.
func (f *fixture) cast(m conclave.Motion, task string, voter conclave.AgentName, role conclave.Role, reason string) {
	last := &f.motions[len(f.motions)-1]
	last.Ballots = append(last.Ballots[:len(last.Ballots):len(last.Ballots)], f.ballot(m, voter, role, conclave.VerdictApprove, nil, reason))
	f.say(m.Run, task, string(voter), council, conclave.AssignVote, reason, conclave.VoteReply{Verdict: conclave.VerdictApprove, Reasons: []string{reason}})
	f.record(conclave.EventBallotCast, string(voter), m.Run, string(m.ID), string(voter)+": approve")
}

// liveSay adds a message to the running run, as the hub would.
func (f *fixture) liveSay(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = time.Now()
	f.say(liveRun, "t-41", "developer-1", workflow, conclave.AssignBuild, text, nil)
}

// liveBallot casts the ballot that the open vote waits for.
func (f *fixture) liveBallot() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = time.Now()
	f.cast(f.motions[len(f.motions)-1].Motion, "t-52", "qa-1", conclave.RoleQA, "Both paths are tested with a fake clock; I broke the limit by one and the test failed.")
}
