//! Signed tokens: what they say, how they are made and when they are believed.

use chrono::{DateTime, TimeDelta, Utc};
use crm_core::{Code, Error, OrgId, Result, SessionId, UserId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::TokenSettings;

const AUDIENCE: &str = "amphora";
/// How far ahead the clock of the machine that made a token may be, in seconds.
const LEEWAY: i64 = 5;
const MAX_LENGTH: usize = 4096;
const MIN_SECRET: usize = 32;

/// Whom a token was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// A person who works in organizations.
    Member,
    /// A platform administrator.
    Platform,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Use {
    Access,
    Refresh,
}

/// What a pair of tokens stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bearer {
    pub(crate) user: UserId,
    pub(crate) session: SessionId,
    pub(crate) org: Option<OrgId>,
    pub(crate) kind: TokenKind,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    typ: Use,
    sub: UserId,
    sid: SessionId,
    jti: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    org: Option<OrgId>,
    kind: TokenKind,
    iat: i64,
    nbf: i64,
    exp: i64,
}

/// What a valid access token says. That its session and its membership still stand is for the database to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessClaims {
    /// The account.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
    /// The organization it is bound to.
    pub org: Option<OrgId>,
    /// Whom it was made for.
    pub kind: TokenKind,
    /// When it was read.
    pub at: DateTime<Utc>,
}

impl AccessClaims {
    /// The claims as a caller of their organization, for [`crm_core::Db::tenant`].
    ///
    /// # Errors
    /// `NoOrganization` (403) for a token that is bound to none.
    pub fn in_org(&self) -> Result<MemberClaims> {
        match (self.org, self.kind) {
            (Some(org), TokenKind::Member) => {
                Ok(MemberClaims { user: self.user, session: self.session, org, at: self.at })
            }
            (_, TokenKind::Platform) => Err(Error::Refused(
                Code::NoOrganization,
                "a platform administrator has no part in any organization".into(),
            )),
            _ => Err(Error::Refused(Code::NoOrganization, "choose an organization first".into())),
        }
    }
}

/// The claims of a token that is bound to an organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberClaims {
    pub(crate) user: UserId,
    pub(crate) session: SessionId,
    pub(crate) org: OrgId,
    pub(crate) at: DateTime<Utc>,
}

pub(crate) struct RefreshClaims {
    pub(crate) jti: Uuid,
    pub(crate) bearer: Bearer,
}

/// Makes and reads the installation's tokens.
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    issuer: String,
    pub(crate) access_ttl: TimeDelta,
    pub(crate) refresh_ttl: TimeDelta,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl Tokens {
    /// Tokens signed with the settings' secret.
    ///
    /// # Errors
    /// `Internal` when the secret is shorter than 32 bytes.
    pub fn new(settings: &TokenSettings) -> Result<Self> {
        let secret = settings.secret.as_bytes();
        if secret.len() < MIN_SECRET {
            return Err(Error::internal(format!("the token secret must have {MIN_SECRET} bytes at least")));
        }
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        validation.set_issuer(&[&settings.issuer]);
        validation.set_audience(&[AUDIENCE]);
        // The library would ask the system for the time; `read` compares with the program's clock instead.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Ok(Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            validation,
            issuer: settings.issuer.clone(),
            access_ttl: settings.access_ttl,
            refresh_ttl: settings.refresh_ttl,
        })
    }

    /// Reads an access token.
    ///
    /// # Errors
    /// `Unauthenticated` unless it is one of ours, unaltered, for access, and valid at `now`.
    pub fn verify_access(&self, token: &str, now: DateTime<Utc>) -> Result<AccessClaims> {
        let Claims { sub: user, sid: session, org, kind, .. } = self.read(Use::Access, token, now)?;
        Ok(AccessClaims { user, session, org, kind, at: now })
    }

    pub(crate) fn verify_refresh(&self, token: &str, now: DateTime<Utc>) -> Result<RefreshClaims> {
        let Claims { jti, sub: user, sid: session, org, kind, .. } = self.read(Use::Refresh, token, now)?;
        Ok(RefreshClaims { jti, bearer: Bearer { user, session, org, kind } })
    }

    pub(crate) fn access(&self, bearer: &Bearer, now: DateTime<Utc>) -> Result<String> {
        self.write(Use::Access, bearer, Uuid::now_v7(), now, self.access_ttl)
    }

    pub(crate) fn refresh(&self, bearer: &Bearer, jti: Uuid, now: DateTime<Utc>) -> Result<String> {
        self.write(Use::Refresh, bearer, jti, now, self.refresh_ttl)
    }

    fn write(
        &self,
        typ: Use,
        bearer: &Bearer,
        jti: Uuid,
        now: DateTime<Utc>,
        ttl: TimeDelta,
    ) -> Result<String> {
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: AUDIENCE.to_owned(),
            typ,
            sub: bearer.user,
            sid: bearer.session,
            jti,
            org: bearer.org,
            kind: bearer.kind,
            iat: now.timestamp(),
            nbf: now.timestamp(),
            exp: (now + ttl).timestamp(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding).map_err(Error::internal)
    }

    fn read(&self, typ: Use, token: &str, now: DateTime<Utc>) -> Result<Claims> {
        if token.len() > MAX_LENGTH {
            return Err(invalid());
        }
        let claims: Claims =
            jsonwebtoken::decode(token, &self.decoding, &self.validation).map_err(|_| invalid())?.claims;
        let now = now.timestamp();
        if claims.typ != typ || claims.nbf > now + LEEWAY || claims.iat > now + LEEWAY {
            return Err(invalid());
        }
        if claims.exp <= now {
            return Err(Error::Unauthenticated("the token has expired".into()));
        }
        Ok(claims)
    }
}

pub(crate) fn invalid() -> Error {
    Error::Unauthenticated("the token is not valid".into())
}

#[cfg(test)]
mod tests;
