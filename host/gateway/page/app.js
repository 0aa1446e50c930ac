// The page at `/`: choose a user, book a room, see what arrives.

import { Connection } from "/page/protocol.js";

const SHOWN_LIVE = 50;
const STEPS = {
  pending: [["confirm", "Confirm"], ["cancel", "Cancel"]],
  confirmed: [["check-in", "Check in"], ["no-show", "Nobody came"], ["cancel", "Cancel"]],
  checked_in: [["check-out", "Check out"]],
};

const byId = (id) => document.getElementById(id);
let config;
let user = "";
let token = "";
let connection = null;
let inboxNext = null;
let inboxAsked = 0;
let reloading = null;

/** An error that a problem document (RFC 9457) describes. */
class ProblemError extends Error {
  constructor(problem, status) {
    super(problem.detail ?? `The server answered ${status}.`);
    this.title = problem.title ?? "Error";
  }
}

async function ask(url, { method = "GET", body, bearer = true } = {}) {
  const headers = {};
  if (bearer && token) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(url, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new ProblemError({ title: "No answer", detail: `${new URL(url, location.href).origin} cannot be reached.` });
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new ProblemError(answer, response.status);
  return answer;
}

const booking = (path, options) => ask(config.bookingUrl.replace(/\/$/, "") + path, options);

function showProblem(error) {
  const box = byId("problem");
  box.replaceChildren(make("strong", error.title ?? "Error"), make("p", error.message));
  box.hidden = false;
  box.scrollIntoView({ block: "nearest" });
}

/** Runs what a person asked for; what goes wrong is shown. */
async function attempt(action, control) {
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

/** An element with text or children; text is never taken for HTML. */
function make(tag, content, className) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...(Array.isArray(content) ? content : [content]));
  return element;
}

const time = (value) => new Date(value).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });

// ---- who ----

function newToken() {
  if (!config.users.length) return Promise.resolve(token);
  return ask("/demo/token", { method: "POST", body: { user }, bearer: false }).then((answer) => (token = answer.token));
}

async function become(name) {
  user = name;
  connection?.close();
  byId("live").replaceChildren();
  byId("no-live").hidden = false;
  await newToken();
  const url = location.origin.replace(/^http/, "ws") + "/connection/websocket";
  connection = new Connection(url, newToken);
  connection.addEventListener("state", ({ detail }) => showState(detail));
  connection.addEventListener("push", ({ detail }) => arrived(detail));
  connection.addEventListener("lost", ({ detail }) => {
    showProblem({ title: "Something was missed", message: `Not all of ${detail.channel} could be brought back; the inbox has it.` });
    loadInbox();
  });
  connection.open();
  await Promise.all([loadInbox(), loadBookings()]);
}

function subjectOf(text) {
  try {
    const payload = text.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    return new TextDecoder().decode(Uint8Array.from(atob(payload), (c) => c.charCodeAt(0)));
  } catch {
    return "{}";
  }
}

function showState({ state, code, reason }) {
  const words = {
    connected: `connected as ${user}`,
    connecting: "connecting …",
    waiting: `connecting again (${reason})`,
    disconnected: `not connected${reason ? ` (${code ? `${code}: ` : ""}${reason})` : ""}`,
  };
  byId("state").dataset.state = state;
  byId("state").textContent = words[state];
}

// ---- what arrives ----

function arrived({ channel, offset, data, recovered }) {
  const live = byId("live");
  byId("no-live").hidden = true;
  if (data.type === "withdrawal") {
    for (const item of live.children) {
      if (item.dataset.key === `${channel} ${data.plugin} ${data.collapseKey}`) item.classList.add("withdrawn");
    }
  } else {
    const item = entry(data, `${channel} · ${offset}${recovered ? " · caught up" : ""}`);
    item.dataset.key = `${channel} ${data.plugin} ${data.collapseKey}`;
    live.prepend(item);
    while (live.children.length > SHOWN_LIVE) live.lastChild.remove();
  }
  reloadSoon();
}

