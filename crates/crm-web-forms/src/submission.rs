//! What a web site sends.

use crm_core::body::{self, Object};
use crm_core::{Error, FieldCode, MemberId, OrgId, Result, TagId, TenantTx, rules};
use crm_identity::org_key;
use crm_leads::{LEADS, LeadFields, LeadStatus};
use crm_records::custom::CustomChange;
use crm_records::{Links, RecordInput, comments};
use crm_schema::{leads, memberships, organizations, tags};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;
use validator::Validate;

use crate::model::WebForm;
use crate::origin::origin_of;
use crate::service::{MARK, by_digest, used};

/// The longest comment there can be.
const MAX_COMMENT: usize = 10_000;

/// What a web form sends.
#[derive(Debug, Clone, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// The form's key; the header `X-Api-Key` does as well.
    #[serde(default)]
    #[validate(length(max = 255))]
    pub apikey: Option<String>,
    /// The subject.
    #[serde(default, deserialize_with = "body::text")]
    #[validate(length(max = 255), custom(function = "rules::one_line"))]
    pub title: Option<String>,
    /// First name.
    #[serde(default, deserialize_with = "body::text")]
    #[validate(length(max = 255), custom(function = "rules::one_line"))]
    pub first_name: Option<String>,
    /// Last name.
    #[serde(default, deserialize_with = "body::text")]
    #[validate(length(max = 255), custom(function = "rules::one_line"))]
    pub last_name: Option<String>,
    /// Where the person can be answered.
    #[serde(deserialize_with = "body::trimmed")]
    #[validate(length(max = 254), email)]
    pub email: String,
    /// 7 to 25 characters: digits, spaces and - ( ) + .
    #[serde(default, deserialize_with = "body::text")]
    #[validate(custom(function = "rules::phone"))]
    pub phone: Option<String>,
    /// Where the person works.
    #[serde(default, deserialize_with = "body::text")]
    #[validate(length(max = 255), custom(function = "rules::one_line"))]
    pub company_name: Option<String>,
    /// What they want.
    #[serde(default, deserialize_with = "body::text")]
    #[validate(length(max = 10_000))]
    pub message: Option<String>,
    /// To be hidden from people and left empty: what fills it is a program, and is answered alike.
    #[serde(default, deserialize_with = "body::text")]
    pub website_url: Option<String>,
    /// A page of an allowed origin to lead the browser to afterwards.
    #[serde(default, deserialize_with = "body::text")]
    #[validate(length(max = 2000), custom(function = "rules::web_url"))]
    pub redirect: Option<String>,
}

/// What everybody is answered whose form was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Accepted {
    /// Always true.
    pub accepted: bool,
}

/// A form that takes leads, found by its key.
#[derive(Debug, Clone)]
pub struct OpenForm(WebForm);

impl OpenForm {
    /// Its id, by which its submissions are counted.
    pub fn id(&self) -> Uuid {
        self.0.base.id
    }
}

/// The organization that a key names; what names none is looked for where there is nothing.
pub fn org_of(key: &str) -> OrgId {
    org_key::org_of(MARK, key).unwrap_or(OrgId(Uuid::nil()))
}

/// What every key that opens nothing is answered, for whatever reason, and every page that may not use it.
pub fn refused() -> Error {
    Error::Forbidden("this key does not take leads from here".into())
}

/// The form of a key. `origin` is the page's: the header `Origin`, or else `Referer`.
///
/// # Errors
/// `Forbidden`, the same for a key that is not valid, or no longer, and for a page of another origin than the allowed ones.
pub async fn open(t: &mut TenantTx, key: &str, origin: Option<&str>) -> Result<OpenForm> {
    let is_active = organizations::table.filter(organizations::id.eq(t.org()).and(organizations::is_active));
    let is_active: bool = diesel::select(diesel::dsl::exists(is_active)).get_result(t.conn()?).await?;
    let form = by_digest(t, &org_key::digest(key)).await?.filter(|_| is_active).ok_or_else(refused)?;
    let allowed = &form.fields.allowed_origins;
    let origin = origin.and_then(origin_of);
    if !allowed.is_empty() && !origin.is_some_and(|origin| allowed.contains(&origin)) {
        return Err(refused());
    }
    Ok(OpenForm(form))
}

