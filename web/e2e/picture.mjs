// Looks at a real run on every page while it works and after it, and takes the
// documents' pictures: scripts/picture.sh calls it with a link that opens the
// page once, the run's id, and the folder to write into. It fails when a page
// does not show what it should. At the end it approves the merge, as a reader would.
import assert from 'node:assert/strict';
import { launch } from './fixture.mjs';

const [link, run, folder] = process.argv.slice(2);
const minutes = 60_000;
const complaints = [];
const browser = await launch();
try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, colorScheme: 'dark', reducedMotion: 'reduce' });
  const page = await context.newPage();
  page.on('console', (m) => m.type() === 'error' && complaints.push(m.text()));
  page.on('pageerror', (e) => complaints.push(String(e)));

  const open = async (path) => {
    await page.goto(new URL(path, link).href);
    await page.locator('.pulse-live').waitFor();
    await page.locator('.mantine-Loader-root').first().waitFor({ state: 'detached' });
  };
  const count = (selector) => page.locator(selector).count();
  /** Takes the picture of a page that is complete: nothing failed, loads, or sticks out. */
  const take = async (name) => {
    await page.locator('[data-signature=checking]').first().waitFor({ state: 'detached' });
    assert.equal(await count('[role=alert], .mantine-Loader-root, [data-signature=bad]'), 0, `${name}: something failed or still loads`);
    const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(over <= 0, `${name} is ${over} px wider than the window`);
    await page.screenshot({ path: `${folder}/${name}.png` });
  };

  await page.goto(link);
  await open(`/runs/${run}`);
  await page.locator('.motion', { hasText: /^Accept/ }).locator('.state', { hasText: 'approved' }).first().waitFor({ timeout: 8 * minutes });
  assert.ok((await count('.step')) > 10, 'the graph has its steps');
  assert.ok((await count('.react-flow__edge')) > 10, 'the graph has its edges');
  const talk = await page.locator('.panel', { hasText: 'Conversation' }).innerText();
  for (const role of ['planner-1', 'security-1', 'architect-1', 'qa-1']) assert.match(talk, new RegExp(role));
  await take('run');

  await open(`/runs/${run}/steps`);
  await page.locator('.stage', { hasText: /Merge\s*[3-6]\/6/ }).waitFor({ timeout: 8 * minutes });
  assert.ok((await count('.step-list li')) > 20, 'the list has its steps');
  await take('steps');

  await open(`/runs/${run}`);
  await page.locator('.approval', { hasText: `Merge conclave/${run} into main` }).waitFor({ timeout: 8 * minutes });
  await page.locator('.run-heading [data-state=done]').waitFor();

  await open(`/runs/${run}/plan`);
  await page.getByText('chosen by vote').first().waitFor();
  await take('plan');

  await open('/overview');
  const success = page.locator('[data-metric=collaboration_success_ratio]');
  await success.getByText('100 %', { exact: true }).waitFor();
  assert.equal(await count('.metric'), 6);
  assert.ok((await count('.roles tbody tr')) >= 8, 'every role has a row');
  await take('overview');

  await open('/agents');
  await page.locator('[data-trust=developer-1] b', { hasText: /^0\.\d\d$/ }).waitFor();
  await take('agents');

  await open('/decisions');
  await page.locator('.motion', { hasText: 'Decided by vote' }).first().waitFor();
  assert.ok((await count('[data-signature=ok]')) > 10, 'ballots and decisions are signed');
  await take('decisions');

  await open('/audit');
  await page.locator('[data-chain=ok]').waitFor();
  assert.ok((await count('.events li')) > 100, 'the record has its events');
  await take('audit');

  await open('/approvals');
  await page.getByRole('button', { name: 'Reject', exact: true }).waitFor();
  await take('approvals');

  await page.setViewportSize({ width: 390, height: 844 });
  await page.emulateMedia({ colorScheme: 'light', reducedMotion: 'reduce' });
  await open(`/runs/${run}`);
  await page.getByText('Version 1 has').first().waitFor();
  await take('phone');

  await open('/approvals');
  await page.getByRole('button', { name: 'Approve', exact: true }).click();
  await page.getByRole('button', { name: 'Yes, approve' }).click();
  await page.getByText('Nothing waits for you').waitFor();
  await open(`/runs/${run}`);
  await page.getByText(/by local/).first().waitFor();
  assert.deepEqual(complaints, []);
} finally {
  await browser.close();
}
