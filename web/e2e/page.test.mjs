// Opens the page in a real browser over the fixture server: npm run e2e.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { launch, missing, serve } from './fixture.mjs';

const skip = missing();
if (skip && process.env.CI === 'true') throw new Error(skip);

describe('the page', { skip }, () => {
  let server;
  let browser;
  const complaints = [];

  before(async () => {
    server = await serve();
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  /** A window that is signed in, and reports what the browser complains of. */
  async function open(path, { viewport = { width: 1400, height: 900 }, colorScheme = 'dark' } = {}) {
    const context = await browser.newContext({ viewport, colorScheme });
    const page = await context.newPage();
    page.on('console', (m) => m.type() === 'error' && complaints.push(m.text()));
    page.on('pageerror', (e) => complaints.push(String(e)));
    await page.goto(await server.newLink());
    await page.goto(server.url + path);
    await page.locator('.pulse-live').waitFor();
    return page;
  }

  it('asks for a link without a session', async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(server.url);
    await page.getByText('conclave watch --open').waitFor();
    await context.close();
  });

  it('shows the runs, and a dash for what was not measured', async () => {
    const page = await open('/');
    const row = page.locator('.run-row', { hasText: 'Translate the billing emails' });
    await row.waitFor();
    assert.match(await row.innerText(), /needs a model/);
    assert.match(await row.innerText(), /–/);
    await page.context().close();
  });

  it('shows the key metrics with their targets, and the trust of agents', async () => {
    const page = await open('/overview');
    const card = (name) => page.locator(`[data-metric=${name}]`);
    await card('collaboration_success_ratio').getByText('80 %', { exact: true }).waitFor();
    assert.match(await card('collaboration_success_ratio').innerText(), /target > 85 %, missed/);
    assert.match(await card('agent_response_average_seconds').innerText(), /8\.4 s[^]*target < 30 s, met/);
    assert.match(await card('agent_trust_average_ratio').innerText(), /0\.82[^]*target > 0\.8, met/);
    assert.match(await card('escalation_ratio').innerText(), /–[^]*target < 10 %, not measured yet/);
    assert.equal(await page.locator('.metric').count(), 6);
    await page.getByRole('link', { name: 'Agents' }).click();
    await page.locator('[data-trust=developer-1]', { hasText: 'trust 0.68' }).waitFor();
    assert.match(await page.locator('[data-trust=qa-1]').innerText(), /trust –/);
    await page.context().close();
  });

  it('shows a conversation grow, a ballot arrive, and goes on after a lost connection', async () => {
    const page = await open('/runs/run-7c41');
    await page.getByText('waiting for qa').waitFor();
    await page.locator('.step').nth(20).waitFor();
    assert.equal(await page.locator('.step').count(), 21);
    await page.locator('[data-signature=ok]').nth(5).waitFor();
    assert.equal(await page.locator('[data-signature=bad]').count(), 0);

    server.say('http_limited_total is in place.');
    await page.getByText('http_limited_total is in place.').waitFor();
    await page.getByText('46 messages').waitFor();

    server.ballot();
    const ballot = page.locator('[data-motion=mot-13] [data-voter=qa-1]');
    await ballot.getByText('approves').waitFor();
    await ballot.locator('[data-signature=ok]').waitFor();
    await page.getByText('waiting for qa').waitFor({ state: 'detached' });

    server.drop();
    await page.getByRole('alert').getByText('Connection lost').waitFor();
    server.say('Said while nobody listened.');
    await page.getByText('Said while nobody listened.').waitFor();
    await page.locator('.pulse-live').waitFor();
    await page.context().close();
  });

  it('finds a bad signature', async () => {
    const page = await open('/decisions');
    await page.locator('[data-voter=security-1] [data-signature=ok]').first().waitFor();
    await page.route('**/api/motions**', async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, body: (await response.text()).replaceAll('lets one host behind a NAT', 'lets no host behind a NAT') });
    });
    await page.reload();
    const forged = page.locator('[data-motion=mot-11] [data-voter=security-1]');
    await forged.locator('[data-signature=bad]').waitFor();
    assert.equal(await page.locator('[data-motion=mot-12] [data-signature=bad]').count(), 0);
    await page.context().close();
  });

  it('approves after a confirmation, by the keyboard, on a phone', async () => {
    const page = await open('/runs/run-7b90', { viewport: { width: 390, height: 844 }, colorScheme: 'light' });
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 390);
    await page.getByRole('button', { name: 'Approve', exact: true }).focus();
    await page.keyboard.press('Enter');
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Reason').fill('Read the report.');
    await dialog.getByRole('button', { name: 'Yes, approve' }).focus();
    await page.keyboard.press('Enter');
    await page.getByText('by ana').waitFor();
    await page.getByText('delivered to main').first().waitFor();
    await page.locator('.run-heading [data-state=done]').waitFor();
    await page.goto(`${server.url}/approvals`);
    await page.getByText('Nothing waits for you').waitFor();
    await page.getByText('Read the report.').waitFor();
    await page.context().close();
  });

  it('compares the versions of a plan', async () => {
    const page = await open('/runs/run-7c41/plan');
    await page.getByText('changed: limiter, middleware').waitFor();
    await page.locator('.line-removed', { hasText: 'A call over the limit gets 429 with Retry-After' }).waitFor();
    await page.getByText('v1', { exact: true }).click();
    await page.getByText('Limits keyed by a header').waitFor();
    await page.context().close();
  });

  it('opens a step and a report', async () => {
    const page = await open('/runs/run-7b90');
    await page.getByRole('button', { name: /^Deliver the branch/ }).click();
    await page.getByRole('dialog').getByText('merge:upgrade').waitFor();
    const report = await page.request.get(`${server.url}/reports/run-7b90/markdown`);
    assert.equal(report.status(), 200);
    assert.match(await report.text(), /# Upgrade vulnerable dependencies/);
    await page.context().close();
  });

  it('tells whether the record is as it was sealed', async () => {
    const page = await open('/audit');
    await page.locator('[data-chain=ok]').getByText('as it was sealed').waitFor();
    assert.match(await page.locator('.chain-facts').innerText(), /Sealed\n\d+ events\nNot sealed yet\n3 events\nCheckpoints\n1\n/);
    await page.locator('.events li').first().waitFor();
    await page.route('**/api/audit', async (route) => {
      const report = await (await route.fetch()).json();
      await route.fulfill({ json: { ...report, ok: false, problems: [{ tenant: 'default', seq: 12, checkpoint: 1, what: 'changed', text: 'event 12 is not as it was sealed' }] } });
    });
    await page.getByRole('button', { name: 'Check again' }).click();
    await page.locator('[data-chain=broken]').getByText('not as it was sealed').waitFor();
    await page.getByText('event 12 is not as it was sealed').waitFor();
    await page.context().close();
  });

  it('shows how many voted which way', async () => {
    const page = await open('/decisions');
    const bar = await page.locator('.tally-bar span').first().boundingBox();
    assert.ok(bar.height > 4 && bar.width > 20, `the bar is ${bar.width} by ${bar.height}`);
    await page.context().close();
  });

  it('signs out', async () => {
    const page = await open('/audit');
    await page.locator('.events li').first().waitFor();
    await page.getByRole('button', { name: 'Signed in as ana' }).click();
    await page.getByRole('menuitem', { name: 'Sign out' }).click();
    await page.getByText('one-time link').waitFor();
    await page.context().close();
  });

  it('breaks none of the security policy’s rules', () => {
    // A cut stream and a missing session are reported by the browser as failed loads.
    assert.deepEqual(complaints.filter((c) => !/Failed to load resource|ERR_/.test(c)), []);
  });
});
