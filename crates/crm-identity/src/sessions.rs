//! Sessions: one sign-in on one device, with the tokens that follow from it.

use chrono::{DateTime, Utc};
use crm_core::{OrgId, Result, SessionId, Tx, UserId};
use crm_schema::{refresh_tokens, sessions};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Serialize;
use uuid::Uuid;

use crate::directory::Belonging;
use crate::tokens::Bearer;
use crate::users::User;
use crate::{Client, Identity, OrgRole, OrgSummary, TokenKind};

crm_core::text_enum!(
    /// Why a session ended before its time.
    EndedBecause {
        Logout = "logout",
        PasswordChanged = "password_changed",
        PasswordReset = "password_reset",
        TokenReused = "token_reused",
    }
);

/// The tokens of a session.
#[derive(Clone, Serialize, utoipa::ToSchema)]
pub struct TokenPair {
    /// To be sent as `Authorization: Bearer …`.
    pub access_token: String,
    /// To be exchanged, once, for the next pair.
    pub refresh_token: String,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// How long the access token lasts, in seconds.
    pub expires_in: i64,
}

impl std::fmt::Debug for TokenPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenPair").finish_non_exhaustive()
    }
}

/// The answer of every sign-in.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct SignedIn {
    /// The tokens.
    #[serde(flatten)]
    pub tokens: TokenPair,
    /// Who signed in.
    pub user: User,
    /// The organization that the tokens are bound to.
    pub current_org: Option<OrgSummary>,
    /// Active memberships in active organizations, the latest joined first.
    pub organizations: Vec<OrgRole>,
}

impl SignedIn {
    pub(crate) fn new(tokens: TokenPair, user: User, current: Option<OrgSummary>, all: &[Belonging]) -> Self {
        Self {
            tokens,
            user,
            current_org: current,
            organizations: all.iter().map(Belonging::listed).collect(),
        }
    }
}

impl Identity {
    /// Begins a session and makes its first tokens.
    pub(crate) async fn open_session(
        &self,
        tx: &mut impl Tx,
        client: &Client,
        user: UserId,
        org: Option<OrgId>,
        kind: TokenKind,
    ) -> Result<TokenPair> {
        let now = tx.now();
        let session = SessionId::generate();
        diesel::insert_into(sessions::table)
            .values((
                sessions::id.eq(session),
                sessions::user_id.eq(user),
                sessions::created_at.eq(now),
                sessions::expires_at.eq(now + self.tokens.refresh_ttl),
                sessions::ip_address.eq(client.ip_text()),
                sessions::user_agent.eq(client.user_agent_text()),
            ))
            .execute(tx.conn()?)
            .await?;
        self.issue(tx, &Bearer { user, session, org, kind }).await
    }

    /// Makes further tokens of a session, which lasts as long as the newest of them.
    pub(crate) async fn extend_session(&self, tx: &mut impl Tx, bearer: &Bearer) -> Result<TokenPair> {
        let until = tx.now() + self.tokens.refresh_ttl;
        let session = sessions::table.find(bearer.session);
        diesel::update(session).set(sessions::expires_at.eq(until)).execute(tx.conn()?).await?;
        self.issue(tx, bearer).await
    }

    async fn issue(&self, tx: &mut impl Tx, bearer: &Bearer) -> Result<TokenPair> {
        let now = tx.now();
        let jti = Uuid::now_v7();
        diesel::insert_into(refresh_tokens::table)
            .values((
                refresh_tokens::jti.eq(jti),
                refresh_tokens::session_id.eq(bearer.session),
                refresh_tokens::org_id.eq(bearer.org),
                refresh_tokens::created_at.eq(now),
                refresh_tokens::expires_at.eq(now + self.tokens.refresh_ttl),
            ))
            .execute(tx.conn()?)
            .await?;
        Ok(TokenPair {
            access_token: self.tokens.access(bearer, now)?,
            refresh_token: self.tokens.refresh(bearer, jti, now)?,
            token_type: "Bearer",
            expires_in: self.tokens.access_ttl.num_seconds(),
        })
    }
}

/// Ends a session and answers whether it had not ended before.
pub(crate) async fn end(tx: &mut impl Tx, session: SessionId, because: EndedBecause) -> Result<bool> {
    let open = sessions::table.filter(sessions::id.eq(session).and(sessions::ended_at.is_null()));
    let ended = diesel::update(open)
        .set((sessions::ended_at.eq(tx.now()), sessions::ended_because.eq(because)))
        .execute(tx.conn()?)
        .await?;
    Ok(ended > 0)
}

/// Ends the sessions of an account, one of them excepted or none, and answers how many that were.
pub(crate) async fn end_all(
    tx: &mut impl Tx,
    user: UserId,
    except: Option<SessionId>,
    because: EndedBecause,
) -> Result<usize> {
    let except = except.map_or(Uuid::nil(), Uuid::from);
    let open = sessions::user_id.eq(user).and(sessions::ended_at.is_null()).and(sessions::id.ne(except));
    let ended = diesel::update(sessions::table.filter(open))
        .set((sessions::ended_at.eq(tx.now()), sessions::ended_because.eq(because)))
        .execute(tx.conn()?)
        .await?;
    Ok(ended)
}

/// Removes sessions, with their tokens, that can't be used any more.
pub(crate) async fn sweep(tx: &mut impl Tx, before: DateTime<Utc>) -> Result<usize> {
    let over = sessions::expires_at.lt(before);
    Ok(diesel::delete(sessions::table.filter(over)).execute(tx.conn()?).await?)
}
