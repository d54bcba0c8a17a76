import { Tooltip } from '@mantine/core';
import { IconShieldCheckFilled, IconShieldExclamation, IconShieldQuestion } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { checkBallot, checkDecision, type Signed as Result } from '../signature';
import type { Agent, Ballot, Decision } from '../types';

export function BallotSigned({ ballot, voter }: { ballot: Ballot; voter: Agent | undefined }) {
  const { data } = useQuery({
    queryKey: ['signed', ballot.signature, voter?.public_key, ballot],
    queryFn: () => checkBallot(ballot, voter),
    staleTime: Infinity,
  });
  return <Mark result={data} />;
}

export function DecisionSigned({ decision }: { decision: Decision }) {
  const { data } = useQuery({
    queryKey: ['signed', decision.signature, decision],
    queryFn: () => checkDecision(decision),
    staleTime: Infinity,
  });
  return <Mark result={data} />;
}

function Mark({ result }: { result: Result | undefined }) {
  const r = result ?? { state: 'checking', why: 'checking the signature' };
  const [tone, Glyph, label] =
    r.state === 'ok'
      ? (['done', IconShieldCheckFilled, 'signed'] as const)
      : r.state === 'bad'
        ? (['failed', IconShieldExclamation, 'bad signature'] as const)
        : (['idle', IconShieldQuestion, r.state === 'checking' ? 'checking' : 'not checked'] as const);
  return (
    <Tooltip label={r.why} withArrow>
      <span className={`signed tone-${tone}`} data-signature={r.state} tabIndex={0}>
        <Glyph size={14} aria-hidden />
        {label}
      </span>
    </Tooltip>
  );
}
