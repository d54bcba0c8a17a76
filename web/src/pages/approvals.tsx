import { useDocumentTitle } from '@mantine/hooks';
import { Link } from 'wouter';
import { ApprovalCard, useApprovals } from '../parts/approval';
import { Empty, Failure, Waiting } from '../parts/panel';
import type { Approval } from '../types';

export function Approvals() {
  useDocumentTitle('Approvals · Conclave');
  const { data: approvals, error } = useApprovals();
  if (!approvals) return error ? <Failure error={error} /> : <Waiting />;
  const open = approvals.filter((a) => !a.decision);
  const decided = approvals.filter((a) => a.decision);
  const card = (a: Approval) => <ApprovalCard key={a.id} approval={a} runLink={a.run && <Link href={`/runs/${encodeURIComponent(a.run)}`}>see the run</Link>} />;
  return (
    <div className="page page-narrow">
      <h1 className="page-title">Approvals</h1>
      {open.length === 0 ? <Empty title="Nothing waits for you">A run asks here before it touches your own branch, and when agents can't agree.</Empty> : <div className="stack">{open.map(card)}</div>}
      {decided.length > 0 && (
        <>
          <h2 className="section">Decided</h2>
          <div className="stack">{decided.map(card)}</div>
        </>
      )}
    </div>
  );
}
