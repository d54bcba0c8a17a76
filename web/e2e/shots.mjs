// Takes pictures of every view over the fixture: npm run shots -- FOLDER
import { mkdirSync } from 'node:fs';
import { launch, missing, serve } from './fixture.mjs';

const why = missing();
if (why) {
  console.error(why);
  process.exit(1);
}
const folder = process.argv[2] ?? 'shots';
const only = process.argv[3] ? new RegExp(process.argv[3]) : /./;
mkdirSync(folder, { recursive: true });

const run = '/runs/run-7c41';
const views = {
  runs: '/',
  run,
  'run-steps': `${run}/steps`,
  'run-votes': `${run}/votes`,
  'run-plan': `${run}/plan`,
  'run-evidence': `${run}/evidence`,
  'run-events': `${run}/events`,
  'run-waiting': '/runs/run-7b90',
  'run-needs-model': '/runs/run-70aa',
  overview: '/overview',
  agents: '/agents',
  decisions: '/decisions',
  approvals: '/approvals',
  audit: '/audit',
};
const sizes = { wide: { width: 1400, height: 900 }, narrow: { width: 390, height: 844 } };

const server = await serve();
const browser = await launch();
try {
  for (const [size, viewport] of Object.entries(sizes)) {
    for (const scheme of ['dark', 'light']) {
      const context = await browser.newContext({ viewport, colorScheme: scheme, deviceScaleFactor: size === 'narrow' ? 2 : 1, reducedMotion: 'reduce' });
      const page = await context.newPage();
      page.on('console', (m) => ['error', 'warning'].includes(m.type()) && console.error(`${size} ${scheme}: ${m.text()}`));
      page.on('pageerror', (e) => console.error(`${size} ${scheme}: ${e}`));
      if (only.test(`signin-${size}-${scheme}`)) {
        await page.goto(server.url);
        await page.getByText('one-time link').waitFor();
        await page.screenshot({ path: `${folder}/signin-${size}-${scheme}.png` });
      }
      await page.goto(await server.newLink());
      for (const [name, path] of Object.entries(views)) {
        if (!only.test(`${name}-${size}-${scheme}`) || (size === 'wide' && name === 'run-votes')) continue;
        await page.goto(server.url + path);
        await page.locator('.pulse-live').waitFor();
        await page.waitForLoadState('load');
        await page.locator('.mantine-Loader-root').waitFor({ state: 'detached' });
        await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
        if (overflow > 0) console.error(`${size} ${scheme} ${name}: ${overflow} px wider than the window`);
        await page.screenshot({ path: `${folder}/${name}-${size}-${scheme}.png`, fullPage: !name.match(/^run$|events/) });
      }
      await context.close();
    }
  }
} finally {
  await browser.close();
  await server.stop();
}
