//! Comments on any kind of record.

use std::collections::BTreeSet;

use crm_access::Require;
use crm_core::body::{self, Object};
use crm_core::{Error, MemberId, Result, Scope, TenantTx};
use crm_schema::{comment_mentions, comments, memberships, records};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;
use validator::Validate;

use crate::list::{Field, Kind, Page, Params, Rel, Resource, Shaped, SortValues};
use crate::log::logged;
use crate::{Base, Edit, LinkIds, Precondition, Target, base_changes, base_columns, base_values, sources};

/// Comments as a list.
pub const COMMENTS: Resource = Resource {
    kind: "comment",
    table: "comments",
    fields: &[
        Field::new("is_internal", Kind::Bool).required(),
        Field::link("mentions", MENTIONS, Rel::Member),
    ],
    searchable: false,
    mutable: true,
    neighbours: None,
};

/// A comment.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Comment {
    /// What every record begins with; `created_by` is the author.
    #[serde(flatten)]
    pub base: Base,
    /// The record it is about.
    pub record_id: Uuid,
    /// What a client writes.
    #[serde(flatten)]
    pub fields: CommentFields,
    /// The members that the text mentions, as `@` and their e-mail address.
    pub mentions: Vec<MemberId>,
}

/// What a client writes of a comment.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    Validate,
    Queryable,
    Selectable,
    Insertable,
    AsChangeset,
    utoipa::ToSchema,
)]
#[serde(deny_unknown_fields)]
#[diesel(table_name = comments)]
pub struct CommentFields {
    /// The text, up to 10,000 characters.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(min = 1, max = 10000))]
    pub comment: String,
    /// Whether only members see it.
    #[serde(default)]
    pub is_internal: bool,
}

const READ_ONLY: &[&str] = &["record_id", "mentions"];

/// The kind of the job that tells members of a comment; its payload is [`Commented`].
pub const COMMENTED: &str = "commented";

/// A comment that members are to be told of. What it says is looked up then: it may have been taken back.
#[derive(Debug, Serialize, Deserialize)]
pub struct Commented {
    /// What kind of record it is about.
    pub kind: String,
    /// The comment.
    pub comment_id: Uuid,
    /// Whom it mentions and did not mention before.
    pub mentioned: Vec<MemberId>,
    /// Whether it is new, so that followers are told as well.
    pub is_new: bool,
    /// Who wrote that; none for the program itself.
    pub by: Option<MemberId>,
}

/// The members that each comment mentions, as part of its row.
const MENTIONS: LinkIds = LinkIds::new("comments", "comment_mentions", "comment_id", "membership_id");

type Row = (Base, Uuid, CommentFields, Vec<MemberId>);

fn comment((base, record_id, fields, mentions): Row) -> Comment {
    Comment { base, record_id, fields, mentions }
}

/// Lists the comments of a record, newest first, and those that are shown at it too.
///
/// # Errors
/// `NotFound` for a record that the caller can't see; 400 for parameters.
pub async fn list(
    t: &mut TenantTx,
    target: &Target,
    record: Uuid,
    params: &Params,
) -> Result<Page<Shaped<Comment>>> {
    target.check_view(t, record).await?;
    let mut selection = COMMENTS.select(params, t.caller(), Scope::All)?;
    selection.and(COMMENTS.among("record_id", sources::of(t, record).await?));
    let page = selection
        .run(t, async |t, f| {
            let rows: Vec<(Base, Uuid, CommentFields, Vec<MemberId>, SortValues)> = comments::table
                .filter(f.filter)
                .order_by(f.slice)
                .select((
                    base_columns!(comments),
                    comments::record_id,
                    CommentFields::as_select(),
                    MENTIONS,
                    selection.keys(),
                ))
                .load(t.conn()?)
                .await?;
            Ok(rows
                .into_iter()
                .map(|(base, of, fields, at, keys)| (comment((base, of, fields, at)), keys))
                .collect())
        })
        .await?;
    selection.shape.page(t, page).await
}

/// Adds a comment to a record that the caller may look at, which is judged before the body is.
///
/// # Errors
/// `NotFound` for a record that the caller can't see; 400 and 422 for the body.
pub async fn create(t: &mut TenantTx, target: &Target, record: Uuid, body: Object) -> Result<Comment> {
    target.hold(t, record).await?;
    let fields: CommentFields = body::parse(body)?;
    let base = Base::new(t);
    diesel::insert_into(comments::table)
        .values((base_values!(comments, base), comments::record_id.eq(record), &fields))
        .execute(t.conn()?)
        .await?;
    let mentions = mention(t, base.id, &fields.comment).await?;
    log(t, target, record, "commented", json!([null, fields.comment])).await?;
    tell(t, target, base.id, mentions.clone(), true).await?;
    Ok(Comment { base, record_id: record, fields, mentions })
}

