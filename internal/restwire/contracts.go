package restwire

import (
	"context"

	"conclave"
)

// Plans returns the plan-management service.
func (c *Client) Plans() conclave.Plans { return plans{c} }

// Hub returns the a2a-hub service.
func (c *Client) Hub() conclave.Hub { return hub{c} }

// Directory returns what the a2a-hub service knows of agents.
func (c *Client) Directory() conclave.Directory { return directory{c} }

// Work returns the work that the a2a-hub service has for agents that pull.
func (c *Client) Work() conclave.Work { return work{c} }

// DeadLetters returns what the a2a-hub service could not deliver.
func (c *Client) DeadLetters() conclave.DeadLetters { return letters{c} }

// Council returns the collaboration-orchestrator service.
func (c *Client) Council() conclave.Council { return council{c} }

// Trust returns what the collaboration-orchestrator service knows of agents' outcomes.
func (c *Client) Trust() conclave.Trust { return trust{c} }

// Insights returns what the agent-monitor service measures.
func (c *Client) Insights() conclave.Insights { return insights{c} }

// Worktrees returns the git-worktree service.
func (c *Client) Worktrees() conclave.Worktrees { return worktrees{c} }

// Workflows returns the workflow-orchestrator service.
func (c *Client) Workflows() conclave.Workflows { return workflows{c} }

// Models returns the model-router service.
func (c *Client) Models() conclave.Models { return models{c} }

// Events returns the record that the monitor service serves.
func (c *Client) Events() conclave.Events { return events{c} }

// Audit returns the audit trail that the monitor service serves.
func (c *Client) Audit() conclave.Audit { return events{c} }

type plans struct{ c *Client }

func (p plans) Propose(ctx context.Context, in conclave.ProposePlan) (conclave.Plan, error) {
	return call[conclave.Plan](ctx, p.c, "plan_propose", in)
}

func (p plans) Comment(ctx context.Context, in conclave.CommentPlan) (conclave.Plan, error) {
	return call[conclave.Plan](ctx, p.c, "plan_comment", in)
}

func (p plans) Get(ctx context.Context, in conclave.GetPlan) (conclave.Plan, error) {
	return call[conclave.Plan](ctx, p.c, "plan_get", in)
}

func (p plans) List(ctx context.Context, in conclave.ListPlans) ([]conclave.Plan, error) {
	return call[[]conclave.Plan](ctx, p.c, "plan_list", in)
}

func (p plans) Diff(ctx context.Context, in conclave.DiffPlan) (conclave.PlanDiff, error) {
	return call[conclave.PlanDiff](ctx, p.c, "plan_diff", in)
}

// Surveys returns what the git-worktree service measures of repositories.
func (c *Client) Surveys() conclave.Surveys { return surveys{c} }

type surveys struct{ c *Client }

func (s surveys) Debt(ctx context.Context, in conclave.GetDebt) (conclave.Debt, error) {
	return call[conclave.Debt](ctx, s.c, "survey_debt", in)
}

func (s surveys) Contribution(ctx context.Context, in conclave.GetContribution) (conclave.Contribution, error) {
	return call[conclave.Contribution](ctx, s.c, "survey_contribution", in)
}

func (s surveys) Options(ctx context.Context, in conclave.GetOptionFacts) ([]conclave.OptionFacts, error) {
	return call[[]conclave.OptionFacts](ctx, s.c, "survey_options", in)
}

type hub struct{ c *Client }

func (h hub) Register(ctx context.Context, in conclave.RegisterAgent) (conclave.Agent, error) {
	return call[conclave.Agent](ctx, h.c, "agent_register", in)
}

func (h hub) Agents(ctx context.Context, in conclave.ListAgents) ([]conclave.Agent, error) {
	return call[[]conclave.Agent](ctx, h.c, "agent_list", in)
}

func (h hub) Send(ctx context.Context, in conclave.SendMessage) (conclave.Task, error) {
	return call[conclave.Task](ctx, h.c, "message_send", in)
}

