import type { Plan, PlanDiff, PlanStep } from './types';

export type Mark = 'added' | 'changed' | 'reopened' | 'same';

export function mark(key: string, diff: PlanDiff | undefined): Mark {
  if (diff?.added?.includes(key)) return 'added';
  if (diff?.changed?.includes(key)) return 'changed';
  if (diff?.reopened?.includes(key)) return 'reopened';
  return 'same';
}

export interface Line {
  sign: '+' | '-' | ' ';
  text: string;
}

/** A list as it is now, with what was taken out of it. */
export function lines(before: readonly string[] | null | undefined, after: readonly string[] | null | undefined): Line[] {
  const old = before ?? [];
  const now = after ?? [];
  return [
    ...now.map((text): Line => ({ sign: old.includes(text) ? ' ' : '+', text })),
    ...old.filter((text) => !now.includes(text)).map((text): Line => ({ sign: '-', text })),
  ];
}

export function stepOf(plan: Plan | undefined, key: string): PlanStep | undefined {
  return plan?.steps?.find((s) => s.key === key);
}
