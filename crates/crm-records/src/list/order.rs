//! The order of a list's rows, and the values that a cursor keeps of it.

use diesel::expression::{AppearsOnTable, Expression, SelectableExpression, ValidGrouping, is_aggregate};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types;

use super::clause::{expression, name};

/// Columns and directions (`true`: descending).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OrderBy {
    pub(super) table: &'static str,
    pub(super) keys: Vec<(&'static str, bool)>,
}

expression!(OrderBy, sql_types::Bool);

impl QueryFragment<Pg> for OrderBy {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for (i, (column, descending)) in self.keys.iter().enumerate() {
            out.push_sql(if i == 0 { "" } else { ", " });
            name(&mut out, self.table, column)?;
            out.push_sql(if *descending { " DESC" } else { " ASC" });
        }
        Ok(())
    }
}

/// The rows in their order, and how many of them: what stands behind ORDER BY to the end of the statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    pub(super) order: OrderBy,
    pub(super) limit: usize,
    pub(super) offset: i64,
}

impl Slice {
    /// As literals in the text, limits let PostgreSQL keep one plan; few of them keep the statements few.
    const LIMITS: [usize; 5] = [11, 26, 51, 101, 201];
}

expression!(Slice, sql_types::Bool);

impl QueryFragment<Pg> for Slice {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.order.walk_ast(out.reborrow())?;
        let limit = Self::LIMITS.into_iter().find(|limit| *limit >= self.limit).unwrap_or(self.limit);
        out.push_sql(&format!(" LIMIT {limit}"));
        if self.offset > 0 {
            out.push_sql(" OFFSET ");
            out.push_bind_param::<sql_types::BigInt, _>(&self.offset)?;
        }
        Ok(())
    }
}

/// Selects the values a row is sorted by, as text, for the cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortKeys(pub(super) OrderBy);

expression!(SortKeys, sql_types::Array<sql_types::Nullable<sql_types::Text>>);

impl QueryFragment<Pg> for SortKeys {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("ARRAY[");
        for (i, (column, _)) in self.0.keys.iter().enumerate() {
            out.push_sql(if i == 0 { "" } else { ", " });
            name(&mut out, self.0.table, column)?;
            out.push_sql("::text");
        }
        out.push_sql("]");
        Ok(())
    }
}
