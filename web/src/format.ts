// How figures are shown. What was not measured is null, and shown as a dash.

export const none = '–';

export function count(n: number | null | undefined): string {
  if (n === null || n === undefined) return none;
  return n.toLocaleString('en-US');
}

export function compact(n: number | null | undefined): string {
  if (n === null || n === undefined) return none;
  if (n < 10_000) return n.toLocaleString('en-US');
  return n.toLocaleString('en-US', { notation: 'compact', maximumFractionDigits: 1 });
}

export function dollars(n: number | null | undefined): string {
  if (n === null || n === undefined) return none;
  const digits = n !== 0 && Math.abs(n) < 0.01 ? 4 : 2;
  return `$${n.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })}`;
}

export function millis(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return none;
  if (ms < 1) return '<1 ms';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 10) return `${s.toFixed(1)} s`;
  return seconds(Math.round(s));
}

function seconds(total: number): string {
  const h = Math.floor(total / 3600);
  const m = Math.floor((total % 3600) / 60);
  const s = total % 60;
  if (h > 0) return `${h} h ${m} min`;
  if (m > 0) return `${m} min ${s} s`;
  return `${s} s`;
}

/** The time from one instant to another, or to now while the other is null. */
export function duration(from: string | null | undefined, to: string | null | undefined, now: number): string {
  if (!from) return none;
  const ms = (to ? Date.parse(to) : now) - Date.parse(from);
  return Number.isFinite(ms) && ms >= 0 ? millis(Math.max(ms, 1)) : none;
}

export function ago(at: string | null | undefined, now: number): string {
  if (!at) return none;
  const s = Math.round((now - Date.parse(at)) / 1000);
  if (!Number.isFinite(s)) return none;
  if (s < 5) return 'just now';
  if (s < 60) return `${s} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ago`;
  return new Date(at).toLocaleDateString('en-GB', { day: 'numeric', month: 'short', year: 'numeric' });
}

export function clock(at: string): string {
  return new Date(at).toLocaleTimeString('en-GB');
}

/** A clock's time, with the day when that is not today. */
export function moment(at: string, today = new Date()): string {
  const then = new Date(at);
  if (then.toDateString() === today.toDateString()) return clock(at);
  return `${then.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' })} ${then.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' })}`;
}

export function full(at: string): string {
  return new Date(at).toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });
}

/** A commit, tree or plan hash, short enough to read. */
export function hash(h: string | null | undefined): string {
  if (!h) return none;
  const bare = h.replace(/^(sha256|git):/, '');
  return bare.slice(0, 8);
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** The last part of a path. */
export function base(path: string): string {
  return path.replace(/\/+$/, '').split('/').pop() || path;
}

/** A party's bare name: "agents/qa-1" and "roles/qa" without their prefix. */
export function party(address: string): string {
  return address.replace(/^(agents|roles)\//, '');
}

export function words(key: string): string {
  return key.replaceAll('_', ' ');
}

/** A share of 0 to 1 in percent. */
export function percent(v: number | null | undefined): string {
  if (v === null || v === undefined) return none;
  return `${(100 * v).toLocaleString('en-US', { maximumFractionDigits: 1 })} %`;
}

/** A time in seconds. */
export function time(s: number | null | undefined): string {
  return s === null || s === undefined ? none : millis(1000 * s);
}

/** A key metric's value by its unit. */
export function measured(v: number | null, unit: 'ratio' | 'score' | 'seconds'): string {
  if (v === null) return none;
  return unit === 'seconds' ? time(v) : unit === 'score' ? v.toFixed(2) : percent(v);
}

/** What a key metric should be. */
export function target(m: { target: number; below: boolean; unit: 'ratio' | 'score' | 'seconds' }): string {
  const value = m.unit === 'seconds' ? `${m.target} s` : m.unit === 'score' ? String(m.target) : percent(m.target);
  return `${m.below ? '<' : '>'} ${value}`;
}
