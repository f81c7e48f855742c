//! Organizations and their settings.

use chrono::{DateTime, Utc};
use crm_access::Require;
use crm_core::{Caller, Error, FieldCode, OrgId, OrgInfo, Principal, Result, TenantTx};
use crm_records::{Base, Edit};
use crm_schema::{memberships, organizations, user_orgs};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Deserializer, Serialize};
use validator::{Validate, ValidationError};

use crate::events::{Client, Event, EventKind};
use crate::users::{self, User};
use crate::{AccessClaims, Identity, SignedInUser, members, roles};

/// Body of the founding of an organization.
#[derive(Debug, Clone, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrg {
    /// Its name, one line; another organization may bear it too.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(min = 1, max = 100), custom(function = "crm_core::rules::one_line"))]
    pub name: String,
    /// ISO 4217; `USD` without it.
    #[serde(default)]
    #[validate(custom(function = "crm_core::rules::currency"))]
    pub currency: Option<String>,
    /// ISO 3166-1, two letters.
    #[serde(default)]
    #[validate(custom(function = "crm_core::rules::country"))]
    pub country: Option<String>,
    /// An IANA name; `UTC` without it.
    #[serde(default)]
    #[validate(custom(function = "crm_core::rules::timezone"))]
    pub timezone: Option<String>,
}

/// What an administrator writes of an organization.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    Queryable,
    Selectable,
    AsChangeset,
    Serialize,
    Deserialize,
    Validate,
    utoipa::ToSchema,
)]
#[serde(deny_unknown_fields)]
#[diesel(table_name = organizations, treat_none_as_null = true)]
pub struct OrgFields {
    /// Its name, one line.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(min = 1, max = 100), custom(function = "crm_core::rules::one_line"))]
    pub name: String,
    /// ISO 4217: the default of new amounts.
    #[validate(custom(function = "crm_core::rules::currency"))]
    pub currency: String,
    /// ISO 3166-1, two letters.
    #[validate(custom(function = "crm_core::rules::country"))]
    pub country: Option<String>,
    /// Where its days begin: an IANA name.
    #[validate(custom(function = "crm_core::rules::timezone"))]
    pub timezone: String,
    /// What stands on its invoices.
    #[serde(deserialize_with = "or_blank")]
    #[validate(length(max = 255), custom(function = "crm_core::rules::one_line"))]
    pub company_name: String,
    /// Street and number.
    #[serde(deserialize_with = "or_blank")]
    #[validate(length(max = 255), custom(function = "crm_core::rules::one_line"))]
    pub address_line: String,
    /// City.
    #[serde(deserialize_with = "or_blank")]
    #[validate(length(max = 100), custom(function = "crm_core::rules::one_line"))]
    pub city: String,
    /// State or region.
    #[serde(deserialize_with = "or_blank")]
    #[validate(length(max = 100), custom(function = "crm_core::rules::one_line"))]
    pub state: String,
    /// Postal code.
    #[serde(deserialize_with = "or_blank")]
    #[validate(length(max = 20), custom(function = "crm_core::rules::one_line"))]
    pub postcode: String,
    /// Phone number.
    #[serde(deserialize_with = "or_blank")]
    #[validate(custom(function = "blank_or_phone"))]
    pub phone: String,
    /// E-mail address.
    #[serde(deserialize_with = "or_blank")]
    #[validate(length(max = 254), custom(function = "blank_or_email"))]
    pub email: String,
    /// Website.
    #[serde(deserialize_with = "or_blank")]
    #[validate(length(max = 200), custom(function = "blank_or_url"))]
    pub website: String,
    /// Tax number.
    #[serde(deserialize_with = "or_blank")]
    #[validate(length(max = 50), custom(function = "crm_core::rules::one_line"))]
    pub tax_id: String,
}

fn or_blank<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    crm_core::body::text(deserializer).map(Option::unwrap_or_default)
}

fn blank_or_phone(text: &str) -> Result<(), ValidationError> {
    if text.is_empty() { Ok(()) } else { crm_core::rules::phone(text) }
}

fn blank_or_url(text: &str) -> Result<(), ValidationError> {
    if text.is_empty() { Ok(()) } else { crm_core::rules::web_url(text) }
}

fn blank_or_email(text: &str) -> Result<(), ValidationError> {
    use validator::ValidateEmail;
    if text.is_empty() || text.validate_email() { Ok(()) } else { Err(ValidationError::new("email")) }
}

/// An organization.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Organization {
    /// Its id.
    pub id: OrgId,
    /// Counts its changes; the value of its `ETag`.
    pub version: i64,
    /// When it was founded.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// What an administrator writes.
    #[serde(flatten)]
    pub fields: OrgFields,
    /// How many active members it has.
    pub member_count: i64,
}

const READ_ONLY: &[&str] = &["member_count"];

/// The settings that say nothing of a person: the audit trail keeps their values.
const IMPERSONAL: &[&str] = &["name", "currency", "country", "timezone"];

