//! Two tags that mean the same become one.

use std::collections::{BTreeSet, HashMap};

use crm_access::Require;
use crm_core::body::{self, Object};
use crm_core::{Code, Error, FieldCode, MemberId, Result, TagId, TenantTx};
use crm_schema::{record_tags, records, tags};
use diesel::prelude::*;
use diesel::sql_types::Uuid as SqlUuid;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;
use validator::Validate;

use super::{Tag, TagFields, find, locked, store_merged, usage};
use crate::list::Resource;
use crate::statement::next_versions;
use crate::{Update, updated_many};

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
    /// How many records had the other one. It is replaced on the first hundreds at once, and on the rest in the background.
    pub moved: i64,
}

/// Puts another tag in the place of one on every record, and archives the one. Each record of the given kinds has a new version and
/// says so in its history; a record that had both has the other one once. What is more than a batch is left to a job. `body` is a [`TagMerge`], judged once the tag is found.
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
    let moved = usage::count(t, &[TagId(id)]).await?.into_iter().map(|(_, _, count)| count).sum();
    // No record gets it any more, and whoever has it can tell where it went.
    let fields = TagFields { is_active: false, ..source.fields.clone() };
    store_merged(t, source, fields, Some(into)).await?;
    go_on(t, taggable, Merging { source: TagId(id), by: t.actor() }).await?;
    Ok(TagMerged { tag: target, moved })
}

/// The kind of the job that goes on with a merge; its payload is [`Merging`].
pub const MERGE: &str = "tags.merge";

/// On how many records a tag is replaced by one transaction.
const BATCH: i64 = 500;

/// A merge that is under way.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Merging {
    /// The tag that goes.
    pub source: TagId,
    /// Who wants it.
    pub by: Option<MemberId>,
}

/// Replaces the tag on a batch of records, and puts in the job of the next one while there are more. In the transaction of the job itself
/// every batch is done once. A tag that was restored meanwhile stays where it still is.
///
/// # Errors
/// Those of the database.
pub async fn go_on(t: &mut TenantTx, taggable: &[Resource], job: Merging) -> Result<()> {
    let Some(into) = end(t, job.source).await? else { return Ok(()) };
    let batch: Vec<(Uuid, String)> = record_tags::table
        .inner_join(
            records::table
                .on(records::org_id.eq(record_tags::org_id).and(records::id.eq(record_tags::record_id))),
        )
        .filter(record_tags::org_id.eq(t.org()).and(record_tags::tag_id.eq(job.source)))
        .order_by(record_tags::record_id)
        .limit(BATCH)
        .select((records::id, records::kind))
        .load(t.conn()?)
        .await?;
    let all: Vec<Uuid> = batch.iter().map(|(id, _)| *id).collect();
    let mut versions = Vec::new();
    for resource in taggable {
        let ids: Vec<Uuid> =
            batch.iter().filter(|(_, kind)| kind == resource.kind).map(|(id, _)| *id).collect();
        if !ids.is_empty() {
            versions.push((resource.kind, next_versions(t, resource.table, &ids, job.by).await?));
        }
    }
    let mut before = tags_of(t, &all).await?;
    move_links(t, &all, (job.source, into)).await?;
    for (kind, rows) in versions {
        let updates = rows.into_iter().map(|(id, version)| {
            let old = before.remove(&id).unwrap_or_default();
            let new: BTreeSet<_> =
                old.iter().map(|tag| if *tag == job.source { into } else { *tag }).collect();
            let fields = [("tags".to_owned(), json!([old, new]))].into_iter().collect();
            Update { id, version: Some(version), fields }
        });
        let updates = updates.collect();
        updated_many(t, kind, job.by, updates).await?;
    }
    if i64::try_from(all.len()).is_ok_and(|done| done < BATCH) {
        return Ok(());
    }
    crm_jobs::enqueue(t, MERGE, &job).await
}

/// The tag that a merged one leads to: the one it was merged into, or where that one went since. None for one that is in use.
async fn end(t: &mut TenantTx, source: TagId) -> Result<Option<TagId>> {
    let mut seen = vec![source];
    loop {
        let last = seen.last().copied().unwrap_or(source);
        let next: Option<TagId> = tags::table
            .filter(tags::org_id.eq(t.org()).and(tags::id.eq(last.0)).and(tags::is_active.eq(false)))
            .select(tags::merged_into_id)
            .first::<Option<TagId>>(t.conn()?)
            .await
            .optional()?
            .flatten();
        match next {
            // Restored and merged the other way round, it ends where it began.
            Some(next) if !seen.contains(&next) => seen.push(next),
            _ => return Ok((last != source).then_some(last)),
        }
    }
}

async fn tags_of(t: &mut TenantTx, ids: &[Uuid]) -> Result<HashMap<Uuid, BTreeSet<TagId>>> {
    let pairs: Vec<(Uuid, TagId)> = record_tags::table
        .filter(record_tags::org_id.eq(t.org()).and(record_tags::record_id.eq_any(ids)))
        .select((record_tags::record_id, record_tags::tag_id))
        .load(t.conn()?)
        .await?;
    let mut of: HashMap<Uuid, BTreeSet<TagId>> = HashMap::new();
    for (id, tag) in pairs {
        of.entry(id).or_default().insert(tag);
    }
    Ok(of)
}

async fn move_links(t: &mut TenantTx, ids: &[Uuid], (source, into): (TagId, TagId)) -> Result<()> {
    let these = record_tags::org_id
        .eq(t.org())
        .and(record_tags::tag_id.eq(source))
        .and(record_tags::record_id.eq_any(ids));
    record_tags::table
        .filter(these.clone())
        .select((record_tags::org_id, record_tags::record_id, into.into_sql::<SqlUuid>()))
        .insert_into(record_tags::table)
        .into_columns((record_tags::org_id, record_tags::record_id, record_tags::tag_id))
        .on_conflict_do_nothing()
        .execute(t.conn()?)
        .await?;
    diesel::delete(record_tags::table.filter(these)).execute(t.conn()?).await?;
    Ok(())
}
