//! Two tags that mean the same become one.

use chrono::{DateTime, Utc};
use crm_access::Require;
use crm_core::body::{self, Object};
use crm_core::{Code, Error, FieldCode, MemberId, OrgId, Result, TagId, TenantTx};
use crm_schema::{record_tags, tags};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{Array, Nullable, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use validator::Validate;

use super::{Tag, TagFields, find, locked, store, usage};
use crate::list::Resource;

/// Which tag takes the other's place.
#[derive(Debug, Clone, Copy, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TagMerge {
    /// The tag that stays.
    pub into: TagId,
}

/// What a merge came to.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct TagMerged {
    /// The tag that stays.
    pub tag: Tag,
    /// How many records had the other one.
    pub moved: usize,
}

/// Puts another tag in the place of one on every record, and archives the one. Each record of the given kinds has a new version and
/// says so in its history; a record that had both has the other one once. `body` is a [`TagMerge`], judged once the tag is found.
///
/// # Errors
/// `Forbidden` without `tags.change_tag`; `NotFound`; 400 and 422 for the body; 422 for the same tag or one that is not there; `Conflict` for an archived one.
pub async fn merge(t: &mut TenantTx, taggable: &[Resource], id: Uuid, body: Object) -> Result<TagMerged> {
    t.require("tags.change_tag")?;
    find(t, id).await?;
    let TagMerge { into } = body::parse(body)?;
    if into == TagId(id) {
        let message = "must be another tag than the one that is merged";
        return Err(Error::field("into", FieldCode::InvalidValue, message));
    }
    // Both in one order, so that two merges across each other do not wait for each other; and no record gets either meanwhile.
    let both = tags::table.filter(tags::org_id.eq(t.org()).and(tags::id.eq_any([id, into.0])));
    both.order_by(tags::id).select(tags::id).for_update().load::<Uuid>(t.conn()?).await?;
    let source = locked(t, id).await?;
    let target = locked(t, into.0).await.map_err(|error| match error {
        Error::NotFound => {
            Error::field("into", FieldCode::NotFound, format!("{into} is not a tag of this organization"))
        }
        other => other,
    })?;
    if !target.fields.is_active {
        return Err(Error::Refused(
            Code::Conflict,
            "an archived tag takes no other's place: restore it first".into(),
        ));
    }
    for (_, kind, count) in usage::count(t, &[TagId(id)]).await? {
        let Some(resource) = taggable.iter().find(|resource| resource.kind == kind) else { continue };
        let ids: Vec<_> = (0..count).map(|_| Uuid::now_v7()).collect();
        let (org, actor, now) = (t.org(), t.actor(), t.now());
        let told = Retag { table: resource.table, org, source: TagId(id), into, actor, now, ids: &ids };
        told.execute(t.conn()?).await?;
    }
    let moved = move_links(t, TagId(id), into).await?;
    let fields = TagFields { is_active: false, ..source.fields.clone() };
    store(t, source, fields).await?;
    Ok(TagMerged { tag: target, moved })
}

async fn move_links(t: &mut TenantTx, source: TagId, into: TagId) -> Result<usize> {
    let of_source = record_tags::org_id.eq(t.org()).and(record_tags::tag_id.eq(source));
    record_tags::table
        .filter(of_source)
        .select((record_tags::org_id, record_tags::record_id, into.into_sql::<SqlUuid>()))
        .insert_into(record_tags::table)
        .into_columns((record_tags::org_id, record_tags::record_id, record_tags::tag_id))
        .on_conflict_do_nothing()
        .execute(t.conn()?)
        .await?;
    Ok(diesel::delete(record_tags::table.filter(of_source)).execute(t.conn()?).await?)
}

/// Gives every record of a table that has `source` its next version, with the change to its tags in its history.
struct Retag<'a> {
    table: &'static str,
    org: OrgId,
    source: TagId,
    into: TagId,
    actor: Option<MemberId>,
    now: DateTime<Utc>,
    /// Those of the changes: as many as there are records.
    ids: &'a [Uuid],
}

const RETAG: &str = "WITH had AS (\
    SELECT record_id, row_number() OVER (ORDER BY record_id) AS n FROM record_tags WHERE org_id = {org} AND tag_id = {source}\
), retagged AS (\
    UPDATE {table} r SET version = r.version + 1, updated_at = {now}, updated_by = {actor} FROM had \
    WHERE r.org_id = {org} AND r.id = had.record_id RETURNING r.id, r.version, had.n\
) \
INSERT INTO changes (org_id, id, record_id, version, action, created_by, created_at, fields) \
SELECT {org}, ({ids})[r.n], r.id, r.version, 'updated', {actor}, {now}, jsonb_build_object('tags', jsonb_build_array(\
    (SELECT jsonb_agg(k.tag_id ORDER BY k.tag_id) FROM record_tags k WHERE k.org_id = {org} AND k.record_id = r.id), \
    (SELECT jsonb_agg(k.tag ORDER BY k.tag) FROM (\
        SELECT DISTINCT CASE WHEN tag_id = {source} THEN {into} ELSE tag_id END AS tag \
        FROM record_tags WHERE org_id = {org} AND record_id = r.id) k))) \
FROM retagged r";

impl QueryId for Retag<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<C> diesel::RunQueryDsl<C> for Retag<'_> {}

impl QueryFragment<Pg> for Retag<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for (i, part) in RETAG.split(['{', '}']).enumerate() {
            match part {
                "org" if i % 2 == 1 => out.push_bind_param::<SqlUuid, _>(&self.org)?,
                "source" if i % 2 == 1 => out.push_bind_param::<SqlUuid, _>(&self.source)?,
                "into" if i % 2 == 1 => out.push_bind_param::<SqlUuid, _>(&self.into)?,
                "actor" if i % 2 == 1 => out.push_bind_param::<Nullable<SqlUuid>, _>(&self.actor)?,
                "now" if i % 2 == 1 => out.push_bind_param::<Timestamptz, _>(&self.now)?,
                "ids" if i % 2 == 1 => out.push_bind_param::<Array<SqlUuid>, _>(self.ids)?,
                "table" if i % 2 == 1 => out.push_identifier(self.table)?,
                text => out.push_sql(text),
            }
        }
        Ok(())
    }
}
