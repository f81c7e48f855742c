//! New records of one kind by the hundred: what is done for one at a time elsewhere, in a statement for all of them.

use crm_core::{Code, Error, FieldCode, FieldError, Result, TenantTx};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{Array, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::links::{ASSIGNEES, LinkTable, TAGS, TEAMS};
use crate::{Base, Described, Links};

mod sql {
    #![expect(clippy::too_many_arguments, reason = "they are columns")]

    use diesel::sql_types::{Array, Nullable, Text, Timestamptz, Uuid as SqlUuid};

    diesel::define_sql_function! {
        fn records_created(org_id: SqlUuid, kind: Text, actor: Nullable<SqlUuid>, at: Timestamptz, ids: Array<SqlUuid>,
            changes: Array<SqlUuid>, titles: Array<Text>, subtitles: Array<Text>, texts: Array<Text>) -> Nullable<Text>;
    }
}

/// What [`Module::create_many`](crate::Module::create_many) answers: for each input in its order what its record begins with, or why it
/// is refused.
pub type Verdicts = Vec<Result<Base>>;

/// Registers new records as [`created`](crate::created) does each.
///
/// # Errors
/// Those of the database.
pub async fn created_many<'a>(
    t: &mut TenantTx,
    kind: &str,
    records: impl Iterator<Item = (&'a Base, Described)>,
) -> Result<()> {
    let (mut ids, mut changes) = (Vec::new(), Vec::new());
    let (mut titles, mut subtitles, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    for (base, described) in records {
        ids.push(base.id);
        changes.push(Uuid::now_v7());
        titles.push(described.title);
        subtitles.push(described.subtitle);
        texts.push(described.text);
    }
    let (org, actor, now) = (t.org(), t.actor(), t.now());
    let call = sql::records_created(org, kind, actor, now, ids, changes, titles, subtitles, texts);
    diesel::select(call).execute(t.conn()?).await?;
    Ok(())
}

impl Links {
    /// Puts the links of new records in.
    ///
    /// # Errors
    /// 422 naming the field where one of the ids may not be linked, without saying which one.
    pub async fn store_many<'a>(
        t: &mut TenantTx,
        records: impl Iterator<Item = (Uuid, &'a Self)> + Clone,
    ) -> Result<()> {
        let assignees =
            records.clone().flat_map(|(id, links)| links.assigned_to.iter().map(move |to| (id, to.0)));
        ASSIGNEES.store_many(t, assignees).await?;
        let teams = records.clone().flat_map(|(id, links)| links.teams.iter().map(move |to| (id, to.0)));
        TEAMS.store_many(t, teams).await?;
        let tags = records.flat_map(|(id, links)| links.tags.iter().map(move |to| (id, to.0)));
        TAGS.store_many(t, tags).await
    }
}

impl LinkTable {
    /// Links new owners, each with one id.
    ///
    /// # Errors
    /// 422 naming the field where one of the ids may not be linked.
    pub async fn store_many(
        &self,
        t: &mut TenantTx,
        links: impl Iterator<Item = (Uuid, Uuid)>,
    ) -> Result<()> {
        let (owners, ids): (Vec<_>, Vec<_>) = links.unzip();
        if ids.is_empty() {
            return Ok(());
        }
        let wanted = ids.len();
        let add = AddMany { links: *self, org: t.org().0, owners, ids };
        if add.execute(t.conn()?).await? == wanted {
            return Ok(());
        }
        let fault =
            FieldError::new(self.field, FieldCode::NotFound, format!("one of them is not {}", self.what));
        Err(Error::Fields(Code::ValidationFailed, vec![fault]))
    }
}

/// Adds pairs of owner and id, as far as the ids may be linked.
struct AddMany {
    links: LinkTable,
    org: Uuid,
    owners: Vec<Uuid>,
    ids: Vec<Uuid>,
}

impl QueryId for AddMany {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<C> diesel::RunQueryDsl<C> for AddMany {}

impl QueryFragment<Pg> for AddMany {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let LinkTable { table, owner, linked, target, usable, .. } = self.links;
        out.push_sql("INSERT INTO ");
        out.push_identifier(table)?;
        out.push_sql(" (org_id, ");
        out.push_identifier(owner)?;
        out.push_sql(", ");
        out.push_identifier(linked)?;
        out.push_sql(") SELECT k.org_id, n.owner, k.id FROM unnest(");
        out.push_bind_param::<Array<SqlUuid>, _>(&self.owners)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<SqlUuid>, _>(&self.ids)?;
        out.push_sql(") AS n (owner, id) JOIN ");
        out.push_identifier(target)?;
        out.push_sql(" k ON k.id = n.id WHERE k.org_id = ");
        out.push_bind_param::<SqlUuid, _>(&self.org)?;
        out.push_sql(" AND ");
        out.push_sql(usable);
        Ok(())
    }
}
