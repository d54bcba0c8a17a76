import { describe, expect, it } from 'vitest';
import { asReview, asVote, blocks, collect, failed } from './evidence';
import type { Evidence, Finding, Message, MotionStatus, ReviewFinding, Step } from './types';

const finding: Finding = { tool: 'gosec', rule: 'G115', level: 'error', category: 'security', path: 'a.go', line: 3, message: 'overflow', fingerprint: 'f1' };
const review: ReviewFinding = { ...finding, reviewer: 'qa-1' };
const evidence: Evidence = { tree: 't', hash: 'h', checks: [], findings: [finding] };
const message = (data: unknown) => ({ data }) as Message;
const step = (output: unknown) => ({ output, title: 'Verify a' }) as Step;

describe('blocks', () => {
  it('takes evidence or a refuter’s agreement, and no refutation', () => {
    expect(blocks(review)).toBe(false);
    expect(blocks({ ...review, evidence: 'G115' })).toBe(true);
    expect(blocks({ ...review, agreed: ['security-1'] })).toBe(true);
    expect(blocks({ ...review, evidence: 'G115', refuted: 'cannot happen' })).toBe(false);
    expect(blocks({ ...review, evidence: 'G115', level: 'warning' })).toBe(false);
  });
});

describe('failed', () => {
  it('is neither what was skipped nor what failed before', () => {
    const check = { name: 'test', command: 'go test', passed: false, ms: 1 };
    expect(failed(check)).toBe(true);
    expect(failed({ ...check, skipped: 'no Docker' })).toBe(false);
    expect(failed({ ...check, baseline: true })).toBe(false);
  });
});

describe('collect', () => {
  it('finds evidence wherever it travels, each once', () => {
    const motion = { motion: { material: { evidence } } } as MotionStatus;
    const found = collect([step(evidence), step({ evidence }), step(null), step('text')], [message({ evidence })], [motion]);
    expect(found.evidence).toEqual([{ evidence, of: 'Verify a' }]);
    expect(found.findings).toEqual([finding]);
  });
  it('prefers what a reviewer says of a finding', () => {
    const found = collect([step(evidence)], [message({ approve: false, summary: '', findings: [{ ...review, evidence: 'G115' }] })], []);
    expect(found.findings).toEqual([{ ...review, evidence: 'G115' }]);
    expect(collect([], [message({ findings: [review] }), message({ evidence })], []).findings).toEqual([review]);
  });
  it('puts what blocks first', () => {
    const note: Finding = { ...finding, level: 'note', fingerprint: 'f2' };
    const found = collect([step({ findings: [note, finding, { ...review, fingerprint: 'f3', evidence: 'x' }] })], [], []);
    expect(found.findings.map((f) => f.fingerprint)).toEqual(['f3', 'f1', 'f2']);
  });
  it('takes a list that Go left nil', () => {
    expect(collect([step({ ...evidence, findings: null, checks: null })], [], []).findings).toEqual([]);
  });
});

describe('what a reply says', () => {
  it('is known by its fields', () => {
    expect(asVote({ verdict: 'approve', reasons: null })?.verdict).toBe('approve');
    expect(asVote({ ranking: ['a'], reasons: [] })?.ranking).toEqual(['a']);
    expect(asVote({ reasons: [] })).toBeUndefined();
    expect(asReview({ approve: true, summary: '', findings: null })?.approve).toBe(true);
    expect(asReview('approve')).toBeUndefined();
  });
});