/** Many pushes at once ask once. */
function reloadSoon() {
  reloading ??= setTimeout(() => {
    reloading = null;
    loadInbox();
    loadBookings();
  }, 150);
}

function entry(notification, more) {
  const meta = `${notification.category} · ${time(notification.createdMs)} · ${more}`;
  return make("li", [make("strong", notification.title), make("p", notification.body), make("p", meta, "meta")]);
}

// ---- inbox ----

async function loadInbox(before) {
  const turn = ++inboxAsked;
  try {
    const page = await ask(`/inbox?limit=20${before ? `&before=${encodeURIComponent(before)}` : ""}`);
    if (turn !== inboxAsked) return; // a newer question is on its way
    const items = page.items.map((item) => entry(item, item.plugin));
    if (before) byId("inbox").append(...items);
    else byId("inbox").replaceChildren(...items);
    inboxNext = page.next;
    byId("inbox-more").hidden = !page.next;
    byId("no-inbox").hidden = byId("inbox").children.length > 0;
  } catch (error) {
    showProblem(error);
  }
}

// ---- bookings ----

async function loadBookings() {
  try {
    const from = new Date(Date.now() - 24 * 3600 * 1000).toISOString();
    const page = await booking(`/bookings?limit=200&from=${from}`);
    const own = page.items.filter((item) => item.userId === user);
    own.sort((a, b) => b.createdAt.localeCompare(a.createdAt));
    byId("bookings").replaceChildren(...own.map(bookingItem));
    byId("no-bookings").hidden = own.length > 0;
  } catch (error) {
    showProblem(error);
  }
}

function bookingItem(item) {
  const steps = (STEPS[item.status] ?? []).map(([path, label]) => {
    const button = make("button", label);
    button.type = "button";
    button.setAttribute("aria-label", `${label}: ${item.title}`);
    button.onclick = () => attempt(async () => {
      await booking(`/bookings/${encodeURIComponent(item.id)}/${path}`, { method: "POST" });
      await loadBookings();
    }, button);
    return button;
  });
  const meta = `${item.resourceId} · ${time(item.startTime)} · ${item.status.replace("_", " ")}`;
  return make("li", [make("strong", item.title), make("p", meta, "meta"), make("div", steps, "steps")]);
}

async function book() {
  const start = new Date(byId("start").value);
  const end = new Date(start.getTime() + Number(byId("duration").value) * 60_000);
  await booking("/bookings", {
    method: "POST",
    body: {
      resourceId: byId("resource").value,
      userId: user,
      title: byId("title").value,
      startTime: start.toISOString(),
      endTime: end.toISOString(),
    },
  });
  showStart(end);
  await loadBookings();
}

/** The field wants local time without a zone. */
function showStart(date) {
  const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  byId("start").value = local.toISOString().slice(0, 16);
}

// ---- start ----

function fill(select, values) {
  select.replaceChildren(...values.map((value) => new Option(value, value)));
}

async function start() {
  config = await ask("/demo/config");
  fill(byId("resource"), config.resources);
  showStart(new Date(Math.ceil((Date.now() + 60_000) / 1_800_000) * 1_800_000));
  byId("booking-form").onsubmit = (event) => {
    event.preventDefault();
    attempt(book, event.submitter);
  };
  byId("inbox-reload").onclick = () => attempt(() => loadInbox());
  byId("inbox-more").onclick = () => attempt(() => loadInbox(inboxNext));
  if (config.users.length) {
    fill(byId("user"), config.users);
    const chosen = new URLSearchParams(location.search).get("user");
    if (config.users.includes(chosen)) byId("user").value = chosen;
    byId("user").onchange = () => attempt(() => become(byId("user").value));
    await become(byId("user").value);
  } else {
    byId("user-choice").hidden = true;
    byId("token-panel").hidden = false;
    byId("token-form").onsubmit = (event) => {
      event.preventDefault();
      token = byId("token").value.trim();
      attempt(() => become(JSON.parse(subjectOf(token)).sub ?? ""), event.submitter);
    };
  }
}

attempt(start);
