//! The same request twice is one request: whoever sends an `Idempotency-Key` is answered what it was
//! answered the first time.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::columns::json;
use crate::command::Command;
use crate::error::WriteError;
use crate::work::Work;

/// A request that may come again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestKey {
    /// Who asks, and for what: one caller's keys say nothing about another's.
    pub(crate) scope: String,
    /// What the caller calls it.
    pub(crate) key: String,
    pub(crate) body_hash: [u8; 32],
}

impl RequestKey {
    pub(crate) fn new(scope: String, key: String, body: &[u8]) -> Self {
        Self {
            scope,
            key,
            body_hash: Sha256::digest(body).into(),
        }
    }
}

/// A command that is carried out once for each key, or each time where there is none.
pub(crate) struct Idempotent<C> {
    pub(crate) command: C,
    pub(crate) key: Option<RequestKey>,
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Once<T> {
    /// It was made now, or has no key.
    Now(T),
    /// It was made before, and this is what came of it then.
    Before(T),
    /// The key came before with another body.
    OtherBody,
}

impl<C: Command<Done: Serialize + DeserializeOwned>> Command for Idempotent<C> {
    type Done = Once<C::Done>;

    async fn carry_out(&self, work: &mut Work<'_>) -> Result<Self::Done, WriteError> {
        let Some(key) = &self.key else {
            return Ok(Once::Now(self.command.carry_out(work).await?));
        };
        let before: Option<(Vec<u8>, String)> = sqlx::query_as(
            "SELECT body_hash, outcome FROM idempotency WHERE scope = ? AND key = ?",
        )
        .bind(&key.scope)
        .bind(&key.key)
        .fetch_optional(&mut *work.connection)
        .await?;
        if let Some((body_hash, outcome)) = before {
            if body_hash != key.body_hash {
                return Ok(Once::OtherBody);
            }
            let outcome = serde_json::from_str(&outcome).map_err(|error| {
                WriteError::Database(format!("an outcome that was kept cannot be read: {error}"))
            })?;
            return Ok(Once::Before(outcome));
        }
        let done = self.command.carry_out(work).await?;
        sqlx::query(
            "INSERT INTO idempotency (scope, key, body_hash, outcome, created_ms)
             VALUES (?, ?, ?, ?, ?)",
        )
        .bind(&key.scope)
        .bind(&key.key)
        .bind(&key.body_hash[..])
        .bind(json(&done)?)
        .bind(work.now_ms)
        .execute(&mut *work.connection)
        .await?;
        Ok(Once::Now(done))
    }
}
