// The root package's types as they travel in JSON. A test in internal/monitor
// compares each interface here with the Go type of the same name.
// Go writes an empty list as null unless the field is left out, so lists say "| null".

export type RunStatus = 'running' | 'waiting' | 'done' | 'failed' | 'needs_model' | 'rejected' | 'cancelled';
export type StepState = 'blocked' | 'ready' | 'running' | 'waiting' | 'done' | 'failed' | 'cancelled';
export type Verdict = 'approve' | 'reject' | 'abstain';
export type Outcome = 'approved' | 'rejected' | 'chosen' | 'undecided';
export type MotionState = 'open' | 'waiting' | 'decided';
export type Level = 'error' | 'warning' | 'note';
export type Permission = 'read' | 'speak' | 'work' | 'approve' | 'service' | 'admin';
export type Json = unknown;

export interface Usage {
  model_calls: number | null;
  input_tokens: number | null;
  output_tokens: number | null;
  cost_usd: number | null;
  pending?: number;
}

export interface Report {
  markdown: string;
  json: string;
  sarif: string;
}

export interface Run {
  id: string;
  status: RunStatus;
  workflow: string;
  task: string;
  repo: string;
  base: string;
  branch: string;
  head: string;
  conversation: string;
  human: string;
  brain: string;
  offline: boolean;
  reason: string;
  warnings?: string[];
  report: Report;
  usage: Usage;
  created: string;
  ended: string | null;
}

export interface Step {
  id: string;
  run: string;
  kind: string;
  key: string;
  title: string;
  state: StepState;
  depends_on: string[] | null;
  epoch: number;
  attempt: number;
  input?: Json;
  output?: Json;
  reason?: string;
  started: string | null;
  ended: string | null;
}

export interface Approval {
  id: string;
  run: string;
  kind: string;
  title: string;
  detail: string;
  subject: string;
  options?: string[];
  asked: string;
  decision?: Verdict;
  option?: string;
  by?: string;
  reason?: string;
  decided: string | null;
}

export interface RunDetail {
  run: Run;
  steps: Step[] | null;
  plan: Plan | null;
  decisions: Decision[] | null;
  approvals: Approval[] | null;
}

export interface PlanStep {
  key: string;
  title: string;
  description: string;
  depends_on?: string[];
  acceptance: string[] | null;
  writes: string[] | null;
  role?: string;
}

export interface Option {
  key: string;
  title: string;
  description?: string;
  pros?: string[];
  cons?: string[];
  facts?: string[];
  in_use?: number;
}

export interface Question {
  key: string;
  text: string;
  options: Option[] | null;
}

export interface Change {
  add_acceptance?: string[];
  add_step?: PlanStep;
}

export interface Comment {
  author: string;
  role: string;
  step?: string;
  text: string;
  cites: string;
  change?: Change;
  created: string;
}

export interface PlanContent {
  task: string;
  summary: string;
  archetype?: string;
  steps: PlanStep[] | null;
  questions?: Question[];
  uncovered?: string[];
}

export interface Plan extends PlanContent {
  id: string;
  run: string;
  version: number;
  hash: string;
  author: string;
  created: string;
  comments: Comment[] | null;
}

export interface PlanDiff {
  added: string[] | null;
  removed: string[] | null;
  changed: string[] | null;
  reopened: string[] | null;
}

export interface Subject {
  kind: string;
  id: string;
  hash: string;
}

export interface Rule {
  name: string;
  threshold: number;
  quorum: number;
  weighted?: boolean;
}

export interface Weight {
  agent: string;
  weight: number;
}

export interface Motion {
  id: string;
  run?: string;
  conversation: string;
  kind: 'approve' | 'rank';
  title: string;
  subject: Subject;
  options?: string[];
  authors: string[] | null;
  voters: string[] | null;
  senior?: string;
  rule: Rule;
  rounds: number;
  deadline: string;
  settle?: boolean;
  escalate?: string;
  material?: Json;
  brain?: string;
  weights?: Weight[];
  human: string;
  round: number;
  ladder?: string[];
  state: MotionState;
  created: string;
}

export interface Ballot {
  motion: string;
  round: number;
  voter: string;
  role: string;
  subject: Subject;
  verdict?: Verdict;
  ranking?: string[];
  reasons: string[] | null;
  evidence?: string[];
  public_key: string;
  signature?: string;
}

export interface Decision {
  motion: Motion;
  outcome: Outcome;
  option?: string;
  ranking?: string[];
  reason: string;
  ballots: Ballot[] | null;
  absent: string[] | null;
  dissent: string[] | null;
  ladder: string[] | null;
  decided_by: string;
  decided: string;
  public_key: string;
  signature?: string;
}

export interface MotionStatus {
  motion: Motion;
  ballots: Ballot[] | null;
  decision?: Decision;
}

export interface Message {
  id: string;
  task: string;
  conversation: string;
  run?: string;
  sent_as?: string;
  from: string;
  to: string;
  kind?: string;
  text: string;
  data?: Json;
  sent: string;
}

