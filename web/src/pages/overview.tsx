import { useDocumentTitle } from '@mantine/hooks';
import { IconCircleCheckFilled, IconCircleDashed, IconCircleXFilled } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { get, list } from '../api';
import { count, measured, percent, plural, target, time } from '../format';
import { Failure, Panel, Waiting } from '../parts/panel';
import { Avatar } from '../parts/who';
import { roleColour } from '../theme';
import type { ConsensusStats, KeyMetric, LoadStats } from '../types';

// Figures are no events: whoever shows them asks again from time to time.
const every = 10_000;

export function Overview() {
  useDocumentTitle('Overview · Conclave');
  const metrics = useQuery({ queryKey: ['insights', 'metrics'], queryFn: () => list<KeyMetric>('/insights/metrics'), refetchInterval: every });
  const load = useQuery({ queryKey: ['insights', 'load'], queryFn: () => get<LoadStats>('/insights/load'), refetchInterval: every });
  const votes = useQuery({ queryKey: ['insights', 'consensus'], queryFn: () => get<ConsensusStats>('/insights/consensus'), refetchInterval: every });
  const error = metrics.error ?? load.error ?? votes.error;
  if (!metrics.data || !load.data || !votes.data) return error ? <Failure error={error} /> : <Waiting />;
  return (
    <div className="page">
      <h1 className="page-title">
        Overview <span className="dim">last 24 hours</span>
      </h1>
      <ul className="metrics">
        {metrics.data.map((m) => (
          <MetricCard key={m.name} metric={m} />
        ))}
      </ul>
      <div className="overview-panels">
        <Panel title="Load by role" aside={`${count(load.data.active)} of ${plural(load.data.capacity, 'task')} in hand`} flush>
          <Roles load={load.data} />
        </Panel>
        <div className="overview-side">
          <Panel title="Votes" aside={plural(votes.data.motions, 'vote')} flush>
            <Votes stats={votes.data} />
          </Panel>
          <Panel title="Waiting work" flush>
            <dl className="tally">
              {(load.data.queues ?? []).map((q) => (
                <Fact key={q.queue} name={queues[q.queue] ?? q.queue} value={count(q.depth)} more={q.oldest_seconds === null ? '' : `oldest ${time(q.oldest_seconds)}`} />
              ))}
            </dl>
          </Panel>
        </div>
      </div>
    </div>
  );
}

const queues: Record<string, string> = { step: 'Steps of runs', motion: 'Votes', delivery: 'Messages to agents' };

function MetricCard({ metric: m }: { metric: KeyMetric }) {
  const tone = m.met === null ? 'idle' : m.met ? 'done' : 'failed';
  const Glyph = m.met === null ? IconCircleDashed : m.met ? IconCircleCheckFilled : IconCircleXFilled;
  const full = m.unit === 'seconds' ? 2 * m.target : 1;
  return (
    <li className="metric" data-metric={m.name} data-met={String(m.met)} title={m.definition}>
      <h2>{m.title}</h2>
      <p className="metric-value">{measured(m.value, m.unit)}</p>
      <div className="metric-bar" aria-hidden>
        {m.value !== null && <span className={`tone-${tone}`} style={{ width: `${Math.min(1, m.value / full) * 100}%` }} />}
        <i style={{ left: `${(m.target / full) * 100}%` }} />
      </div>
      <p className="metric-target small">
        <Glyph size={14} className={`tone-${tone}`} aria-hidden />
        <span className="dim">
          target {target(m)}
          {m.met === null ? ', not measured yet' : m.met ? ', met' : ', missed'}
        </span>
      </p>
    </li>
  );
}

function Roles({ load }: { load: LoadStats }) {
  return (
    <table className="roles">
      <thead>
        <tr>
          <th scope="col">Role</th>
          <th scope="col">Load</th>
          <th scope="col" className="num">
            In hand
          </th>
          <th scope="col" className="num">
            Answered
          </th>
          <th scope="col" className="num">
            Busy
          </th>
        </tr>
      </thead>
      <tbody>
        {(load.roles ?? []).map((r) => (
          <tr key={r.role} style={{ '--hue': roleColour(r.role) } as React.CSSProperties}>
            <th scope="row">
              <Avatar name={r.role} role={r.role} size={24} /> {r.role}
            </th>
            <td>
              <div className="load" role="meter" aria-valuenow={r.active} aria-valuemin={0} aria-valuemax={r.capacity} aria-label={`Load of ${r.role}`}>
                <span style={{ width: `${(r.utilization ?? 0) * 100}%` }} />
              </div>
            </td>
            <td className="num">
              {r.capacity > 0 ? `${count(r.active)}/${count(r.capacity)}` : '–'}
            </td>
            <td className="num">{count(r.tasks)}</td>
            <td className="num">{time(r.tasks === 0 ? null : r.busy_seconds)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Votes({ stats: s }: { stats: ConsensusStats }) {
  return (
    <dl className="tally">
      <Fact name="Decided by vote" value={count(s.by_vote)} more={s.rounds === null ? '' : `${s.rounds.toFixed(1)} rounds, ${time(s.seconds)} on average`} />
      <Fact name="Decided by a senior or a human" value={count(s.by_senior + s.by_human)} />
      <Fact name="Waiting for a human" value={count(s.waiting)} />
      <Fact name="Open" value={count(s.open)} />
      <Fact name="Unanimous" value={percent(s.unanimous)} />
    </dl>
  );
}

function Fact({ name, value, more }: { name: string; value: string; more?: string }) {
  return (
    <div>
      <dt>
        {name} {more && <span className="faint small">{more}</span>}
      </dt>
      <dd>{value}</dd>
    </div>
  );
}
