import { describe, expect, it } from 'vitest';
import { boxTitle, layout, nodeHeight, nodeWidth, sequence, stages, together } from './graph';
import type { Step, StepState } from './types';

function step(key: string, state: StepState, after: string[] | null = null): Step {
  const kind = key.split(':')[0] ?? key;
  return { id: key, run: 'r', kind, key, title: key, state, depends_on: after, epoch: 1, attempt: 1, started: null, ended: null };
}
const steps = [
  step('merge:a', 'blocked', ['verify:a']),
  step('intake', 'done'),
  step('build:a', 'done', ['vote']),
  step('build:b', 'running', ['vote']),
  step('vote', 'done', ['intake']),
  step('verify:a', 'waiting', ['build:a', 'no-such-step']),
];

describe('stages', () => {
  it('are in the order of a run, with how many steps are done', () => {
    expect(stages(steps)).toEqual([
      { name: 'Intake', state: 'done', done: 1, total: 1 },
      { name: 'Plan', state: 'done', done: 1, total: 1 },
      { name: 'Build', state: 'running', done: 1, total: 2 },
      { name: 'Verify', state: 'waiting', done: 0, total: 1 },
      { name: 'Merge', state: 'blocked', done: 0, total: 1 },
    ]);
  });
  it('count a vote to what it judges', () => {
    const votes = [step('build:a', 'done'), step('vote:a', 'done', ['build:a']), step('draft', 'done'), step('vote:plan', 'done', ['draft'])];
    expect(stages(votes).map((s) => [s.name, s.total])).toEqual([
      ['Plan', 2],
      ['Build', 1],
      ['Verify', 1],
    ]);
  });
  it('keep a kind of step that is new here', () => {
    expect(stages([step('sweep', 'ready')]).map((s) => s.name)).toEqual(['Sweep']);
  });
  it('are done only when every step is', () => {
    expect(together([step('a', 'done'), step('b', 'cancelled')])).not.toBe('done');
    expect(together([step('a', 'done'), step('b', 'failed')])).toBe('failed');
    expect(together([])).toBe('blocked');
  });
});

describe('layout', () => {
  const placed = layout(steps);
  const at = (key: string) => placed.nodes.find((n) => n.step.key === key) ?? { x: NaN, y: NaN };
  it('puts each step below what it depends on', () => {
    for (const { from, to } of placed.edges) expect(at(to.key).y).toBeGreaterThanOrEqual(at(from.key).y + nodeHeight);
    expect(placed.edges).toHaveLength(5);
  });
  it('draws no line that another path says already', () => {
    const all = [step('a', 'done'), step('b', 'done', ['a']), step('c', 'done', ['a', 'b']), step('d', 'done', ['a', 'c', 'b'])];
    expect(layout(all).edges.map(({ from, to }) => from.key + to.key)).toEqual(['ab', 'bc', 'cd']);
  });
  it('lets no two steps overlap', () => {
    placed.nodes.forEach((a, i) =>
      placed.nodes.slice(i + 1).forEach((b) => {
        expect(Math.abs(a.x - b.x) >= nodeWidth || Math.abs(a.y - b.y) >= nodeHeight).toBe(true);
      }),
    );
  });
  it('has no size without steps', () => {
    expect(layout([])).toEqual({ nodes: [], edges: [], width: 0, height: 0 });
  });
});

describe('sequence', () => {
  it('lists each step after what it depends on, each once', () => {
    const keys = sequence(steps).map((s) => s.key);
    expect(keys).toHaveLength(steps.length);
    for (const s of steps) for (const k of s.depends_on ?? []) if (keys.includes(k)) expect(keys.indexOf(k)).toBeLessThan(keys.indexOf(s.key));
  });
  it('ends on a cycle, which no plan has', () => {
    expect(sequence([step('a', 'blocked', ['b']), step('b', 'blocked', ['a'])])).toHaveLength(2);
  });
});

describe('the title in a box', () => {
  it('leaves out the verb that the kind says, and no other word', () => {
    const titled = (kind: string, title: string) => boxTitle({ ...step(kind, 'done'), title });
    expect(titled('build', 'Build Durable storage')).toBe('Durable storage');
    expect(titled('land', 'Merge into your branch')).toBe('Merge into your branch');
    expect(titled('comment', 'Comment as qa')).toBe('Comment as qa');
    expect(titled('merge', 'Merge')).toBe('Merge');
  });
});
