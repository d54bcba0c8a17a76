import dagre from '@dagrejs/dagre';
import type { Step, StepState } from './types';

/** The stages of a run, as design §5 names them, and the kinds of step in each. */
const stageOf: Record<string, string> = {
  intake: 'Intake',
  draft: 'Plan',
  comment: 'Plan',
  revise: 'Plan',
  design: 'Design',
  build: 'Build',
  verify: 'Verify',
  audit: 'Verify',
  merge: 'Merge',
  deliver: 'Deliver',
  land: 'Deliver',
};
const order = ['Intake', 'Plan', 'Design', 'Build', 'Verify', 'Merge', 'Deliver'];

export interface Stage {
  name: string;
  state: StepState;
  done: number;
  total: number;
}

export function stages(steps: readonly Step[]): Stage[] {
  const groups = new Map<string, Step[]>();
  const byKey = new Map(steps.map((s) => [s.key, s]));
  for (const step of steps) {
    const name = stage(step, byKey);
    groups.set(name, [...(groups.get(name) ?? []), step]);
  }
  const names = [...order.filter((n) => groups.has(n)), ...[...groups.keys()].filter((n) => !order.includes(n))];
  return names.map((name) => {
    const members = groups.get(name) ?? [];
    return { name, state: together(members), done: members.filter((s) => s.state === 'done').length, total: members.length };
  });
}

/** A step's stage. A vote belongs to what it judges: a plan, or work that was built. */
function stage(step: Step, byKey: ReadonlyMap<string, Step>): string {
  if (step.kind === 'vote') {
    const judged = (step.depends_on ?? []).map((key) => stageOf[byKey.get(key)?.kind ?? '']);
    return judged.includes('Build') || judged.includes('Verify') ? 'Verify' : 'Plan';
  }
  return stageOf[step.kind] ?? titled(step.kind);
}

function titled(kind: string): string {
  return kind.charAt(0).toUpperCase() + kind.slice(1);
}

/** The state of several steps: what most needs to be seen. */
export function together(steps: readonly Step[]): StepState {
  const has = (state: StepState) => steps.some((s) => s.state === state);
  if (has('waiting')) return 'waiting';
  if (has('running')) return 'running';
  if (has('failed')) return 'failed';
  if (steps.length > 0 && steps.every((s) => s.state === 'done')) return 'done';
  if (has('ready') || has('done')) return 'ready';
  if (has('cancelled')) return 'cancelled';
  return 'blocked';
}

/** A step's title in its narrow box, without the verb that its kind below says too. */
export function boxTitle(step: Step): string {
  const [verb = '', ...rest] = step.title.split(' ');
  const repeated = ['build', 'verify', 'merge'].includes(step.kind) && verb.toLowerCase() === step.kind;
  return repeated && rest.length > 0 ? rest.join(' ') : step.title;
}

export const nodeWidth = 168;
export const nodeHeight = 44;

export interface Placed {
  step: Step;
  x: number;
  y: number;
}

export interface Layout {
  nodes: Placed[];
  edges: { from: Step; to: Step }[];
  width: number;
  height: number;
}

/**
 * What a step depends on, without what another of its dependencies waits for
 * already: the transitive reduction, which says the same with fewer lines.
 */
function direct(step: Step, byKey: ReadonlyMap<string, Step>): Step[] {
  const before = (step.depends_on ?? []).flatMap((key) => byKey.get(key) ?? []);
  const implied = new Set<string>();
  const visit = (s: Step) => {
    for (const key of s.depends_on ?? []) {
      if (implied.has(key)) continue;
      implied.add(key);
      const next = byKey.get(key);
      if (next) visit(next);
    }
  };
  before.forEach(visit);
  return before.filter((s) => !implied.has(s.key));
}

/** Places steps from top to bottom, each below what it depends on. */
export function layout(steps: readonly Step[]): Layout {
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ rankdir: 'TB', nodesep: 14, ranksep: 26, marginx: 2, marginy: 2 });
  graph.setDefaultEdgeLabel(() => ({}));
  const byKey = new Map(steps.map((s) => [s.key, s]));
  for (const step of steps) graph.setNode(step.key, { width: nodeWidth, height: nodeHeight });
  const edges: Layout['edges'] = [];
  for (const step of steps) {
    for (const from of direct(step, byKey)) {
      graph.setEdge(from.key, step.key);
      edges.push({ from, to: step });
    }
  }
  dagre.layout(graph);
  const nodes = steps.map((step) => {
    const at = graph.node(step.key) as { x: number; y: number };
    return { step, x: at.x - nodeWidth / 2, y: at.y - nodeHeight / 2 };
  });
  return {
    nodes,
    edges,
    width: Math.max(0, ...nodes.map((n) => n.x + nodeWidth)),
    height: Math.max(0, ...nodes.map((n) => n.y + nodeHeight)),
  };
}

/** Steps in an order in which each comes after what it depends on. */
export function sequence(steps: readonly Step[]): Step[] {
  const byKey = new Map(steps.map((s) => [s.key, s]));
  const out: Step[] = [];
  const seen = new Set<string>();
  const visit = (step: Step) => {
    if (seen.has(step.key)) return;
    seen.add(step.key);
    for (const key of step.depends_on ?? []) {
      const before = byKey.get(key);
      if (before) visit(before);
    }
    out.push(step);
  };
  steps.forEach(visit);
  return out;
}
