// Booking, and what can be done with one's own bookings.

import { bookOrChoose } from "/page/conflict.js";
import { attempt, byId, fieldTime, fillList, make, makeStep, newestOnly, span } from "/page/elements.js";
import { nameOf } from "/page/resources.js";
import { booking, bookingTagged, ProblemError, session } from "/page/session.js";

const STEPS = {
  pending: [["confirm", "Confirm"], ["cancel", "Cancel"]],
  confirmed: [["check-in", "Check in"], ["no-show", "Nobody came"], ["cancel", "Cancel"]],
  checked_in: [["check-out", "Check out"]],
};
const NOT_BOOKED = ["held", "expired"];
const CAN_MOVE = ["pending", "confirmed"];
// The service says exactly from when on; long before it the buttons would only be in the way.
const SOON_MS = 24 * 3600 * 1000;
const IS_DUE = {
  "check-in": (item) => new Date(item.startTime) - Date.now() < SOON_MS,
  "no-show": (item) => new Date(item.startTime) <= Date.now(),
};

const path = (item) => `/bookings/${encodeURIComponent(item.id)}`;

export const loadBookings = newestOnly(
  () => {
    const since = new Date(Date.now() - 24 * 3600 * 1000).toISOString();
    return booking(`/bookings?limit=200&user=${encodeURIComponent(session.user)}&from=${since}`);
  },
  (page) => {
    // What is or was only held stands in the waitlist.
    const own = page.items.filter((item) => !NOT_BOOKED.includes(item.status));
    own.sort((a, b) => b.createdAt.localeCompare(a.createdAt));
    fillList(byId("bookings"), own.map(bookingItem), byId("no-bookings"));
  },
);

function bookingItem(item) {
  const due = (STEPS[item.status] ?? []).filter(([step]) => IS_DUE[step]?.(item) ?? true);
  const steps = due.map(([step, label]) => makeStep(label, item.title, async () => {
    await booking(`${path(item)}/${step}`, { method: "POST" });
    document.dispatchEvent(new Event("changed"));
  }));
  if (CAN_MOVE.includes(item.status)) {
    steps.push(makeStep("Change time", item.title, () => openChange(item)));
  }
  const meta = `${nameOf(item.resourceId)} · ${span(item)} · ${item.status.replace("_", " ")}`;
  return make("li", [make("strong", item.title), make("p", meta, "meta"), make("div", steps, "steps")]);
}

function book() {
  const start = new Date(byId("start").value);
  const end = new Date(start.getTime() + Number(byId("duration").value) * 60_000);
  const wish = {
    resourceId: byId("resource").value,
    title: byId("title").value,
    startTime: start.toISOString(),
    endTime: end.toISOString(),
    attendeesCount: 1,
  };
  return bookOrChoose(wish, async (chosen) => {
    await booking("/bookings", { method: "POST", body: { ...chosen, userId: session.user } });
    byId("start").value = fieldTime(chosen.endTime);
  });
}

/** The version that is asked for here is the one that the change is held to. */
async function openChange(item) {
  const { answer: seen, etag } = await bookingTagged(path(item));
  const [start, end, problem] = [byId("change-start"), byId("change-end"), byId("change-problem")];
  byId("change-what").textContent = `${seen.title} · ${nameOf(seen.resourceId)} · ${span(seen)}`;
  start.value = fieldTime(seen.startTime);
  end.value = fieldTime(seen.endTime);
  start.onchange = () => {
    const moved = new Date(start.value).getTime() + (new Date(seen.endTime) - new Date(seen.startTime));
    if (moved) end.value = fieldTime(moved);
  };
  problem.hidden = true;
  byId("change-form").onsubmit = async (event) => {
    event.preventDefault();
    problem.hidden = true;
    try {
      await bookOrChoose({
        resourceId: seen.resourceId,
        title: seen.title,
        startTime: new Date(start.value).toISOString(),
        endTime: new Date(end.value).toISOString(),
        attendeesCount: seen.attendeesCount,
      }, ({ resourceId, startTime, endTime }) =>
        booking(path(seen), { method: "PATCH", ifMatch: etag, body: { resourceId, startTime, endTime } }));
      byId("change").close();
    } catch (error) {
      const isOld = error instanceof ProblemError && error.is("other-version");
      if (isOld) document.dispatchEvent(new Event("changed"));
      problem.textContent = isOld ? "It was changed meanwhile. Close this, look at it as it is now, and change that." : error.message;
      problem.hidden = false;
    }
  };
  byId("change").showModal();
}

export function startBooking() {
  byId("start").value = fieldTime(Math.ceil((Date.now() + 60_000) / 1_800_000) * 1_800_000);
  byId("booking-form").onsubmit = (event) => {
    event.preventDefault();
    attempt(book, event.submitter);
  };
  byId("change-close").onclick = () => byId("change").close();
}
