import { SegmentedControl } from '@mantine/core';
import { IconAlertTriangle, IconArrowRight, IconFile, IconMessage, IconMinus, IconPlus, IconQuestionMark, IconSquareCheck } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { get, list } from '../api';
import { hash, plural } from '../format';
import { Empty, Failure, Mono, Panel, Waiting } from '../parts/panel';
import { Ago } from '../parts/time';
import { Avatar, Name } from '../parts/who';
import { lines, mark, stepOf, type Line } from '../plandiff';
import type { Comment, Decision, Plan, PlanDiff, PlanStep, Question } from '../types';

export function PlanView({ run, decisions }: { run: string; decisions: Decision[] }) {
  const newest = useQuery({ queryKey: ['plans', run], queryFn: () => list<Plan>('/plans', { run }) });
  const latest = newest.data?.[0];
  const [chosen, choose] = useState<number>();
  const version = chosen ?? latest?.version ?? 0;
  const id = latest?.id ?? '';
  const plan = useQuery({
    queryKey: ['plans', run, id, version],
    queryFn: () => get<Plan>(`/plans/${id}`, { version }),
    enabled: version > 0,
  });
  const before = useQuery({
    queryKey: ['plans', run, id, version - 1],
    queryFn: () => get<Plan>(`/plans/${id}`, { version: version - 1 }),
    enabled: version > 1,
  });
  const diff = useQuery({
    queryKey: ['plans', run, id, 'diff', version],
    queryFn: () => get<PlanDiff>(`/plans/${id}/diff`, { from: version - 1, to: version }),
    enabled: version > 1,
  });

  if (!newest.data) return newest.error ? <Failure error={newest.error} /> : <Waiting />;
  if (!latest) return <Empty title="No plan yet">The planner drafts one after intake; agents comment on it and vote on its hash.</Empty>;
  if (!plan.data) return plan.error ? <Failure error={plan.error} /> : <Waiting />;
  const p = plan.data;
  const comments = p.comments ?? [];
  const changes = version > 1 ? diff.data : undefined;
  return (
    <div className="stack">
      <Panel
        title={`Plan, version ${version}`}
        aside={
          latest.version > 1 && (
            <SegmentedControl
              size="xs"
              withItemsBorders={false}
              value={String(version)}
              onChange={(v) => choose(Number(v))}
              data={Array.from({ length: latest.version }, (_, i) => ({ value: String(i + 1), label: `v${i + 1}` }))}
              aria-label="Version of the plan"
            />
          )
        }
      >
        <p className="plan-summary">{p.summary}</p>
        <div className="chips small dim">
          <span>
            by <Name of={p.author} />
          </span>
          <span>
            <Ago at={p.created} />
          </span>
          <span>
            hash <Mono title={p.hash}>{hash(p.hash)}</Mono>
          </span>
          {p.archetype && <span>archetype {p.archetype}</span>}
          <span>{plural(p.steps?.length ?? 0, 'step')}</span>
          <span>{plural(comments.length, 'comment')}</span>
        </div>
        {changes && (
          <p className="diff-line">
            Since v{version - 1}:
            <Changed sign="added" keys={changes.added} />
            <Changed sign="changed" keys={changes.changed} />
            <Changed sign="removed" keys={changes.removed} />
            <Changed sign="reopened" keys={(changes.reopened ?? []).filter((k) => !changes.added?.includes(k) && !changes.changed?.includes(k))} />
          </p>
        )}
        {!!p.uncovered?.length && (
          <div className="dissent">
            <strong>
              <IconAlertTriangle size={15} aria-hidden /> Needs a model
            </strong>
            <ul>
              {p.uncovered.map((words) => (
                <li key={words}>{words}</li>
              ))}
            </ul>
          </div>
        )}
        <Comments all={comments.filter((c) => !c.step)} />
      </Panel>
      {(p.questions ?? []).map((q) => (
        <QuestionCard key={q.key} question={q} decision={decisions.find(({ motion: { subject } }) => subject.kind === 'options' && (subject.id === q.key || subject.id.endsWith(`/${q.key}`)))} />
      ))}
      <div className="plan-steps">
        {(p.steps ?? []).map((step) => (
          <StepCard key={step.key} step={step} before={version > 1 ? stepOf(before.data, step.key) : step} diff={changes} comments={comments.filter((c) => c.step === step.key)} />
        ))}
      </div>
    </div>
  );
}

