//! What only one of several nodes may do at a time: whoever has the lease does it, until the lease
//! runs out.

use sqlx::SqliteConnection;

use crate::error::WriteError;
use crate::writer::Change;

/// The lease of who sweeps.
pub(crate) const SWEEP: &str = "sweep";

/// How far the clocks of two nodes may differ, in milliseconds. A lease that lasts longer than one
/// taken now by more than this was taken by a clock that was ahead.
const CLOCKS_DIFFER_MS: i64 = 60_000;

/// Takes a lease or makes it last longer, in the transaction of what it is needed for; answers
/// whether the holder has it. It is given where nobody has it, or whoever had it let it run out.
pub(crate) async fn take(
    connection: &mut SqliteConnection,
    name: &str,
    holder: &str,
    now_ms: i64,
    lasts_ms: i64,
) -> Result<bool, WriteError> {
    let taken = sqlx::query(
        "INSERT INTO leases (name, holder, until_ms) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until_ms = excluded.until_ms
         WHERE leases.holder = excluded.holder OR leases.until_ms <= ?4
            OR leases.until_ms > excluded.until_ms + ?5",
    )
    .bind(name)
    .bind(holder)
    .bind(now_ms.saturating_add(lasts_ms))
    .bind(now_ms)
    .bind(CLOCKS_DIFFER_MS)
    .execute(connection)
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Lets go of a lease before it runs out, so that the next one need not wait.
pub(crate) struct Release {
    pub(crate) name: &'static str,
    pub(crate) holder: String,
}

impl Change for Release {
    type Done = ();

    async fn apply(&self, connection: &mut SqliteConnection, _: i64) -> Result<(), WriteError> {
        sqlx::query("DELETE FROM leases WHERE name = ? AND holder = ?")
            .bind(self.name)
            .bind(&self.holder)
            .execute(connection)
            .await?;
        Ok(())
    }
}
