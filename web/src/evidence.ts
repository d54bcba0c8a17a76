// Evidence and findings travel inside messages, motions and step outputs; this
// collects them, each once.
import type { Check, Evidence, Finding, Message, MotionStatus, ReviewFinding, ReviewReply, Step, VoteReply } from './types';

/** Evidence, and the title of the step that it was measured for, if that is known. */
export interface Measured {
  evidence: Evidence;
  of: string | undefined;
}

export interface Found {
  evidence: Measured[]; // newest last
  findings: (Finding | ReviewFinding)[]; // gravest first
}

type Fields = Record<string, unknown>;

function fields(value: unknown): Fields | undefined {
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? (value as Fields) : undefined;
}

function isEvidence(value: unknown): value is Evidence {
  const f = fields(value);
  return !!f && typeof f.tree === 'string' && typeof f.hash === 'string' && 'checks' in f && 'findings' in f;
}

function isFinding(value: unknown): value is Finding {
  const f = fields(value);
  return !!f && typeof f.tool === 'string' && typeof f.rule === 'string' && typeof f.level === 'string' && typeof f.message === 'string';
}

export function asReview(data: unknown): ReviewReply | undefined {
  const f = fields(data);
  return f && typeof f.approve === 'boolean' && 'findings' in f ? (data as ReviewReply) : undefined;
}

export function asVote(data: unknown): VoteReply | undefined {
  const f = fields(data);
  if (!f || !('reasons' in f)) return undefined;
  return typeof f.verdict === 'string' || Array.isArray(f.ranking) ? (data as VoteReply) : undefined;
}

export function isReviewFinding(f: Finding | ReviewFinding): f is ReviewFinding {
  return 'reviewer' in f;
}

/** Whether a finding stands in the way; the rule of conclave.ReviewFinding.Blocks. */
export function blocks(f: Finding | ReviewFinding): boolean {
  if (!isReviewFinding(f)) return false;
  return !f.refuted && f.level === 'error' && (!!f.evidence || (f.agreed?.length ?? 0) > 0);
}

export function failed(c: Check): boolean {
  return !c.passed && !c.skipped && !c.baseline;
}

const gravity: Record<string, number> = { error: 0, warning: 1, note: 2 };

export function collect(steps: readonly Step[], messages: readonly Message[], motions: readonly MotionStatus[]): Found {
  const evidence = new Map<string, Measured>();
  const findings = new Map<string, Finding | ReviewFinding>();

  const addFinding = (value: unknown) => {
    if (!isFinding(value)) return;
    const key = `${value.tool}/${value.rule}/${value.fingerprint}`;
    const known = findings.get(key);
    // A reviewer's word on a finding says more than the analyser's line.
    if (!known || isReviewFinding(value) || !isReviewFinding(known)) findings.set(key, value);
  };
  const look = (value: unknown, of?: string) => {
    const f = fields(value);
    if (!f) return;
    for (const candidate of [value, f.evidence]) {
      if (!isEvidence(candidate)) continue;
      const title = of ?? evidence.get(candidate.hash)?.of;
      evidence.delete(candidate.hash);
      evidence.set(candidate.hash, { evidence: candidate, of: title });
      candidate.findings?.forEach(addFinding);
    }
    if (Array.isArray(f.findings)) f.findings.forEach(addFinding);
  };

  for (const message of messages) look(message.data);
  for (const { motion } of motions) look(motion.material);
  for (const step of steps) look(step.output, step.title);

  return {
    evidence: [...evidence.values()],
    findings: [...findings.values()].sort(
      (a, b) => Number(blocks(b)) - Number(blocks(a)) || (gravity[a.level] ?? 3) - (gravity[b.level] ?? 3) || a.path.localeCompare(b.path) || a.line - b.line,
    ),
  };
}
