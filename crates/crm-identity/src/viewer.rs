use crm_core::{Error, OrgId, PlatformTx, Principal, Result, SessionId, UserId};
use crm_schema::{roles, sessions, users};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Serialize;

use crate::users::{PlatformAdmin, User, platform_admin};
use crate::{AccessClaims, Credential, Identity, OrgRole, OrgSummary};

/// Whoever presented a valid access token of a session that still stands, with or without an organization.
#[derive(Debug, Clone)]
pub struct SignedInUser {
    /// The account.
    pub user: User,
    /// The session.
    pub session: SessionId,
    /// The organization of the token. That the person is a member there has not been looked at.
    pub org: Option<OrgId>,
    /// The rank of a platform administrator.
    pub platform_admin: Option<PlatformAdmin>,
}

impl SignedInUser {
    /// What the permission backends judge outside every organization.
    pub fn principal(&self) -> Principal {
        match self.platform_admin {
            Some(PlatformAdmin { is_superuser }) => Principal::PlatformAdmin { is_superuser },
            None => Principal::User { is_superuser: false, in_tenant: false, grants: None },
        }
    }
}

/// Looks up whose token it is.
///
/// # Errors
/// `Unauthenticated` when the session has ended or the account is shut out.
pub async fn signed_in(p: &mut PlatformTx, claims: &AccessClaims) -> Result<SignedInUser> {
    let user = live_user(p, claims.user, claims.session)
        .await?
        .ok_or_else(|| Error::Unauthenticated("the session has ended".into()))?;
    let platform_admin = platform_admin(p, user.id).await?;
    Ok(SignedInUser { user, session: claims.session, org: claims.org, platform_admin })
}

/// The active person of a session that has neither ended nor expired.
pub(crate) async fn live_user(p: &mut PlatformTx, user: UserId, session: SessionId) -> Result<Option<User>> {
    let stands = sessions::ended_at.is_null().and(sessions::expires_at.gt(p.now()));
    let found = sessions::table
        .inner_join(users::table.on(users::id.eq(sessions::user_id)))
        .filter(sessions::id.eq(session).and(users::id.eq(user)))
        .filter(stands.and(users::is_active.eq(true)))
        .select(User::as_select())
        .first(p.conn()?)
        .await;
    Ok(found.optional()?)
}

/// Who is signed in, and where they belong.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Me {
    /// The account.
    #[serde(flatten)]
    pub user: User,
    /// The rank of a platform administrator; null for everybody else.
    pub platform_admin: Option<PlatformAdmin>,
    /// The organization of the token, while the person is an active member of it.
    pub current_org: Option<OrgSummary>,
    /// Active memberships in active organizations, the latest joined first.
    pub organizations: Vec<OrgRole>,
}

impl Identity {
    /// Looks up whose token it is, in a transaction of its own.
    ///
    /// # Errors
    /// As [`signed_in`].
    pub async fn signed_in(&self, claims: &AccessClaims) -> Result<SignedInUser> {
        self.db.platform(async |p| signed_in(p, claims).await).await
    }

    /// Who is signed in.
    ///
    /// # Errors
    /// As [`signed_in`].
    pub async fn me(&self, claims: &AccessClaims) -> Result<Me> {
        let SignedInUser { user, platform_admin, org, .. } = self.signed_in(claims).await?;
        let belongings = self.belongings(user.id).await?;
        let current_org = belongings.iter().map(|b| &b.org).find(|o| Some(o.id) == org).cloned();
        Ok(Me {
            user,
            platform_admin,
            current_org,
            organizations: belongings.iter().map(|b| b.listed()).collect(),
        })
    }

    /// The same for any credential. A personal access token shows the one organization that it is for.
    ///
    /// # Errors
    /// As [`signed_in`]; `Forbidden` beyond a token's scopes.
    pub async fn me_by(&self, who: &Credential) -> Result<Me> {
        let token = match who {
            Credential::Session(claims) => return self.me(claims).await,
            Credential::Token(token) => token,
        };
        self.db
            .tenant(token, async |t| {
                let (user, role) = (t.caller().user, t.caller().role);
                let (user, role) = user.zip(role).ok_or(Error::NotFound)?;
                let user = users::table.find(user).select(User::as_select()).first(t.conn()?).await?;
                let role = roles::table.find((t.org(), role)).select(roles::name).first(t.conn()?).await?;
                let current_org = OrgSummary::find(t, t.org()).await?.ok_or(Error::NotFound)?;
                let listed = OrgRole { id: current_org.id, name: current_org.name.clone(), role };
                Ok(Me {
                    user,
                    platform_admin: None,
                    current_org: Some(current_org),
                    organizations: vec![listed],
                })
            })
            .await
    }

    /// The person's active memberships in active organizations, the latest joined first.
    ///
    /// # Errors
    /// As [`signed_in`].
    pub async fn my_organizations(&self, claims: &AccessClaims) -> Result<Vec<OrgRole>> {
        Ok(self.me(claims).await?.organizations)
    }
}
