use chrono::{DateTime, Utc};
use crm_access::Require;
use crm_core::{Error, MemberId, Result, TagId, TeamId, TenantTx};
use crm_identity::org_key;
use crm_leads::LeadSource;
use crm_records::list::{Page, Params, Shaped, SortValues};
use crm_records::{
    Base, Edit, Precondition, TAGS, TEAMS, base_changes, base_columns, base_values, created, deleted, diff,
    updated,
};
use crm_schema::web_forms;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::model::{ASSIGNED, IssuedWebForm, LINKS, WEB_FORMS, WebForm, WebFormFields};

const KIND: &str = WEB_FORMS.resource.kind;

/// What every raw key begins with, so that a scanner of leaked secrets knows one.
pub(crate) const MARK: &str = "amp_web_";

/// The columns of a form that are its own.
type Own = (String, Option<String>, Value, Option<LeadSource>, bool, String, Option<DateTime<Utc>>);
type LinkRow = (Vec<MemberId>, Vec<TeamId>, Vec<TagId>);
type Row = (Base, Own, LinkRow);

/// What makes a form, to select into a [`Row`].
macro_rules! columns {
    () => {
        (
            base_columns!(web_forms),
            (
                web_forms::title,
                web_forms::website,
                web_forms::allowed_origins,
                web_forms::lead_source,
                web_forms::is_active,
                web_forms::key_prefix,
                web_forms::last_used_at,
            ),
            LINKS,
        )
    };
}

/// The columns with the values of what a client writes.
macro_rules! values {
    ($fields:expr) => {
        (
            web_forms::title.eq(&$fields.title),
            web_forms::website.eq(&$fields.website),
            web_forms::allowed_origins.eq(json!($fields.allowed_origins)),
            web_forms::lead_source.eq($fields.lead_source),
            web_forms::is_active.eq($fields.is_active),
        )
    };
}

fn form((base, own, (lead_assigned_to, teams, tags)): Row) -> WebForm {
    let (title, website, origins, lead_source, is_active, key_prefix, last_used_at) = own;
    // Written by this program alone, always as an array of texts.
    let allowed_origins = serde_json::from_value(origins).unwrap_or_default();
    let fields = WebFormFields {
        title,
        website,
        allowed_origins,
        lead_source,
        is_active,
        lead_assigned_to,
        teams,
        tags,
    };
    WebForm { base, fields, key_prefix, last_used_at }
}

/// Lists the web forms.
///
/// # Errors
/// `Forbidden` without `web_forms.view_web_form`; 400 for parameters.
pub async fn list(t: &mut TenantTx, params: &Params) -> Result<Page<Shaped<WebForm>>> {
    let scope = t.require(WEB_FORMS.view)?;
    let selection = WEB_FORMS.resource.select(params, t.caller(), scope)?;
    let page = selection
        .run(t, async |t, f| {
            let rows: Vec<(Row, SortValues)> = web_forms::table
                .filter(f.filter)
                .order_by(f.slice)
                .select((columns!(), selection.keys()))
                .load(t.conn()?)
                .await?;
            Ok(rows.into_iter().map(|(row, keys)| (form(row), keys)).collect())
        })
        .await?;
    selection.shape.page(t, page).await
}

/// One web form.
///
/// # Errors
/// `Forbidden` without `web_forms.view_web_form`; `NotFound`.
pub async fn find(t: &mut TenantTx, id: Uuid) -> Result<WebForm> {
    let scope = t.require(WEB_FORMS.view)?;
    let filter = WEB_FORMS.one(t, scope, id);
    Ok(form(web_forms::table.filter(filter).select(columns!()).first::<Row>(t.conn()?).await?))
}

/// Makes a web form, and answers its key this once.
///
/// # Errors
/// `Forbidden` without `web_forms.add_web_form`; 422 for whom or what its leads can't be given.
pub async fn create(t: &mut TenantTx, fields: WebFormFields) -> Result<IssuedWebForm> {
    t.require("web_forms.add_web_form")?;
    let apikey = org_key::new(MARK, t.org());
    let (base, fields, key_prefix) = (Base::new(t), fields.settled(), org_key::shown(&apikey).to_owned());
    created(t, KIND, &base, None).await?;
    diesel::insert_into(web_forms::table)
        .values((
            base_values!(web_forms, base),
            values!(fields),
            web_forms::key_digest.eq(org_key::digest(&apikey)),
            web_forms::key_prefix.eq(&key_prefix),
        ))
        .execute(t.conn()?)
        .await?;
    link(t, base.id, None, &fields).await?;
    Ok(IssuedWebForm { form: WebForm { base, fields, key_prefix, last_used_at: None }, apikey })
}

