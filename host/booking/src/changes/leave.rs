//! Waiting no more.

use crate::changes::freed::GivenUp;
use crate::changes::waitlist::{Ending, EntryAccess};
use crate::command::Command;
use crate::error::WriteError;
use crate::waitlist::{self, Entry, EntryStatus, MAX_WAITING_OF_USER, Whose};
use crate::work::Work;

/// Takes an entry back.
pub(crate) struct LeaveWaitlist {
    pub(crate) access: EntryAccess,
}

/// What became of it.
pub(crate) enum Left {
    /// It is off the list.
    Removed,
    /// It has ended already.
    Over(EntryStatus),
    /// There is no such entry, or it belongs to somebody else.
    NoEntry,
}

impl Command for LeaveWaitlist {
    type Done = Left;

    async fn carry_out(&self, work: &mut Work<'_>) -> Result<Left, WriteError> {
        let Some(entry) = work.find_entry(&self.access).await? else {
            return Ok(Left::NoEntry);
        };
        match entry.status {
            EntryStatus::Waiting | EntryStatus::Promoted => {
                let mut given_up = GivenUp::default();
                work.take_back(&entry, &mut given_up).await?;
                work.freed(given_up).await?;
                Ok(Left::Removed)
            }
            over => Ok(Left::Over(over)),
        }
    }
}

/// Takes back everything with which a user waits for a resource.
pub(crate) struct LeaveAll {
    pub(crate) resource_id: String,
    pub(crate) user_id: String,
}

impl Command for LeaveAll {
    /// How many entries that were.
    type Done = usize;

    async fn carry_out(&self, work: &mut Work<'_>) -> Result<usize, WriteError> {
        let whose = Whose {
            resource_id: Some(&self.resource_id),
            user_id: Some(&self.user_id),
        };
        let entries =
            waitlist::living_entries(&mut *work.connection, whose, MAX_WAITING_OF_USER).await?;
        let mut given_up = GivenUp::default();
        for entry in &entries {
            work.take_back(entry, &mut given_up).await?;
        }
        work.freed(given_up).await?;
        Ok(entries.len())
    }
}

impl Work<'_> {
    async fn take_back(&mut self, entry: &Entry, given_up: &mut GivenUp) -> Result<(), WriteError> {
        let reason = match self.by.is_known() {
            true if self.by.id == entry.user_id => Some("you asked for it"),
            true => Some("those who run the place took you off it"),
            false => None,
        };
        self.end_of_several(entry, Ending::Removed, reason, given_up)
            .await
    }
}
