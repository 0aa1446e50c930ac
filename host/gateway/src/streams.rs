//! The streams of a bearer, and where a client stands in them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use carillon_web::Claims;

use crate::close::{Close, CloseCode};
use crate::hub::Registration;
use crate::push::Push;

/// The streams that a token entitles to: the user's own, then one for each group, sorted,
/// each once.
///
/// # Errors
/// When there are more than `max`.
pub(crate) fn streams_of(claims: &Claims, max: usize) -> Result<Box<[Arc<str>]>, Close> {
    let mut groups: Vec<&str> = claims.groups.iter().map(String::as_str).collect();
    groups.sort_unstable();
    groups.dedup();
    if groups.len() + 1 > max {
        let detail = format!("{}, and {} are allowed here", groups.len(), max - 1);
        return Err(Close::because(CloseCode::ChannelLimit, detail));
    }
    let user = std::iter::once(format!("user:{}", claims.user));
    Ok(user
        .chain(groups.into_iter().map(|group| format!("group:{group}")))
        .map(Arc::from)
        .collect())
}

/// Where a client stands in one stream: it has everything up to `offset`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) stream: Arc<str>,
    pub(crate) epoch: Arc<str>,
    pub(crate) offset: u64,
}

/// Everything that a client gets after its start: first the backlog that was read from
/// the store, then what the hub queued meanwhile and since, each entry once and in order.
#[derive(Debug)]
pub(crate) struct Feed {
    registration: Registration,
    positions: Box<[Position]>,
    backlog: VecDeque<Arc<Push>>,
}

impl Feed {
    /// A feed of no streams yet.
    pub(crate) fn new(registration: Registration) -> Self {
        Self {
            registration,
            positions: Box::default(),
            backlog: VecDeque::new(),
        }
    }

    /// The hub queues from here on. Done before the store is read, so that nothing falls
    /// between the two.
    pub(crate) fn listen(&mut self, streams: &[Arc<str>]) {
        self.registration.listen(streams.into());
    }

    /// Says where the client stands. `backlog` goes on from there.
    pub(crate) fn start(&mut self, positions: Box<[Position]>, backlog: VecDeque<Arc<Push>>) {
        self.positions = positions;
        self.backlog = backlog;
    }

    /// Where the client stands once it has read what was taken from here.
    pub(crate) fn positions(&self) -> &[Position] {
        &self.positions
    }

    /// The next entry in order, or why the connection must be closed.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Arc<Push>, Close>> {
        loop {
            let push = match self.backlog.pop_front() {
                Some(push) => {
                    if self.backlog.is_empty() {
                        self.backlog = VecDeque::new();
                    }
                    push
                }
                None => match self.registration.poll_next(cx) {
                    Poll::Ready(Ok(push)) => push,
                    other => return other,
                },
            };
            match self.advance(&push) {
                Ok(true) => return Poll::Ready(Ok(push)),
                Ok(false) => {}
                Err(gap) => return Poll::Ready(Err(gap)),
            }
        }
    }

    /// Why the connection must be closed, if it must, for when nothing can be written.
    pub(crate) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<Close> {
        self.registration.poll_closed(cx)
    }

    /// Whether the entry is the next of its stream; `false` if the client has it already,
    /// because it was committed between joining the hub and reading the store.
    fn advance(&mut self, push: &Push) -> Result<bool, Close> {
        let Some(position) = self
            .positions
            .iter_mut()
            .find(|position| position.stream == push.stream)
        else {
            return Ok(false);
        };
        if push.offset <= position.offset {
            return Ok(false);
        }
        if push.offset != position.offset + 1 {
            tracing::warn!(stream = %push.stream, after = position.offset, got = push.offset, "gap in a stream");
            return Err(CloseCode::InsufficientState.into());
        }
        position.offset = push.offset;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::task::Waker;

    use carillon_store::{Publication, Publisher as _};

    use super::*;
    use crate::hub::Hub;
    use crate::telemetry::Telemetry;

    fn claims(groups: &[&str]) -> Claims {
        Claims {
            user: "ada".into(),
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
            roles: Vec::new(),
            expires_at_ms: None,
        }
    }

    fn publication(offset: u64) -> Publication {
        Publication {
            stream: "user:ada".into(),
            offset,
            json: "{}".into(),
        }
    }

    fn taken(feed: &mut Feed) -> Result<Vec<u64>, CloseCode> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut offsets = Vec::new();
        loop {
            match feed.poll_next(&mut cx) {
                Poll::Pending => return Ok(offsets),
                Poll::Ready(Ok(push)) => offsets.push(push.offset),
                Poll::Ready(Err(close)) => return Err(close.code),
            }
        }
    }

    #[test]
    fn a_bearer_has_the_own_stream_and_each_group_once() {
        let streams = streams_of(&claims(&["staff", "admins", "staff"]), 3).unwrap();
        assert_eq!(
            streams.iter().map(|s| &**s).collect::<Vec<_>>(),
            ["user:ada", "group:admins", "group:staff"]
        );
        assert_eq!(
            streams_of(&claims(&["a", "b", "c"]), 3).unwrap_err().code,
            CloseCode::ChannelLimit
        );
    }

    #[test]
    fn what_the_store_gave_already_is_not_sent_again_and_a_gap_closes() {
        let hub = Arc::new(Hub::new(Arc::new(Telemetry::new())));
        let mut feed = Feed::new(hub.register(10_000));
        feed.listen(&["user:ada".into()]);
        hub.published(&[
            publication(4),
            publication(5),
            publication(6),
            publication(7),
        ]);
        let position = Position {
            stream: "user:ada".into(),
            epoch: "e".into(),
            offset: 4,
        };
        feed.start(
            [position].into(),
            [Arc::new(Push::new(&publication(5)))].into(),
        );
        assert_eq!(taken(&mut feed), Ok(vec![5, 6, 7]));
        assert_eq!(feed.positions()[0].offset, 7);
        hub.published(&[publication(9)]);
        assert_eq!(taken(&mut feed), Err(CloseCode::InsufficientState));
    }
}