/// Makes a lead of what a page sent, or adds it as a comment to the lead that has this e-mail address already. Answers where the browser
/// is to be led. The program itself acts: whoever is assigned the lead is told as by the organization.
///
/// # Errors
/// 400 and 422 for the body; `Duplicate` when another submission made a lead of this address just now: try again.
pub async fn accept(t: &mut TenantTx, OpenForm(form): &OpenForm, sent: Object) -> Result<Option<String>> {
    let sent: Submission = body::parse(sent)?;
    if let Some(page) = &sent.redirect
        && !origin_of(page).is_some_and(|origin| form.fields.allowed_origins.contains(&origin))
    {
        let message = "must be a page of one of the form's allowed origins";
        return Err(Error::field("redirect", FieldCode::NotAllowed, message));
    }
    if sent.website_url.is_some() {
        return Ok(sent.redirect);
    }
    let address = rules::normalize_email(&sent.email);
    let known = leads::table
        .filter(leads::org_id.eq(t.org()).and(leads::email_normalized.eq(&address)))
        .select(leads::id)
        .first::<Uuid>(t.conn()?)
        .await
        .optional()?;
    let redirect = sent.redirect.clone();
    match known {
        Some(lead) => {
            let comment = Value::String(comment(form, &sent));
            comments::create(t, &LEADS, lead, [("comment".to_owned(), comment)].into_iter().collect())
                .await?;
        }
        None => {
            let input = lead(t, form, sent).await?;
            crm_leads::create(t, input).await?;
        }
    }
    used(t, form).await?;
    Ok(redirect)
}

async fn lead(t: &mut TenantTx, form: &WebForm, sent: Submission) -> Result<RecordInput<LeadFields>> {
    let fields = LeadFields {
        title: sent.title,
        first_name: sent.first_name,
        last_name: sent.last_name,
        email: Some(sent.email),
        phone: sent.phone,
        company_name: sent.company_name,
        description: sent.message,
        status: Some(LeadStatus::Assigned),
        source: form.fields.lead_source,
        ..LeadFields::default()
    };
    // Whoever left since, and what was archived since, does not stand in the way of a lead.
    let links = Links {
        assigned_to: active_members(t, &form.fields.lead_assigned_to).await?,
        teams: form.fields.teams.clone(),
        tags: active_tags(t, &form.fields.tags).await?,
    };
    // A page knows nothing of the organization's own fields, required or not.
    Ok(RecordInput { fields, links: links.sorted(), custom: CustomChange::Keep, allow_duplicate: true })
}

async fn active_members(t: &mut TenantTx, ids: &[MemberId]) -> Result<Vec<MemberId>> {
    let these = memberships::id.eq_any(ids).and(memberships::state.eq("active"));
    let these = memberships::table.filter(memberships::org_id.eq(t.org()).and(these));
    Ok(these.select(memberships::id).load(t.conn()?).await?)
}

async fn active_tags(t: &mut TenantTx, ids: &[TagId]) -> Result<Vec<TagId>> {
    let these = tags::table.filter(tags::org_id.eq(t.org()).and(tags::id.eq_any(ids)).and(tags::is_active));
    Ok(these.select(tags::id).load(t.conn()?).await?)
}

/// The submission in words. Nobody out there mentions a member: an `@` that begins a word stands alone.
fn comment(form: &WebForm, sent: &Submission) -> String {
    let name =
        [&sent.first_name, &sent.last_name].into_iter().flatten().cloned().collect::<Vec<_>>().join(" ");
    let parts = [
        ("Web form", Some(form.fields.title.as_str())),
        ("Subject", sent.title.as_deref()),
        ("Name", Some(name.as_str()).filter(|name| !name.is_empty())),
        ("Phone", sent.phone.as_deref()),
        ("Company", sent.company_name.as_deref()),
    ];
    let head = parts.into_iter().filter_map(|(word, part)| Some(format!("{word}: {}", part?)));
    let head = head.collect::<Vec<_>>().join("\n");
    let text = sent.message.iter().fold(head, |head, message| format!("{head}\n\n{message}"));
    let mut out = String::new();
    let mut last = ' ';
    for c in text.chars() {
        out.push(c);
        if c == '@' && !last.is_alphanumeric() {
            out.push(' ');
        }
        last = c;
    }
    out.chars().take(MAX_COMMENT).collect()
}