/// Changes a comment: its author's right, and that of whoever administers the organization.
///
/// # Errors
/// `NotFound` for a comment that is not there, not on such a record, or on one that the caller can't see; `Forbidden` for
/// somebody else's; `Stale`; 400 and 422 for the body.
pub async fn update(t: &mut TenantTx, target: &Target, id: Uuid, edit: Edit) -> Result<Comment> {
    let old = editable(t, target, id).await?;
    let fields: CommentFields = edit.fields(&old, &old.base, READ_ONLY)?;
    if fields == old.fields {
        return Ok(old);
    }
    let base = old.base.next(t);
    diesel::update(comments::table.filter(comments::org_id.eq(base.org_id).and(comments::id.eq(id))))
        .set((base_changes!(comments, base), &fields))
        .execute(t.conn()?)
        .await?;
    diesel::delete(
        comment_mentions::table
            .filter(comment_mentions::org_id.eq(base.org_id).and(comment_mentions::comment_id.eq(id))),
    )
    .execute(t.conn()?)
    .await?;
    let mentions = mention(t, id, &fields.comment).await?;
    let said = json!([old.fields.comment, fields.comment]);
    log(t, target, old.record_id, "comment_edited", said).await?;
    let came: Vec<_> = mentions.iter().filter(|member| !old.mentions.contains(member)).copied().collect();
    if !came.is_empty() {
        tell(t, target, id, came, false).await?;
    }
    Ok(Comment { base, record_id: old.record_id, fields, mentions })
}

/// Deletes a comment, under the same rules as [`update`].
///
/// # Errors
/// As [`update`].
pub async fn delete(t: &mut TenantTx, target: &Target, id: Uuid, precondition: &Precondition) -> Result<()> {
    let old = editable(t, target, id).await?;
    precondition.check(&old.base)?;
    diesel::delete(comments::table.filter(comments::org_id.eq(old.base.org_id).and(comments::id.eq(id))))
        .execute(t.conn()?)
        .await?;
    log(t, target, old.record_id, "comment_deleted", json!([old.fields.comment, null])).await
}

async fn editable(t: &mut TenantTx, target: &Target, id: Uuid) -> Result<Comment> {
    let this = comments::table.filter(comments::org_id.eq(t.org()).and(comments::id.eq(id)));
    let record: Uuid = this.select(comments::record_id).for_update().first(t.conn()?).await?;
    let kind =
        records::table.filter(records::org_id.eq(t.org()).and(records::id.eq(record))).select(records::kind);
    if kind.first::<String>(t.conn()?).await? != target.resource.kind {
        return Err(Error::NotFound);
    }
    target.check_view(t, record).await?;
    let columns = (base_columns!(comments), comments::record_id, CommentFields::as_select(), MENTIONS);
    let found = comment(this.select(columns).first::<Row>(t.conn()?).await?);
    if found.base.created_by.is_some() && found.base.created_by == t.actor() {
        return Ok(found);
    }
    match t.require(target.change)? {
        Scope::All => Ok(found),
        Scope::Own => {
            Err(Error::Forbidden("only its author or an administrator may change a comment".into()))
        }
    }
}

/// Logs what was said before and after.
async fn log(
    t: &mut TenantTx,
    target: &Target,
    record: Uuid,
    action: &str,
    said: serde_json::Value,
) -> Result<()> {
    let fields = [("comment".to_owned(), said)].into_iter().collect();
    logged(t, target.resource.kind, record, None, action, fields, None).await
}

/// Has those told whom a comment concerns.
async fn tell(
    t: &mut TenantTx,
    target: &Target,
    comment_id: Uuid,
    mentioned: Vec<MemberId>,
    is_new: bool,
) -> Result<()> {
    let (kind, by) = (target.resource.kind.to_owned(), t.actor());
    crm_jobs::enqueue(t, COMMENTED, &Commented { kind, comment_id, mentioned, is_new, by }).await
}

/// Records the active members whose address stands after an `@` in the text.
async fn mention(t: &mut TenantTx, comment: Uuid, text: &str) -> Result<Vec<MemberId>> {
    let addresses = mentioned(text);
    if addresses.is_empty() {
        return Ok(Vec::new());
    }
    let org = t.org();
    let members: Vec<MemberId> = memberships::table
        .filter(memberships::org_id.eq(org).and(memberships::email_normalized.eq_any(addresses)))
        .filter(memberships::state.eq("active"))
        .select(memberships::id)
        .order_by(memberships::id)
        .load(t.conn()?)
        .await?;
    let rows: Vec<_> = members
        .iter()
        .map(|member| {
            (
                comment_mentions::org_id.eq(org),
                comment_mentions::comment_id.eq(comment),
                comment_mentions::membership_id.eq(*member),
            )
        })
        .collect();
    diesel::insert_into(comment_mentions::table).values(rows).execute(t.conn()?).await?;
    Ok(members)
}

/// The addresses written as `@name@example.com`, normalised.
fn mentioned(text: &str) -> BTreeSet<String> {
    text.split_whitespace()
        .filter_map(|word| word.trim_start_matches(['(', '[', '"']).strip_prefix('@'))
        .map(|address| address.trim_end_matches(|c: char| !c.is_alphanumeric()))
        .filter(|address| address.contains('@'))
        .map(crm_core::rules::normalize_email)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::mentioned;

    #[test]
    fn a_mention_is_an_at_sign_before_an_address() {
        for (text, want) in [
            ("ask @Ann@Example.com, please", vec!["ann@example.com"]),
            ("(@ann@example.com) and @bob@example.org.", vec!["ann@example.com", "bob@example.org"]),
            ("write to ann@example.com", vec![]),
            ("@ann is a nickname", vec![]),
        ] {
            assert_eq!(mentioned(text).into_iter().collect::<Vec<_>>(), want, "{text}");
        }
    }
}