function Changed({ sign, keys }: { sign: string; keys: string[] | null }) {
  if (!keys?.length) return null;
  return (
    <span className={`mark mark-${sign}`}>
      {sign === 'reopened' ? 're-opened' : sign}: {keys.join(', ')}
    </span>
  );
}

function StepCard({ step, before, diff, comments }: { step: PlanStep; before: PlanStep | undefined; diff: PlanDiff | undefined; comments: Comment[] }) {
  const m = mark(step.key, diff);
  const old = m === 'added' ? undefined : (before ?? step);
  const compare = m === 'changed';
  return (
    <article className={`plan-step plan-${m}`}>
      <header>
        <Avatar name={step.role || 'developer'} size={26} />
        <h3>{step.title}</h3>
        {m !== 'same' && <span className={`mark mark-${m}`}>{m === 'reopened' ? 're-opened' : m}</span>}
      </header>
      <p className="dim">{step.description}</p>
      <ListLines icon="check" all={lines(compare ? old?.acceptance : step.acceptance, step.acceptance)} />
      <ListLines icon="file" all={lines(compare ? old?.writes : step.writes, step.writes)} />
      <p className="chips small dim">
        <Mono>{step.key}</Mono>
        {step.depends_on?.map((key) => (
          <span key={key} className="after">
            <IconArrowRight size={12} aria-hidden /> after {key}
          </span>
        ))}
      </p>
      <Comments all={comments} />
    </article>
  );
}

function ListLines({ all, icon }: { all: Line[]; icon: 'check' | 'file' }) {
  if (all.length === 0) return null;
  return (
    <ul className={`lines lines-${icon}`}>
      {all.map(({ sign, text }) => (
        <li key={sign + text} className={sign === '+' ? 'line-added' : sign === '-' ? 'line-removed' : undefined}>
          {sign === '+' ? <IconPlus size={14} aria-label="added" /> : sign === '-' ? <IconMinus size={14} aria-label="removed" /> : icon === 'check' ? <IconSquareCheck size={14} aria-hidden /> : <IconFile size={14} aria-hidden />}
          <span>{text}</span>
        </li>
      ))}
    </ul>
  );
}

function Comments({ all }: { all: Comment[] }) {
  if (all.length === 0) return null;
  return (
    <ul className="comments">
      {all.map((c) => (
        <li key={`${c.author}${c.created}${c.text}`}>
          <Avatar name={c.author} role={c.role} size={22} />
          <div>
            <Name of={c.author} role={c.role} />
            <p>{c.text}</p>
            <p className="small dim">
              <IconMessage size={12} aria-hidden /> cites {c.cites}
            </p>
            {c.change?.add_acceptance?.map((text) => (
              <p key={text} className="small line-added">
                <IconPlus size={12} aria-hidden /> asks for: {text}
              </p>
            ))}
            {c.change?.add_step && (
              <p className="small line-added">
                <IconPlus size={12} aria-hidden /> asks for a step: {c.change.add_step.title}
              </p>
            )}
          </div>
        </li>
      ))}
    </ul>
  );
}

function QuestionCard({ question, decision }: { question: Question; decision: Decision | undefined }) {
  return (
    <Panel
      title={
        <>
          <IconQuestionMark size={16} aria-hidden /> {question.text}
        </>
      }
    >
      <div className="options">
        {(question.options ?? []).map((o) => (
          <div key={o.key} className={decision?.option === o.key ? 'option option-chosen' : 'option'}>
            <h4>
              {o.title}
              {decision?.option === o.key && <span className="mark mark-added">chosen by vote</span>}
            </h4>
            {o.description && <p className="dim">{o.description}</p>}
            <ul className="lines">
              {o.pros?.map((text) => (
                <li key={text} className="line-added">
                  <IconPlus size={14} aria-label="for" /> <span>{text}</span>
                </li>
              ))}
              {o.cons?.map((text) => (
                <li key={text} className="line-con">
                  <IconMinus size={14} aria-label="against" /> <span>{text}</span>
                </li>
              ))}
            </ul>
          </div>
        ))}
      </div>
    </Panel>
  );
}