func (h hub) Task(ctx context.Context, in conclave.GetTask) (conclave.Task, error) {
	return call[conclave.Task](ctx, h.c, "task_get", in)
}

func (h hub) Cancel(ctx context.Context, in conclave.NameTask) (conclave.Task, error) {
	return call[conclave.Task](ctx, h.c, "task_cancel", in)
}

func (h hub) Messages(ctx context.Context, in conclave.ListMessages) ([]conclave.Message, error) {
	return call[[]conclave.Message](ctx, h.c, "message_list", in)
}

// Topics returns what the a2a-hub service publishes to many.
func (c *Client) Topics() conclave.Topics { return topics{c} }

// Broadcasts returns what the a2a-hub service says to many.
func (c *Client) Broadcasts() conclave.Broadcasts { return topics{c} }

// Conversations returns the conversations that the a2a-hub service keeps.
func (c *Client) Conversations() conclave.Conversations { return conversations{c} }

type topics struct{ c *Client }

func (t topics) Subscribe(ctx context.Context, in conclave.SubscribeTopic) (conclave.Subscription, error) {
	return call[conclave.Subscription](ctx, t.c, "topic_subscribe", in)
}

func (t topics) Unsubscribe(ctx context.Context, in conclave.UnsubscribeTopic) (conclave.Subscription, error) {
	return call[conclave.Subscription](ctx, t.c, "topic_unsubscribe", in)
}

func (t topics) ListTopics(ctx context.Context, in conclave.ListTopics) ([]conclave.Topic, error) {
	return call[[]conclave.Topic](ctx, t.c, "topic_list", in)
}

func (t topics) Publish(ctx context.Context, in conclave.PublishMessage) (conclave.Publication, error) {
	return call[conclave.Publication](ctx, t.c, "topic_publish", in)
}

func (t topics) Read(ctx context.Context, in conclave.ReadTopic) ([]conclave.Publication, error) {
	return call[[]conclave.Publication](ctx, t.c, "topic_read", in)
}

func (t topics) Broadcast(ctx context.Context, in conclave.BroadcastMessage) (conclave.Publication, error) {
	return call[conclave.Publication](ctx, t.c, "message_broadcast", in)
}

func (t topics) Publication(ctx context.Context, in conclave.GetPublication) (conclave.Publication, error) {
	return call[conclave.Publication](ctx, t.c, "broadcast_get", in)
}

type conversations struct{ c *Client }

func (k conversations) List(ctx context.Context, in conclave.ListConversations) ([]conclave.Conversation, error) {
	return call[[]conclave.Conversation](ctx, k.c, "conversation_list", in)
}

func (k conversations) Replay(ctx context.Context, in conclave.ReplayConversation) (conclave.ConversationAt, error) {
	return call[conclave.ConversationAt](ctx, k.c, "conversation_replay", in)
}

func (k conversations) Export(ctx context.Context, in conclave.ExportConversation) ([]conclave.ConversationRecord, error) {
	return call[[]conclave.ConversationRecord](ctx, k.c, "conversation_export", in)
}

func (k conversations) Escalate(ctx context.Context, in conclave.EscalateConversation) (conclave.Escalation, error) {
	return call[conclave.Escalation](ctx, k.c, "conversation_escalate", in)
}

func (k conversations) Escalations(ctx context.Context, in conclave.ListEscalations) ([]conclave.Escalation, error) {
	return call[[]conclave.Escalation](ctx, k.c, "escalation_list", in)
}

func (k conversations) Decide(ctx context.Context, in conclave.AnswerEscalation) (conclave.Escalation, error) {
	return call[conclave.Escalation](ctx, k.c, "escalation_answer", in)
}

type council struct{ c *Client }

func (k council) Convene(ctx context.Context, in conclave.ConveneMotion) (conclave.Motion, error) {
	return call[conclave.Motion](ctx, k.c, "decide", in)
}

