//! Whether records are used: what a version does not tell, because it hangs on a record or points at it from another one.

use std::collections::BTreeSet;

use crm_core::{Result, TenantTx};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{Array, Bool, Nullable, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::list::Resource;
use crate::usage;

diesel::define_sql_function! {
    /// Has nothing be hung on these records until the transaction ends.
    fn records_lock(ids: Array<SqlUuid>) -> Nullable<Text>;
}

/// What came about together with a record, and is no use of it.
#[derive(Debug, Clone, Default)]
pub struct Kin {
    /// The record, and another one that points at it or that it was made with.
    pub pairs: Vec<(Uuid, Uuid)>,
    /// The lead whose conversion made it.
    pub lead: Option<Uuid>,
}

/// Those of the records about to be deleted that somebody has used: has commented on, hung a file on, written to, sold something to,
/// pointed at from another record, merged another one into. Until the transaction ends nobody begins to.
///
/// # Errors
/// Those of the database.
pub async fn used(
    t: &mut TenantTx,
    resource: &Resource,
    records: &[Uuid],
    kin: &Kin,
) -> Result<BTreeSet<Uuid>> {
    if records.is_empty() {
        return Ok(BTreeSet::new());
    }
    let org = t.org();
    // In the order in which a deletion takes them, so that nobody waits in a circle: the row, the count of the files, the record.
    lock(t, resource.table, records).await?;
    usage::lock(t).await?;
    diesel::select(records_lock(records)).execute(t.conn()?).await?;
    let (owners, others) = kin.pairs.iter().copied().unzip();
    let is_account = resource.table == "accounts";
    let used = Used { org: org.0, records: records.to_vec(), owners, others, lead: kin.lead, is_account };
    Ok(used.load::<Uuid>(t.conn()?).await?.into_iter().collect())
}

/// Has nobody point at the rows until the transaction ends.
async fn lock(t: &mut TenantTx, table: &'static str, ids: &[Uuid]) -> Result<()> {
    let lock = Lock { table, org: t.org().0, ids: ids.to_vec() };
    lock.load::<Uuid>(t.conn()?).await?;
    Ok(())
}

struct Lock {
    table: &'static str,
    org: Uuid,
    ids: Vec<Uuid>,
}

impl Query for Lock {
    type SqlType = SqlUuid;
}

impl QueryId for Lock {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Lock {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT id FROM ");
        out.push_identifier(self.table)?;
        out.push_sql(" WHERE org_id = ");
        out.push_bind_param::<SqlUuid, _>(&self.org)?;
        out.push_sql(" AND id = ANY(");
        out.push_bind_param::<Array<SqlUuid>, _>(&self.ids)?;
        out.push_sql(") ORDER BY id FOR UPDATE");
        Ok(())
    }
}

#[derive(QueryId)]
struct Used {
    org: Uuid,
    records: Vec<Uuid>,
    owners: Vec<Uuid>,
    others: Vec<Uuid>,
    lead: Option<Uuid>,
    is_account: bool,
}

impl Query for Used {
    type SqlType = SqlUuid;
}

impl QueryFragment<Pg> for Used {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("WITH kin AS (SELECT k.record, k.other FROM unnest(");
        out.push_bind_param::<Array<SqlUuid>, _>(&self.owners)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<SqlUuid>, _>(&self.others)?;
        out.push_sql(") AS k (record, other)), given AS (SELECT ");
        out.push_bind_param::<Nullable<SqlUuid>, _>(&self.lead)?;
        out.push_sql(" AS lead, ");
        out.push_bind_param::<Bool, _>(&self.is_account)?;
        out.push_sql(" AS is_account) SELECT r.id FROM given, unnest(");
        out.push_bind_param::<Array<SqlUuid>, _>(&self.records)?;
        out.push_sql(") AS r (id) WHERE ");
        for (n, (table, uses)) in USES.iter().enumerate() {
            out.push_sql(if n == 0 { "EXISTS (SELECT FROM " } else { " OR EXISTS (SELECT FROM " });
            out.push_sql(table);
            out.push_sql(" x WHERE x.org_id = ");
            out.push_bind_param::<SqlUuid, _>(&self.org)?;
            out.push_sql(" AND ");
            out.push_sql(uses);
            out.push_sql(")");
        }
        Ok(())
    }
}

/// Where a use of the record `r` stands, and which rows `x` are one. The people of an account come and go without a new version of it;
/// those of any other record are a field of its own, and so is a contact's own account.
const USES: [(&str, &str); 13] = [
    ("comments", "x.record_id = r.id"),
    ("attachments", "x.record_id = r.id"),
    ("account_messages", "x.account_id = r.id"),
    ("account_message_recipients", "x.contact_id = r.id"),
    ("opportunity_lines", "x.opportunity_id = r.id"),
    ("record_merges", "x.winner_id = r.id AND x.undone_at IS NULL"),
    ("conversions", "x.account_id = r.id AND x.lead_id IS DISTINCT FROM given.lead"),
    ("conversions", "x.contact_id = r.id AND x.lead_id IS DISTINCT FROM given.lead"),
    ("conversions", "x.opportunity_id = r.id AND x.lead_id IS DISTINCT FROM given.lead"),
    (
        "contacts",
        "x.account_id = r.id AND NOT EXISTS (SELECT FROM kin WHERE kin.record = r.id AND kin.other = x.id)",
    ),
    (
        "opportunities",
        "x.account_id = r.id AND NOT EXISTS (SELECT FROM kin WHERE kin.record = r.id AND kin.other = x.id)",
    ),
    (
        "record_contacts",
        "x.contact_id = r.id AND NOT EXISTS (SELECT FROM contacts c WHERE c.org_id = x.org_id AND c.id = r.id AND c.account_id = x.record_id) \
         AND NOT EXISTS (SELECT FROM kin WHERE kin.record = r.id AND kin.other = x.record_id)",
    ),
    (
        "record_contacts",
        "given.is_account AND x.record_id = r.id \
         AND NOT EXISTS (SELECT FROM kin WHERE kin.record = r.id AND kin.other = x.contact_id)",
    ),
];
