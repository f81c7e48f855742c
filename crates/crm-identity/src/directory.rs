//! Which organizations a person belongs to: the list is outside every organization, the role is inside each.

use crm_core::{Caller, MemberId, OrgId, OrgInfo, Result, Tx, UserId};
use crm_schema::{memberships, organizations, roles, user_orgs};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Serialize;

use crate::Identity;

/// How many organizations of a person are listed, the latest joined first.
const MAX_LISTED: i64 = 100;

/// An organization in a few words.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Serialize, utoipa::ToSchema)]
#[diesel(table_name = organizations)]
pub struct OrgSummary {
    /// Its id.
    pub id: OrgId,
    /// Its name.
    pub name: String,
    /// ISO 4217: the default of new amounts.
    pub currency: String,
    /// ISO 3166-1, two letters.
    pub country: Option<String>,
    /// Where its days begin: an IANA name.
    pub timezone: String,
}

impl OrgSummary {
    pub(crate) fn info(&self) -> OrgInfo {
        let timezone = self.timezone.parse().unwrap_or_default();
        OrgInfo { id: self.id, name: self.name.clone(), currency: self.currency.clone(), timezone }
    }

    /// The organization if it is active.
    pub(crate) async fn find(tx: &mut impl Tx, id: OrgId) -> Result<Option<Self>> {
        let found =
            organizations::table.filter(organizations::id.eq(id).and(organizations::is_active.eq(true)));
        Ok(found.select(Self::as_select()).first(tx.conn()?).await.optional()?)
    }
}

/// An organization and what the person is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct OrgRole {
    /// The organization.
    pub id: OrgId,
    /// Its name.
    pub name: String,
    /// The name of the person's role.
    pub role: String,
}

/// A person's active membership in an active organization.
#[derive(Debug, Clone)]
pub(crate) struct Belonging {
    pub(crate) org: OrgSummary,
    pub(crate) member: MemberId,
    pub(crate) role: String,
}

impl Belonging {
    pub(crate) fn listed(&self) -> OrgRole {
        OrgRole { id: self.org.id, name: self.org.name.clone(), role: self.role.clone() }
    }
}

impl Identity {
    /// Every active membership of the person in an active organization, the latest joined first.
    pub(crate) async fn belongings(&self, user: UserId) -> Result<Vec<Belonging>> {
        let listed = self.db.platform(async |p| directory(p, user, None).await).await?;
        let mut found = Vec::new();
        for org in listed {
            found.extend(self.inside(user, org).await?);
        }
        Ok(found)
    }

    /// The person's active membership in `org`, if it is active.
    pub(crate) async fn belonging(&self, user: UserId, org: OrgId) -> Result<Option<Belonging>> {
        match self.db.platform(async |p| directory(p, user, Some(org)).await).await?.pop() {
            Some(org) => self.inside(user, org).await,
            None => Ok(None),
        }
    }

    async fn inside(&self, user: UserId, org: OrgSummary) -> Result<Option<Belonging>> {
        let found: Option<(MemberId, String)> = self
            .db
            .tenant(&Caller::system(org.info()), async |t| {
                let role = roles::org_id.eq(memberships::org_id).and(roles::id.eq(memberships::role_id));
                let here = memberships::org_id.eq(t.org()).and(memberships::user_id.eq(user));
                memberships::table
                    .inner_join(roles::table.on(role))
                    .filter(here.and(memberships::state.eq("active")))
                    .select((memberships::id, roles::name))
                    .first(t.conn()?)
                    .await
                    .optional()
                    .map_err(crm_core::Error::from)
            })
            .await?;
        Ok(found.map(|(member, role)| Belonging { org, member, role }))
    }
}

async fn directory(tx: &mut impl Tx, user: UserId, only: Option<OrgId>) -> Result<Vec<OrgSummary>> {
    let mut query = user_orgs::table
        .inner_join(organizations::table.on(organizations::id.eq(user_orgs::org_id)))
        .filter(user_orgs::user_id.eq(user).and(organizations::is_active.eq(true)))
        .order_by((user_orgs::joined_at.desc(), organizations::id.desc()))
        .limit(MAX_LISTED)
        .select(OrgSummary::as_select())
        .into_boxed();
    if let Some(org) = only {
        query = query.filter(user_orgs::org_id.eq(org));
    }
    Ok(query.load(tx.conn()?).await?)
}
