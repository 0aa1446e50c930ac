// The waitlist: joining, standing in it, accepting what is held, leaving.

import { byId, fillList, make, makeStep, newestOnly, span, time } from "/page/elements.js";
import { nameOf } from "/page/resources.js";
import { booking, session } from "/page/session.js";

const STANDING = {
  waiting: ({ position }) => (position === 1 ? "You are next in line." : `You are number ${position} in line.`),
  promoted: ({ holdUntil }) => `It is held for you until ${time(holdUntil)}.`,
  expired: () => "The wait has ended: it was not free, or not accepted, in time.",
};

/** The place in the line changes without a push; so while somebody waits, it is asked for. */
const ASK_AGAIN_MS = 20_000;
let askAgain = 0;

/** The list is that of all that was ever waited for, the newest first; nobody waits for a thousand. */
const MOST_PAGES = 5;

const path = (resourceId) => `/waitlist/${encodeURIComponent(resourceId)}`;
const changed = () => document.dispatchEvent(new Event("changed"));

export async function join({ resourceId, title, startTime, endTime, attendeesCount }) {
  await booking(path(resourceId), {
    method: "POST",
    body: { title, startTime, endTime, attendeesCount, userId: session.user },
  });
  changed();
}

export const loadWaiting = newestOnly(
  async () => {
    const own = `/waitlist?limit=200&user=${encodeURIComponent(session.user)}`;
    const entries = [];
    let address = own;
    for (let pages = 0; address && pages < MOST_PAGES; pages += 1) {
      const page = await booking(address);
      entries.push(...page.items.filter(concernsMe));
      address = page.next && `${own}&cursor=${page.next}`;
    }
    return entries;
  },
  (entries) => {
    entries.sort((one, other) => one.startTime.localeCompare(other.startTime));
    fillList(byId("waiting"), entries.map(item), byId("no-waiting"));
    clearTimeout(askAgain);
    if (entries.length) askAgain = setTimeout(loadWaiting, ASK_AGAIN_MS);
  },
);

/** What was accepted stands among the bookings; what has expired is shown until its time has come. */
function concernsMe({ status, startTime }) {
  return status in STANDING && (status !== "expired" || new Date(startTime) > new Date());
}

function item(entry) {
  const own = `${path(entry.resourceId)}/${encodeURIComponent(entry.id)}`;
  const steps = [];
  if (entry.status === "promoted") {
    steps.push(makeStep("Accept", entry.title, async () => {
      await booking(`${own}/accept`, { method: "POST" });
      changed();
    }, "primary"));
  }
  if (entry.status !== "expired") {
    steps.push(makeStep("Leave", entry.title, async () => {
      await booking(own, { method: "DELETE" });
      changed();
    }));
  }
  const row = make("li", [
    make("strong", entry.title),
    make("p", STANDING[entry.status](entry), "standing"),
    make("p", `${nameOf(entry.resourceId)} · ${span(entry)} · ${entry.status}`, "meta"),
    make("div", steps, "steps"),
  ]);
  row.dataset.status = entry.status;
  return row;
}
