import { Button } from '@mantine/core';
import { useDocumentTitle } from '@mantine/hooks';
import { IconLink, IconLinkOff, IconLinkPlus } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { get } from '../api';
import { count, plural } from '../format';
import { Command, Failure, Mono, Panel, Waiting } from '../parts/panel';
import { Ago } from '../parts/time';
import type { AuditReport } from '../types';
import { Events } from './events';

/** Whether the record is as it was sealed, and the record itself. */
export function Audit({ last }: { last: number }) {
  useDocumentTitle('Audit · Conclave');
  return (
    <div className="page">
      <h1 className="page-title">Audit</h1>
      <Chain />
      <h2 className="section">What happened</h2>
      <Events last={last} />
    </div>
  );
}

/** The chain is computed anew from all events, so it is asked for once and then only when the reader wants it. */
function Chain() {
  const { data, error, refetch, isFetching } = useQuery({ queryKey: ['audit'], queryFn: () => get<AuditReport>('/audit'), staleTime: Infinity });
  const again = (
    <Button size="compact-sm" variant="default" loading={isFetching} onClick={() => void refetch()}>
      Check again
    </Button>
  );
  return (
    <Panel title="Hash chain" className="chain" aside={again}>
      {data ? <Verified report={data} /> : error ? <Failure error={error} /> : <Waiting />}
    </Panel>
  );
}

function Verified({ report }: { report: AuditReport }) {
  const head = report.heads?.at(-1);
  const problems = report.problems ?? [];
  const [tone, Glyph, verdict] = !report.ok
    ? (['failed', IconLinkOff, 'The record is not as it was sealed'] as const)
    : head
      ? (['done', IconLink, 'The record is as it was sealed'] as const)
      : (['idle', IconLinkPlus, 'Nothing is sealed yet; the first checkpoint follows within seconds'] as const);
  return (
    <>
      <p className={`chain-verdict tone-${tone}`} data-chain={report.ok ? (head ? 'ok' : 'empty') : 'broken'}>
        <Glyph size={20} aria-hidden /> {verdict}
      </p>
      {problems.length > 0 && (
        <ul className="chain-problems">
          {problems.map((p) => (
            <li key={`${p.checkpoint} ${p.seq ?? ''} ${p.what}`}>
              <b>{p.what}</b> {p.text} <span className="dim small">checkpoint {count(p.checkpoint)}</span>
            </li>
          ))}
        </ul>
      )}
      <dl className="chain-facts">
        <Fact name="Sealed">{plural(report.sealed, 'event')}</Fact>
        {report.expired > 0 && <Fact name="Of those expired">{plural(report.expired, 'event')}</Fact>}
        <Fact name="Not sealed yet">{plural(report.unsealed, 'event')}</Fact>
        {head && (
          <>
            <Fact name="Checkpoints">{count(head.number)}</Fact>
            <Fact name="The last one">
              <Ago at={head.at} />
            </Fact>
            <Fact name="Its head">
              <Mono title={head.head}>{head.head.slice(0, 16)}</Mono>
            </Fact>
            <Fact name="Signed by key">
              <Mono title={head.public_key}>{head.public_key.slice(0, 16)}</Mono>
            </Fact>
          </>
        )}
      </dl>
      <div className="small dim">
        The same from the database itself, without a service: <Command text="conclave audit verify" />
      </div>
    </>
  );
}

function Fact({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
