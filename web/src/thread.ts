import { party } from './format';
import type { Message } from './types';

/** One thing said to one or more parties at once, with what each answered. */
export interface Thread {
  id: string;
  from: string;
  to: string[];
  kind: string | undefined;
  text: string;
  sent: string;
  data: unknown;
  replies: Message[];
  silent: string[]; // asked, and not answered yet
}

/**
 * Groups messages by task: the first message of a task asks, the others answer.
 * Requests with the same words in a row, as when a vote is called, are one thread.
 */
export function threads(messages: readonly Message[]): Thread[] {
  const all: Thread[] = [];
  const byTask = new Map<string, Thread>();
  const asked = new Map<Thread, Map<string, string>>(); // task → who was asked
  for (const message of messages) {
    const known = message.task ? byTask.get(message.task) : undefined;
    if (known) {
      known.replies.push(message);
      asked.get(known)?.delete(message.task);
      continue;
    }
    let thread = all.at(-1);
    if (!thread || !thread.to.length || !sameWords(thread, message)) {
      thread = { id: message.id, from: message.from, to: [], kind: message.kind, text: message.text, sent: message.sent, data: message.data, replies: [], silent: [] };
      all.push(thread);
      asked.set(thread, new Map());
    }
    thread.to.push(message.to);
    if (message.task) {
      byTask.set(message.task, thread);
      asked.get(thread)?.set(message.task, message.to);
    }
  }
  for (const thread of all) thread.silent = [...(asked.get(thread)?.values() ?? [])];
  return all;
}

function sameWords(thread: Thread, message: Message): boolean {
  return thread.from === message.from && thread.kind === message.kind && thread.text === message.text;
}

/** The role that a party's name shows: "qa-2" and "roles/qa" are qa. */
export function roleOf(name: string, roles: ReadonlyMap<string, string>): string {
  const bare = party(name);
  return roles.get(bare) ?? bare.replace(/-\d+$/, '');
}
