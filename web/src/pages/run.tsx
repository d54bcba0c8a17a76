import { Tabs } from '@mantine/core';
import { useDocumentTitle, useMediaQuery } from '@mantine/hooks';
import { IconAlertTriangle, IconArrowLeft, IconCloudOff, IconFileText, IconFolder, IconGitBranch, IconUser } from '@tabler/icons-react';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { lazy, Suspense, useMemo, useState } from 'react';
import { Link, useLocation } from 'wouter';
import { get, list, messages as readMessages } from '../api';
import { collect } from '../evidence';
import { base, compact, count, dollars, hash, plural } from '../format';
import { ApprovalCard } from '../parts/approval';
import { Copy, Empty, Failure, Mono, Panel, Waiting } from '../parts/panel';
import { State } from '../parts/state';
import { Ago, Duration } from '../parts/time';
import { useStrip } from '../parts/strip';
import { Conversation } from '../run/conversation';
import { EvidenceView } from '../run/evidence';
import { MotionCard } from '../run/motion';
import { PlanView } from '../run/plan';
import { Stages } from '../run/stages';
import { StepDrawer, StepList } from '../run/steps';
import type { Message, MotionStatus, Run, RunDetail, Step } from '../types';
import { EventList } from './events';

const Graph = lazy(() => import('../run/graph').then((m) => ({ default: m.Graph })));

export function RunPage({ id, tab }: { id: string; tab: string | undefined }) {
  const cache = useQueryClient();
  const [, go] = useLocation();
  const wide = useMediaQuery('(min-width: 70em)', undefined, { getInitialValueInEffect: false });
  const [step, open] = useState<Step>();
  const detail = useQuery({ queryKey: ['run', id], queryFn: () => get<RunDetail>(`/runs/${encodeURIComponent(id)}`) });
  const said = useQuery({ queryKey: ['messages', id], queryFn: () => readMessages(id, cache.getQueryData<Message[]>(['messages', id]) ?? []) });
  const votes = useQuery({ queryKey: ['motions', id], queryFn: () => list<MotionStatus>('/motions', { run: id, limit: 500 }) });

  useDocumentTitle(detail.data ? `${detail.data.run.task} · Conclave` : 'Conclave');
  const strip = useStrip(detail.data && (tab ?? ''), '[data-active]');
  const steps = useMemo(() => detail.data?.steps ?? [], [detail.data]);
  const messages = useMemo(() => said.data ?? [], [said.data]);
  const motions = useMemo(() => votes.data ?? [], [votes.data]);
  const found = useMemo(() => collect(steps, messages, motions), [steps, messages, motions]);

  if (!detail.data) return detail.error ? <Failure error={detail.error} /> : <Waiting />;
  const { run } = detail.data;
  const ended = run.status !== 'running' && run.status !== 'waiting';
  const open_ = (detail.data.approvals ?? []).filter((a) => !a.decision);
  const closed = (detail.data.approvals ?? []).filter((a) => a.decision);
  const shown = tab ?? (wide ? 'live' : 'talk');
  const votingSince = motions
    .filter((m) => m.motion.state === 'open')
    .map((m) => m.motion.created)
    .sort()[0];
  const current = step && (steps.find((s) => s.key === step.key) ?? step);

  const graph = (
    <Suspense fallback={<Waiting />}>
      <Graph steps={steps} open={open} />
    </Suspense>
  );
  const talk = said.data ? <Conversation messages={messages} ended={ended} votingSince={votingSince} scrolls={wide} /> : said.error ? <Failure error={said.error} /> : <Waiting />;
  const ballots = !votes.data ? (
    votes.error ? (
      <Failure error={votes.error} />
    ) : (
      <Waiting />
    )
  ) : motions.length === 0 ? (
    <Empty title={ended ? 'Nothing was put to a vote' : 'No votes yet'}>Agents vote on the plan's hash and on each reviewed tree; ballots appear as the council counts them.</Empty>
  ) : (
    <div className="stack">
      {motions.map((m) => (
        <MotionCard key={m.motion.id} status={m} />
      ))}
    </div>
  );
  const noSteps = <Empty title={ended ? 'The run had no steps' : 'No steps yet'}>Steps appear once intake has looked at the repository.</Empty>;

  return (
    <div className="page page-wide">
      <RunHeader run={run} />
      <Stages steps={steps} />
      {open_.map((a) => (
        <ApprovalCard key={a.id} approval={a} />
      ))}
      <Tabs value={shown} onChange={(value) => go(`/runs/${encodeURIComponent(id)}/${value ?? 'live'}`, { replace: true })} keepMounted={false} className="run-tabs">
        <Tabs.List ref={strip}>
          {wide && <Tabs.Tab value="live">Live</Tabs.Tab>}
          {!wide && <Tabs.Tab value="talk">Talk {messages.length > 0 && <i className="n">{messages.length}</i>}</Tabs.Tab>}
          <Tabs.Tab value="steps">Steps {steps.length > 0 && <i className="n">{steps.length}</i>}</Tabs.Tab>
          {!wide && <Tabs.Tab value="votes">Votes {motions.length > 0 && <i className="n">{motions.length}</i>}</Tabs.Tab>}
          <Tabs.Tab value="plan">Plan {detail.data.plan && <i className="n">v{detail.data.plan.version}</i>}</Tabs.Tab>
          <Tabs.Tab value="evidence">Evidence {found.findings.length > 0 && <i className="n">{found.findings.length}</i>}</Tabs.Tab>
          <Tabs.Tab value="events">Events</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="live">
          <div className="live">
            <Panel title="Steps" className="tall" flush aside={<span className="small dim">{progress(steps)}</span>}>
              {steps.length === 0 ? noSteps : graph}
            </Panel>
            <Panel title="Conversation" className="tall" flush aside={<span className="small dim">{plural(messages.length, 'message')}</span>}>
              {talk}
            </Panel>
            <Panel title="Votes" className="tall scroll" aside={<span className="small dim">{plural(motions.length, 'motion')}</span>}>
              {ballots}
            </Panel>
          </div>
        </Tabs.Panel>
        <Tabs.Panel value="talk">
          <Panel flush>{talk}</Panel>
        </Tabs.Panel>
        <Tabs.Panel value="steps">
          {steps.length === 0 ? (
            noSteps
          ) : (
            <div className="steps-tab">
              <Panel title="Graph" className="graph-panel" flush>
                {graph}
              </Panel>
              <Panel title="In order" flush aside={<span className="small dim">{progress(steps)}</span>}>
                <StepList steps={steps} open={open} />
              </Panel>
            </div>
          )}
        </Tabs.Panel>
        <Tabs.Panel value="votes">{ballots}</Tabs.Panel>
        <Tabs.Panel value="plan">
          <PlanView run={id} decisions={detail.data.decisions ?? []} />
        </Tabs.Panel>
        <Tabs.Panel value="evidence">
          <EvidenceView found={found} />
        </Tabs.Panel>
        <Tabs.Panel value="events">
          <EventList run={id} />
        </Tabs.Panel>
      </Tabs>
      {closed.map((a) => (
        <ApprovalCard key={a.id} approval={a} />
      ))}
      <StepDrawer step={current} close={() => open(undefined)} />
    </div>
  );
}

