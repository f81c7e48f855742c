//! The tags of an organization: a shared vocabulary, archived rather than deleted.

use crm_access::Require;
use crm_core::{Code, Error, FieldCode, FieldError, Result, TagId, TenantTx};
use crm_schema::tags;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use validator::Validate;

use crate::list::{Field, Kind, More, Page, Params, Resource, Shaped, SortValues};
use crate::{Base, Edit, Precondition, Target, base_changes, base_columns, base_values};

mod merge;
mod usage;

pub use merge::{MERGE, Merging, TagMerge, TagMerged, go_on, merge};
pub use usage::{TagUsage, usage};

crm_core::text_enum!(
    /// The colour a tag is shown in.
    Color {
        Gray = "gray", Red = "red", Orange = "orange", Amber = "amber", Yellow = "yellow", Lime = "lime", Green = "green",
        Emerald = "emerald", Teal = "teal", Cyan = "cyan", Sky = "sky", Blue = "blue", Indigo = "indigo", Violet = "violet",
        Purple = "purple", Fuchsia = "fuchsia", Pink = "pink", Rose = "rose",
    }
);

/// Tags as a list.
pub const TAGS: Resource = Resource {
    kind: "tag",
    table: "tags",
    fields: &[
        Field::new("name", Kind::Text).ordered().required(),
        Field::new("slug", Kind::Text).required(),
        Field::new("color", Kind::Choice(Color::WORDS)).required(),
        Field::new("is_active", Kind::Bool).required(),
    ],
    searchable: false,
    mutable: true,
    neighbours: None,
};

/// What a client writes of a tag.
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
#[diesel(table_name = tags)]
pub struct TagFields {
    /// Unique in the organization, ignoring case, spaces and punctuation.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(min = 1, max = 50), custom(function = "crm_core::rules::one_line"))]
    pub name: String,
    /// Its colour.
    #[serde(default = "blue")]
    pub color: Color,
    /// What it is for.
    #[serde(default)]
    #[validate(length(max = 1000))]
    pub description: String,
    /// False once archived: it stays on its records and can't be put on others.
    #[serde(default = "yes")]
    pub is_active: bool,
}

const fn blue() -> Color {
    Color::Blue
}

const fn yes() -> bool {
    true
}

/// A tag.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Tag {
    /// What every record begins with.
    #[serde(flatten)]
    pub base: Base,
    /// What a client writes.
    #[serde(flatten)]
    pub fields: TagFields,
    /// The name in lower case with hyphens for everything that is neither letter nor digit.
    pub slug: String,
    /// The tag that took its place, where it was merged into one and not restored since.
    pub merged_into: Option<TagId>,
    /// On how many records it is, where a list is asked for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<TagUsage>,
}

const READ_ONLY: &[&str] = &["slug", "merged_into", "usage"];

/// The parameter of the list that has the records of each tag counted.
pub const USAGE: (&str, &str) = ("usage", "`true` counts the records of each tag, by kind.");

type Row = (Base, TagFields, String, Option<TagId>);

fn tag((base, fields, slug, merged_into): Row) -> Tag {
    Tag { base, fields, slug, merged_into, usage: None }
}

/// The form under which two names are the same tag. Letters of any script count, so no name but punctuation is empty.
///
/// # Errors
/// 422 for a name without a letter or a digit.
pub fn slug(name: &str) -> Result<String> {
    let words: Vec<_> = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        return Err(Error::field("name", FieldCode::InvalidValue, "must contain a letter or a digit"));
    }
    Ok(words.join("-").to_lowercase())
}

fn taken(error: diesel::result::Error) -> Error {
    Error::unique(error, "tags_org_id_slug_key", "name", "there is a tag of this name already")
}

/// Lists the tags. `usage=true` counts the records of each, of those kinds among `targets` of which the caller may look at all.
///
/// # Errors
/// `Forbidden` without `tags.view_tag`; 400 for parameters.
pub async fn list(t: &mut TenantTx, targets: &[Target], params: &Params) -> Result<Page<Shaped<Tag>>> {
    let scope = t.require("tags.view_tag")?;
    let counts = match params.get(USAGE.0) {
        None | Some("false" | "0") => false,
        Some("true" | "1") => true,
        Some(_) => {
            return Err(Error::parameter(USAGE.0, FieldCode::InvalidValue, "must be true or false"));
        }
    };
    let selection = TAGS.select_more(params, t.caller(), scope, More::own(&[USAGE.0]))?;
    let mut page = selection
        .run(t, async |t, f| {
            let rows: Vec<(Base, TagFields, String, Option<TagId>, SortValues)> = tags::table
                .filter(f.filter)
                .order_by(f.slice)
                .select((
                    base_columns!(tags),
                    TagFields::as_select(),
                    tags::slug,
                    tags::merged_into_id,
                    selection.keys(),
                ))
                .load(t.conn()?)
                .await?;
            Ok(rows
                .into_iter()
                .map(|(base, fields, slug, into, keys)| (tag((base, fields, slug, into)), keys))
                .collect())
        })
        .await?;
    if counts {
        let ids: Vec<_> = page.results.iter().map(|tag| TagId(tag.base.id)).collect();
        let mut found = usage::of(t, targets, &ids).await?;
        for tag in &mut page.results {
            tag.usage = Some(found.remove(&TagId(tag.base.id)).unwrap_or_default());
        }
    }
    selection.shape.page(t, page).await
}

