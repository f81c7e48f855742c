//! One's own membership, with what comes with it.

use crm_access::BuiltinRole;
use crm_core::{Error, Grants, MemberId, Principal, Result, TeamId, TenantTx};
use crm_records::{Edit, base_changes};
use crm_schema::{memberships, organizations, teams, users};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::OrgSummary;
use crate::members::{self, MEMBERS, Member};

/// One's own profile.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Profile {
    /// The membership.
    #[serde(flatten)]
    pub member: Member,
    /// What one is called, in every organization.
    pub name: String,
    /// The organization.
    pub org: OrgSummary,
    /// The teams one is on, by name.
    pub teams: Vec<ProfileTeam>,
    /// Whether one administers the organization.
    pub is_admin: bool,
    /// What one may do: module -> actions and scope.
    pub permissions: Grants,
}

/// A team in a few words.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Serialize, utoipa::ToSchema)]
pub struct ProfileTeam {
    /// Its id.
    pub id: TeamId,
    /// Its name.
    pub name: String,
}

/// What one writes of one's own profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProfileFields {
    /// What one is called, in every organization.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(min = 1, max = 255), custom(function = "crm_core::rules::one_line"))]
    pub name: String,
    /// Phone number.
    #[serde(default, deserialize_with = "crm_core::body::text")]
    #[validate(custom(function = "crm_core::rules::phone"))]
    pub phone: Option<String>,
    /// Another phone number.
    #[serde(default, deserialize_with = "crm_core::body::text")]
    #[validate(custom(function = "crm_core::rules::phone"))]
    pub alternate_phone: Option<String>,
}

const READ_ONLY: &[&str] = &[
    "role",
    "role_id",
    "has_sales_access",
    "has_marketing_access",
    "date_of_joining",
    "state",
    "is_active",
    "user_details",
    "org",
    "teams",
    "is_admin",
    "permissions",
];

/// One's own profile.
///
/// # Errors
/// `NotFound` for whoever is no member.
pub async fn find(t: &mut TenantTx) -> Result<Profile> {
    let MemberId(id) = t.actor().ok_or(Error::NotFound)?;
    let member = members::read(t, id).await?;
    let org = t.org();
    let summary = organizations::table.find(org).select(OrgSummary::as_select()).first(t.conn()?).await?;
    let mine = teams::org_id.eq(org).and(teams::id.eq_any(t.caller().teams.clone()));
    let teams = teams::table
        .filter(mine)
        .order_by((teams::name_normalized, teams::id))
        .select((teams::id, teams::name))
        .load(t.conn()?)
        .await?;
    let (is_admin, permissions) = match &t.caller().principal {
        Principal::User { is_superuser: true, .. } => (true, BuiltinRole::Admin.grants()),
        Principal::User { grants: Some(grants), .. } => (false, Grants::clone(grants)),
        _ => (false, Grants::default()),
    };
    Ok(Profile { name: member.user_details.name.clone(), member, org: summary, teams, is_admin, permissions })
}

/// Changes one's own name and phone numbers, and nothing that an administrator decides.
///
/// # Errors
/// `NotFound` for whoever is no member; `Stale`; 400 and 422 for the body.
pub async fn update(t: &mut TenantTx, edit: Edit) -> Result<Profile> {
    let MemberId(id) = t.actor().ok_or(Error::NotFound)?;
    members::this(t, id).select(memberships::id).for_no_key_update().first::<uuid::Uuid>(t.conn()?).await?;
    let old = find(t).await?;
    let fields: ProfileFields = edit.fields(&old, &old.member.base, READ_ONLY)?;
    let before = old.fields();
    if fields == before {
        return Ok(old);
    }
    let base = old.member.base.next(t);
    diesel::update(members::this(t, id))
        .set((
            base_changes!(memberships, base),
            memberships::phone.eq(&fields.phone),
            memberships::alternate_phone.eq(&fields.alternate_phone),
        ))
        .execute(t.conn()?)
        .await?;
    if let Some(user) = t.caller().user.filter(|_| fields.name != before.name) {
        diesel::update(users::table.find(user))
            .set((users::name.eq(&fields.name), users::updated_at.eq(t.now())))
            .execute(t.conn()?)
            .await?;
    }
    crm_records::updated(t, MEMBERS.kind, &base, crm_records::diff(&before, &fields)?, None).await?;
    find(t).await
}

impl Profile {
    fn fields(&self) -> ProfileFields {
        let stored = &self.member.fields;
        ProfileFields {
            name: self.name.clone(),
            phone: stored.phone.clone(),
            alternate_phone: stored.alternate_phone.clone(),
        }
    }
}