function progress(steps: Step[]): string {
  if (steps.length === 0) return '';
  return `${steps.filter((s) => s.state === 'done').length} of ${plural(steps.length, 'step')} done`;
}

function RunHeader({ run }: { run: Run }) {
  const reports = (['markdown', 'json', 'sarif'] as const).filter((format) => run.report[format]);
  return (
    <header className="run-header">
      <div className="run-heading">
        <Link href="/" className="back" aria-label="All runs">
          <IconArrowLeft size={18} />
        </Link>
        <h1>{run.task}</h1>
        <State state={run.status} />
      </div>
      <div className="run-facts">
        <div className="chips small dim">
          <span className="with-icon" title={run.repo}>
            <IconFolder size={14} aria-hidden /> {base(run.repo)}
          </span>
          {run.branch && (
            <span className="with-icon">
              <IconGitBranch size={14} aria-hidden /> {run.branch} <Copy text={run.branch} what="branch" />
            </span>
          )}
          {(run.base || run.head) && (
            <span>
              <Mono title={run.base}>{hash(run.base)}</Mono> → <Mono title={run.head}>{hash(run.head)}</Mono>
            </span>
          )}
          <span className="with-icon">
            <IconUser size={14} aria-hidden /> {run.human}
          </span>
          <span>
            started <Ago at={run.created} />
          </span>
          {run.offline && (
            <span className="pill with-icon" title="No model was used">
              <IconCloudOff size={13} aria-hidden /> offline
            </span>
          )}
          {!run.offline && run.brain && <span className="pill">{run.brain}</span>}
          {reports.map((format) => (
            <a key={format} className="with-icon" href={`/reports/${encodeURIComponent(run.id)}/${format}`} target="_blank" rel="noreferrer">
              <IconFileText size={14} aria-hidden /> {format === 'markdown' ? 'Report' : format.toUpperCase()}
            </a>
          ))}
        </div>
        <dl className="figures">
          <div>
            <dt>Time</dt>
            <dd>
              <Duration from={run.created} to={run.ended} />
            </dd>
          </div>
          <div>
            <dt>Model calls</dt>
            <dd>{count(run.usage.model_calls)}</dd>
          </div>
          <div>
            <dt>Tokens in</dt>
            <dd>{compact(run.usage.input_tokens)}</dd>
          </div>
          <div>
            <dt>Tokens out</dt>
            <dd>{compact(run.usage.output_tokens)}</dd>
          </div>
          <div>
            <dt>Cost</dt>
            <dd>{dollars(run.usage.cost_usd)}</dd>
          </div>
        </dl>
      </div>
      {run.reason && run.ended && <p className={`run-outcome run-${run.status}`}>{run.reason}</p>}
      {run.status === 'needs_model' && (
        <p className="small dim">
          To let a model do the rest, see <code>conclave doctor</code>.
        </p>
      )}
      {!!run.warnings?.length && (
        <div className="dissent">
          <strong>
            <IconAlertTriangle size={15} aria-hidden /> {plural(run.warnings.length, 'warning')}
          </strong>
          <ul>
            {run.warnings.map((w) => (
              <li key={w}>{w}</li>
            ))}
          </ul>
        </div>
      )}
    </header>
  );
}
