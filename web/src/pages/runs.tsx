import { Button, SegmentedControl } from '@mantine/core';
import { useDocumentTitle } from '@mantine/hooks';
import { IconCloudOff, IconGitBranch } from '@tabler/icons-react';
import { useInfiniteQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { Link } from 'wouter';
import { list } from '../api';
import { base, compact, count, dollars, none, plural } from '../format';
import { useApprovals } from '../parts/approval';
import { Command, Empty, Failure, Waiting } from '../parts/panel';
import { State, StateIcon } from '../parts/state';
import { Ago, Duration } from '../parts/time';
import { useAgents } from '../parts/who';
import { total, usage } from '../totals';
import type { Run, Usage } from '../types';

const page = 50;
const ended = (run: Run) => run.status !== 'running' && run.status !== 'waiting';

export function Runs() {
  useDocumentTitle('Runs · Conclave');
  const [which, choose] = useState('all');
  const query = useInfiniteQuery({
    queryKey: ['runs'],
    queryFn: ({ pageParam }) => list<Run>('/runs', { limit: page, before: pageParam }),
    initialPageParam: '',
    getNextPageParam: (last) => (last.length < page ? undefined : last.at(-1)?.id),
  });
  if (!query.data) return query.error ? <Failure error={query.error} /> : <Waiting />;
  const runs = query.data.pages.flat();
  const shown = runs.filter((r) => which === 'all' || (which === 'active') !== ended(r));
  return (
    <div className="page">
      <h1 className="page-title">Runs</h1>
      <Counters runs={runs} more={query.hasNextPage} />
      {runs.length === 0 ? (
        <Empty title="No runs yet">
          <p>Give the agents something to do:</p>
          <Command text={'conclave run "Add a health endpoint" --repo .'} />
        </Empty>
      ) : (
        <>
          <div className="bar">
            <SegmentedControl
              size="xs"
              withItemsBorders={false}
              value={which}
              onChange={choose}
              aria-label="Which runs"
              data={[
                { value: 'all', label: 'All' },
                { value: 'active', label: 'Active' },
                { value: 'ended', label: 'Ended' },
              ]}
            />
          </div>
          {shown.length === 0 && <p className="dim">None of these.</p>}
          <ul className="runs">
            {shown.map((run) => (
              <RunRow key={run.id} run={run} />
            ))}
          </ul>
          {query.hasNextPage && (
            <Button variant="default" onClick={() => void query.fetchNextPage()} loading={query.isFetchingNextPage}>
              Older runs
            </Button>
          )}
        </>
      )}
    </div>
  );
}

function Counters({ runs, more }: { runs: Run[]; more: boolean }) {
  const agents = useAgents();
  const approvals = useApprovals();
  const open = approvals.data?.filter((a) => !a.decision).length;
  const live = agents.data?.filter((a) => a.state === 'live');
  const busy = live?.reduce((n, a) => n + a.active, 0);
  const sum = usage(runs);
  const scope = more ? `of the newest ${runs.length}` : `of ${plural(runs.length, 'run')}`;
  const measured = (of: (u: Usage) => number | null) => {
    const n = runs.filter((r) => of(r.usage) !== null).length;
    return n === 0 ? 'not measured' : `in ${n} ${scope}`;
  };
  const tokens = total([sum.input_tokens, sum.output_tokens]);
  return (
    <dl className="counters">
      <Counter label="Running" value={count(runs.filter((r) => r.status === 'running').length)} hint={scope} />
      <Counter label="Wait for you" value={count(open)} hint={open === 1 ? 'approval' : 'approvals'} tone="waiting" />
      <Counter label="Agents live" value={live ? count(live.length) : none} hint={busy === undefined ? none : `${plural(busy, 'task')} in hand`} />
      <Counter label="Model calls" value={compact(sum.model_calls)} hint={measured((u) => u.model_calls)} />
      <Counter label="Tokens" value={compact(tokens)} hint={tokens === null ? 'not measured' : `${compact(sum.output_tokens)} out`} />
      <Counter label="Cost" value={dollars(sum.cost_usd)} hint={measured((u) => u.cost_usd)} />
    </dl>
  );
}

function Counter({ label, value, hint, tone }: { label: string; value: string; hint: string; tone?: string }) {
  return (
    <div className={tone && value !== '0' && value !== none ? `counter counter-${tone}` : 'counter'}>
      <dt>{label}</dt>
      <dd>{value}</dd>
      <p>{hint}</p>
    </div>
  );
}

function RunRow({ run }: { run: Run }) {
  return (
    <li>
      <Link href={`/runs/${encodeURIComponent(run.id)}`} className={`run-row run-${run.status}`}>
        <StateIcon state={run.status} size={22} />
        <span className="run-main">
          <span className="run-task">{run.task}</span>
          <span className="chips small dim">
            <span>{base(run.repo)}</span>
            <span>{run.workflow}</span>
            {run.branch && (
              <span className="with-icon">
                <IconGitBranch size={13} aria-hidden />
                {run.branch}
              </span>
            )}
            {run.offline ? (
              <span className="with-icon">
                <IconCloudOff size={13} aria-hidden />
                offline
              </span>
            ) : (
              <span>{run.brain}</span>
            )}
            {run.reason && <span className="run-reason">{run.reason}</span>}
          </span>
        </span>
        <State state={run.status} />
        <span className="run-figures">
          <span>
            <Duration from={run.created} to={run.ended} />
          </span>
          <span className="dim small">{dollars(run.usage.cost_usd)}</span>
        </span>
        <span className="run-when dim small">
          <Ago at={run.created} />
        </span>
      </Link>
    </li>
  );
}
