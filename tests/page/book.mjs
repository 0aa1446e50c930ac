// A browser on the gateway's page: books a room, waits for the push, looks into the inbox, takes a
// picture. Prints one JSON line a step, until its standard input ends.
// Arguments: the gateway's base URL, the picture's path.
import { execFileSync } from 'node:child_process';
import { chromium } from 'playwright-core';

const [gateway, picture] = process.argv.slice(2);
const say = (event, context) => console.log(JSON.stringify({ event, ...context }));
const TITLE = 'Retrospective';

function installedBrowser() {
  for (const name of ['chromium', 'chromium-browser', 'google-chrome']) {
    try {
      return execFileSync('which', [name], { encoding: 'utf8' }).trim();
    } catch {
      // The next name.
    }
  }
  throw new Error('no Chromium: run tests/setup.sh test');
}

// The empty name makes a folder for this run only.
const context = await chromium.launchPersistentContext('', {
  executablePath: installedBrowser(),
  headless: true,
  viewport: { width: 1280, height: 900 },
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
});
process.stdin.on('end', () => context.close().then(() => process.exit(0))).resume();

const page = context.pages()[0] ?? (await context.newPage());
const errors = [];
page.on('pageerror', (error) => errors.push(error.message));
page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));

await page.goto(gateway);
await page.waitForSelector('#state[data-state="connected"]');
await page.getByLabel('What for').fill(TITLE);
await page.getByRole('button', { name: 'Book', exact: true }).click();

const pushed = page.locator('#live li').filter({ hasText: TITLE }).first();
await pushed.waitFor();
say('pushed', { text: await pushed.innerText() });
const inbox = page.locator('#inbox li').filter({ hasText: TITLE }).first();
await inbox.waitFor();
say('inbox', { text: await inbox.innerText() });

await page.screenshot({ path: picture, fullPage: true });
say('errors', { messages: errors });