func (k council) Get(ctx context.Context, in conclave.GetMotion) (conclave.MotionStatus, error) {
	return call[conclave.MotionStatus](ctx, k.c, "decision_get", in)
}

func (k council) Cast(ctx context.Context, in conclave.CastBallot) (conclave.Receipt, error) {
	return call[conclave.Receipt](ctx, k.c, "ballot_cast", in)
}

func (k council) Resolve(ctx context.Context, in conclave.ResolveMotion) (conclave.Decision, error) {
	return call[conclave.Decision](ctx, k.c, "decision_resolve", in)
}

func (k council) List(ctx context.Context, in conclave.ListMotions) ([]conclave.MotionStatus, error) {
	return call[[]conclave.MotionStatus](ctx, k.c, "decision_list", in)
}

type trust struct{ c *Client }

func (k trust) Report(ctx context.Context, in conclave.ReportOutcomes) (conclave.OutcomesReported, error) {
	return call[conclave.OutcomesReported](ctx, k.c, "outcome_report", in)
}

func (k trust) Scores(ctx context.Context, in conclave.ListTrust) ([]conclave.TrustScore, error) {
	return call[[]conclave.TrustScore](ctx, k.c, "trust_list", in)
}

type worktrees struct{ c *Client }

func (w worktrees) Lease(ctx context.Context, in conclave.LeaseWorktree) (conclave.Worktree, error) {
	return call[conclave.Worktree](ctx, w.c, "worktree_lease", in)
}

func (w worktrees) Commit(ctx context.Context, in conclave.CommitWorktree) (conclave.Commit, error) {
	return call[conclave.Commit](ctx, w.c, "worktree_commit", in)
}

func (w worktrees) Merge(ctx context.Context, in conclave.MergeWorktree) (conclave.Merge, error) {
	return call[conclave.Merge](ctx, w.c, "worktree_merge", in)
}

func (w worktrees) Release(ctx context.Context, in conclave.NameWorktree) (conclave.Worktree, error) {
	return call[conclave.Worktree](ctx, w.c, "worktree_release", in)
}

func (w worktrees) Deliver(ctx context.Context, in conclave.Deliver) (conclave.Merge, error) {
	return call[conclave.Merge](ctx, w.c, "branch_deliver", in)
}

func (w worktrees) List(ctx context.Context, in conclave.ListWorktrees) ([]conclave.Worktree, error) {
	return call[[]conclave.Worktree](ctx, w.c, "worktree_list", in)
}

type workflows struct{ c *Client }

func (w workflows) Start(ctx context.Context, in conclave.StartRun) (conclave.Run, error) {
	return call[conclave.Run](ctx, w.c, "workflow_start", in)
}

func (w workflows) Get(ctx context.Context, in conclave.GetRun) (conclave.RunDetail, error) {
	return call[conclave.RunDetail](ctx, w.c, "workflow_status", in)
}

func (w workflows) List(ctx context.Context, in conclave.ListRuns) ([]conclave.Run, error) {
	return call[[]conclave.Run](ctx, w.c, "workflow_list", in)
}

func (w workflows) Cancel(ctx context.Context, in conclave.NameRun) (conclave.Run, error) {
	return call[conclave.Run](ctx, w.c, "workflow_cancel", in)
}

func (w workflows) Approvals(ctx context.Context, in conclave.ListApprovals) ([]conclave.Approval, error) {
	return call[[]conclave.Approval](ctx, w.c, "approval_list", in)
}

func (w workflows) Approve(ctx context.Context, in conclave.Approve) (conclave.Approval, error) {
	return call[conclave.Approval](ctx, w.c, "approval_decide", in)
}

type models struct{ c *Client }

func (m models) Route(ctx context.Context, in conclave.RouteQuery) (conclave.Route, error) {
	return call[conclave.Route](ctx, m.c, "route_explain", in)
}

func (m models) Upstreams(ctx context.Context, in conclave.None) ([]conclave.Upstream, error) {
	return call[[]conclave.Upstream](ctx, m.c, "upstream_list", in)
}

