use crm_access::scope_of;
use crm_core::{Result, Scope, TenantTx};
use crm_records::Target;
use crm_records::list::{OwnRecords, Where};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{Array, Bool, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::Hit;

/// What fits best of a kind, as far as the caller's list of it would show it.
pub(crate) async fn ranked(
    t: &mut TenantTx,
    target: &Target,
    words: &[&str],
    limit: usize,
) -> Result<Vec<Hit>> {
    // Without the permission to look at them there are none.
    let Some(scope) = scope_of(&t.caller().principal, target.view) else { return Ok(Vec::new()) };
    let resource = target.resource;
    let mut visible = vec![resource.in_org(t.org())];
    visible.extend(resource.visible(t.caller(), scope));
    let own = OwnRecords::newest(t, &visible).await?;
    // Where not all is visible nobody can tell beforehand how much is enough.
    let enough = (scope == Scope::All).then(|| i32::try_from(limit).unwrap_or(i32::MAX));
    let (kind, table) = (resource.kind, resource.table);
    let query = Ranked { kind, table, words, own, enough, visible: Where(visible), limit };
    let rows: Vec<(Uuid, String, String, i32)> = query.load(t.conn()?).await?;
    Ok(rows.into_iter().map(|(id, title, subtitle, rank)| Hit { kind, id, title, subtitle, rank }).collect())
}

/// The ranked records of a kind joined with its table, whose condition decides.
struct Ranked<'a> {
    kind: &'static str,
    table: &'static str,
    words: &'a [&'a str],
    own: Option<OwnRecords>,
    enough: Option<i32>,
    visible: Where,
    limit: usize,
}

impl diesel::query_builder::Query for Ranked<'_> {
    type SqlType = (SqlUuid, Text, Text, Integer);
}

impl QueryId for Ranked<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Ranked<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT h.record_id, h.title, h.subtitle, h.rank FROM (SELECT DISTINCT ON (rank, record_id) * FROM search_ranked(");
        out.push_bind_param::<Text, _>(self.kind)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(self.words)?;
        out.push_sql(", ");
        match &self.own {
            Some(own) => {
                out.push_bind_param::<Array<SqlUuid>, _>(&own.ids)?;
                out.push_sql(", ");
                out.push_bind_param::<Bool, _>(&own.all)?;
            }
            None => out.push_sql("NULL, NULL"),
        }
        out.push_sql(", ");
        out.push_bind_param::<Nullable<Integer>, _>(&self.enough)?;
        // Behind OFFSET 0 the condition is judged record by record, in their order, until there are enough.
        out.push_sql(") ORDER BY rank, record_id DESC) h JOIN LATERAL (SELECT FROM ");
        out.push_identifier(self.table)?;
        out.push_sql(" WHERE ");
        out.push_identifier(self.table)?;
        out.push_sql(".id = h.record_id AND ");
        self.visible.walk_ast(out.reborrow())?;
        out.push_sql(" OFFSET 0) visible ON true");
        out.push_sql(&format!(" ORDER BY h.rank, h.record_id DESC LIMIT {}", self.limit));
        Ok(())
    }
}
