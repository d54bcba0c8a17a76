import { Button } from '@mantine/core';
import { IconArrowDown, IconArrowRight } from '@tabler/icons-react';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react';
import { asReview, asVote } from '../evidence';
import { clock, full, party, plural } from '../format';
import { Empty } from '../parts/panel';
import { State } from '../parts/state';
import { Avatar, Name } from '../parts/who';
import { threads, type Thread } from '../thread';
import type { Message } from '../types';

interface Props {
  messages: Message[];
  ended: boolean;
  votingSince: string | undefined; // when the oldest open vote was called
  scrolls: boolean; // in a frame of its own, rather than with the page
}

export function Conversation({ messages, ended, votingSince, scrolls }: Props) {
  const all = useMemo(() => threads(messages), [messages]);
  const list = useRef<HTMLDivElement>(null);
  const end = useRef<HTMLDivElement>(null);
  const [atEnd, setAtEnd] = useState(true);
  // What was here when the page opened does not announce itself.
  const [opened] = useState(() => messages.length);
  const fresh = useMemo(() => new Set(messages.slice(opened).map((m) => m.id)), [messages, opened]);
  const spoken = all.length > 0;

  useEffect(() => {
    if (!end.current) return;
    const observer = new IntersectionObserver(([entry]) => setAtEnd(entry?.isIntersecting ?? true), { root: scrolls ? list.current : null, rootMargin: '0px 0px 80px' });
    observer.observe(end.current);
    return () => observer.disconnect();
  }, [scrolls, spoken]);
  // A layout effect, so that the end is in view again before the observer looks.
  useLayoutEffect(() => {
    if (scrolls && atEnd) list.current?.scrollTo({ top: list.current.scrollHeight });
  }, [messages, scrolls, atEnd]);

  if (!spoken) {
    return <Empty title="Nobody has spoken">{ended ? 'The run ended before any agent was asked.' : 'What agents say to each other appears here as the hub accepts it.'}</Empty>;
  }
  const pending = (thread: Thread) => !ended && (thread.kind !== 'vote' || (votingSince !== undefined && thread.sent >= votingSince));
  return (
    <div className="conversation">
      <div ref={list} className={scrolls ? 'thread-list scrolls' : 'thread-list'} tabIndex={scrolls ? 0 : undefined} role="log" aria-label="Conversation">
        {all.map((thread) => (
          <ThreadItem key={thread.id} thread={thread} pending={pending(thread)} fresh={fresh} />
        ))}
        <div ref={end} className="thread-end" />
      </div>
      {!atEnd && (
        <Button className={scrolls ? 'to-end' : 'to-end on-page'} size="compact-sm" radius="xl" leftSection={<IconArrowDown size={14} />} onClick={() => end.current?.scrollIntoView({ block: 'end' })}>
          Newest
        </Button>
      )}
    </div>
  );
}

function ThreadItem({ thread, pending, fresh }: { thread: Thread; pending: boolean; fresh: ReadonlySet<string> }) {
  return (
    <article className={`thread${fresh.has(thread.id) ? ' fresh' : ''}`} data-message={thread.id}>
      <Said from={thread.from} to={thread.to} kind={thread.kind} text={thread.text} sent={thread.sent} />
      {(thread.replies.length > 0 || thread.silent.length > 0) && (
        <div className="replies">
          {thread.replies.map((reply) => (
            <div key={reply.id} className={`reply${fresh.has(reply.id) ? ' fresh' : ''}`} data-message={reply.id}>
              <Said from={reply.from} text={reply.text} sent={reply.sent} data={reply.data} />
            </div>
          ))}
          {thread.silent.length > 0 && (
            <p className={pending ? 'silent thinking' : 'silent'}>
              {pending ? 'waiting for ' : 'no reply from '}
              {thread.silent.map(party).join(', ')}
            </p>
          )}
        </div>
      )}
    </article>
  );
}

interface Saying {
  from: string;
  to?: string[];
  kind?: string | undefined;
  text: string;
  sent: string;
  data?: unknown;
}

function Said({ from, to, kind, text, sent, data }: Saying) {
  return (
    <div className="said">
      <Avatar name={from} size={to ? 30 : 24} />
      <div className="said-main">
        <div className="said-head">
          <Name of={from} />
          {to && (
            <>
              <IconArrowRight size={13} className="dim" aria-label="to" />
              <span className="said-to">
                {[...new Set(to)].map((address) => (
                  <Name key={address} of={address} />
                ))}
              </span>
            </>
          )}
          {kind && <span className="kind">{kind}</span>}
          <Judgement data={data} />
          <time className="said-time" dateTime={sent} title={full(sent)}>
            {clock(sent)}
          </time>
        </div>
        <p className="said-text">{text}</p>
      </div>
    </div>
  );
}

/** What the data of a reply says at a glance. */
function Judgement({ data }: { data: unknown }) {
  const vote = asVote(data);
  if (vote?.verdict) return <State state={vote.verdict} />;
  if (vote?.ranking) return <span className="kind">{vote.ranking.join(' › ')}</span>;
  const review = asReview(data);
  if (review) {
    return (
      <>
        <State state={review.approve ? 'approve' : 'reject'} />
        {!!review.findings?.length && <span className="kind">{plural(review.findings.length, 'finding')}</span>}
      </>
    );
  }
  return null;
}
