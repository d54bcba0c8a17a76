import { Button, SegmentedControl } from '@mantine/core';
import { useDocumentTitle } from '@mantine/hooks';
import { useInfiniteQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { Link } from 'wouter';
import { list } from '../api';
import { Command, Empty, Failure, Waiting } from '../parts/panel';
import { MotionCard } from '../run/motion';
import type { MotionStatus } from '../types';

const page = 50;

export function Decisions() {
  useDocumentTitle('Decisions · Conclave');
  const [which, choose] = useState('all');
  const query = useInfiniteQuery({
    queryKey: ['motions'],
    queryFn: ({ pageParam }) => list<MotionStatus>('/motions', { limit: page, before: pageParam }),
    initialPageParam: '',
    getNextPageParam: (last) => (last.length < page ? undefined : last.at(-1)?.motion.id),
  });
  if (!query.data) return query.error ? <Failure error={query.error} /> : <Waiting />;
  const motions = query.data.pages.flat();
  const dissented = motions.filter((m) => (m.decision?.dissent?.length ?? 0) > 0);
  const shown = which === 'dissent' ? dissented : which === 'open' ? motions.filter((m) => !m.decision) : motions;
  return (
    <div className="page page-narrow">
      <h1 className="page-title">Decisions</h1>
      {motions.length === 0 ? (
        <Empty title="Nothing was put to a vote yet">
          <p>A run votes on its plan and on each reviewed tree. To ask the agents something yourself:</p>
          <Command text={'conclave decide "Which store for sessions?" --option sqlite --option redis'} />
        </Empty>
      ) : (
        <>
          <div className="bar">
            <SegmentedControl
              size="xs"
              withItemsBorders={false}
              value={which}
              onChange={choose}
              aria-label="Which decisions"
              data={[
                { value: 'all', label: 'All' },
                { value: 'dissent', label: `With dissent (${dissented.length})` },
                { value: 'open', label: 'Open' },
              ]}
            />
          </div>
          {shown.length === 0 && <p className="dim">None of these.</p>}
          <div className="stack">
            {shown.map((m) => (
              <MotionCard key={m.motion.id} status={m} runLink={m.motion.run && <Link href={`/runs/${encodeURIComponent(m.motion.run)}`}>see the run</Link>} />
            ))}
          </div>
          {query.hasNextPage && (
            <Button variant="default" onClick={() => void query.fetchNextPage()} loading={query.isFetchingNextPage}>
              Older decisions
            </Button>
          )}
        </>
      )}
    </div>
  );
}
