import type { Approval, Approve, Caller, Event, Message } from './types';

/** A refusal by the server: its HTTP status and the text of its problem document (RFC 9457). */
export class ApiError extends Error {
  readonly status: number;
  constructor(status: number, text: string) {
    super(text);
    this.name = 'ApiError';
    this.status = status;
  }
}

type Query = Record<string, string | number | undefined>;

function address(path: string, query: Query = {}): string {
  const params = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value !== undefined && value !== '') params.set(key, String(value));
  }
  const text = params.toString();
  return text ? `${path}?${text}` : path;
}

async function ask<T>(path: string, init: RequestInit = {}): Promise<T> {
  const response = await fetch(path, { credentials: 'same-origin', ...init, headers: { Accept: 'application/json', ...init.headers } });
  if (!response.ok) throw new ApiError(response.status, await problem(response));
  return (await response.json()) as T;
}

async function problem(response: Response): Promise<string> {
  const text = await response.text();
  try {
    const body = JSON.parse(text) as { detail?: string; title?: string };
    return body.detail || body.title || response.statusText;
  } catch {
    return text.trim() || `${response.status} ${response.statusText}`;
  }
}

export function get<T>(path: string, query?: Query): Promise<T> {
  return ask<T>(address(`/api${path}`, query));
}

/** A list; Go's nil slice arrives as null. */
export async function list<T>(path: string, query?: Query): Promise<T[]> {
  return (await get<T[] | null>(path, query)) ?? [];
}

export function session(): Promise<Caller> {
  return ask<Caller>('/session');
}

export async function signOut(): Promise<void> {
  await fetch('/logout', { method: 'POST', credentials: 'same-origin' });
}

export function decide(input: Approve): Promise<Approval> {
  const { id, ...rest } = input;
  return ask<Approval>(`/api/approvals/${encodeURIComponent(id)}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(rest),
  });
}

const page = 500;

/** All messages of a run, given those that are already here. */
export async function messages(run: string, known: Message[]): Promise<Message[]> {
  const all = [...known];
  for (;;) {
    const more = await list<Message>('/messages', { run, limit: page, after: all.at(-1)?.id });
    all.push(...more);
    if (more.length < page) return all;
  }
}

/** All events after a seq, of a run or of all, given those that are already here. */
export async function eventsAfter(after: number, known: Event[], run?: string): Promise<Event[]> {
  const all = [...known];
  for (;;) {
    const more = await list<Event>('/events', { run, limit: page, after: all.at(-1)?.seq ?? after });
    all.push(...more);
    if (more.length < page) return all;
  }
}

/** What is after a seq: the last seq of a page, and whether there may be more. */
export interface Look {
  last: number | undefined;
  more: boolean;
}

/**
 * The newest event's seq, or 0 when there is none. Events are listed from the
 * oldest, so it is found by leaping and then halving. hint is a seq that was the
 * newest once; it may be of a record that is no more.
 */
export async function latestSeq(after: (seq: number) => Promise<Look>, hint = 0): Promise<number> {
  let low = 0; // exists, or is 0
  if (hint > 0) {
    const { last } = await after(hint - 1);
    if (last !== undefined) low = Math.max(hint, last);
  }
  let high = Infinity; // nothing is after high
  let leap = 0;
  while (low < high) {
    const from = high === Infinity ? low + leap : low + Math.floor((high - low) / 2);
    const { last, more } = await after(from);
    if (last === undefined) {
      high = from;
      continue;
    }
    if (!more) return last;
    low = last;
    leap = leap === 0 ? 1000 : leap * 8;
  }
  return low;
}

const lookPage = 200;

export async function eventsLook(seq: number): Promise<Look> {
  const events = await list<Event>('/events', { after: seq, limit: lookPage });
  return { last: events.at(-1)?.seq, more: events.length === lookPage };
}
