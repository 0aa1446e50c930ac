// Says hello to whoever books.

import { write } from "carillon:plugin/log@0.1.1";
import { get } from "carillon:plugin/settings@0.1.1";

export const handler = {
  describe() {
    return {
      name: "hello-javascript",
      version: "0.1.0",
      summary: "Says hello to whoever books.",
      subscriptions: ["booking.created"],
      settings: [
        { key: "greeting", summary: "How to begin.", default: "Hello" },
      ],
    };
  },

  // The shape of the state; this plugin keeps none.
  stateVersion() {
    return 0;
  },

  // A list of actions; what is thrown is a failure, to be tried again or rejected for good.
  handle(event) {
    if (event.userId === undefined) {
      throw { tag: "reject", val: "the event names no user" };
    }
    const booking = JSON.parse(event.data);
    // The system's clock shows when the event was logged, today and in every replay.
    const logged = new Date().toISOString();
    write("debug", `${event.id} was logged at ${logged}`);
    const notification = {
      recipient: { tag: "user", val: event.userId },
      category: "booking",
      title: `${get("greeting")}: ${booking.title ?? event.subjectId}`,
      body: `Booked at ${logged}.`,
      channels: [],
      priority: "normal",
    };
    return [{ tag: "notify", val: notification }];
  },
};
