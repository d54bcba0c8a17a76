// Starts the fixture server of internal/monitor and a browser.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Where Chromium is, or undefined. */
export function browserPath() {
  const candidates = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
  return candidates.find((path) => path && existsSync(path));
}

/** Why the browser tests can't run here, or false. */
export function missing() {
  if (!browserPath()) return 'no Chromium: install it, or set CHROMIUM to its path';
  if (!existsSync(new URL('../dist/index.html', import.meta.url))) return 'the page is not built: npm run build';
  return false;
}

export function launch() {
  return chromium.launch({
    executablePath: browserPath(),
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
}

/** Serves the fixture; its commands are in internal/monitor/serve_test.go. */
export async function serve() {
  // "go test" gives its tests no standard input, so the test's binary is run by itself.
  const folder = mkdtempSync(join(tmpdir(), 'conclave-web-'));
  const program = join(folder, 'fixture');
  execFileSync('go', ['test', '-c', '-o', program, './internal/monitor'], { cwd: root, stdio: 'inherit' });
  const go = spawn(program, ['-test.run=^TestServeFixture$', '-test.v'], {
    cwd: folder,
    env: { ...process.env, CONCLAVE_SERVE_FIXTURE: '1' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = new Promise((resolve) => go.on('close', resolve));
  const waiting = [];
  const kept = [];
  const lines = createInterface({ input: go.stdout });
  lines.on('line', (line) => {
    const [word, ...rest] = line.split(' ');
    if (word !== 'READY' && word !== 'LINK') {
      kept.push(line);
      return;
    }
    waiting.shift()?.resolve(rest);
  });
  lines.on('close', () => waiting.forEach((w) => w.reject(new Error(`the fixture server ended:\n${kept.join('\n')}`))));
  const answer = () => new Promise((resolve, reject) => waiting.push({ resolve, reject }));
  const [url, link] = await answer();
  const tell = (command) => go.stdin.write(`${command}\n`);
  return {
    url,
    link,
    say: (text) => tell(`say ${text}`),
    ballot: () => tell('ballot'),
    drop: () => tell('drop'),
    async newLink() {
      tell('link');
      return (await answer())[0];
    },
    async stop() {
      go.stdin.end();
      await ended;
      rmSync(folder, { recursive: true });
    },
  };
}