/// Changes a web form. What the edit leaves as it is makes no new version.
///
/// # Errors
/// `Forbidden` without `web_forms.change_web_form`; `NotFound`; `Stale`; 400 and 422 for the body.
pub async fn update(t: &mut TenantTx, id: Uuid, edit: Edit) -> Result<WebForm> {
    t.require(WEB_FORMS.change)?;
    let old = locked(t, id).await?;
    let fields = edit.fields::<WebFormFields, _>(&old, &old.base, WebForm::READ_ONLY)?.settled();
    if fields == old.fields {
        return Ok(old);
    }
    let new = WebForm { base: old.base.next(t), fields, ..old.clone() };
    diesel::update(web_forms::table.filter(web_forms::org_id.eq(t.org()).and(web_forms::id.eq(id))))
        .set((base_changes!(web_forms, new.base), values!(new.fields)))
        .execute(t.conn()?)
        .await?;
    link(t, id, Some(&old.fields), &new.fields).await?;
    updated(t, KIND, &new.base, diff(&old, &new)?, None).await?;
    Ok(new)
}

/// Gives a web form another key, and answers it this once. The old one opens nothing any more.
///
/// # Errors
/// `Forbidden` without `web_forms.change_web_form`; `NotFound`.
pub async fn rotate(t: &mut TenantTx, id: Uuid) -> Result<IssuedWebForm> {
    t.require(WEB_FORMS.change)?;
    let old = locked(t, id).await?;
    let apikey = org_key::new(MARK, t.org());
    let new =
        WebForm { base: old.base.next(t), key_prefix: org_key::shown(&apikey).to_owned(), ..old.clone() };
    diesel::update(web_forms::table.filter(web_forms::org_id.eq(t.org()).and(web_forms::id.eq(id))))
        .set((
            base_changes!(web_forms, new.base),
            web_forms::key_digest.eq(org_key::digest(&apikey)),
            web_forms::key_prefix.eq(&new.key_prefix),
        ))
        .execute(t.conn()?)
        .await?;
    updated(t, KIND, &new.base, diff(&old, &new)?, None).await?;
    Ok(IssuedWebForm { form: new, apikey })
}

/// Deletes a web form with its key; the leads that it brought stay.
///
/// # Errors
/// `Forbidden` without `web_forms.delete_web_form`; `NotFound`; `Stale`.
pub async fn delete(t: &mut TenantTx, id: Uuid, precondition: &Precondition) -> Result<()> {
    t.require("web_forms.delete_web_form")?;
    let old = locked(t, id).await?;
    precondition.check(&old.base)?;
    deleted(t, KIND, id).await
}

/// The form with a key of this digest that takes leads.
pub(crate) async fn by_digest(t: &mut TenantTx, digest: &str) -> Result<Option<WebForm>> {
    let by_key = web_forms::key_digest.eq(digest).and(web_forms::is_active);
    let found = web_forms::table.filter(web_forms::org_id.eq(t.org()).and(by_key)).select(columns!());
    Ok(found.first::<Row>(t.conn()?).await.optional()?.map(form))
}

/// Writes down that a form took a lead: at most once a minute, so that its row is no bottleneck.
pub(crate) async fn used(t: &mut TenantTx, form: &WebForm) -> Result<()> {
    let now = t.now();
    let recent = form.last_used_at.is_some_and(|at| now - at < chrono::TimeDelta::minutes(1));
    if !recent {
        diesel::update(
            web_forms::table.filter(web_forms::org_id.eq(t.org()).and(web_forms::id.eq(form.base.id))),
        )
        .set(web_forms::last_used_at.eq(now))
        .execute(t.conn()?)
        .await?;
    }
    Ok(())
}

async fn locked(t: &mut TenantTx, id: Uuid) -> Result<WebForm> {
    let row = web_forms::table.filter(web_forms::org_id.eq(t.org()).and(web_forms::id.eq(id)));
    row.select(web_forms::id).for_update().first::<Uuid>(t.conn()?).await?;
    Ok(form(row.select(columns!()).first::<Row>(t.conn()?).await.map_err(Error::from)?))
}

async fn link(t: &mut TenantTx, id: Uuid, old: Option<&WebFormFields>, new: &WebFormFields) -> Result<()> {
    let of = |part: fn(&WebFormFields) -> Vec<Uuid>| old.map(part).unwrap_or_default();
    let assigned = |fields: &WebFormFields| fields.lead_assigned_to.iter().map(|id| id.0).collect();
    let teams = |fields: &WebFormFields| fields.teams.iter().map(|id| id.0).collect();
    let tags = |fields: &WebFormFields| fields.tags.iter().map(|id| id.0).collect();
    ASSIGNED.store::<Uuid>(t, id, &of(assigned), &assigned(new)).await?;
    TEAMS.store::<Uuid>(t, id, &of(teams), &teams(new)).await?;
    TAGS.store::<Uuid>(t, id, &of(tags), &tags(new)).await
}
