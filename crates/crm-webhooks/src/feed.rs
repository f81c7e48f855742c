//! Every change of an organization's records in the order in which it became certain.
//!
//! An id made earlier may be committed later, so the feed goes by transaction and ends before the oldest one that is still running:
//! whoever follows the cursor sees each change exactly once, and the versions of a record ascend. A deleted record takes its changes
//! with it, so whoever comes later sees its deletion alone.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use crm_core::{Code, Error, FieldCode, MemberId, OrgId, PlatformTx, Result, TenantTx};
use crm_records::Target;
use crm_records::list::Params;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel::{QueryResult, Queryable};
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::kinds;

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

/// What the feed takes: the names of its parameters with their meaning.
pub const PARAMETERS: &[(&str, &str)] = &[
    ("after", "`next` of the previous answer; `now` for what is yet to come; from the beginning without it."),
    ("limit", "How many changes to look at, 1 to 1000; 100 unless told."),
    ("kinds", "Kinds of record, separated by commas; all that the caller may follow unless told."),
];

/// A change of a record.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FeedChange {
    /// The change.
    pub id: Uuid,
    /// The kind of record.
    pub kind: String,
    /// The record.
    pub record_id: Uuid,
    /// `created`, `updated`, `commented`, …, `deleted`.
    pub action: String,
    /// The record's version afterwards; null when the record itself did not change, and when it is gone.
    pub version: Option<i64>,
    /// Who did it; null for the program itself.
    pub created_by: Option<MemberId>,
    /// When.
    pub created_at: DateTime<Utc>,
    /// Field -> [old, new].
    #[schema(value_type = Object)]
    pub fields: serde_json::Value,
}

/// A part of the feed.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ChangeFeed {
    /// The changes, oldest first; fewer than were looked at where some are of other kinds.
    pub results: Vec<FeedChange>,
    /// Where the next part begins, also when there is nothing yet.
    pub next: String,
    /// Whether there is more at once.
    pub more: bool,
}

/// Reads a part of the feed. `targets` are the kinds of record that there are.
///
/// # Errors
/// `Forbidden` for kinds whose records the caller can't all see; 400 for parameters, `InvalidCursor` among them.
pub async fn read(t: &mut TenantTx, targets: &[Target], params: &Params) -> Result<ChangeFeed> {
    let kinds = kinds::followed(t.caller(), targets, params.get("kinds"))?;
    let limit = params.get("limit").map_or(Ok(DEFAULT_LIMIT), limit)?;
    let after = match params.get("after") {
        None => Place::BEGINNING,
        Some("now") => {
            let tx = diesel::select(sql::feed_horizon()).get_result(t.conn()?).await?;
            return Ok(ChangeFeed { results: Vec::new(), next: Place::before(tx).encode(), more: false });
        }
        Some(text) => Place::decode(text)?,
    };
    let scan = Scan { org: t.org(), after, kinds, wanted: limit + 1 };
    let mut rows: Vec<Row> = scan.load(t.conn()?).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().map_or(after, |row| Place { tx: row.tx, id: row.id });
    let results = rows.into_iter().filter_map(Row::change).collect();
    Ok(ChangeFeed { results, next: next.encode(), more })
}

/// Lets the feed go on where the database has been restored from another cluster, or its cluster has gone back in time: to be called
/// before anything is written. Answers whether that was so.
///
/// # Errors
/// Those of the database.
pub async fn settle(p: &mut PlatformTx) -> Result<bool> {
    Ok(diesel::select(sql::feed_settle()).get_result(p.conn()?).await?)
}

mod sql {
    diesel::define_sql_function! {
        /// Where the feed ends at present.
        fn feed_horizon() -> BigInt;
    }
    diesel::define_sql_function! {
        /// Begins an epoch if the database has come to another place.
        fn feed_settle() -> Bool;
    }
}

fn limit(text: &str) -> Result<usize> {
    let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| {
        let message = format!("must be a whole number from 1 to {MAX_LIMIT}");
        Error::parameter("limit", FieldCode::OutOfRange, message)
    })
}

/// A place between two changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    tx: i64,
    id: Uuid,
}

impl Place {
    const BEGINNING: Self = Self::before(0);

