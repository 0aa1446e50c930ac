//! Why a connection is closed: numbers and words.
//!
//! The numbers are those of the Centrifuge client protocol where it has one, so that its
//! SDKs act on them: 3000–3499 and 4000–4499 mean "connect again", 3500–3999 and
//! 4500–4999 mean "do not". `docs/close-codes.md` is made from this table.

use std::borrow::Cow;

use axum::extract::ws::CloseFrame;

/// RFC 6455 section 5.5: a control frame carries 125 bytes, two of them the number.
const MAX_REASON_BYTES: usize = 123;

macro_rules! close_codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, reconnect: $reconnect:literal, $reason:literal;)+) => {
        /// Why the gateway closes a connection.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum CloseCode {
            $($(#[doc = $doc])+ $name,)+
        }

        impl CloseCode {
            /// Every code, in the order of the numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The number in the close frame.
            #[must_use]
            pub const fn number(self) -> u16 {
                match self { $(Self::$name => $number,)+ }
            }

            /// Whether a client that gets this code should connect again.
            #[must_use]
            pub const fn reconnect(self) -> bool {
                match self { $(Self::$name => $reconnect,)+ }
            }

            /// The reason in the close frame where nothing more exact is known. Never
            /// empty: the npm client takes a terminal code without a reason for a lost
            /// connection and reconnects for ever.
            #[must_use]
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$name => $reason,)+ }
            }

            /// What it means and what to do, for `docs/close-codes.md`.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+),)+ }
            }
        }
    };
}

close_codes! {
    /// The client sent a message above `max_message_bytes`. SDKs give up: sending it
    /// again would end the same way.
    MessageTooBig = 1009, reconnect: false, "message too big";
    /// The gateway is going down, for a restart or for good. Connect again, with a pause
    /// that grows and is drawn at random; recovery brings what was missed.
    Shutdown = 3001, reconnect: true, "the server is shutting down; connect again";
    /// The store did not answer, or something else failed that is not the client's fault.
    ServerError = 3004, reconnect: true, "internal server error";
    /// The token ran out and was not refreshed in time. Connect again with a new one.
    Expired = 3005, reconnect: true, "the token has expired; connect again with a new one";
    /// The client read more slowly than its streams grew, and its queue of `queue_bytes`
    /// is full. Connect again; recovery brings what was dropped.
    Slow = 3008, reconnect: true, "the connection is too slow; connect again to recover";
    /// The gateway noticed a gap in a stream before the client could see it. Connect
    /// again; recovery brings what is missing.
    InsufficientState = 3010, reconnect: true, "a gap in the stream was noticed; connect again to recover";
    /// The refreshed token has other groups than the connection. Connect again to
    /// subscribe to them.
    ForceReconnect = 3011, reconnect: true, "the groups of the token changed; connect again";
    /// A ping was not answered within `pong_timeout_ms`.
    NoPong = 3012, reconnect: true, "no pong";
    /// The token is missing, not signed with the right key, or belongs to somebody else
    /// than the connection.
    InvalidToken = 3500, reconnect: false, "invalid token";
    /// A frame was not a command, the first command was not `connect`, or a second
    /// `connect` came.
    BadRequest = 3501, reconnect: false, "bad request";
    /// No `connect` within `connect_timeout_ms`, or a connection stayed open after its
    /// `connect` was refused.
    Stale = 3502, reconnect: false, "no connect command in time";
    /// The token names more groups than `max_streams` allows.
    ChannelLimit = 3505, reconnect: false, "the token has too many groups";
    /// The client sent binary frames: this gateway speaks the JSON form of the protocol.
    InappropriateProtocol = 3506, reconnect: false, "send JSON in text frames";
    /// The client sent an asynchronous message (`send`), for which there is no receiver.
    NotAvailable = 3508, reconnect: false, "messages from clients are not available";
}

/// A code together with the words of this case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: CloseCode,
    pub(crate) reason: Cow<'static, str>,
}

impl Close {
    /// Puts the words of this case behind the code's own.
    pub(crate) fn because(code: CloseCode, detail: impl std::fmt::Display) -> Self {
        let mut reason = format!("{}: {detail}", code.reason());
        if reason.len() > MAX_REASON_BYTES {
            let end = (0..=MAX_REASON_BYTES)
                .rev()
                .find(|&at| reason.is_char_boundary(at));
            reason.truncate(end.unwrap_or(0));
        }
        Self {
            code,
            reason: reason.into(),
        }
    }

    pub(crate) fn frame(&self) -> CloseFrame {
        CloseFrame {
            code: self.code.number(),
            reason: self.reason.as_ref().into(),
        }
    }
}

impl From<CloseCode> for Close {
    fn from(code: CloseCode) -> Self {
        Self {
            code,
            reason: code.reason().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn every_code_has_a_reason_that_fits_and_a_range_that_agrees_with_reconnect() {
        for code in CloseCode::ALL {
            assert!(
                !code.reason().is_empty() && code.reason().len() <= MAX_REASON_BYTES,
                "{code:?}"
            );
            if code.number() >= 3000 {
                assert_eq!(
                    code.reconnect(),
                    matches!(code.number(), 3000..3500 | 4000..4500),
                    "{code:?}"
                );
            }
        }
    }

    #[test]
    fn a_long_detail_is_cut_at_a_character() {
        let close = Close::because(CloseCode::BadRequest, "é".repeat(200));
        assert!(close.reason.len() <= MAX_REASON_BYTES);
        assert!(close.reason.ends_with('é'));
    }

    #[test]
    fn the_page_of_close_codes_is_what_the_table_says() {
        let mut page = String::from(
            "# Close codes of the gateway\n\n\
             Every connection that the gateway closes gets a number and a reason in plain words. The reason may\n\
             go on after a colon with what was wrong in this case. Server-sent events carry the same in an event\n\
             named `closing`.\n\n\
             Made from `host/gateway/src/close.rs`; `UPDATE_DOCS=1 cargo test -p carillon-gateway close_codes` writes it again.\n\n\
             | number | name | connect again? | reason | meaning |\n| --- | --- | --- | --- | --- |\n",
        );
        for code in CloseCode::ALL {
            let again = if code.reconnect() { "yes" } else { "no" };
            writeln!(
                page,
                "| {} | {code:?} | {again} | {} |{} |",
                code.number(),
                code.reason(),
                code.meaning()
            )
            .unwrap();
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/close-codes.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(path).unwrap(),
            page,
            "run it with UPDATE_DOCS=1"
        );
    }
}
