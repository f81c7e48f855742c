//! What a new record looks like among those that are there.

use crm_core::{Code, Error, FieldCode, FieldError, Result, TenantTx};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Integer, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::list::Rel;

/// How many records are looked at for one that the caller may be told of.
const MOST: usize = 20;

/// A value by which a new record may be one that is there already.
#[derive(Debug, Clone)]
pub struct Likeness {
    /// The field as the client knows it.
    pub field: &'static str,
    /// The column in which it is compared.
    pub column: &'static str,
    /// The new record's value there.
    pub value: Option<String>,
    /// Whether no two records may have it: then nothing allows it.
    pub unique: bool,
}

impl Likeness {
    /// A value that two records may have, though it is strange.
    pub const fn odd(field: &'static str, column: &'static str, value: Option<String>) -> Self {
        Self { field, column, value, unique: false }
    }

    /// A value that a constraint allows once.
    pub const fn unique(field: &'static str, column: &'static str, value: Option<String>) -> Self {
        Self { field, column, value, unique: true }
    }
}

/// Refuses a new record that looks like an active one which is there. That one is named where the caller may look at it; otherwise it
/// is only said that there is one.
///
/// # Errors
/// `Duplicate` for a value that no two may have; `PossibleDuplicate` for the others.
pub async fn refuse(t: &mut TenantTx, rel: Rel, module: &str, likenesses: &[Likeness]) -> Result<()> {
    let Some((table, what)) = rel.table() else { return Ok(()) };
    let wanted: Vec<(i32, &Likeness)> =
        (0..).zip(likenesses).filter(|(_, like)| like.value.is_some()).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let candidates = Candidates { table, org: t.org().0, wanted: &wanted };
    let found: Vec<(i32, Uuid)> = candidates.load(t.conn()?).await?;
    if found.is_empty() {
        return Ok(());
    }
    let names = rel.names(t, found.iter().map(|(_, id)| *id).collect()).await?;
    let faults = |unique: bool| -> Vec<FieldError> {
        wanted
            .iter()
            .filter(|(place, like)| like.unique == unique && found.iter().any(|(of, _)| of == place))
            .map(|(place, like)| {
                let ids = found.iter().filter(|(of, _)| of == place).map(|(_, id)| id);
                let named = ids.filter_map(|id| names.get(id).map(|name| (id, name))).next();
                let who = named.map_or_else(
                    || format!("{what} that you may not see"),
                    |(id, name)| format!("{name} (/api/{module}/{id}/)"),
                );
                let value = like.column.trim_end_matches("_normalized");
                let way_out = if unique { "" } else { "; ?allow_duplicate=true makes it all the same" };
                FieldError::new(like.field, FieldCode::Taken, format!("{who} has the same {value}{way_out}"))
            })
            .fold(Vec::new(), |mut faults: Vec<FieldError>, fault| {
                if faults.iter().all(|other| other.field != fault.field) {
                    faults.push(fault);
                }
                faults
            })
    };
    let (taken, odd) = (faults(true), faults(false));
    Err(match taken.is_empty() {
        false => Error::Fields(Code::Duplicate, taken),
        true => Error::Fields(Code::PossibleDuplicate, odd),
    })
}

/// The first records with each of the values, with the place of the value: each part walks an index.
struct Candidates<'a> {
    table: &'static str,
    org: Uuid,
    wanted: &'a [(i32, &'a Likeness)],
}

impl Query for Candidates<'_> {
    type SqlType = (Integer, SqlUuid);
}

impl QueryId for Candidates<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Candidates<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for (i, (place, like)) in self.wanted.iter().enumerate() {
            out.push_sql(if i == 0 { "(SELECT " } else { " UNION ALL (SELECT " });
            out.push_bind_param::<Integer, _>(place)?;
            out.push_sql(", id FROM ");
            out.push_identifier(self.table)?;
            out.push_sql(" WHERE org_id = ");
            out.push_bind_param::<SqlUuid, _>(&self.org)?;
            out.push_sql(" AND ");
            out.push_identifier(like.column)?;
            out.push_sql(" = ");
            out.push_bind_param::<diesel::sql_types::Nullable<Text>, _>(&like.value)?;
            // Whoever is out of use may be made anew, but not with what is unique.
            out.push_sql(if like.unique { "" } else { " AND is_active" });
            out.push_sql(&format!(" ORDER BY id LIMIT {MOST})"));
        }
        Ok(())
    }
}
