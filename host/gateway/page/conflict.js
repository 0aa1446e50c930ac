// What is shown when a time is taken: why, when, and what could be had instead.

import { attempt, byId, make, makeButton, span } from "/page/elements.js";
import { nameOf } from "/page/resources.js";
import { ProblemError } from "/page/session.js";
import { join } from "/page/waiting.js";

/** The refusals that come with alternatives: the time is booked, or the resource is closed then. */
const NO_PLACE = ["overlap", "not-available"];

/**
 * Books or moves. Where that is refused because the time is taken, the alternatives are shown;
 * whoever takes one does the same again with that, and with the `conflictId` of the refusal.
 * `wish` is {resourceId, title, startTime, endTime, attendeesCount}; `commit` is given one like it.
 */
export async function bookOrChoose(wish, commit) {
  closeConflict();
  try {
    await commit(wish);
  } catch (error) {
    if (!(error instanceof ProblemError && NO_PLACE.some((code) => error.is(code)))) throw error;
    showConflict(wish, error.problem, commit);
    return;
  }
  document.dispatchEvent(new Event("changed"));
}

export function closeConflict() {
  byId("conflict").hidden = true;
}

function showConflict(wish, problem, commit) {
  byId("conflict-title").textContent = problem.title;
  byId("conflict-reason").textContent = `${nameOf(wish.resourceId)}, ${span(wish)}: ${problem.reason}.`;
  byId("conflict-taken").textContent = `Taken: ${problem.conflicts.map(span).join("; ")}.`;
  byId("alternatives").replaceChildren(...problem.alternatives.map((other) => {
    const { resourceId, startTime, endTime } = other;
    const take = async () => {
      await bookOrChoose({ ...wish, resourceId, startTime, endTime, conflictId: problem.conflictId }, commit);
      if (byId("conflict").hidden) byId("bookings-title").focus();
    };
    const what = [make("strong", other.resourceName), " ", make("span", span(other), "when"), " ", make("span", other.reason, "meta")];
    return make("li", [makeButton(what, take)]);
  }));
  byId("no-alternatives").hidden = problem.alternatives.length > 0;
  byId("join").onclick = () => attempt(async () => {
    await join(wish);
    closeConflict();
    byId("waiting-title").focus();
  }, byId("join"));
  byId("conflict-close").onclick = closeConflict;
  byId("conflict").hidden = false;
  byId("conflict").scrollIntoView({ block: "start" });
  byId("conflict-title").focus({ preventScroll: true });
}
