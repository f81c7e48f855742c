//! What a request presents: the token of a session, or a personal access token.

use chrono::{DateTime, Utc};
use crm_core::{Caller, CallerSource, Error, OrgId, Result};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::MARK;
use crate::caller::Holder;
use crate::{AccessClaims, Identity, MemberClaims, org_key, secret};

/// What stands behind `Authorization: Bearer`.
#[derive(Debug, Clone)]
pub enum Credential {
    /// The access token of a session, verified.
    Session(AccessClaims),
    /// A personal access token, of which the database has yet to tell whether it opens anything.
    Token(TokenClaims),
}

impl Credential {
    /// The organization that it names.
    pub fn org(&self) -> Option<OrgId> {
        match self {
            Self::Session(claims) => claims.org,
            Self::Token(claims) => Some(claims.org),
        }
    }

    /// What its requests are counted by.
    pub fn id(&self) -> Uuid {
        match self {
            Self::Session(claims) => claims.session.0,
            Self::Token(TokenClaims { digest, .. }) => {
                digest.get(..32).and_then(|half| half.parse().ok()).unwrap_or_default()
            }
        }
    }

    /// The session, for what needs a person who has signed in.
    ///
    /// # Errors
    /// `Forbidden` for a personal access token.
    pub fn session(&self) -> Result<&AccessClaims> {
        match self {
            Self::Session(claims) => Ok(claims),
            Self::Token(_) => {
                Err(Error::Forbidden("a personal access token can't be used for this: sign in".into()))
            }
        }
    }

    /// The caller in the organization that it names, for [`crm_core::Db::tenant`].
    ///
    /// # Errors
    /// As [`AccessClaims::in_org`].
    pub fn in_org(&self) -> Result<OrgClaims> {
        Ok(match self {
            Self::Session(claims) => OrgClaims::Session(claims.in_org()?),
            Self::Token(claims) => OrgClaims::Token(claims.clone()),
        })
    }
}

/// A credential in an organization.
#[derive(Debug, Clone)]
pub enum OrgClaims {
    /// A session's.
    Session(MemberClaims),
    /// A personal access token.
    Token(TokenClaims),
}

impl CallerSource for OrgClaims {
    fn org(&self) -> OrgId {
        match self {
            Self::Session(claims) => claims.org(),
            Self::Token(claims) => claims.org(),
        }
    }

    async fn caller(&self, conn: &AsyncPgConnection) -> Result<Caller> {
        match self {
            Self::Session(claims) => claims.caller(conn).await,
            Self::Token(claims) => claims.caller(conn).await,
        }
    }
}

/// A personal access token together with what it is to be used for: its scopes are judged whenever its owner is looked up.
#[derive(Clone)]
pub struct TokenClaims {
    pub(crate) org: OrgId,
    pub(crate) digest: String,
    pub(crate) at: DateTime<Utc>,
    method: String,
    path: String,
}

// A digest is no secret, and still nothing for a log.
impl std::fmt::Debug for TokenClaims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenClaims").field("org", &self.org).finish_non_exhaustive()
    }
}

impl CallerSource for TokenClaims {
    fn org(&self) -> OrgId {
        self.org
    }

    /// `Unauthenticated` for every token that opens nothing, for whatever reason; `Forbidden` beyond its scopes.
    async fn caller(&self, conn: &AsyncPgConnection) -> Result<Caller> {
        let Holder { caller, scopes, .. } = Holder::find(self, conn).await?;
        scopes.allow(&self.method, &self.path)?;
        Ok(caller)
    }
}

impl Identity {
    /// Reads the credential of a request that asks for `method` on `path`, the path as its operation declares it.
    ///
    /// # Errors
    /// `Unauthenticated` for the token of a session unless it is one of ours, unaltered and not expired. A personal access token is judged
    /// once its organization is asked.
    pub fn read_bearer(&self, bearer: &str, method: &str, path: &str) -> Result<Credential> {
        if !bearer.starts_with(MARK) {
            return self.verify_access(bearer).map(Credential::Session);
        }
        // One that names no organization is looked for where there is nothing, so that it is refused like any other.
        let org = org_key::org_of(MARK, bearer).unwrap_or(OrgId(Uuid::nil()));
        Ok(Credential::Token(TokenClaims {
            org,
            digest: secret::digest(bearer),
            at: self.db.clock().now(),
            method: method.to_owned(),
            path: path.to_owned(),
        }))
    }
}

/// What every personal access token that opens nothing is answered.
pub(crate) fn unusable() -> Error {
    Error::Unauthenticated("the token is not valid, or no longer".into())
}
