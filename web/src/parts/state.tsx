import {
  IconAlertTriangle,
  IconBan,
  IconBrain,
  IconCircleCheckFilled,
  IconCircleDashed,
  IconCircleDot,
  IconCircleXFilled,
  IconHandStop,
  IconLoader2,
  IconScale,
  type Icon,
} from '@tabler/icons-react';
import { words } from '../format';

// One look for every state on the page, of runs, steps, motions, ballots and agents.
const looks: Record<string, { tone: string; icon: Icon; label?: string }> = {
  running: { tone: 'running', icon: IconLoader2 },
  open: { tone: 'running', icon: IconLoader2, label: 'voting' },
  waiting: { tone: 'waiting', icon: IconHandStop, label: 'waits for you' },
  done: { tone: 'done', icon: IconCircleCheckFilled },
  approved: { tone: 'done', icon: IconCircleCheckFilled },
  chosen: { tone: 'done', icon: IconCircleCheckFilled },
  decided: { tone: 'done', icon: IconScale },
  approve: { tone: 'done', icon: IconCircleCheckFilled, label: 'approves' },
  live: { tone: 'done', icon: IconCircleDot },
  failed: { tone: 'failed', icon: IconCircleXFilled },
  rejected: { tone: 'failed', icon: IconScale },
  reject: { tone: 'failed', icon: IconCircleXFilled, label: 'rejects' },
  lost: { tone: 'failed', icon: IconAlertTriangle },
  needs_model: { tone: 'model', icon: IconBrain, label: 'needs a model' },
  ready: { tone: 'ready', icon: IconCircleDot },
  blocked: { tone: 'idle', icon: IconCircleDashed },
  cancelled: { tone: 'idle', icon: IconBan },
  abstain: { tone: 'idle', icon: IconCircleDashed, label: 'abstains' },
  undecided: { tone: 'waiting', icon: IconScale },
};

export function look(state: string): { tone: string; icon: Icon; label: string } {
  const found = looks[state];
  return { tone: found?.tone ?? 'idle', icon: found?.icon ?? IconCircleDashed, label: found?.label ?? words(state) };
}

export function StateIcon({ state, size = 16 }: { state: string; size?: number }) {
  const { tone, icon: Glyph } = look(state);
  const spins = Glyph === IconLoader2;
  return <Glyph size={size} className={`tone-${tone}${spins ? ' spin' : ''}`} aria-hidden />;
}

export function State({ state, label }: { state: string; label?: string | undefined }) {
  const l = look(state);
  return (
    <span className={`state tone-${l.tone}`} data-state={state}>
      <StateIcon state={state} size={14} />
      {label ?? l.label}
    </span>
  );
}
