import {
  IconAward,
  IconBuildingBridge,
  IconCode,
  IconCompass,
  IconEyeCheck,
  IconFlask,
  IconGauge,
  IconListTree,
  IconRobot,
  IconScale,
  IconServerCog,
  IconShieldLock,
  IconUser,
  type Icon,
} from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { list } from '../api';
import { party } from '../format';
import { roleColour } from '../theme';
import { roleOf } from '../thread';
import type { Agent } from '../types';

const icons: Record<string, Icon> = {
  planner: IconListTree,
  architect: IconCompass,
  developer: IconCode,
  security: IconShieldLock,
  qa: IconFlask,
  'code-reviewer': IconEyeCheck,
  'performance-reviewer': IconGauge,
  'domain-expert': IconAward,
  'collaboration-orchestrator': IconScale,
  council: IconScale,
  'workflow-orchestrator': IconServerCog,
  'a2a-hub': IconBuildingBridge,
};

/** The agents. Each beat of theirs is no event, so whoever shows when they were seen asks again from time to time. */
export function useAgents(every?: number) {
  return useQuery({ queryKey: ['agents'], queryFn: () => list<Agent>('/agents'), refetchInterval: every ?? false });
}

function useRole(name: string, role: string | undefined): string {
  const { data } = useAgents();
  if (role) return role;
  return roleOf(name, new Map(data?.map((a) => [a.name, a.role])));
}

export function Avatar({ name, role, size = 28 }: { name: string; role?: string | undefined; size?: number }) {
  const known = useRole(name, role);
  const Glyph = icons[known] ?? (name.includes('@') || known === name ? IconUser : IconRobot);
  return (
    <span className="avatar" style={{ '--hue': roleColour(known), width: size, height: size } as React.CSSProperties} title={known} aria-hidden>
      <Glyph size={Math.round(size * 0.58)} stroke={1.8} />
    </span>
  );
}

export function Name({ of, role }: { of: string; role?: string | undefined }) {
  const known = useRole(of, role);
  return (
    <span className="name" style={{ '--hue': roleColour(known) } as React.CSSProperties}>
      {party(of)}
    </span>
  );
}
