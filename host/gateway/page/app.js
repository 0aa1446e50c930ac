// The page at `/`: choose a user, book a room, see what arrives.

import { loadBookings, startBooking } from "/page/bookings.js";
import { closeConflict } from "/page/conflict.js";
import { attempt, byId, make, newestOnly, showProblem, time, zone } from "/page/elements.js";
import { Connection } from "/page/protocol.js";
import { assumeResources, loadResources } from "/page/resources.js";
import { ask, newToken, session } from "/page/session.js";
import { loadWaiting, noteEnds } from "/page/waiting.js";

const SHOWN_LIVE = 50;

let connection = null;
let inboxNext = null;
let reloading = null;

// ---- who ----

async function become(name) {
  session.user = name;
  connection?.close();
  closeConflict();
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
  await loadResources().catch(showProblem);
  await Promise.all([loadInbox(), loadBookings(), loadWaiting()]);
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
    connected: `connected as ${session.user}`,
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
    loadWaiting();
  }, 150);
}

function entry(notification, more) {
  const meta = `${notification.category} · ${time(notification.createdMs)} · ${more}`;
  return make("li", [make("strong", notification.title), make("p", notification.body), make("p", meta, "meta")]);
}

// ---- inbox ----

const loadInbox = newestOnly(
  (before) => ask(`/inbox?limit=20${before ? `&before=${encodeURIComponent(before)}` : ""}`),
  (page, before) => {
    const items = page.items.map((item) => entry(item, item.plugin));
    if (before) byId("inbox").append(...items);
    else byId("inbox").replaceChildren(...items);
    inboxNext = page.next;
    byId("inbox-more").hidden = !page.next;
    byId("no-inbox").hidden = byId("inbox").children.length > 0;
    noteEnds(page.items);
  },
);

// ---- start ----

function fill(select, values) {
  select.replaceChildren(...values.map((value) => new Option(value, value)));
}

async function start() {
  session.config = await ask("/demo/config");
  assumeResources();
  startBooking();
  byId("zone").textContent = `Times are those of ${zone}.`;
  document.addEventListener("changed", () => {
    loadBookings();
    loadWaiting();
  });
  byId("inbox-reload").onclick = () => attempt(() => loadInbox());
  byId("inbox-more").onclick = () => attempt(() => loadInbox(inboxNext));
  const { users } = session.config;
  if (users.length) {
    fill(byId("user"), users);
    const chosen = new URLSearchParams(location.search).get("user");
    if (users.includes(chosen)) byId("user").value = chosen;
    byId("user").onchange = () => attempt(() => become(byId("user").value));
    await become(byId("user").value);
  } else {
    byId("user-choice").hidden = true;
    byId("token-panel").hidden = false;
    byId("token-form").onsubmit = (event) => {
      event.preventDefault();
      session.token = byId("token").value.trim();
      attempt(() => become(JSON.parse(subjectOf(session.token)).sub ?? ""), event.submitter);
    };
  }
}

attempt(start);