    /// Before every change of a transaction.
    const fn before(tx: i64) -> Self {
        Self { tx, id: Uuid::nil() }
    }

    fn encode(self) -> String {
        URL_SAFE_NO_PAD.encode([self.tx.to_be_bytes().as_slice(), self.id.as_bytes()].concat())
    }

    fn decode(text: &str) -> Result<Self> {
        let read = || {
            let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
            let (tx, id) = bytes.split_first_chunk::<8>()?;
            Some(Self { tx: i64::from_be_bytes(*tx), id: Uuid::from_slice(id).ok()? })
        };
        let why = "after is no cursor: use next as it was given, or now";
        read().ok_or(Error::Refused(Code::InvalidCursor, why.into()))
    }
}

/// The next changes and deletions after a place, of whatever kind: so a page costs the same where those asked for are rare. What is
/// of another kind comes without its fields.
struct Scan {
    org: OrgId,
    after: Place,
    kinds: Vec<&'static str>,
    /// More rows than that may come back.
    wanted: usize,
}

#[derive(Queryable)]
struct Row {
    tx: i64,
    id: Uuid,
    kind: Option<String>,
    record_id: Uuid,
    action: String,
    version: Option<i64>,
    created_by: Option<MemberId>,
    created_at: DateTime<Utc>,
    fields: Option<serde_json::Value>,
}

impl Row {
    fn change(self) -> Option<FeedChange> {
        let Self { id, kind, record_id, action, version, created_by, created_at, fields, .. } = self;
        Some(FeedChange {
            id,
            kind: kind?,
            record_id,
            action,
            version,
            created_by,
            created_at,
            fields: fields?,
        })
    }
}

impl Query for Scan {
    type SqlType = (
        BigInt,
        SqlUuid,
        Nullable<Text>,
        SqlUuid,
        Text,
        Nullable<BigInt>,
        Nullable<SqlUuid>,
        Timestamptz,
        Nullable<Jsonb>,
    );
}

// The text depends on the limit.
impl QueryId for Scan {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Scan {
    /// As a literal, which lets PostgreSQL keep one plan; few of them keep the statements few.
    fn limit(&self) -> String {
        let limit = [11, 101, 1001].into_iter().find(|limit| *limit >= self.wanted).unwrap_or(self.wanted);
        format!(" ORDER BY tx, id LIMIT {limit}")
    }

    /// The rows of one table, in order and no more than are wanted in all.
    fn range<'b>(&'b self, select: &str, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(select);
        out.push_sql(" WHERE org_id = ");
        out.push_bind_param::<SqlUuid, _>(&self.org)?;
        out.push_sql(" AND (tx, id) > (");
        out.push_bind_param::<BigInt, _>(&self.after.tx)?;
        out.push_sql(", ");
        out.push_bind_param::<SqlUuid, _>(&self.after.id)?;
        out.push_sql(") AND tx < feed_horizon()");
        out.push_sql(&self.limit());
        Ok(())
    }
}

impl QueryFragment<Pg> for Scan {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "SELECT tx, id, kind, record_id, action, version, created_by, created_at, CASE WHEN kind = ANY(",
        );
        out.push_bind_param::<Array<Text>, _>(&self.kinds)?;
        out.push_sql(") THEN fields END FROM ((");
        let changes = "SELECT tx, id, (SELECT r.kind FROM records r WHERE r.org_id = c.org_id AND r.id = c.record_id) AS kind, \
             record_id, action, version, created_by, created_at, fields FROM changes c";
        self.range(changes, &mut out)?;
        out.push_sql(") UNION ALL (");
        let deletions = "SELECT tx, id, kind, record_id, 'deleted', NULL, created_by, created_at, '{}'::jsonb FROM deletions";
        self.range(deletions, &mut out)?;
        out.push_sql(")) AS f");
        out.push_sql(&self.limit());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written() {
        for place in [Place::BEGINNING, Place { tx: i64::MAX, id: Uuid::now_v7() }] {
            assert_eq!(Place::decode(&place.encode()).unwrap(), place);
        }
        for text in ["", "now", "!", "AAAA", &format!("{}AA", Place::BEGINNING.encode())] {
            assert_eq!(Place::decode(text).unwrap_err().code(), Code::InvalidCursor, "{text}");
        }
    }
}
