// Elements, times, and what goes wrong.

export const byId = (id) => document.getElementById(id);

/** An element with text or children; text is never taken for HTML. */
export function make(tag, content, className) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...(Array.isArray(content) ? content : [content]));
  return element;
}

/** A button; what it does is shown as attempted. */
export function makeButton(content, action, className) {
  const button = make("button", content, className);
  button.type = "button";
  button.onclick = () => attempt(action, button);
  return button;
}

/** One of many alike: its accessible name says to what it does it. */
export function makeStep(label, subject, action, className) {
  const button = makeButton(label, action, className);
  button.setAttribute("aria-label", `${label}: ${subject}`);
  return button;
}

/** Fills a list; the button that had the focus keeps it where it is still there. */
export function fillList(list, items, empty) {
  const focused = list.contains(document.activeElement) && document.activeElement.getAttribute("aria-label");
  list.replaceChildren(...items);
  empty.hidden = items.length > 0;
  if (focused) [...list.querySelectorAll("button")].find((button) => button.getAttribute("aria-label") === focused)?.focus();
}

export function showProblem(error) {
  const box = byId("problem");
  box.replaceChildren(make("strong", error.title ?? "Error"), make("p", error.message));
  box.hidden = false;
  box.scrollIntoView({ block: "nearest" });
}

/** Runs what a person asked for; what goes wrong is shown. */
export async function attempt(action, control) {
  byId("problem").hidden = true;
  if (control) control.disabled = true;
  try {
    await action();
  } catch (error) {
    showProblem(error);
  } finally {
    if (control) control.disabled = false;
  }
}

/** Asks, and shows what is answered unless the same was asked again meanwhile. */
export function newestOnly(question, show) {
  let turn = 0;
  return async (...about) => {
    const mine = ++turn;
    try {
      const answer = await question(...about);
      if (mine === turn) show(answer, ...about);
    } catch (error) {
      if (mine === turn) showProblem(error);
    }
  };
}

// All times are shown in the zone of whoever looks at them.
const format = new Intl.DateTimeFormat([], { dateStyle: "medium", timeStyle: "short" });
export const zone = format.resolvedOptions().timeZone;
export const time = (value) => format.format(new Date(value));
export const span = ({ startTime, endTime }) => format.formatRange(new Date(startTime), new Date(endTime));

/** What a `datetime-local` field takes: local time without a zone. */
export function fieldTime(value) {
  const date = new Date(value);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
