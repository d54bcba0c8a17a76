import { describe, expect, it } from 'vitest';
import { ago, base, compact, count, dollars, duration, hash, measured, millis, moment, party, percent, plural, target, time } from './format';

describe('what was not measured', () => {
  it('is a dash, and never zero', () => {
    for (const show of [count, compact, dollars, millis, percent, time]) {
      expect(show(null)).toBe('–');
      expect(show(undefined)).toBe('–');
    }
    expect(duration(null, null, 0)).toBe('–');
    expect(ago(null, 0)).toBe('–');
    expect(hash('')).toBe('–');
  });
  it('differs from a measured zero', () => {
    expect(count(0)).toBe('0');
    expect(compact(0)).toBe('0');
    expect(dollars(0)).toBe('$0.00');
  });
});

describe('figures', () => {
  it('are short enough to read', () => {
    expect(compact(9_999)).toBe('9,999');
    expect(compact(512_904)).toBe('512.9K');
    expect(compact(2_400_000)).toBe('2.4M');
    expect(dollars(2.345)).toBe('$2.35');
    expect(dollars(0.0042)).toBe('$0.0042');
    expect(plural(1, 'run')).toBe('1 run');
    expect(plural(2, 'live', 'live')).toBe('2 live');
  });
  it('show times in the unit that fits', () => {
    expect(millis(0.4)).toBe('<1 ms');
    expect(millis(999)).toBe('999 ms');
    expect(millis(1_840)).toBe('1.8 s');
    expect(millis(59_600)).toBe('1 min 0 s');
    expect(millis(3_725_000)).toBe('1 h 2 min');
  });
  it('show how long, up to now while it lasts', () => {
    const from = '2026-05-01T10:00:00Z';
    expect(duration(from, '2026-05-01T10:01:05Z', 0)).toBe('1 min 5 s');
    expect(duration(from, null, Date.parse('2026-05-01T10:00:07Z'))).toBe('7.0 s');
    expect(duration(from, '2026-05-01T09:00:00Z', 0)).toBe('–');
  });
  it('show how long ago', () => {
    const at = '2026-05-01T10:00:00Z';
    const after = (s: number) => Date.parse(at) + s * 1000;
    expect(ago(at, after(2))).toBe('just now');
    expect(ago(at, after(59))).toBe('59 s ago');
    expect(ago(at, after(3_599))).toBe('59 min ago');
    expect(ago(at, after(86_399))).toBe('23 h ago');
    expect(ago(at, after(86_400 * 3))).toBe('1 May 2026');
  });
  it('show the day of what was not today', () => {
    const noon = new Date(2026, 4, 2, 12);
    expect(moment(new Date(2026, 4, 2, 9, 30, 5).toISOString(), noon)).toBe('09:30:05');
    expect(moment(new Date(2026, 4, 1, 9, 30).toISOString(), noon)).toBe('1 May 09:30');
  });
  it('name things shortly', () => {
    expect(hash('sha256:9138e553aa')).toBe('9138e553');
    expect(hash('git:7d20c4f1ab')).toBe('7d20c4f1');
    expect(base('/home/ana/src/harbor/')).toBe('harbor');
    expect(party('agents/qa-1')).toBe('qa-1');
    expect(party('roles/qa')).toBe('qa');
  });
});

describe('a key metric', () => {
  it('is shown by its unit', () => {
    expect(measured(0.917, 'ratio')).toBe('91.7 %');
    expect(measured(0, 'ratio')).toBe('0 %');
    expect(measured(0.8703, 'score')).toBe('0.87');
    expect(measured(8.42, 'seconds')).toBe('8.4 s');
    expect(measured(null, 'score')).toBe('–');
  });
  it('has a target', () => {
    expect(target({ target: 0.1, below: true, unit: 'ratio' })).toBe('< 10 %');
    expect(target({ target: 0.8, below: false, unit: 'score' })).toBe('> 0.8');
    expect(target({ target: 30, below: true, unit: 'seconds' })).toBe('< 30 s');
  });
});
