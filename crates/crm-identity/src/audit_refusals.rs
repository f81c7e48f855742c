//! What becomes of a request that was refused, and of a token that was used, in the audit trail. None of it lets a request fail.

use chrono::TimeDelta;
use crm_core::{Caller, Code, Error, OrgId, OrgInfo, Result};
use crm_schema::{access_tokens, memberships};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::audit_repeats::Verdict;
use crate::caller::Holder;
use crate::events::{Client, Event, EventKind};
use crate::viewer::live_user;
use crate::{AccessClaims, Credential, Identity, OrgSummary, TokenClaims, one_address};

/// How often the time of a token's last use is moved at most.
const USE_NOTED_EVERY: TimeDelta = TimeDelta::minutes(1);

impl Identity {
    /// Writes down that a request with this credential was refused, if that is worth it: a 403, a token that names an organization to which
    /// its holder does not belong, a personal access token that opens nothing. The same again within a minute is only counted.
    pub async fn refused(&self, who: &Credential, error: &Error, operation: &'static str, client: &Client) {
        let written = match (error.code(), who) {
            (code @ (Code::Forbidden | Code::NoOrganization), _) => {
                self.permission_denied(who, code, operation, client).await
            }
            (Code::Unauthenticated, Credential::Session(claims)) => self.stranger(claims, client).await,
            (Code::Unauthenticated, Credential::Token(claims)) => self.token_invalid(claims, client).await,
            // The token was good, whatever was asked of it.
            (code, Credential::Token(claims)) if code.status() < 429 => {
                return self.token_used(claims, client).await;
            }
            _ => return,
        };
        if let Err(error) = written {
            tracing::warn!(%error, operation, "a refusal is missing in the audit trail");
        }
    }

    /// Notes that a personal access token was used, at most once a minute from each address. To be called after the request.
    pub async fn token_used(&self, claims: &TokenClaims, client: &Client) {
        let key = format!("used:{}:{}", claims.digest, client.ip_text().unwrap_or_default());
        let noted = self.note(key, client, async || self.touch(claims, client).await).await;
        if let Err(error) = noted {
            tracing::warn!(%error, "the use of a token could not be noted");
        }
    }

    /// Writes what was repeated and counted, once nobody repeats it any more.
    pub(crate) async fn write_repeats(&self) -> Result<()> {
        let due = self.repeats.due(self.db.clock().now());
        if due.is_empty() {
            return Ok(());
        }
        self.db
            .platform(async |p| {
                for (event, client) in due {
                    event.record(p, &client).await?;
                }
                Ok(())
            })
            .await
    }

    async fn permission_denied(
        &self,
        who: &Credential,
        code: Code,
        operation: &'static str,
        client: &Client,
    ) -> Result<()> {
        let whose = match who {
            Credential::Session(claims) => claims.user.to_string(),
            Credential::Token(claims) => claims.digest.clone(),
        };
        let event = Event::refused(EventKind::PermissionDenied, code.as_str()).org(who.org());
        let event = event.detail("operation", operation);
        self.note(format!("denied:{whose}:{operation}"), client, async || {
            Ok(Some(match who {
                Credential::Session(claims) => event.user(claims.user),
                Credential::Token(claims) => {
                    let Holder { token, caller, .. } = self.holder(claims).await?;
                    event.user(caller.user).detail("token", token.to_string())
                }
            }))
        })
        .await
    }

    /// A session that stands, with a token for an organization to which the person does not, or no longer, belong.
    async fn stranger(&self, claims: &AccessClaims, client: &Client) -> Result<()> {
        let AccessClaims { user, session, .. } = *claims;
        let Some(org) = claims.org else { return Ok(()) };
        self.note(format!("stranger:{user}:{org}"), client, async || {
            let stands = self.db.platform(async |p| {
                let org_is_active = OrgSummary::find(p, org).await?.is_some();
                Ok::<_, Error>(org_is_active && live_user(p, user, session).await?.is_some())
            });
            if !stands.await? || self.belonging(user, org).await?.is_some() {
                return Ok(None);
            }
            let event = Event::refused(EventKind::CrossOrgAttempt, "not_a_member").user(user).org(org);
            Ok(Some(event.detail("session", session.to_string())))
        })
        .await
    }

