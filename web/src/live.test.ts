import { describe, expect, it } from 'vitest';
import { latestSeq } from './api';
import { reduce, stale, type Live } from './live';
import type { Event } from './types';

describe('the stream', () => {
  const start: Live = { phase: 'connecting', last: 0 };
  it('goes on from the last seq after it was lost', () => {
    let s = reduce(start, { type: 'positioned', seq: 40 });
    s = reduce(s, { type: 'opened' });
    s = reduce(s, { type: 'event', seq: 41 });
    s = reduce(s, { type: 'lost' });
    expect(s).toEqual({ phase: 'lost', last: 41 });
    expect(reduce(s, { type: 'opened' })).toEqual({ phase: 'live', last: 41 });
  });
  it('never goes back', () => {
    expect(reduce({ phase: 'live', last: 41 }, { type: 'event', seq: 7 }).last).toBe(41);
  });
  it('stays signed out when the connection is lost as well', () => {
    const out = reduce(start, { type: 'refused' });
    expect(reduce(out, { type: 'lost' }).phase).toBe('signed-out');
  });
});

describe('stale', () => {
  const event = (kind: string, run?: string): Event => ({ seq: 1, tenant: 'default', at: '2026-05-01T10:00:00Z', kind, actor: 'x', text: '', ...(run ? { run } : {}) });
  it('reads again what an event is about, and no other run', () => {
    expect(stale(event('message.sent', 'r1'))).toContainEqual(['messages', 'r1']);
    expect(stale(event('ballot.cast', 'r1'))).toContainEqual(['motions']);
    expect(stale(event('step.ended', 'r1'))).toContainEqual(['run', 'r1']);
    expect(stale(event('approval.asked', 'r1'))).toContainEqual(['approvals']);
    expect(stale(event('agent.lost'))).toContainEqual(['agents']);
    expect(stale(event('plan.commented', 'r1'))).toContainEqual(['plans']);
    expect(stale(event('merge.done', 'r1'))).not.toContainEqual(['runs']);
  });
  it('keeps the record itself fresh for every kind, known or not', () => {
    expect(stale(event('something.new', 'r1'))).toEqual([
      ['events', ''],
      ['events', 'r1'],
    ]);
  });
});

describe('latestSeq', () => {
  function record(seqs: number[], page = 200) {
    let calls = 0;
    return {
      calls: () => calls,
      after: (seq: number) => {
        calls++;
        const found = seqs.filter((s) => s > seq).slice(0, page);
        return Promise.resolve({ last: found.at(-1), more: found.length === page });
      },
    };
  }
  const upTo = (n: number) => Array.from({ length: n }, (_, i) => i + 1);

  it('finds the newest of any number of events', async () => {
    for (const n of [0, 1, 199, 200, 201, 1199, 1200, 1201, 25_000]) {
      const r = record(upTo(n));
      expect(await latestSeq(r.after)).toBe(n);
      expect(r.calls()).toBeLessThan(25);
    }
  });
  it('finds it over gaps', async () => {
    const seqs = [...upTo(300), ...upTo(300).map((s) => s + 90_000)];
    expect(await latestSeq(record(seqs).after)).toBe(90_300);
  });
  it('needs two looks when it knows where to look', async () => {
    const r = record(upTo(25_000));
    expect(await latestSeq(r.after, 24_950)).toBe(25_000);
    expect(r.calls()).toBe(2);
  });
  it('does not trust a hint from a record that is no more', async () => {
    expect(await latestSeq(record(upTo(12)).after, 5_000)).toBe(12);
    expect(await latestSeq(record([]).after, 5_000)).toBe(0);
  });
});
