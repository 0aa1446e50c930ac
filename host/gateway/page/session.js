// Who is using the page, and how it asks the two servers.

export const session = { config: null, user: "", token: "" };

/** An error that a problem document (RFC 9457) describes. */
export class ProblemError extends Error {
  constructor(problem, status) {
    super(problem.detail ?? `The server answered ${status}.`);
    this.title = problem.title ?? "Error";
    this.problem = problem;
  }

  /** Whether the problem is of this kind of Carillon's own. */
  is(code) {
    return this.problem.type === `urn:carillon:problem:${code}`;
  }
}

/** Asks, and answers with the body and its entity tag. */
async function fetchTagged(url, { method = "GET", body, bearer = true, ifMatch } = {}) {
  const headers = {};
  if (bearer && session.token) headers.authorization = `Bearer ${session.token}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  if (ifMatch) headers["if-match"] = ifMatch;
  let response;
  try {
    response = await fetch(url, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new ProblemError({ title: "No answer", detail: `${new URL(url, location.href).origin} cannot be reached.` });
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new ProblemError(answer, response.status);
  return { answer, etag: response.headers.get("etag") };
}

export const ask = async (url, options) => (await fetchTagged(url, options)).answer;

const bookingUrl = (path) => session.config.bookingUrl.replace(/\/$/, "") + path;
export const booking = (path, options) => ask(bookingUrl(path), options);
export const bookingTagged = (path, options) => fetchTagged(bookingUrl(path), options);

/** A new token where the page may get one; else the one that was pasted. */
export async function newToken() {
  if (session.config.users.length) {
    const answer = await ask("/demo/token", { method: "POST", body: { user: session.user }, bearer: false });
    session.token = answer.token;
  }
  return session.token;
}
