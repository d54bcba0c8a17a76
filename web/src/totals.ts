import type { Run, Usage } from './types';

/** Adds up what was measured; null when nothing was. */
export function total(values: readonly (number | null | undefined)[]): number | null {
  let sum: number | null = null;
  for (const v of values) if (v !== null && v !== undefined) sum = (sum ?? 0) + v;
  return sum;
}

export function usage(runs: readonly Run[]): Usage {
  return {
    model_calls: total(runs.map((r) => r.usage.model_calls)),
    input_tokens: total(runs.map((r) => r.usage.input_tokens)),
    output_tokens: total(runs.map((r) => r.usage.output_tokens)),
    cost_usd: total(runs.map((r) => r.usage.cost_usd)),
  };
}
