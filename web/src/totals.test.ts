import { expect, it } from 'vitest';
import { total } from './totals';

it('adds up what was measured, and is null when nothing was', () => {
  expect(total([null, 3, undefined, 4])).toBe(7);
  expect(total([null, 0])).toBe(0);
  expect(total([null, null])).toBeNull();
  expect(total([])).toBeNull();
});
