import { IconAlertTriangle, IconGavel, IconListNumbers, IconUserOff } from '@tabler/icons-react';
import { hash, party, plural } from '../format';
import { Mono } from '../parts/panel';
import { BallotSigned, DecisionSigned } from '../parts/signed';
import { State } from '../parts/state';
import { Ago } from '../parts/time';
import { Avatar, Name, useAgents } from '../parts/who';
import type { Agent, Ballot, Motion, MotionStatus } from '../types';

export function MotionCard({ status, runLink }: { status: MotionStatus; runLink?: React.ReactNode }) {
  const { motion, decision } = status;
  const { data: agents } = useAgents();
  const ballots = decision?.ballots ?? status.ballots ?? [];
  const last = Math.max(motion.round, ...ballots.map((b) => b.round), 0);
  const dissent = decision?.dissent ?? [];
  const state = decision ? decision.outcome : motion.state;
  return (
    <article className={`motion motion-${motion.state}`} data-motion={motion.id}>
      <header className="motion-head">
        <div className="motion-title">
          <h3>{motion.title}</h3>
          <div className="motion-meta">
            <span>
              {motion.subject.kind} <Mono title={motion.subject.hash}>{hash(motion.subject.hash)}</Mono>
            </span>
            <span>{rule(motion)}</span>
            {last > 1 && <span>round {last}</span>}
            <span>
              <Ago at={decision?.decided ?? motion.created} />
            </span>
            {runLink}
          </div>
        </div>
        <State state={state} label={decision?.outcome === 'chosen' ? `chosen: ${decision.option ?? ''}` : undefined} />
      </header>
      {motion.kind === 'approve' && <Tally motion={motion} ballots={ballots.filter((b) => b.round === last)} absent={decision?.absent ?? []} />}
      {decision?.ranking && decision.ranking.length > 0 && (
        <p className="ranking">
          <IconListNumbers size={16} aria-hidden /> {decision.ranking.join(' › ')}
        </p>
      )}
      {dissent.length > 0 && (
        <div className="dissent" role="note">
          <strong>
            <IconAlertTriangle size={15} aria-hidden /> Dissent
          </strong>
          <ul>
            {dissent.map((words) => (
              <li key={words}>{words}</li>
            ))}
          </ul>
        </div>
      )}
      <ul className="ballots">
        {ballots.map((ballot) => (
          <BallotRow key={`${ballot.voter}/${ballot.round}`} ballot={ballot} motion={motion} showRound={last > 1} voter={agents?.find((a) => a.name === ballot.voter)} />
        ))}
        {(decision?.absent ?? []).map((voter) => (
          <li key={voter} className="ballot absent">
            <IconUserOff size={18} className="dim" aria-hidden />
            <div>
              <strong>{party(voter)}</strong> did not vote; silence counts as neither yes nor no.
            </div>
          </li>
        ))}
      </ul>
      {!decision && ballots.length === 0 && <p className="dim small">No ballot yet. Asked: {(motion.voters ?? []).map(party).join(', ')}.</p>}
      {!decision && motion.ladder && <Ladder rungs={motion.ladder} />}
      {decision && (
        <footer className="verdict">
          <IconGavel size={16} aria-hidden />
          <div>
            <p>{decision.reason}</p>
            {(decision.ladder?.length ?? 0) > 1 && <Ladder rungs={decision.ladder ?? []} />}
            <p className="dim small">
              Decided by {decision.decided_by} · <DecisionSigned decision={decision} />
            </p>
          </div>
        </footer>
      )}
    </article>
  );
}

/** What each round and escalation came to. */
function Ladder({ rungs }: { rungs: string[] }) {
  return (
    <ol className="ladder">
      {rungs.map((rung) => (
        <li key={rung}>{rung}</li>
      ))}
    </ol>
  );
}

function rule(motion: Motion): string {
  const quorum = `quorum ${motion.rule.quorum}`;
  if (motion.rule.name === 'threshold') return `${Math.round(motion.rule.threshold * 100)} % to pass, ${quorum}`;
  return `${motion.rule.name}, ${quorum}`;
}

function Tally({ motion, ballots, absent }: { motion: Motion; ballots: Ballot[]; absent: string[] }) {
  const of = (verdict: string) => ballots.filter((b) => b.verdict === verdict).length;
  const approve = of('approve');
  const reject = of('reject');
  const abstain = of('abstain');
  const open = motion.state === 'open' ? Math.max(0, (motion.voters?.length ?? 0) - ballots.length) : 0;
  const total = approve + reject + abstain + absent.length + open;
  if (total === 0) return null;
  const parts = [
    ['approve', approve, 'for'],
    ['reject', reject, 'against'],
    ['abstain', abstain, 'abstained'],
    ['absent', absent.length, 'absent'],
    ['open', open, 'still to vote'],
  ] as const;
  const shown = parts.filter(([, n]) => n > 0);
  return (
    <div className="tally">
      <div className="tally-bar" role="img" aria-label={shown.map(([, n, label]) => `${n} ${label}`).join(', ')}>
        {shown.map(([key, n]) => (
          <span key={key} className={`tally-${key}`} style={{ flexGrow: n }} />
        ))}
      </div>
      <p className="tally-text">
        {shown.map(([key, n, label]) => (
          <span key={key}>
            <i className={`tally-${key}`} /> {n} {label}
          </span>
        ))}
      </p>
    </div>
  );
}

function BallotRow({ ballot, motion, voter, showRound }: { ballot: Ballot; motion: Motion; voter: Agent | undefined; showRound: boolean }) {
  const elsewhere = ballot.subject.hash !== motion.subject.hash;
  return (
    <li className="ballot" data-voter={ballot.voter}>
      <Avatar name={ballot.voter} role={ballot.role} size={24} />
      <div>
        <div className="ballot-head">
          <Name of={ballot.voter} role={ballot.role} />
          {ballot.verdict && <State state={ballot.verdict} />}
          {ballot.ranking && <span className="kind">{ballot.ranking.join(' › ')}</span>}
          {showRound && <span className="kind">round {ballot.round}</span>}
          {elsewhere && <span className="kind tone-failed">void: another subject</span>}
          <BallotSigned ballot={ballot} voter={voter} />
        </div>
        <p className="ballot-reason">
          {(ballot.reasons ?? []).join('; ')}
          {ballot.evidence && <span className="dim small"> · rests on {plural(ballot.evidence.length, 'piece')} of evidence</span>}
        </p>
      </div>
    </li>
  );
}
