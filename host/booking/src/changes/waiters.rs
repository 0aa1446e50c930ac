//! Those who wait for a resource, and everything that a user waits for: taken away with its end.

use crate::error::WriteError;
use crate::queries::Owner;
use crate::waitlist::Entry;
use crate::work::Work;

impl Work<'_> {
    /// The open entries; those for whom nothing is held yet come first, so that what the others
    /// give up is not offered to them.
    pub(super) async fn waiters_of(
        &mut self,
        owner: Owner<'_>,
        limit: i64,
    ) -> Result<Vec<Entry>, WriteError> {
        let (column, id) = owner.column();
        let mut query = sqlx::QueryBuilder::new("SELECT * FROM waitlist WHERE ");
        query.push(column).push(" = ").push_bind(id);
        query.push(" AND status IN ('waiting', 'promoted')");
        query.push(" ORDER BY status DESC, joined_ms, id LIMIT ");
        query.push_bind(limit);
        Ok(query
            .build_query_as()
            .fetch_all(&mut *self.connection)
            .await?)
    }
}
