import { describe, expect, it } from 'vitest';
import { roleOf, threads } from './thread';
import type { Message } from './types';

let next = 0;
function said(task: string, from: string, to: string, text: string, kind?: string): Message {
  next++;
  return { id: `m${next}`, task, conversation: 'c', from, to, text, sent: '2026-05-01T10:00:00Z', ...(kind ? { kind } : {}) };
}

describe('threads', () => {
  it('puts replies under what they answer, whenever they come', () => {
    const all = threads([said('a', 'w', 'dev', 'build a'), said('b', 'w', 'dev', 'build b'), said('b', 'dev-2', 'w', 'b is done'), said('a', 'dev-1', 'w', 'a is done')]);
    expect(all.map((t) => [t.text, t.replies.map((r) => r.text)])).toEqual([
      ['build a', ['a is done']],
      ['build b', ['b is done']],
    ]);
  });
  it('shows one question to many as one thread, and who has not answered', () => {
    const all = threads([said('a', 'council', 'roles/qa', 'vote', 'vote'), said('b', 'council', 'roles/security', 'vote', 'vote'), said('a', 'qa-1', 'council', 'yes', 'vote')]);
    expect(all).toHaveLength(1);
    expect(all[0]?.to).toEqual(['roles/qa', 'roles/security']);
    expect(all[0]?.silent).toEqual(['roles/security']);
  });
  it('keeps a question apart when it is asked again later', () => {
    const all = threads([said('a', 'council', 'roles/qa', 'vote'), said('x', 'w', 'dev', 'build'), said('b', 'council', 'roles/qa', 'vote')]);
    expect(all.map((t) => t.text)).toEqual(['vote', 'build', 'vote']);
  });
  it('takes a message without a task as said to nobody in particular', () => {
    const all = threads([said('', 'ana', 'qa-1', 'hello'), said('', 'qa-1', 'ana', 'hello')]);
    expect(all).toHaveLength(2);
    expect(all[0]?.silent).toEqual([]);
  });
});

describe('roleOf', () => {
  it('asks the registry first, then reads the name', () => {
    const roles = new Map([['sven', 'security']]);
    expect(roleOf('agents/sven', roles)).toBe('security');
    expect(roleOf('code-reviewer-12', roles)).toBe('code-reviewer');
    expect(roleOf('roles/qa', roles)).toBe('qa');
  });
});
