import { stages } from '../graph';
import { useStrip } from '../parts/strip';
import { StateIcon } from '../parts/state';
import type { Step } from '../types';

export function Stages({ steps }: { steps: Step[] }) {
  const all = stages(steps);
  const strip = useStrip<HTMLOListElement>(all.map((s) => s.state).join(), '.stage-waiting, .stage-running');
  if (all.length === 0) return null;
  return (
    <ol ref={strip} className="stages" aria-label="Stages of the run">
      {all.map((stage) => (
        <li key={stage.name} className={`stage stage-${stage.state}`}>
          <StateIcon state={stage.state} size={17} />
          <span className="stage-name">{stage.name}</span>
          <span className="stage-count" title={`${stage.done} of ${stage.total} steps done`}>
            {stage.done}/{stage.total}
          </span>
        </li>
      ))}
    </ol>
  );
}
