import { useDocumentTitle } from '@mantine/hooks';
import { useQuery } from '@tanstack/react-query';
import { Command, Empty, Failure, Waiting } from '../parts/panel';
import { State } from '../parts/state';
import { Ago } from '../parts/time';
import { Avatar, useAgents } from '../parts/who';
import { list } from '../api';
import { measured, plural } from '../format';
import { roleColour } from '../theme';
import type { Agent, TrustScore } from '../types';

export function Agents() {
  useDocumentTitle('Agents · Conclave');
  const { data: agents, error } = useAgents(10_000);
  const { data: trust } = useQuery({ queryKey: ['trust'], queryFn: () => list<TrustScore>('/trust', { total: 'true' }), refetchInterval: 10_000 });
  if (!agents) return error ? <Failure error={error} /> : <Waiting />;
  const live = agents.filter((a) => a.state === 'live').length;
  return (
    <div className="page">
      <h1 className="page-title">
        Agents <span className="dim">{plural(live, 'live', 'live')} of {agents.length}</span>
      </h1>
      {agents.length === 0 ? (
        <Empty title="No agents are registered">
          <p>An agent host registers its agents when it starts:</p>
          <Command text="conclave serve agent-pool" />
        </Empty>
      ) : (
        <ul className="agents">
          {agents.map((agent) => (
            <AgentCard key={agent.name} agent={agent} score={trust?.find((t) => t.agent === agent.name)} />
          ))}
        </ul>
      )}
    </div>
  );
}

function AgentCard({ agent, score }: { agent: Agent; score: TrustScore | undefined }) {
  const load = agent.capacity > 0 ? Math.min(1, agent.active / agent.capacity) : 0;
  return (
    <li className={`agent agent-${agent.state}`} style={{ '--hue': roleColour(agent.role) } as React.CSSProperties}>
      <header>
        <Avatar name={agent.name} role={agent.role} size={38} />
        <div>
          <h2>{agent.name}</h2>
          <p className="small dim">
            {agent.role} ·{' '}
            <span data-trust={agent.name} title={score ? `${plural(score.confirmed, 'outcome')} confirmed, ${score.refuted} refuted` : 'Nothing that it did was confirmed or refuted yet'}>
              trust <b>{measured(score?.trust ?? null, 'score')}</b>
            </span>
          </p>
        </div>
        <State state={agent.state} />
      </header>
      <p className="agent-text">{agent.description}</p>
      <div className="load" role="meter" aria-valuenow={agent.active} aria-valuemin={0} aria-valuemax={agent.capacity} aria-label="Load">
        <span style={{ width: `${load * 100}%` }} />
      </div>
      <p className="chips small dim">
        <span>
          {agent.active} of {plural(agent.capacity, 'task')}
        </span>
        <span>{agent.brain}</span>
        <span>
          seen <Ago at={agent.seen} />
        </span>
      </p>
      <p className="skills">
        {(agent.skills ?? []).map((skill) => (
          <span key={skill} className="kind">
            {skill}
          </span>
        ))}
      </p>
    </li>
  );
}
