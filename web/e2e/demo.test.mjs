// The page over a real run of the demo's task, in a real browser: npm run e2e.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { missing } from './fixture.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const skip = missing() || (!existsSync(join(root, 'bin', 'conclave')) && 'the program is not built: make build');
if (skip && process.env.CI === 'true') throw new Error(skip);

it('every page shows a real run, and its merge is approved there', { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'conclave-pictures-'));
  try {
    execFileSync(join(root, 'scripts', 'picture.sh'), [folder], { stdio: 'inherit' });
    const taken = readdirSync(folder).sort();
    // The same pictures that the documents show.
    assert.deepEqual(taken, readdirSync(join(root, 'docs', 'images')).filter((name) => name.endsWith('.png')).sort());
    for (const name of taken) assert.ok(readFileSync(join(folder, name)).length > 20_000, `${name} is almost empty`);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
