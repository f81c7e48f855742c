//! The tags of an organization: a shared vocabulary, archived rather than deleted.

use crm_access::Require;
use crm_core::{Error, Result, TenantTx};
use crm_schema::tags;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use validator::Validate;

use crate::list::{Field, Kind, Page, Params, Resource, Shaped, SortValues};
use crate::{Base, Edit, Precondition, base_changes, base_columns, base_values};

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
}

const READ_ONLY: &[&str] = &["slug"];

type Row = (Base, TagFields, String);

fn tag((base, fields, slug): Row) -> Tag {
    Tag { base, fields, slug }
}

/// The form under which two names are the same tag. Letters of any script count, so no name but punctuation is empty.
///
/// # Errors
/// 422 for a name without a letter or a digit.
pub fn slug(name: &str) -> Result<String> {
    let words: Vec<_> = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        return Err(Error::field(
            "name",
            crm_core::FieldCode::InvalidValue,
            "must contain a letter or a digit",
        ));
    }
    Ok(words.join("-").to_lowercase())
}

fn taken(error: diesel::result::Error) -> Error {
    Error::unique(error, "tags_org_id_slug_key", "name", "there is a tag of this name already")
}

/// Lists the tags.
///
/// # Errors
/// `Forbidden` without `tags.view_tag`; 400 for parameters.
pub async fn list(t: &mut TenantTx, params: &Params) -> Result<Page<Shaped<Tag>>> {
    let scope = t.require("tags.view_tag")?;
    let selection = TAGS.select(params, t.caller(), scope)?;
    let page = selection
        .run(t, async |t, f| {
            let rows: Vec<(Base, TagFields, String, SortValues)> = tags::table
                .filter(f.filter)
                .order_by(f.slice)
                .select((base_columns!(tags), TagFields::as_select(), tags::slug, selection.keys()))
                .load(t.conn()?)
                .await?;
            Ok(rows.into_iter().map(|(base, fields, slug, keys)| (tag((base, fields, slug)), keys)).collect())
        })
        .await?;
    selection.shape.page(t, page).await
}

/// Makes a tag.
///
/// # Errors
/// `Forbidden` without `tags.add_tag`; `Duplicate` for a name that is there, archived or not.
pub async fn create(t: &mut TenantTx, fields: TagFields) -> Result<Tag> {
    t.require("tags.add_tag")?;
    let slug = slug(&fields.name)?;
    let base = Base::new(t);
    crate::created(t, TAGS.kind, &base, None).await?;
    diesel::insert_into(tags::table)
        .values((base_values!(tags, base), &fields, tags::slug.eq(&slug)))
        .execute(t.conn()?)
        .await
        .map_err(taken)?;
    Ok(Tag { base, fields, slug })
}

/// One tag.
///
/// # Errors
/// `Forbidden` without `tags.view_tag`; `NotFound`.
pub async fn find(t: &mut TenantTx, id: Uuid) -> Result<Tag> {
    t.require("tags.view_tag")?;
    let row = tags::table
        .filter(tags::org_id.eq(t.org()).and(tags::id.eq(id)))
        .select((base_columns!(tags), TagFields::as_select(), tags::slug))
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

async fn locked(t: &mut TenantTx, id: Uuid) -> Result<Tag> {
    let row = tags::table
        .filter(tags::org_id.eq(t.org()).and(tags::id.eq(id)))
        .select((base_columns!(tags), TagFields::as_select(), tags::slug))
        .for_update()
        .first::<Row>(t.conn()?)
        .await?;
    Ok(tag(row))
}

async fn store(t: &mut TenantTx, old: Tag, fields: TagFields) -> Result<Tag> {
    if fields == old.fields {
        return Ok(old);
    }
    let new = Tag { base: old.base.next(t), slug: slug(&fields.name)?, fields };
    diesel::update(tags::table.filter(tags::org_id.eq(t.org()).and(tags::id.eq(new.base.id))))
        .set((base_changes!(tags, new.base), &new.fields, tags::slug.eq(&new.slug)))
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