export interface CardInterface {
  url: string;
  binding: string;
  version: string;
}

export interface CardTrust {
  url: string;
  signature: 'verified' | 'unsigned' | 'invalid';
  signer?: string;
  pin: string;
  interfaces: CardInterface[] | null;
  keys?: string;
  private?: boolean;
  by: string;
  at: string;
  problem?: string;
}

export interface Agent {
  name: string;
  role: string;
  description: string;
  skills: string[] | null;
  tags?: string[];
  topics?: string[];
  brain: string;
  service?: string;
  url: string;
  public_key: string;
  encryption_key?: string;
  card?: CardTrust;
  state: 'live' | 'lost' | 'gone';
  active: number;
  capacity: number;
  seen: string;
}

export interface Event {
  seq: number;
  tenant: string;
  at: string;
  kind: string;
  actor: string;
  run?: string;
  step?: string;
  conversation?: string;
  subject?: string;
  text: string;
  data?: Json;
}

export interface Checkpoint {
  tenant: string;
  number: number;
  last: number;
  count: number;
  previous: string;
  head: string;
  at: string;
  public_key: string;
  signature: string;
}

export interface AuditProblem {
  tenant: string;
  seq?: number;
  checkpoint: number;
  what: string;
  text: string;
}

export interface AuditReport {
  ok: boolean;
  sealed: number;
  expired: number;
  unsealed: number;
  heads: Checkpoint[] | null;
  problems: AuditProblem[] | null;
}

export interface Finding {
  tool: string;
  rule: string;
  level: Level;
  category: string;
  path: string;
  line: number;
  column?: number;
  message: string;
  fingerprint: string;
  fixable?: boolean;
}

export interface ReviewFinding extends Finding {
  reviewer: string;
  evidence?: string;
  agreed?: string[];
  refuted?: string;
}

export interface ReviewReply {
  approve: boolean;
  summary: string;
  findings: ReviewFinding[] | null;
  usage: Usage;
}

export interface VoteReply {
  verdict?: Verdict;
  ranking?: string[];
  reasons: string[] | null;
  evidence?: string[];
  usage: Usage;
}

export interface Check {
  name: string;
  command: string;
  passed: boolean;
  skipped?: string;
  output?: string;
  tests?: number;
  failed?: number;
  ms: number;
  baseline?: boolean;
}

export interface Evidence {
  tree: string;
  hash: string;
  checks: Check[] | null;
  findings: Finding[] | null;
  new?: string[];
  gone?: string[];
  unchecked?: string[];
  languages?: Record<string, number>;
  licences?: Licence[];
}

export interface Licence {
  module: string;
  version?: string;
  licences: string[] | null;
  verdict: LicenceVerdict;
}

export type LicenceVerdict = 'own' | 'allowed' | 'unlisted' | 'denied' | 'unknown';

export interface Caller {
  tenant: string;
  human: string;
  agent?: string;
  service?: string;
  permissions: Permission[] | null;
}

export interface Approve {
  idempotency_key?: string;
  id: string;
  decision: Verdict;
  option?: string;
  reason?: string;
}

export interface TrustScore {
  agent: string;
  category?: string;
  brain?: string;
  confirmed: number;
  refuted: number;
  trust: number | null;
  weight: number;
}

export interface KeyMetric {
  name: string;
  title: string;
  value: number | null;
  unit: 'ratio' | 'score' | 'seconds';
  target: number;
  below: boolean;
  met: boolean | null;
  sample: number;
  definition: string;
}

export interface QueueLoad {
  queue: string;
  depth: number;
  oldest_seconds: number | null;
}

export interface RoleLoad {
  role: string;
  agents: number;
  active: number;
  capacity: number;
  utilization: number | null;
  busy_seconds: number;
  tasks: number;
}

export interface AgentLoad {
  agent: string;
  role: string;
  state: string;
  active: number;
  capacity: number;
  utilization: number | null;
  busy_seconds: number;
  tasks: number;
}

export interface LoadStats {
  hours: number;
  active: number;
  capacity: number;
  utilization: number | null;
  agents: AgentLoad[] | null;
  roles: RoleLoad[] | null;
  queues: QueueLoad[] | null;
}

export interface SubjectStat {
  subject: string;
  decided: number;
  approved: number;
  rejected: number;
  chosen: number;
  achieved: number | null;
}

export interface ThresholdStat {
  threshold: number;
  good: number;
  bad: number;
  wrong: number;
}

export interface ConsensusStats {
  hours: number;
  motions: number;
  open: number;
  waiting: number;
  by_vote: number;
  by_senior: number;
  by_human: number;
  achieved: number | null;
  escalated: number | null;
  unanimous: number | null;
  rounds: number | null;
  seconds: number | null;
  subjects: SubjectStat[] | null;
  shown_good: number;
  shown_bad: number;
  tried: ThresholdStat[] | null;
}
