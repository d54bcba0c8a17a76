import { Code, Drawer } from '@mantine/core';
import { sequence } from '../graph';
import { none, plural } from '../format';
import { State, StateIcon } from '../parts/state';
import { Duration } from '../parts/time';
import type { Step } from '../types';

/** The steps as a list, for narrow screens and for those who read rather than look. */
export function StepList({ steps, open }: { steps: Step[]; open: (step: Step) => void }) {
  return (
    <ol className="step-list">
      {sequence(steps).map((step) => (
        <li key={step.key}>
          <button type="button" className={`step-row step-${step.state}`} onClick={() => open(step)}>
            <StateIcon state={step.state} size={18} />
            <span className="step-text">
              <span className="step-title">{step.title}</span>
              <span className="step-meta">
                {step.kind}
                {step.attempt > 0 && ` · try ${step.attempt + 1}`}
                {step.reason && ` · ${step.reason}`}
              </span>
            </span>
            <span className="step-time">{step.started && <Duration from={step.started} to={step.ended} />}</span>
          </button>
        </li>
      ))}
    </ol>
  );
}

export function StepDrawer({ step, close }: { step: Step | undefined; close: () => void }) {
  return (
    <Drawer opened={step !== undefined} onClose={close} position="right" size="lg" title={step?.title ?? ''} lockScroll={false} closeButtonProps={{ 'aria-label': 'Close' }}>
      {step && (
        <div className="stack">
          <div className="chips">
            <State state={step.state} />
            <code className="mono">{step.key}</code>
          </div>
          {step.reason && <p className="reason">{step.reason}</p>}
          <dl className="facts">
            <dt>Kind</dt>
            <dd>{step.kind}</dd>
            <dt>Took</dt>
            <dd>
              <Duration from={step.started} to={step.ended} />
            </dd>
            <dt>Claimed</dt>
            <dd>{plural(step.epoch, 'time')}</dd>
            <dt>Tries</dt>
            <dd>{step.started ? step.attempt + 1 : none}</dd>
            <dt>Depends on</dt>
            <dd>{step.depends_on?.length ? step.depends_on.map((key) => <code key={key} className="mono">{key}</code>) : 'nothing'}</dd>
          </dl>
          <Raw title="Input" value={step.input} />
          <Raw title="Output" value={step.output} />
        </div>
      )}
    </Drawer>
  );
}

function Raw({ title, value }: { title: string; value: unknown }) {
  if (value === undefined || value === null) return null;
  return (
    <div>
      <h3 className="minor">{title}</h3>
      <Code block className="raw">
        {JSON.stringify(value, null, 2)}
      </Code>
    </div>
  );
}
