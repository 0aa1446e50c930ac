//! What can be asked of the service, and what it is asked with.

use std::sync::Arc;

use sqlx::SqliteConnection;

use crate::actor::Actor;
use crate::config::BookingConfig;
use crate::error::WriteError;
use crate::work::Work;
use crate::writer::Change;

/// Something to be done. It holds what is wanted and nothing else: who wants it, when it is and how
/// the service is set up come with the [`Work`].
pub(crate) trait Command: Send + Sync + 'static {
    /// What the one who asked is told. A refusal by the rules of booking is such an answer too: what
    /// was written before it (the event of a conflict) stands.
    type Done: Send + 'static;

    /// Does it. An error takes back everything that was written.
    fn carry_out(
        &self,
        work: &mut Work<'_>,
    ) -> impl Future<Output = Result<Self::Done, WriteError>> + Send;
}

/// A command that somebody gave, or the service to itself: what the writer makes a change of.
pub(crate) struct Asked<C> {
    pub(crate) config: Arc<BookingConfig>,
    pub(crate) by: Actor,
    pub(crate) command: C,
}

impl<C: Command> Change for Asked<C> {
    type Done = C::Done;

    async fn apply(
        &self,
        connection: &mut SqliteConnection,
        now_ms: i64,
    ) -> Result<C::Done, WriteError> {
        let mut work = Work {
            connection,
            now_ms,
            config: &self.config,
            by: &self.by,
        };
        self.command.carry_out(&mut work).await
    }
}
