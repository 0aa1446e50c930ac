// A browser on the gateway's page: books a room, waits for the push, looks into the inbox, takes a
// picture. Prints one JSON line a step, until its standard input ends.
// Arguments: the gateway's base URL, the picture's path.
import { launch, listen, say } from './browser.mjs';

const [gateway, picture] = process.argv.slice(2);
const TITLE = 'Retrospective';

const context = await launch();
const errors = listen(context);
const page = context.pages()[0] ?? (await context.newPage());

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
