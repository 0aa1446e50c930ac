// Three users on the gateway's page, each in a tab: one books; one wants the same time and takes an
// alternative, waits, and leaves; one waits until the first cancels, sees the promotion arrive,
// accepts, and moves what was booked. Prints one JSON line a step, until its standard input ends.
// Arguments: the gateway's base URL, what the pictures' paths begin with.
import { launch, listen, say } from './browser.mjs';

const [gateway, pictures] = process.argv.slice(2);
const WIDE = { width: 1280, height: 900 };
const NARROW = { width: 400, height: 860 };
// Half an hour off: a time that is not shown in the user's zone shows.
const ZONE = { timezoneId: 'Asia/Kolkata', locale: 'en-GB' };
const ZONE_MS = 5.5 * 3600 * 1000;
const DAY = new Date(Date.now() + ZONE_MS + 24 * 3600 * 1000).toISOString().slice(0, 10);

const context = await launch(ZONE);
const errors = listen(context);
const { bookingUrl } = await (await fetch(`${gateway}/demo/config`)).json();

async function openAs(user) {
  const page = await context.newPage();
  await page.goto(`${gateway}/?user=${user}`);
  await page.waitForSelector('#state[data-state="connected"]');
  await page.locator('#resource option').filter({ hasText: 'Aurora' }).waitFor({ state: 'attached' });
  return page;
}

async function ask(page, title) {
  await page.getByRole('combobox', { name: 'Room' }).selectOption('room-1');
  await page.getByLabel('What for').fill(title);
  await page.getByLabel('From').fill(`${DAY}T10:00`);
  await page.getByRole('button', { name: 'Book', exact: true }).click();
}

async function textOf(locator) {
  await locator.first().waitFor();
  return locator.first().innerText();
}

/** One picture wide and one narrow; answers by how much the page is wider than its window. */
async function picture(page, name, { fullPage = true } = {}) {
  await page.bringToFront();
  const tooWide = {};
  for (const [width, size] of [['wide', WIDE], ['narrow', NARROW]]) {
    await page.setViewportSize(size);
    tooWide[width] = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    await page.screenshot({ path: `${pictures}-${name}-${width}.png`, fullPage, animations: 'disabled' });
  }
  await page.setViewportSize(WIDE);
  say('picture', { name, tooWide });
}

const live = (page, text) => page.locator('#live li').filter({ hasText: text });
const inbox = (page, text) => page.locator('#inbox li').filter({ hasText: text });
const conflict = (page) => page.getByRole('region', { name: 'Already booked' });
const waiting = (page, title) => page.locator('#waiting > li').filter({ hasText: title });
const booked = (page, title) => page.locator('#bookings > li').filter({ hasText: title });

const first = await openAs('user-1');
await ask(first, 'Quarterly review');
say('booked', { text: await textOf(booked(first, 'Quarterly review')), push: await textOf(live(first, 'Quarterly review')) });
await inbox(first, 'Quarterly review').waitFor();
await picture(first, '1-booked');

const second = await openAs('user-2');
await ask(second, 'Design workshop');
await conflict(second).waitFor();
const alternatives = conflict(second).getByRole('listitem').getByRole('button');
await live(second, 'Already taken').first().waitFor();
say('conflict', { text: await conflict(second).innerText(), alternatives: await alternatives.allInnerTexts() });
await inbox(second, 'Already taken').waitFor();
await picture(second, '2-conflict');
const taken = second.waitForRequest((request) => request.method() === 'POST' && request.url().endsWith('/bookings'));
await alternatives.filter({ hasText: 'Borealis' }).click();
const { conflictId } = (await taken).postDataJSON();
const alternative = await textOf(booked(second, 'Design workshop'));
await conflict(second).waitFor({ state: 'hidden' });
const resolved = await textOf(live(second, 'Conflict resolved'));
const withdrawn = await second.locator('#live li.withdrawn').count();
await inbox(second, 'Conflict resolved').waitFor();
await inbox(second, 'Already taken').waitFor({ state: 'detached' });
say('alternative', { text: alternative, conflictId, resolved, withdrawn });
await picture(second, '3-alternative');

