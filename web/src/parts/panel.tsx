import { ActionIcon, CopyButton, Loader, Tooltip } from '@mantine/core';
import { IconCheck, IconCopy, IconPlugConnectedX } from '@tabler/icons-react';
import type { ReactNode } from 'react';

export function Panel({ title, aside, children, className = '', flush = false }: { title?: ReactNode; aside?: ReactNode; children: ReactNode; className?: string; flush?: boolean }) {
  return (
    <section className={`panel ${className}`}>
      {title && (
        <header className="panel-head">
          <h2>{title}</h2>
          {aside && <div className="panel-aside">{aside}</div>}
        </header>
      )}
      <div className={flush ? 'panel-body flush' : 'panel-body'}>{children}</div>
    </section>
  );
}

export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="empty">
      <svg viewBox="0 0 64 64" width="56" height="56" aria-hidden>
        {[0, 1, 2, 3, 4, 5, 6].map((i) => {
          const angle = (i / 7) * 2 * Math.PI - Math.PI / 2;
          return <circle key={i} cx={32 + 22 * Math.cos(angle)} cy={32 + 22 * Math.sin(angle)} r={4.2} className="empty-seat" style={{ opacity: 1 - i * 0.11 }} />;
        })}
      </svg>
      <p className="empty-title">{title}</p>
      {children && <div className="empty-text">{children}</div>}
    </div>
  );
}

/** A command that can be copied. */
export function Command({ text }: { text: string }) {
  return (
    <span className="command">
      <code>{text}</code>
      <Copy text={text} what="command" />
    </span>
  );
}

export function Copy({ text, what }: { text: string; what: string }) {
  return (
    <CopyButton value={text} timeout={1500}>
      {({ copied, copy }) => (
        <Tooltip label={copied ? 'Copied' : `Copy ${what}`} withArrow>
          <ActionIcon variant="subtle" color="gray" size="sm" onClick={copy} aria-label={`Copy ${what}`}>
            {copied ? <IconCheck size={14} /> : <IconCopy size={14} />}
          </ActionIcon>
        </Tooltip>
      )}
    </CopyButton>
  );
}

export function Mono({ children, title }: { children: ReactNode; title?: string }) {
  return (
    <code className="mono" title={title}>
      {children}
    </code>
  );
}

export function Waiting() {
  return (
    <div className="empty">
      <Loader type="dots" size="sm" />
    </div>
  );
}

export function Failure({ error }: { error: Error }) {
  return (
    <div className="empty" role="alert">
      <IconPlugConnectedX size={36} className="tone-failed" />
      <p className="empty-title">That could not be read</p>
      <div className="empty-text">{error.message}</div>
    </div>
  );
}
