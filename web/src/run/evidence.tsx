import { IconCircleCheckFilled, IconCircleMinus, IconCircleXFilled } from '@tabler/icons-react';
import { blocks, failed, isReviewFinding, type Found } from '../evidence';
import { hash, millis, plural } from '../format';
import { Empty, Mono, Panel } from '../parts/panel';
import { Name } from '../parts/who';
import type { Check, Finding, ReviewFinding } from '../types';

export function EvidenceView({ found }: { found: Found }) {
  if (found.evidence.length === 0 && found.findings.length === 0) {
    return <Empty title="No evidence yet">Analysers and tests run when a step is verified. What they measure, and what reviewers find, is kept here.</Empty>;
  }
  return (
    <div className="stack">
      <div className="evidence">
      {[...found.evidence].reverse().map(({ evidence: e, of }) => (
        <Panel
          key={e.hash}
          title={of ? `Checks: ${of}` : 'Checks'}
          aside={
            <span className="small dim">
              tree <Mono title={e.tree}>{hash(e.tree)}</Mono> evidence <Mono title={e.hash}>{hash(e.hash)}</Mono>
            </span>
          }
        >
          <ul className="checks">
            {(e.checks ?? []).map((c) => (
              <CheckRow key={c.name + c.command} check={c} />
            ))}
          </ul>
          {!!e.unchecked?.length && <p className="small dim">Not measured here: {e.unchecked.join('; ')}.</p>}
        </Panel>
      ))}
      </div>
      <Panel title="Findings" aside={<span className="small dim">{plural(found.findings.length, 'finding')}, {found.findings.filter(blocks).length} blocking</span>}>
        {found.findings.length === 0 ? <p className="dim">Analysers and reviewers found nothing.</p> : found.findings.map((f) => <FindingRow key={f.tool + f.rule + f.fingerprint} finding={f} />)}
      </Panel>
    </div>
  );
}

function CheckRow({ check }: { check: Check }) {
  const [tone, Glyph] = check.skipped ? (['idle', IconCircleMinus] as const) : failed(check) ? (['failed', IconCircleXFilled] as const) : check.passed ? (['done', IconCircleCheckFilled] as const) : (['waiting', IconCircleMinus] as const);
  return (
    <li>
      <Glyph size={17} className={`tone-${tone}`} aria-hidden />
      <div>
        <div className="chips">
          <strong>{check.name}</strong>
          <Mono>{check.command}</Mono>
          <span className="small dim">
            {check.skipped ? `skipped: ${check.skipped}` : millis(check.ms || null)}
            {!!check.tests && ` · ${plural(check.tests, 'test')}`}
            {!!check.failed && ` · ${check.failed} failed`}
            {check.baseline && ' · it failed in the same way before the run'}
          </span>
        </div>
        {check.output && !check.passed && <pre className="output">{check.output}</pre>}
      </div>
    </li>
  );
}

function FindingRow({ finding }: { finding: Finding | ReviewFinding }) {
  const review = isReviewFinding(finding) ? finding : undefined;
  return (
    <article className={`finding level-${finding.level}${review?.refuted ? ' refuted' : ''}`}>
      <header className="chips">
        <span className={`level level-${finding.level}`}>{finding.level}</span>
        {blocks(finding) && <span className="mark mark-removed">blocks</span>}
        {review?.refuted && <span className="mark">refuted</span>}
        <Mono>
          {finding.path}
          {finding.line > 0 && `:${finding.line}`}
        </Mono>
        <span className="small dim">
          {finding.tool} {finding.rule} · {finding.category}
          {finding.fixable && ' · fixable'}
        </span>
      </header>
      <p>{finding.message}</p>
      {review && (
        <p className="small dim">
          found by <Name of={review.reviewer} />
          {review.evidence ? ` · evidence: ${review.evidence}` : ' · without evidence, so advice'}
          {review.agreed?.length ? ` · agreed: ${review.agreed.join(', ')}` : ''}
          {review.refuted ? ` · refuted: ${review.refuted}` : ''}
        </p>
      )}
    </article>
  );
}