const third = await openAs('user-3');
await ask(third, 'Hiring round');
await conflict(third).getByRole('button', { name: 'Join the waitlist for this time' }).click();
const next = await textOf(waiting(third, 'Hiring round'));
await live(third, 'On the waitlist').first().waitFor();
await ask(second, 'Second try');
await conflict(second).getByRole('button', { name: 'Join the waitlist for this time' }).click();
const behind = await textOf(waiting(second, 'Second try'));
await second.getByRole('button', { name: 'Leave: Second try' }).click();
await waiting(second, 'Second try').waitFor({ state: 'detached' });
say('waiting', { next, behind });
await inbox(third, 'On the waitlist').waitFor();
await picture(third, '4-waiting');

// What a reload would wipe out.
await third.evaluate(() => { window.sameDocument = true; });
await first.getByRole('button', { name: 'Cancel: Quarterly review' }).click();
const accept = third.getByRole('button', { name: 'Accept: Hiring round' });
await accept.waitFor();
const push = await textOf(live(third, 'Held for you: Aurora'));
say('promoted', {
  push,
  text: await textOf(waiting(third, 'Hiring round')),
  sameDocument: await third.evaluate(() => window.sameDocument === true),
});
await inbox(third, 'Held for you: Aurora').waitFor();
await picture(third, '5-promoted');
await accept.click();
await waiting(third, 'Hiring round').waitFor({ state: 'detached' });
await inbox(third, 'Booked: Hiring round').waitFor();
say('accepted', { text: await textOf(booked(third, 'Hiring round')) });
await picture(third, '6-accepted');

const change = third.getByRole('dialog', { name: 'Another time' });
const openChange = () => third.getByRole('button', { name: 'Change time: Hiring round' }).click();
await openChange();
await change.getByLabel('New start').fill(`${DAY}T15:00`);
await picture(third, '7-change', { fullPage: false });
const patched = third.waitForRequest((request) => request.method() === 'PATCH');
await change.getByRole('button', { name: 'Change', exact: true }).click();
const patch = await patched;
await change.waitFor({ state: 'hidden' });
const moved = booked(third, 'Hiring round').filter({ hasText: '15:00' });
say('changed', { text: await textOf(moved), ifMatch: (await patch.allHeaders())['if-match'] });

// Somebody else is quicker.
await openChange();
await change.waitFor();
const quicker = await fetch(`${bookingUrl}/bookings/${patch.url().split('/').pop()}`, {
  method: 'PATCH',
  headers: { 'content-type': 'application/json', 'if-match': '*' },
  body: JSON.stringify({ title: 'Hiring round, again' }),
});
await change.getByRole('button', { name: 'Change', exact: true }).click();
say('stale', { quicker: quicker.status, text: await textOf(change.getByRole('alert')) });
await change.getByRole('button', { name: 'Leave it' }).click();
await booked(third, 'Hiring round, again').waitFor();

// What was held ends, since the room is closed. The list does not answer it any more; it is shown all the
// same, after a reload, too.
const post = async (path, body) => {
  const response = await fetch(`${bookingUrl}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return response.json();
};
const hour = { startTime: `${DAY}T12:00:00Z`, endTime: `${DAY}T13:00:00Z` };
const about = { ...hour, resourceId: 'room-3', attendeesCount: 2 };
const standing = await post('/bookings', { ...about, title: 'Rehearsal', userId: 'user-1' });
await post('/waitlist/room-3', { ...hour, attendeesCount: 2, title: 'Try-out', userId: 'user-3' });
await post(`/bookings/${standing.id}/cancel`, {});
await third.getByRole('button', { name: 'Accept: Try-out' }).waitFor();
await post('/resources/room-3/unavailability', { ...hour, reason: 'Painting' });
const over = waiting(third, 'Try-out').filter({ hasText: 'The wait has ended' });
const ended = await textOf(over);
const steps = await over.getByRole('button').count();
await third.reload();
say('ended', { text: ended, steps, again: await textOf(over) });
await picture(third, '8-ended');

// The browser itself notes each refused request; these are the ones that were asked for.
const isRefusal = ({ text, url }) =>
  (url === `${bookingUrl}/bookings` && text.includes('status of 409 ')) ||
  (url === patch.url() && text.includes('status of 412 '));
say('errors', {
  refusals: errors.filter(isRefusal).length,
  messages: errors.filter((error) => !isRefusal(error)),
});
