import { describe, expect, it } from 'vitest';
import { lines, mark } from './plandiff';

describe('mark', () => {
  const diff = { added: ['docs'], removed: null, changed: ['limiter'], reopened: ['docs', 'limiter', 'metrics'] };
  it('tells the nearest reason why a step is open again', () => {
    expect(['docs', 'limiter', 'metrics', 'other'].map((k) => mark(k, diff))).toEqual(['added', 'changed', 'reopened', 'same']);
    expect(mark('docs', undefined)).toBe('same');
  });
});

describe('lines', () => {
  it('keeps the new order, then tells what is gone', () => {
    expect(lines(['a', 'b'], ['b', 'c'])).toEqual([
      { sign: ' ', text: 'b' },
      { sign: '+', text: 'c' },
      { sign: '-', text: 'a' },
    ]);
    expect(lines(null, ['a'])).toEqual([{ sign: '+', text: 'a' }]);
  });
});
