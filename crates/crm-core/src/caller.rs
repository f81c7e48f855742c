use std::collections::BTreeMap;
use std::sync::Arc;

use chrono_tz::Tz;
use diesel_async::AsyncPgConnection;
use serde::{Deserialize, Serialize};

use crate::{MemberId, OrgId, Result, RoleId, SessionId, TeamId, UserId};

crate::text_enum!(
    /// How far a grant reaches.
    Scope {
        /// Every record of the organization.
        All = "all",
        /// Records created by, assigned to, or on an assigned team of the member.
        Own = "own",
    }
);

/// What a role may do in one module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Grant {
    /// `view`, `add`, `change`, `delete`, and what a module adds.
    pub actions: Vec<String>,
    /// On which records.
    pub scope: Scope,
}

/// Module -> grant.
pub type Grants = BTreeMap<String, Grant>;

/// Who is calling, as far as permissions are concerned.
#[derive(Debug, Clone)]
pub enum Principal {
    /// Nobody signed in.
    Anonymous,
    /// A person signed in, with what they are in the current organization, if one is chosen.
    User {
        /// Whether they are a superuser of the current organization: its administrator.
        is_superuser: bool,
        /// Whether there is a current organization.
        in_tenant: bool,
        /// The grants of their role in it, if they have one.
        grants: Option<Arc<Grants>>,
    },
    /// A platform administrator: no role in any organization.
    PlatformAdmin {
        /// Decides alone.
        is_superuser: bool,
    },
    /// The program itself: a job or an operator's command.
    System,
}

/// What a service may want to know of the current organization.
#[derive(Debug, Clone)]
pub struct OrgInfo {
    /// Its id.
    pub id: OrgId,
    /// Its name.
    pub name: String,
    /// ISO 4217; the default of new amounts.
    pub currency: String,
    /// Where its days begin.
    pub timezone: Tz,
}

/// Who acts in a [`crate::TenantTx`], and in which organization.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The organization.
    pub org: OrgInfo,
    /// What the permission backends judge.
    pub principal: Principal,
    /// The account; none for the program itself.
    pub user: Option<UserId>,
    /// The membership; none for the program itself and for somebody founding the organization.
    pub member: Option<MemberId>,
    /// The role of that membership.
    pub role: Option<RoleId>,
    /// The session whose token was presented.
    pub session: Option<SessionId>,
    /// The teams the member is on.
    pub teams: Vec<TeamId>,
}

impl Caller {
    /// The program itself, acting in `org`.
    pub fn system(org: OrgInfo) -> Self {
        Self {
            org,
            principal: Principal::System,
            user: None,
            member: None,
            role: None,
            session: None,
            teams: Vec::new(),
        }
    }
}

/// A way to learn who calls, inside the transaction that will do the work.
pub trait CallerSource: Sync {
    /// The organization named by the credential.
    fn org(&self) -> OrgId;

    /// Looks the caller up. Runs with the organization set; called again when a stale connection had to be replaced.
    ///
    /// # Errors
    /// `Unauthenticated` when the credential no longer stands for an active member of an active organization.
    fn caller(&self, conn: &AsyncPgConnection) -> impl Future<Output = Result<Caller>>;
}

impl CallerSource for Caller {
    fn org(&self) -> OrgId {
        self.org.id
    }

    async fn caller(&self, _conn: &AsyncPgConnection) -> Result<Caller> {
        Ok(self.clone())
    }
}