    /// The organization is told of a token that it once had. What is no token of it may name any organization, and so is told to none.
    async fn token_invalid(&self, claims: &TokenClaims, client: &Client) -> Result<()> {
        let address = client.ip.map(|ip| one_address(ip).to_string());
        self.note(format!("invalid:{}:{}", address.unwrap_or_default(), claims.org), client, async || {
            Ok(Some(match self.former(claims).await? {
                Some((token, user)) => Event::refused(EventKind::TokenInvalid, "no_longer_valid")
                    .user(user)
                    .org(claims.org)
                    .detail("token", token.to_string()),
                None => Event::refused(EventKind::TokenInvalid, "unknown"),
            }))
        })
        .await
    }

    /// Writes an event unless the same was written less than a minute ago.
    async fn note(
        &self,
        key: String,
        client: &Client,
        event: impl AsyncFnOnce() -> Result<Option<Event>>,
    ) -> Result<()> {
        let Verdict { write_as, due } = self.repeats.judge(&key, self.db.clock().now());
        let event = match &write_as {
            Some(_) => event().await?,
            None => None,
        };
        if event.is_none() && due.is_empty() {
            return Ok(());
        }
        self.db
            .platform(async |p| {
                for (event, client) in due {
                    event.record(p, &client).await?;
                }
                match event.clone() {
                    Some(event) => event.record(p, client).await,
                    None => Ok(()),
                }
            })
            .await?;
        if let (Some(key), Some(event)) = (write_as, event) {
            self.repeats.remember(&key, (event, client.clone()));
        }
        Ok(())
    }

    /// Whom a token stands for, whatever its scopes.
    async fn holder(&self, claims: &TokenClaims) -> Result<Holder> {
        self.db.tenant(&nobody(claims.org), async |t| Holder::find(claims, t.shared()?).await).await
    }

    /// A token of the organization that opens nothing any more, with its owner.
    async fn former(&self, claims: &TokenClaims) -> Result<Option<(Uuid, Option<crm_core::UserId>)>> {
        self.db
            .tenant(&nobody(claims.org), async |t| {
                let here = access_tokens::org_id.eq(t.org());
                let owner = memberships::org_id
                    .eq(access_tokens::org_id)
                    .and(memberships::id.eq(access_tokens::created_by));
                let found = access_tokens::table
                    .inner_join(memberships::table.on(owner))
                    .filter(here.and(access_tokens::digest.eq(&claims.digest)))
                    .select((access_tokens::id, memberships::user_id));
                found.first(t.conn()?).await.optional().map_err(Error::from)
            })
            .await
    }

    /// Moves the time of the last use, unless another process has just done so; none for a token that opens nothing.
    async fn touch(&self, claims: &TokenClaims, client: &Client) -> Result<Option<Event>> {
        self.db
            .tenant(&nobody(claims.org), async |t| {
                let Holder { token, caller, .. } = match Holder::find(claims, t.shared()?).await {
                    Err(Error::Unauthenticated(_)) => return Ok(None),
                    found => found?,
                };
                let this = access_tokens::org_id.eq(t.org()).and(access_tokens::id.eq(token));
                let stale = access_tokens::last_used_at
                    .is_null()
                    .or(access_tokens::last_used_at.le(t.now() - USE_NOTED_EVERY));
                diesel::update(access_tokens::table.filter(this.and(stale)))
                    .set((
                        access_tokens::last_used_at.eq(t.now()),
                        access_tokens::last_used_ip.eq(client.ip_text()),
                    ))
                    .execute(t.conn()?)
                    .await?;
                let event = Event::done(EventKind::TokenUsed).user(caller.user).org(claims.org);
                Ok(Some(event.detail("token", token.to_string())))
            })
            .await
    }
}

/// The program itself, for a look into an organization that a credential names.
fn nobody(id: OrgId) -> Caller {
    Caller::system(OrgInfo {
        id,
        name: String::new(),
        currency: "USD".to_owned(),
        timezone: Default::default(),
    })
}
