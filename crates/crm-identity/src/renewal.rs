use chrono::{DateTime, Utc};
use crm_core::{Error, MemberId, OrgId, PlatformTx, Result};
use crm_schema::refresh_tokens;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::events::{Client, Event, EventKind};
use crate::login::{Settled, kind_of};
use crate::sessions::{self, EndedBecause, TokenPair};
use crate::tokens::{Bearer, RefreshClaims, invalid};
use crate::viewer::live_user;
use crate::{AccessClaims, Identity, OrgSummary, TokenKind};

/// Body of a refresh and of a sign-out.
#[derive(Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshToken {
    /// The refresh token.
    #[serde(alias = "refresh")]
    pub refresh_token: String,
}

/// Body of a change of organization.
#[derive(Debug, Clone, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SwitchOrg {
    /// The organization to work in.
    pub org_id: OrgId,
}

/// Tokens bound to another organization.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Switched {
    /// The tokens.
    #[serde(flatten)]
    pub tokens: TokenPair,
    /// The organization.
    pub current_org: OrgSummary,
    /// What the person is there.
    pub profile: SwitchedProfile,
}

/// A membership in a few words.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct SwitchedProfile {
    /// The membership.
    pub id: MemberId,
    /// The name of its role.
    pub role: String,
}

impl Identity {
    /// Exchanges a refresh token, once, for the next pair, bound to the same organization.
    ///
    /// # Errors
    /// `Unauthenticated` for a token that is not valid, of a session that is over, or already used, which also ends the session;
    /// `Forbidden` when the membership or the organization is no longer active.
    pub async fn refresh(&self, client: &Client, input: RefreshToken) -> Result<TokenPair> {
        let claims = self.tokens.verify_refresh(&input.refresh_token, self.db.clock().now())?;
        // Looked up before the token is spent, so that spending it and making the next pair are one transaction.
        let belongs = match claims.bearer.org {
            Some(org) => self.belonging(claims.bearer.user, org).await?.is_some(),
            None => true,
        };
        self.db.platform(async |p| self.rotate(p, client, &claims, belongs).await).await?
    }

    async fn rotate(
        &self,
        p: &mut PlatformTx,
        client: &Client,
        claims: &RefreshClaims,
        belongs: bool,
    ) -> Settled<TokenPair> {
        let Bearer { user, session, org, .. } = claims.bearer;
        let token = refresh_tokens::jti.eq(claims.jti).and(refresh_tokens::session_id.eq(session));
        // The lock lets one of two simultaneous refreshes through; the other then finds the token spent.
        let spent: Option<Option<DateTime<Utc>>> = refresh_tokens::table
            .filter(token)
            .select(refresh_tokens::spent_at)
            .for_no_key_update()
            .first(p.conn()?)
            .await
            .optional()?;
        let about = |event: Event| event.user(user).org(org).detail("session", session.to_string());
        match spent {
            None => return Ok(Err(invalid())),
            Some(Some(_)) => {
                sessions::end(p, session, EndedBecause::TokenReused).await?;
                about(Event::refused(EventKind::TokenReused, "spent_token")).record(p, client).await?;
                return Ok(Err(Error::Unauthenticated(
                    "the token was used before, so the session has ended: sign in again".into(),
                )));
            }
            Some(None) => {}
        }
        if live_user(p, user, session).await?.is_none() {
            about(Event::refused(EventKind::TokenRefresh, "session_over")).record(p, client).await?;
            return Ok(Err(Error::Unauthenticated("the session has ended".into())));
        }
        if !belongs {
            let kind = match org {
                Some(org) if OrgSummary::find(p, org).await?.is_some() => EventKind::CrossOrgAttempt,
                _ => EventKind::PermissionDenied,
            };
            about(Event::refused(kind, "not_a_member")).record(p, client).await?;
            return Ok(Err(Error::Forbidden(
                "you are no longer an active member of this organization".into(),
            )));
        }
        diesel::update(refresh_tokens::table.filter(token))
            .set(refresh_tokens::spent_at.eq(p.now()))
            .execute(p.conn()?)
            .await?;
        let bearer = Bearer { kind: kind_of(p, user).await?, ..claims.bearer };
        let tokens = self.extend_session(p, &bearer).await?;
        about(Event::done(EventKind::TokenRefresh)).record(p, client).await?;
        Ok(Ok(tokens))
    }

    /// Ends the session of a refresh token. One that can't be used any more is no error: the session is over.
    ///
    /// # Errors
    /// `Unavailable` without a database.
    pub async fn logout(&self, client: &Client, input: RefreshToken) -> Result<()> {
        let Ok(RefreshClaims { bearer, .. }) =
            self.tokens.verify_refresh(&input.refresh_token, self.db.clock().now())
        else {
            return Ok(());
        };
        self.db
            .platform(async |p| {
                if sessions::end(p, bearer.session, EndedBecause::Logout).await? {
                    let event = Event::done(EventKind::Logout).user(bearer.user).org(bearer.org);
                    event.detail("session", bearer.session.to_string()).record(p, client).await?;
                }
                Ok(())
            })
            .await
    }

    /// Makes tokens of the same session bound to another organization. The session's other tokens stay usable, for its other tabs.
    ///
    /// # Errors
    /// `Forbidden` unless the person is an active member there, which a platform administrator never is.
    pub async fn switch_org(
        &self,
        client: &Client,
        claims: &AccessClaims,
        input: SwitchOrg,
    ) -> Result<Switched> {
        let signed_in = self.signed_in(claims).await?;
        let user = signed_in.user.id;
        let event = |event: Event| {
            let from = claims.org.map(|org| org.to_string());
            event.user(user).org(input.org_id).detail("from", from)
        };
        let belonging = match signed_in.platform_admin {
            Some(_) => None,
            None => self.belonging(user, input.org_id).await?,
        };
        let Some(belonging) = belonging else {
            let denied = event(Event::refused(EventKind::PermissionDenied, "not_a_member"));
            self.db.platform(async |p| denied.record(p, client).await).await?;
            return Err(Error::Forbidden("you are not an active member of this organization".into()));
        };
        let bearer =
            Bearer { user, session: signed_in.session, org: Some(belonging.org.id), kind: TokenKind::Member };
        self.db
            .platform(async |p| {
                let tokens = self.extend_session(p, &bearer).await?;
                event(Event::done(EventKind::OrgSwitch)).record(p, client).await?;
                let profile = SwitchedProfile { id: belonging.member, role: belonging.role };
                Ok(Switched { tokens, current_org: belonging.org, profile })
            })
            .await
    }
}
