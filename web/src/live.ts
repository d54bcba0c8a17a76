// The page's one event stream. An event carries no state: it tells which
// figures are stale, and those are read again.
import type { QueryKey } from '@tanstack/react-query';
import { ApiError, eventsLook, latestSeq } from './api';
import type { Event } from './types';

export type Phase = 'connecting' | 'live' | 'lost' | 'signed-out';

export interface Live {
  phase: Phase;
  last: number; // seq of the newest event seen
}

export type Signal = { type: 'opened' } | { type: 'lost' } | { type: 'refused' } | { type: 'positioned'; seq: number } | { type: 'event'; seq: number };

export function reduce(state: Live, signal: Signal): Live {
  switch (signal.type) {
    case 'opened':
      return { ...state, phase: 'live' };
    case 'lost':
      return state.phase === 'signed-out' ? state : { ...state, phase: 'lost' };
    case 'refused':
      return { ...state, phase: 'signed-out' };
    case 'positioned':
      return { ...state, last: signal.seq };
    case 'event':
      return { phase: 'live', last: Math.max(state.last, signal.seq) };
  }
}

/** Which cached answers an event makes stale. */
export function stale(event: Event): QueryKey[] {
  const run = event.run;
  const keys: QueryKey[] = [['events', '']];
  if (run) keys.push(['events', run]);
  const noun = event.kind.split('.')[0];
  switch (noun) {
    case 'message':
    case 'task':
      if (run) keys.push(['messages', run]);
      keys.push(['agents']);
      break;
    case 'motion':
    case 'ballot':
      keys.push(['motions']);
      if (run) keys.push(['run', run]);
      break;
    case 'plan':
      keys.push(['plans']);
      if (run) keys.push(['run', run]);
      break;
    case 'approval':
      keys.push(['approvals'], ['runs']);
      if (run) keys.push(['run', run]);
      break;
    case 'agent':
      keys.push(['agents']);
      break;
    case 'run':
      keys.push(['runs']);
      if (run) keys.push(['run', run]);
      break;
    case 'model':
      keys.push(['runs']);
      if (run) keys.push(['run', run]);
      break;
    case 'step':
    case 'worktree':
    case 'merge':
      if (run) keys.push(['run', run]);
      break;
  }
  return keys;
}

interface Hooks {
  signal(s: Signal): void;
  refresh(keys: QueryKey[]): void; // stale keys, together
  refreshAll(): void;
  refreshFailed(): void; // what could not be read while the connection was lost
}

const firstRetry = 1_000;
const lastRetry = 15_000;
const remembered = 'conclave.seq'; // where to look for the newest event next time
const gather = 120; // events that come together are answered by one read

/** Follows the stream until the returned function is called. */
export function follow(hooks: Hooks): () => void {
  let source: EventSource | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let flush: ReturnType<typeof setTimeout> | undefined;
  let retry = firstRetry;
  let last = -1;
  let stopped = false;
  const pending = new Map<string, QueryKey>();

  const onEvent = (message: MessageEvent<string>) => {
    const event = JSON.parse(message.data) as Event;
    last = Math.max(last, event.seq);
    hooks.signal({ type: 'event', seq: event.seq });
    for (const key of stale(event)) pending.set(JSON.stringify(key), key);
    flush ??= setTimeout(() => {
      flush = undefined;
      localStorage.setItem(remembered, String(last));
      const keys = [...pending.values()];
      pending.clear();
      hooks.refresh(keys);
    }, gather);
  };

  const again = () => {
    if (stopped) return;
    clearTimeout(timer);
    timer = setTimeout(() => void open(), retry);
    retry = Math.min(retry * 2, lastRetry);
  };

  const open = async () => {
    try {
      if (last < 0) {
        last = await latestSeq(eventsLook, Number(localStorage.getItem(remembered)) || 0);
        localStorage.setItem(remembered, String(last));
        hooks.signal({ type: 'positioned', seq: last });
        hooks.refreshAll();
      } else {
        await eventsLook(last); // tells a lost session from a lost connection
      }
    } catch (error) {
      const refused = error instanceof ApiError && (error.status === 401 || error.status === 403);
      hooks.signal({ type: refused ? 'refused' : 'lost' });
      if (!refused) again();
      return;
    }
    if (stopped) return;
    source = new EventSource(`/api/events/watch?after=${last}`);
    source.onopen = () => {
      retry = firstRetry;
      hooks.signal({ type: 'opened' });
      hooks.refreshFailed();
    };
    source.onmessage = onEvent;
    source.onerror = () => {
      hooks.signal({ type: 'lost' });
      // The browser tries again by itself, with Last-Event-ID, unless it was refused.
      if (source?.readyState === EventSource.CLOSED) again();
    };
  };

  const wake = () => {
    if (source && source.readyState !== EventSource.CLOSED) return;
    retry = firstRetry;
    again();
  };
  window.addEventListener('online', wake);
  void open();
  return () => {
    stopped = true;
    window.removeEventListener('online', wake);
    clearTimeout(timer);
    clearTimeout(flush);
    source?.close();
  };
}
