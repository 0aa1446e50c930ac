//! The same request twice is one request: whoever sends an `Idempotency-Key` is answered what it was
//! answered the first time.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use sqlx::SqliteConnection;

use crate::error::WriteError;
use crate::work::json;
use crate::writer::Change;

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

/// A change that is made once for each key, or each time where there is none.
pub(crate) struct Idempotent<C> {
    pub(crate) change: C,
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

impl<C: Change<Done: Serialize + DeserializeOwned>> Change for Idempotent<C> {
    type Done = Once<C::Done>;

    async fn apply(
        &self,
        connection: &mut SqliteConnection,
        now_ms: i64,
    ) -> Result<Self::Done, WriteError> {
        let Some(key) = &self.key else {
            return Ok(Once::Now(self.change.apply(connection, now_ms).await?));
        };
        let before: Option<(Vec<u8>, String)> = sqlx::query_as(
            "SELECT body_hash, outcome FROM idempotency WHERE scope = ? AND key = ?",
        )
        .bind(&key.scope)
        .bind(&key.key)
        .fetch_optional(&mut *connection)
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
        let done = self.change.apply(&mut *connection, now_ms).await?;
        sqlx::query(
            "INSERT INTO idempotency (scope, key, body_hash, outcome, created_ms)
             VALUES (?, ?, ?, ?, ?)",
        )
        .bind(&key.scope)
        .bind(&key.key)
        .bind(&key.body_hash[..])
        .bind(json(&done)?)
        .bind(now_ms)
        .execute(connection)
        .await?;
        Ok(Once::Now(done))
    }
}
