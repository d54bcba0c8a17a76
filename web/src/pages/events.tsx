import { Button, TextInput } from '@mantine/core';
import { IconSearch } from '@tabler/icons-react';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { Link } from 'wouter';
import { eventsAfter } from '../api';
import { full, moment, party, plural } from '../format';
import { Empty, Failure, Waiting } from '../parts/panel';
import type { Event } from '../types';

const span = 200;

/** The record of everything, newest first, from a little before the newest event when the page opened. */
export function Events({ last }: { last: number }) {
  const cache = useQueryClient();
  const [anchor, setAnchor] = useState(last);
  if (anchor === 0 && last > 0) setAnchor(last);
  const [back, further] = useState(1);
  const after = Math.max(0, anchor - back * span);
  const key = ['events', '', after];
  const query = useQuery({ queryKey: key, queryFn: () => eventsAfter(after, cache.getQueryData<Event[]>(key) ?? []), placeholderData: (old) => old });
  return (
    <>
      <Rows query={query} links />
      {after > 0 && (
        <Button variant="default" onClick={() => further(back + 1)}>
          Older events
        </Button>
      )}
    </>
  );
}

/** The record of one run. */
export function EventList({ run }: { run: string }) {
  const cache = useQueryClient();
  const key = ['events', run];
  const query = useQuery({ queryKey: key, queryFn: () => eventsAfter(0, cache.getQueryData<Event[]>(key) ?? [], run) });
  return <Rows query={query} />;
}

function Rows({ query: { data, error }, links = false }: { query: { data: Event[] | undefined; error: Error | null }; links?: boolean }) {
  const [wanted, want] = useState('');
  if (!data) return error ? <Failure error={error} /> : <Waiting />;
  if (data.length === 0) return <Empty title="Nothing has happened yet">Every change leaves its event here, and none is ever altered.</Empty>;
  const word = wanted.trim().toLowerCase();
  const shown = word ? data.filter((e) => `${e.kind} ${e.actor} ${e.text} ${e.run ?? ''}`.toLowerCase().includes(word)) : data;
  return (
    <>
      <div className="bar">
        <TextInput size="sm" placeholder="Filter: kind, actor, text" aria-label="Filter events" leftSection={<IconSearch size={15} />} value={wanted} onChange={(e) => want(e.currentTarget.value)} />
        <span className="small dim">{word ? `${shown.length} of ${plural(data.length, 'event')}` : plural(data.length, 'event')}</span>
      </div>
      <ol className="events" reversed>
        {shown.toReversed().map((e) => (
          <li key={e.seq} value={e.seq}>
            <span className="event-seq">{e.seq}</span>
            <time dateTime={e.at} title={full(e.at)}>
              {moment(e.at)}
            </time>
            <span className={`event-kind noun-${e.kind.split('.')[0]}`}>{e.kind}</span>
            <span className="event-actor">{party(e.actor)}</span>
            <span className="event-text">
              {e.text}
              {links && e.run && (
                <>
                  {' '}
                  <Link href={`/runs/${encodeURIComponent(e.run)}`} className="small">
                    {e.run}
                  </Link>
                </>
              )}
            </span>
          </li>
        ))}
      </ol>
    </>
  );
}
