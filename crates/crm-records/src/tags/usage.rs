//! On how many records a tag is.

use std::collections::{BTreeMap, HashMap};

use crm_access::{Require, scope_of};
use crm_core::{OrgId, Result, Scope, TagId, TenantTx};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{Array, BigInt, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use uuid::Uuid;

use super::find;
use crate::Target;

/// On how many records of each kind a tag is: of those kinds alone of which the caller may look at every record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct TagUsage {
    /// Of all of them.
    pub total: i64,
    /// By kind; one that has none is left out.
    pub kinds: BTreeMap<String, i64>,
}

/// On how many records a tag is.
///
/// # Errors
/// `Forbidden` without `tags.view_tag`; `NotFound`.
pub async fn usage(t: &mut TenantTx, targets: &[Target], id: Uuid) -> Result<TagUsage> {
    t.require("tags.view_tag")?;
    find(t, id).await?;
    Ok(of(t, targets, &[TagId(id)]).await?.remove(&TagId(id)).unwrap_or_default())
}

/// The same for several tags; one that is nowhere is left out.
pub(super) async fn of(
    t: &mut TenantTx,
    targets: &[Target],
    ids: &[TagId],
) -> Result<HashMap<TagId, TagUsage>> {
    let sees_all = |target: &&Target| scope_of(&t.caller().principal, target.view) == Some(Scope::All);
    let kinds: Vec<_> = targets.iter().filter(sees_all).map(|target| target.resource.kind).collect();
    let mut found: HashMap<TagId, TagUsage> = HashMap::new();
    for (id, kind, count) in count(t, ids).await? {
        if kinds.contains(&kind.as_str()) {
            let usage = found.entry(id).or_default();
            usage.total += count;
            usage.kinds.insert(kind, count);
        }
    }
    Ok(found)
}

/// How many records of each kind have each of the tags.
pub(super) async fn count(t: &mut TenantTx, ids: &[TagId]) -> Result<Vec<(TagId, String, i64)>> {
    let tags: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    Ok(Counts { org: t.org(), tags }.load(t.conn()?).await?)
}

/// Grouped by columns of two tables, which is a statement that the query builder has no words for.
struct Counts {
    org: OrgId,
    tags: Vec<Uuid>,
}

impl Query for Counts {
    type SqlType = (SqlUuid, Text, BigInt);
}

impl QueryId for Counts {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Counts {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "SELECT k.tag_id, r.kind, count(*) FROM record_tags k JOIN records r ON r.org_id = k.org_id AND r.id = k.record_id \
             WHERE k.org_id = ",
        );
        out.push_bind_param::<SqlUuid, _>(&self.org)?;
        out.push_sql(" AND k.tag_id = ANY(");
        out.push_bind_param::<Array<SqlUuid>, _>(&self.tags)?;
        // What was merged away waits for that to be undone, and is nowhere until then.
        out.push_sql(
            ") AND NOT EXISTS (SELECT FROM record_merges m WHERE m.org_id = k.org_id AND m.loser_id = k.record_id \
             AND m.undone_at IS NULL) GROUP BY 1, 2",
        );
        Ok(())
    }
}