func (m models) Usage(ctx context.Context, in conclave.GetUsage) (conclave.Usage, error) {
	return call[conclave.Usage](ctx, m.c, "usage_get", in)
}

func (m models) Close(ctx context.Context, in conclave.CloseAccount) (conclave.Usage, error) {
	return call[conclave.Usage](ctx, m.c, "account_close", in)
}

type events struct{ c *Client }

func (e events) List(ctx context.Context, f conclave.EventFilter) ([]conclave.Event, error) {
	return call[[]conclave.Event](ctx, e.c, "event_list", f)
}

func (e events) Verify(ctx context.Context, in conclave.None) (conclave.AuditReport, error) {
	return call[conclave.AuditReport](ctx, e.c, "audit_verify", in)
}

type insights struct{ c *Client }

func (i insights) Metrics(ctx context.Context, in conclave.GetInsights) ([]conclave.KeyMetric, error) {
	return call[[]conclave.KeyMetric](ctx, i.c, "insight_metrics", in)
}

func (i insights) Collaboration(ctx context.Context, in conclave.GetInsights) (conclave.CollaborationStats, error) {
	return call[conclave.CollaborationStats](ctx, i.c, "insight_collaboration", in)
}

func (i insights) Consensus(ctx context.Context, in conclave.GetInsights) (conclave.ConsensusStats, error) {
	return call[conclave.ConsensusStats](ctx, i.c, "insight_consensus", in)
}

func (i insights) Performance(ctx context.Context, in conclave.GetInsights) ([]conclave.AgentStats, error) {
	return call[[]conclave.AgentStats](ctx, i.c, "insight_performance", in)
}

func (i insights) Load(ctx context.Context, in conclave.GetInsights) (conclave.LoadStats, error) {
	return call[conclave.LoadStats](ctx, i.c, "insight_load", in)
}

type directory struct{ c *Client }

func (d directory) Inspect(ctx context.Context, in conclave.InspectCard) (conclave.CardReport, error) {
	return call[conclave.CardReport](ctx, d.c, "agent_inspect", in)
}

func (d directory) Adopt(ctx context.Context, in conclave.AdoptAgent) (conclave.Agent, error) {
	return call[conclave.Agent](ctx, d.c, "agent_adopt", in)
}

func (d directory) Forget(ctx context.Context, in conclave.NameAgent) (conclave.Agent, error) {
	return call[conclave.Agent](ctx, d.c, "agent_forget", in)
}

func (d directory) Find(ctx context.Context, in conclave.FindAgents) (conclave.FoundAgents, error) {
	return call[conclave.FoundAgents](ctx, d.c, "agent_find", in)
}

type work struct{ c *Client }

func (w work) Lease(ctx context.Context, in conclave.LeaseWork) ([]conclave.Lease, error) {
	return call[[]conclave.Lease](ctx, w.c, "work_lease", in)
}

func (w work) Extend(ctx context.Context, in conclave.ExtendLease) (conclave.Lease, error) {
	return call[conclave.Lease](ctx, w.c, "work_extend", in)
}

func (w work) Answer(ctx context.Context, in conclave.AnswerWork) (conclave.Task, error) {
	return call[conclave.Task](ctx, w.c, "work_answer", in)
}

type letters struct{ c *Client }

func (l letters) Dead(ctx context.Context, in conclave.ListDeadLetters) ([]conclave.DeadLetter, error) {
	return call[[]conclave.DeadLetter](ctx, l.c, "dead_letter_list", in)
}

func (l letters) Retry(ctx context.Context, in conclave.NameTask) (conclave.Task, error) {
	return call[conclave.Task](ctx, l.c, "dead_letter_retry", in)
}

func (l letters) Drop(ctx context.Context, in conclave.NameTask) (conclave.DeadLetter, error) {
	return call[conclave.DeadLetter](ctx, l.c, "dead_letter_drop", in)
}
