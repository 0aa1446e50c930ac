// What can be booked, and what people call it.

import { byId } from "/page/elements.js";
import { booking, session } from "/page/session.js";

let names = new Map();

export const nameOf = (id) => names.get(id) || id;

export async function loadResources() {
  const page = await booking("/resources?limit=200");
  names = new Map(page.items.map(({ id, name }) => [id, name]));
  const chosen = byId("resource").value;
  byId("resource").replaceChildren(...page.items.map(({ id, name }) => new Option(`${name} (${id})`, id)));
  if (names.has(chosen)) byId("resource").value = chosen;
}

/** Before anybody has asked the booking API, and where it cannot be reached. */
export function assumeResources() {
  names = new Map(session.config.resources.map((id) => [id, ""]));
  byId("resource").replaceChildren(...session.config.resources.map((id) => new Option(id, id)));
}
