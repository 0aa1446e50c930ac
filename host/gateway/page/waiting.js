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

/** As many as one page of the list holds; of more, those joined last. */
const MOST = 200;

/** The waits that ended without a booking, by id: the list holds them no longer, their notifications tell. */
const ended = new Map();

const path = (resourceId) => `/waitlist/${encodeURIComponent(resourceId)}`;
const entryPath = (resourceId, id) => `${path(resourceId)}/${encodeURIComponent(id)}`;
const isAhead = (startTime) => new Date(startTime) > new Date();
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
    const { items } = await booking(`/waitlist?limit=${MOST}&user=${encodeURIComponent(session.user)}`);
    const over = [...ended.values()].filter(({ userId, startTime }) => userId === session.user && isAhead(startTime));
    return [...items, ...over];
  },
  (entries) => {
    entries.sort((one, other) => one.startTime.localeCompare(other.startTime));
    fillList(byId("waiting"), entries.map(item), byId("no-waiting"));
    clearTimeout(askAgain);
    if (entries.length) askAgain = setTimeout(loadWaiting, ASK_AGAIN_MS);
  },
);

/** What has expired is shown until its time has come, as far back as the inbox on the page goes. */
export async function noteEnds(notifications) {
  const told = notifications.map(({ data }) => data).filter((data) => data?.kind === "waitlist.expired");
  const news = told.filter((data) => !ended.has(data.waitlistId) && isAhead(data.desiredStartTime));
  // One that cannot be had stays in the inbox, and is asked for again with it.
  await Promise.allSettled(news.map(async ({ resourceId, waitlistId }) => {
    ended.set(waitlistId, await booking(entryPath(resourceId, waitlistId)));
  }));
  if (news.length) await loadWaiting();
}

function item(entry) {
  const own = entryPath(entry.resourceId, entry.id);
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
