// Takes a picture of a real run while it works: scripts/picture.sh calls it with
// a link that opens the page once, the run's id, and where to write.
import { launch } from './fixture.mjs';

const [link, run, file] = process.argv.slice(2);
const browser = await launch();
try {
  const context = await browser.newContext({ viewport: { width: 1200, height: 760 }, colorScheme: 'dark', reducedMotion: 'reduce' });
  const page = await context.newPage();
  await page.goto(link);
  await page.goto(`${new URL(link).origin}/runs/${run}`);
  await page.locator('.pulse-live').waitFor();
  await page.getByText('votes', { exact: false }).first().waitFor({ timeout: 60_000 });
  await page.screenshot({ path: file });
} finally {
  await browser.close();
}
