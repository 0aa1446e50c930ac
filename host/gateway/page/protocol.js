// The Centrifuge client protocol (JSON) over WebSocket, as far as a page with server-side
// subscriptions needs it: connect, recovery, ping and pong, refresh, RPC, close codes.
// Events: "state" {state, code, reason}, "push" {channel, offset, data, recovered},
// "lost" {channel}: something was missed that cannot be brought back.

const LONGEST_PAUSE_MS = 20_000;
const PING_GRACE_MS = 10_000;
const TOKEN_EXPIRED = 109;

export class Connection extends EventTarget {
  #url; #getToken; #socket = null; #wanted = false; #attempts = 0; #nextId = 1;
  #calls = new Map(); #positions = {}; #retry = 0; #silence = 0; #refresh = 0; #pingMs = 0;

  constructor(url, getToken) {
    super();
    this.#url = url;
    this.#getToken = getToken;
  }

  open() {
    this.#wanted = true;
    this.#dial();
  }

  close(reason = "closed by you", code = 0) {
    this.#wanted = false;
    this.#drop();
    this.#tell("state", { state: "disconnected", code, reason });
  }

  rpc(method, data = {}) {
    return this.#call({ rpc: { method, data } }).then((reply) => reply.rpc.data);
  }

  async #dial() {
    this.#tell("state", { state: "connecting" });
    let token;
    try {
      token = await this.#getToken();
    } catch (error) {
      return this.#again(0, error.message);
    }
    if (!this.#wanted || this.#socket) return;
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    const mine = (handle) => (event) => { if (this.#socket === socket) handle(event); };
    socket.onopen = mine(() => this.#connect(token));
    socket.onmessage = mine(({ data }) => data.split("\n").forEach((line) => this.#receive(JSON.parse(line))));
    socket.onclose = mine(({ code, reason }) => {
      const final = code === 1009 || (code >= 3500 && code < 4000) || (code >= 4500 && code < 5000);
      if (final) this.close(reason, code);
      else this.#again(code, reason || "the connection was lost");
    });
  }

  async #connect(token) {
    const subs = {};
    for (const [channel, { epoch, offset }] of Object.entries(this.#positions)) {
      subs[channel] = { recover: true, epoch, offset };
    }
    try {
      const { connect } = await this.#call({ connect: { token, subs, name: "carillon-page" } });
      this.#attempts = 0;
      this.#pingMs = connect.ping * 1000;
      this.#watch();
      this.#renewLater(connect);
      this.#tell("state", { state: "connected" });
      for (const [channel, sub] of Object.entries(connect.subs ?? {})) {
        this.#positions[channel] = { epoch: sub.epoch, offset: sub.offset };
        if (sub.was_recovering && !sub.recovered) this.#tell("lost", { channel });
        for (const pub of sub.publications ?? []) this.#publish(channel, pub, true);
      }
    } catch (error) {
      if (error.temporary || error.code === TOKEN_EXPIRED) this.#again(error.code, error.message);
      else if (error.code) this.close(error.message, error.code);
    }
  }

  #receive(reply) {
    this.#watch();
    if (reply.id) {
      const { resolve, reject } = this.#calls.get(reply.id) ?? {};
      this.#calls.delete(reply.id);
      if (reply.error) reject?.(Object.assign(new Error(reply.error.message), reply.error));
      else resolve?.(reply);
    } else if (reply.push?.pub) {
      this.#publish(reply.push.channel, reply.push.pub, false);
    } else if (!reply.push) {
      this.#socket.send("{}"); // an empty reply is a ping, an empty command its pong
    }
  }

  #publish(channel, { offset, data }, recovered) {
    if (this.#positions[channel]) this.#positions[channel].offset = offset;
    this.#tell("push", { channel, offset, data, recovered });
  }

  #call(command) {
    return new Promise((resolve, reject) => {
      if (this.#socket?.readyState !== WebSocket.OPEN) return reject(new Error("not connected"));
      const id = this.#nextId++;
      this.#calls.set(id, { resolve, reject });
      this.#socket.send(JSON.stringify({ id, ...command }));
    });
  }

  #renewLater({ expires, ttl }) {
    clearTimeout(this.#refresh);
    if (!expires) return;
    this.#refresh = setTimeout(async () => {
      try {
        const { refresh } = await this.#call({ refresh: { token: await this.#getToken() } });
        this.#renewLater(refresh);
      } catch { /* the server closes with "expired", and the next connect brings a new token */ }
    }, Math.min(ttl * 1000, 2 ** 31 - 1));
  }

  #watch() {
    clearTimeout(this.#silence);
    if (this.#pingMs) this.#silence = setTimeout(() => this.#again(0, "no ping came"), this.#pingMs + PING_GRACE_MS);
  }

  #again(code, reason) {
    this.#drop();
    if (!this.#wanted) return;
    const pause = Math.random() * Math.min(500 * 2 ** this.#attempts++, LONGEST_PAUSE_MS) + 200;
    this.#tell("state", { state: "waiting", code, reason, pause });
    this.#retry = setTimeout(() => this.#dial(), pause);
  }

  #drop() {
    [this.#retry, this.#silence, this.#refresh].forEach(clearTimeout);
    this.#calls.forEach(({ reject }) => reject(new Error("the connection was lost")));
    this.#calls.clear();
    this.#pingMs = 0;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