/// Makes a tag.
///
/// # Errors
/// `Forbidden` without `tags.add_tag`; `Duplicate` for a name that is there; one that is archived is to be restored.
pub async fn create(t: &mut TenantTx, fields: TagFields) -> Result<Tag> {
    t.require("tags.add_tag")?;
    let slug = slug(&fields.name)?;
    refuse_archived(t, &slug).await?;
    let base = Base::new(t);
    crate::created(t, TAGS.kind, &base, None).await?;
    diesel::insert_into(tags::table)
        .values((base_values!(tags, base), &fields, tags::slug.eq(&slug)))
        .execute(t.conn()?)
        .await
        .map_err(taken)?;
    Ok(Tag { base, fields, slug, merged_into: None, usage: None })
}

/// A name that an archived tag holds is refused with the way out: whoever makes the tag anew means the old one.
async fn refuse_archived(t: &mut TenantTx, slug: &str) -> Result<()> {
    let archived = tags::slug.eq(slug).and(tags::is_active.eq(false));
    let archived = tags::table.filter(tags::org_id.eq(t.org()).and(archived)).select(tags::id);
    match archived.first::<Uuid>(t.conn()?).await.optional()? {
        None => Ok(()),
        Some(id) => {
            let message =
                format!("an archived tag has this name: restore it with POST /api/tags/{id}/restore/");
            Err(Error::Fields(Code::Duplicate, vec![FieldError::new("name", FieldCode::Taken, message)]))
        }
    }
}

/// One tag.
///
/// # Errors
/// `Forbidden` without `tags.view_tag`; `NotFound`.
pub async fn find(t: &mut TenantTx, id: Uuid) -> Result<Tag> {
    t.require("tags.view_tag")?;
    let row = tags::table
        .filter(tags::org_id.eq(t.org()).and(tags::id.eq(id)))
        .select((base_columns!(tags), TagFields::as_select(), tags::slug, tags::merged_into_id))
        .first::<Row>(t.conn()?)
        .await?;
    Ok(tag(row))
}

/// Changes a tag.
///
/// # Errors
/// `Forbidden` without `tags.change_tag`; `NotFound`; `Stale`; `Duplicate`; 400 and 422 for the body.
pub async fn update(t: &mut TenantTx, id: Uuid, edit: Edit) -> Result<Tag> {
    t.require("tags.change_tag")?;
    let old = locked(t, id).await?;
    let fields: TagFields = edit.fields(&old, &old.base, READ_ONLY)?;
    store(t, old, fields).await
}

/// Archives a tag: it stays on the records that have it.
///
/// # Errors
/// `Forbidden` without `tags.delete_tag`; `NotFound`; `Stale`.
pub async fn archive(t: &mut TenantTx, id: Uuid, precondition: &Precondition) -> Result<()> {
    t.require("tags.delete_tag")?;
    let old = locked(t, id).await?;
    precondition.check(&old.base)?;
    let fields = TagFields { is_active: false, ..old.fields.clone() };
    store(t, old, fields).await.map(drop)
}

/// Brings an archived tag back; one that is not archived stays as it is.
///
/// # Errors
/// `Forbidden` without `tags.change_tag`; `NotFound`.
pub async fn restore(t: &mut TenantTx, id: Uuid) -> Result<Tag> {
    t.require("tags.change_tag")?;
    let old = locked(t, id).await?;
    let fields = TagFields { is_active: true, ..old.fields.clone() };
    store(t, old, fields).await
}

async fn locked(t: &mut TenantTx, id: Uuid) -> Result<Tag> {
    let row = tags::table
        .filter(tags::org_id.eq(t.org()).and(tags::id.eq(id)))
        .select((base_columns!(tags), TagFields::as_select(), tags::slug, tags::merged_into_id))
        .for_update()
        .first::<Row>(t.conn()?)
        .await?;
    Ok(tag(row))
}

async fn store(t: &mut TenantTx, old: Tag, fields: TagFields) -> Result<Tag> {
    store_merged(t, old, fields, None).await
}

/// The same, with the tag that takes its place; one that is in use again has none.
async fn store_merged(t: &mut TenantTx, old: Tag, fields: TagFields, into: Option<TagId>) -> Result<Tag> {
    let merged_into = if fields.is_active { None } else { into.or(old.merged_into) };
    if fields == old.fields && merged_into == old.merged_into {
        return Ok(old);
    }
    let new = Tag { base: old.base.next(t), slug: slug(&fields.name)?, fields, merged_into, usage: None };
    diesel::update(tags::table.filter(tags::org_id.eq(t.org()).and(tags::id.eq(new.base.id))))
        .set((
            base_changes!(tags, new.base),
            &new.fields,
            tags::slug.eq(&new.slug),
            tags::merged_into_id.eq(new.merged_into),
        ))
        .execute(t.conn()?)
        .await
        .map_err(taken)?;
    crate::updated(t, TAGS.kind, &new.base, crate::diff(&old, &new)?, None).await?;
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::slug;

    #[test]
    fn names_of_any_script_have_a_slug() {
        for (name, want) in
            [("Big Deal!", "big-deal"), (" a--b ", "a-b"), ("重要", "重要"), ("Größe 3", "größe-3")]
        {
            assert_eq!(slug(name).unwrap(), want);
        }
        assert!(slug("!!!").is_err());
    }
}
