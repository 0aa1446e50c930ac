//! Statements over many rows at once.
//!
//! A statement's text depends on its number of rows, and the connection keeps
//! prepared statements by their text. So rows go out in pieces of a few fixed sizes:
//! any number of rows is a handful of statements, and all of them stay prepared.
//!
//! SQLite finds `(a, b) IN (VALUES …)` by looking at every row of the table, and uses the
//! index for `(a, b) IN (SELECT column1, column2 FROM (VALUES …))` and for a join.

use std::fmt::Write as _;

use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Arguments as _, AssertSqlSafe, Encode, Sqlite, Type};

// Powers of two: where few events come, a table gets one or two statements a commit, and each
// is a trip to SQLite's thread and back.
const PIECES: [usize; 8] = [128, 64, 32, 16, 8, 4, 2, 1];

/// SQLite's limit on parameters of one statement (SQLITE_MAX_VARIABLE_NUMBER) is
/// 32,766; the widest table here has fewer than 40 columns, so 128 rows always fit.
const _: () = assert!(PIECES[0] * 40 < 32_766);

/// The parameters of one row.
pub(crate) struct Row<'a>(&'a mut SqliteArguments);

impl Row<'_> {
    /// Adds the next parameter.
    pub(crate) fn bind<'t, T>(&mut self, value: T) -> Result<&mut Self, sqlx::Error>
    where
        T: Encode<'t, Sqlite> + Type<Sqlite>,
    {
        self.0.add(value).map_err(sqlx::Error::Encode)?;
        Ok(self)
    }
}

/// Runs `head (?, …), (?, …) tail` over all rows.
pub(crate) async fn execute<R, F>(
    conn: &mut SqliteConnection,
    head: &str,
    columns: usize,
    tail: &str,
    rows: &[R],
    bind: F,
) -> Result<(), sqlx::Error>
where
    F: Fn(&mut Row<'_>, &R) -> Result<(), sqlx::Error>,
{
    for (sql, arguments) in statements(head, columns, tail, rows, bind)? {
        sqlx::query_with(AssertSqlSafe(sql), arguments)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// Like [`execute`], for statements that answer rows.
pub(crate) async fn fetch<'e, R, F, E>(
    mut executor: impl FnMut() -> E,
    head: &str,
    columns: usize,
    tail: &str,
    rows: &[R],
    bind: F,
) -> Result<Vec<SqliteRow>, sqlx::Error>
where
    F: Fn(&mut Row<'_>, &R) -> Result<(), sqlx::Error>,
    E: sqlx::Executor<'e, Database = Sqlite>,
{
    let mut found = Vec::new();
    for (sql, arguments) in statements(head, columns, tail, rows, bind)? {
        found.extend(
            sqlx::query_with(AssertSqlSafe(sql), arguments)
                .fetch_all(executor())
                .await?,
        );
    }
    Ok(found)
}

/// Like [`fetch`], on the writer's connection.
pub(crate) async fn fetch_on<R, F>(
    conn: &mut SqliteConnection,
    head: &str,
    columns: usize,
    tail: &str,
    rows: &[R],
    bind: F,
) -> Result<Vec<SqliteRow>, sqlx::Error>
where
    F: Fn(&mut Row<'_>, &R) -> Result<(), sqlx::Error>,
{
    let mut found = Vec::new();
    for (sql, arguments) in statements(head, columns, tail, rows, bind)? {
        found.extend(
            sqlx::query_with(AssertSqlSafe(sql), arguments)
                .fetch_all(&mut *conn)
                .await?,
        );
    }
    Ok(found)
}

fn statements<R, F>(
    head: &str,
    columns: usize,
    tail: &str,
    mut rows: &[R],
    bind: F,
) -> Result<Vec<(String, SqliteArguments)>, sqlx::Error>
where
    F: Fn(&mut Row<'_>, &R) -> Result<(), sqlx::Error>,
{
    let mut statements = Vec::new();
    for piece in PIECES {
        while rows.len() >= piece {
            let (now, rest) = rows.split_at(piece);
            let mut arguments = SqliteArguments::default();
            arguments.reserve(piece * columns, 0);
            for row in now {
                bind(&mut Row(&mut arguments), row)?;
            }
            statements.push((text(head, columns, tail, piece), arguments));
            rows = rest;
        }
    }
    Ok(statements)
}

fn text(head: &str, columns: usize, tail: &str, rows: usize) -> String {
    let mut sql = String::with_capacity(head.len() + tail.len() + rows * (columns * 2 + 3) + 2);
    sql.push_str(head);
    for row in 0..rows {
        sql.push_str(if row == 0 { " (" } else { ",(" });
        for column in 0..columns {
            sql.push_str(if column == 0 { "?" } else { ",?" });
        }
        sql.push(')');
    }
    let _ = write!(sql, " {tail}");
    sql
}
