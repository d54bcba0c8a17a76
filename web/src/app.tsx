import { ActionIcon, Menu, useComputedColorScheme, useMantineColorScheme } from '@mantine/core';
import { IconActivity, IconGauge, IconHandStop, IconLogout, IconMoon, IconRefreshAlert, IconScale, IconSun, IconTimelineEvent, IconUserCircle, IconUsersGroup, type Icon } from '@tabler/icons-react';
import { useQueryClient } from '@tanstack/react-query';
import { useEffect, useReducer, type ReactNode } from 'react';
import { Link, Route, Switch, useLocation } from 'wouter';
import { ApiError, signOut } from './api';
import { follow, reduce, type Live } from './live';
import { Agents } from './pages/agents';
import { Approvals } from './pages/approvals';
import { Audit } from './pages/audit';
import { Decisions } from './pages/decisions';
import { Overview } from './pages/overview';
import { RunPage } from './pages/run';
import { Runs } from './pages/runs';
import { SignIn } from './pages/signin';
import { useApprovals, useSession } from './parts/approval';
import { Empty } from './parts/panel';

export function App() {
  const cache = useQueryClient();
  const [live, signal] = useReducer(reduce, { phase: 'connecting', last: 0 });
  useEffect(
    () =>
      follow({
        signal,
        refresh: (keys) => keys.forEach((queryKey) => void cache.invalidateQueries({ queryKey })),
        refreshAll: () => void cache.invalidateQueries(),
        refreshFailed: () => void cache.refetchQueries({ predicate: (query) => query.state.status === 'error' }),
      }),
    [cache],
  );
  const session = useSession();
  const refused = session.error instanceof ApiError && session.error.status === 401;
  if (live.phase === 'signed-out' || refused) return <SignIn />;
  return (
    <>
      <a className="skip" href="#main">
        Skip to content
      </a>
      <Header live={live} />
      {live.phase === 'lost' && (
        <div className="lost" role="alert">
          <IconRefreshAlert size={17} aria-hidden /> Connection lost. What you see is as of event {live.last}; the page goes on from there as soon as the server answers.
        </div>
      )}
      <main id="main" tabIndex={-1}>
        <Switch>
          <Route path="/" component={Runs} />
          <Route path="/runs/:id/:tab?">{(params) => <RunPage key={params.id} id={decodeURIComponent(params.id)} tab={params.tab} />}</Route>
          <Route path="/overview" component={Overview} />
          <Route path="/agents" component={Agents} />
          <Route path="/decisions" component={Decisions} />
          <Route path="/approvals" component={Approvals} />
          <Route path="/audit">
            <Audit last={live.last} />
          </Route>
          <Route>
            <Empty title="There is no such page">
              <Link href="/">See the runs</Link>
            </Empty>
          </Route>
        </Switch>
      </main>
    </>
  );
}

function Header({ live }: { live: Live }) {
  const approvals = useApprovals();
  const open = approvals.data?.filter((a) => !a.decision).length ?? 0;
  return (
    <header className="top">
      <Link href="/" className="brand" aria-label="Conclave, all runs">
        <svg viewBox="0 0 32 32" width="26" height="26" aria-hidden>
          <circle cx="16" cy="16" r="3.6" fill="currentColor" />
          {[0, 1, 2, 3, 4, 5].map((i) => (
            <circle key={i} cx={16 + 11 * Math.sin((i * Math.PI) / 3)} cy={16 - 11 * Math.cos((i * Math.PI) / 3)} r={2.6} fill="currentColor" opacity={1 - i * 0.12} />
          ))}
        </svg>
        <span>Conclave</span>
      </Link>
      <nav className="nav" aria-label="Pages">
        <Tab href="/" icon={IconActivity} label="Runs" also="/runs" />
        <Tab href="/overview" icon={IconGauge} label="Overview" />
        <Tab href="/agents" icon={IconUsersGroup} label="Agents" />
        <Tab href="/decisions" icon={IconScale} label="Decisions" />
        <Tab href="/approvals" icon={IconHandStop} label="Approvals" badge={open || undefined} />
        <Tab href="/audit" icon={IconTimelineEvent} label="Audit" />
      </nav>
      <div className="top-right">
        <span className={`pulse pulse-${live.phase}`} role="status">
          <i aria-hidden />
          {live.phase === 'live' ? 'Live' : live.phase === 'lost' ? 'Lost' : 'Connecting'}
        </span>
        <Scheme />
        <Account />
      </div>
    </header>
  );
}

function Tab({ href, icon: Glyph, label, badge, also }: { href: string; icon: Icon; label: string; badge?: number | undefined; also?: string }) {
  const [location] = useLocation();
  const here = location === href || (also !== undefined && location.startsWith(also));
  return (
    <Link href={href} className={here ? 'tab here' : 'tab'} aria-current={here ? 'page' : undefined}>
      <Glyph size={18} stroke={1.8} aria-hidden />
      <span>{label}</span>
      {badge !== undefined && (
        <b className="badge" aria-label={`${badge} waiting`}>
          {badge}
        </b>
      )}
    </Link>
  );
}

function Scheme() {
  const { setColorScheme } = useMantineColorScheme();
  const scheme = useComputedColorScheme('dark');
  const other = scheme === 'dark' ? 'light' : 'dark';
  return (
    <ActionIcon variant="subtle" color="gray" size="lg" onClick={() => setColorScheme(other)} aria-label={`Use the ${other} colours`}>
      {scheme === 'dark' ? <IconSun size={18} /> : <IconMoon size={18} />}
    </ActionIcon>
  );
}

function Account(): ReactNode {
  const { data: caller } = useSession();
  if (!caller) return null;
  return (
    <Menu position="bottom-end" withArrow>
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" size="lg" aria-label={`Signed in as ${caller.human}`}>
          <IconUserCircle size={20} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>
          {caller.human}: {(caller.permissions ?? []).join(', ') || 'no permission'}
        </Menu.Label>
        <Menu.Item leftSection={<IconLogout size={16} />} onClick={() => void signOut().then(() => window.location.assign('/'))}>
          Sign out
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
