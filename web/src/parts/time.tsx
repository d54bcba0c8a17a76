import { createContext, useContext, useEffect, useState, type ReactNode } from 'react';
import { ago, duration, full } from '../format';

const Now = createContext(0);

/** Ticks once a second for every clock on the page. */
export function Clock({ children }: { children: ReactNode }) {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  return <Now value={now}>{children}</Now>;
}

export function Ago({ at }: { at: string }) {
  const now = useContext(Now);
  return (
    <time dateTime={at} title={full(at)}>
      {ago(at, now)}
    </time>
  );
}

export function Duration({ from, to }: { from: string | null; to: string | null }) {
  const now = useContext(Now);
  return <>{duration(from, to, now)}</>;
}