impl Identity {
    /// Founds an organization, whose administrator its founder becomes.
    ///
    /// # Errors
    /// As [`crate::signed_in`]; `Forbidden` for a platform administrator.
    pub async fn create_org(
        &self,
        client: &Client,
        claims: &AccessClaims,
        new: NewOrg,
    ) -> Result<Organization> {
        let SignedInUser { user, .. } = self.signed_in(claims).await?;
        let caller = founder(&user, claims, &new);
        self.db
            .tenant(&caller, async |t| {
                users::lock(t, user.id).await?;
                if users::platform_admin(t, user.id).await?.is_some() {
                    return Err(Error::Forbidden(
                        "a platform administrator has no part in any organization".into(),
                    ));
                }
                let (org, now) = (t.org(), t.now());
                diesel::insert_into(organizations::table)
                    .values((
                        organizations::id.eq(org),
                        organizations::name.eq(&new.name),
                        organizations::currency.eq(&caller.org.currency),
                        organizations::country.eq(&new.country),
                        organizations::timezone.eq(caller.org.timezone.name()),
                        organizations::created_at.eq(now),
                        organizations::updated_at.eq(now),
                    ))
                    .execute(t.conn()?)
                    .await?;
                let admin = roles::found(t).await?;
                members::found(t, &user, &admin).await?;
                enter_directory(t, user.id).await?;
                Event::done(EventKind::OrgCreated).user(user.id).record(t, client).await?;
                read(t).await
            })
            .await
    }
}

fn founder(user: &User, claims: &AccessClaims, new: &NewOrg) -> Caller {
    let org = OrgInfo {
        id: OrgId::generate(),
        name: new.name.clone(),
        currency: new.currency.clone().unwrap_or_else(|| "USD".to_owned()),
        timezone: new.timezone.as_deref().and_then(|name| name.parse().ok()).unwrap_or_default(),
    };
    Caller {
        org,
        principal: Principal::User { is_superuser: true, in_tenant: true, grants: None },
        user: Some(user.id),
        member: None,
        role: None,
        session: Some(claims.session),
        teams: Vec::new(),
    }
}

/// Lists the organization among those that the person may ask for.
pub(crate) async fn enter_directory(t: &mut TenantTx, user: crm_core::UserId) -> Result<()> {
    diesel::insert_into(user_orgs::table)
        .values((
            user_orgs::user_id.eq(user),
            user_orgs::org_id.eq(t.org()),
            user_orgs::joined_at.eq(t.now()),
        ))
        .on_conflict_do_nothing()
        .execute(t.conn()?)
        .await?;
    Ok(())
}

/// One's own organization by its id: every member may look at it.
///
/// # Errors
/// `NotFound` for any other, whether it exists or not.
pub async fn find(t: &mut TenantTx, id: OrgId) -> Result<Organization> {
    if id != t.org() {
        return Err(Error::NotFound);
    }
    read(t).await
}

/// Changes one's own organization by its id. A PUT must give the name; what else it leaves out are settings that keep their value.
///
/// # Errors
/// `NotFound` for any other; as [`change_settings`].
pub async fn update(t: &mut TenantTx, client: &Client, id: OrgId, edit: Edit) -> Result<Organization> {
    if id != t.org() {
        return Err(Error::NotFound);
    }
    if !edit.partial && !edit.body.contains_key("name") {
        return Err(Error::field("name", FieldCode::Required, "name is required"));
    }
    change_settings(t, client, Edit { partial: true, ..edit }).await
}

/// The settings of the organization: every member may look at them.
///
/// # Errors
/// Those of the database.
pub async fn settings(t: &mut TenantTx) -> Result<Organization> {
    read(t).await
}

/// Changes the settings of the organization.
///
/// # Errors
/// `Forbidden` without `org.change_org`; `Stale`; 400 and 422 for the body.
pub async fn change_settings(t: &mut TenantTx, client: &Client, edit: Edit) -> Result<Organization> {
    t.require("org.change_org")?;
    lock(t).await?;
    let old = read(t).await?;
    let fields: OrgFields = edit.fields(&old, &base(&old), READ_ONLY)?;
    if fields == old.fields {
        return Ok(old);
    }
    let new = Organization { version: old.version + 1, updated_at: t.now(), fields, ..old.clone() };
    diesel::update(organizations::table.find(t.org()))
        .set((
            organizations::version.eq(new.version),
            organizations::updated_at.eq(new.updated_at),
            &new.fields,
        ))
        .execute(t.conn()?)
        .await?;
    let mut values = crm_records::diff(&old.fields, &new.fields)?;
    let changed: Vec<_> = values.keys().cloned().collect();
    values.retain(|field, _| IMPERSONAL.contains(&field.as_str()));
    let event = Event::done(EventKind::OrgChanged).user(t.caller().user);
    event.detail("fields", changed).detail("values", values).record(t, client).await?;
    Ok(new)
}

/// Holds the organization until the transaction ends: whatever must leave an administrator behind takes its turn.
pub(crate) async fn lock(t: &mut TenantTx) -> Result<()> {
    let this = organizations::table.find(t.org()).select(organizations::id);
    this.for_no_key_update().first::<OrgId>(t.conn()?).await?;
    Ok(())
}

async fn read(t: &mut TenantTx) -> Result<Organization> {
    let org = t.org();
    let columns = (
        organizations::version,
        organizations::created_at,
        organizations::updated_at,
        OrgFields::as_select(),
    );
    let (version, created_at, updated_at, fields) =
        organizations::table.find(org).select(columns).first(t.conn()?).await?;
    let active = memberships::org_id.eq(org).and(memberships::state.eq("active"));
    let member_count = memberships::table.filter(active).count().get_result(t.conn()?).await?;
    Ok(Organization { id: org, version, created_at, updated_at, fields, member_count })
}

/// What an edit's precondition looks at; an organization is no record of a tenant.
fn base(org: &Organization) -> Base {
    let &Organization { id, version, created_at, updated_at, .. } = org;
    Base { org_id: id, id: id.0, version, created_at, updated_at, created_by: None, updated_by: None }
}
