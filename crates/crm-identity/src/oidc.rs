//! Signing in by a provider of identities that speaks OpenID Connect: the authorization code flow with PKCE, begun and finished by a
//! page of the front end.

use std::time::Duration;

use chrono::TimeDelta;
use crm_core::{Error, FieldCode, PlatformTx, Result, Tx};
use crm_schema::{oidc_identities as identities, oidc_logins as logins};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::events::{Client, Event, EventKind};
use crate::login::Settled;
use crate::sign_in::{Method, Proven, SignIn, begin_again, retried};
use crate::throttle::{self, Key};
use crate::users::{Account, lock};
use crate::{Identity, secret};

mod http;
mod provider;

pub(crate) use provider::Providers;
use provider::{Claimed, Fault};

/// How long somebody may take at the provider.
const TTL: TimeDelta = TimeDelta::minutes(10);

/// Providers of identities.
#[derive(Debug, Clone)]
pub struct OidcSettings {
    /// All of them.
    pub providers: Vec<OidcProvider>,
    /// How long one request to a provider may take.
    pub timeout: Duration,
}

/// A provider of identities and what it knows this installation by.
#[derive(Clone)]
pub struct OidcProvider {
    /// One word, for the API.
    pub name: String,
    /// What people call it.
    pub label: String,
    /// Its issuer, exactly as its tokens name it.
    pub issuer: String,
    /// The client id that it gave this installation.
    pub client_id: String,
    /// The secret that goes with it.
    pub client_secret: String,
}

impl std::fmt::Debug for OidcProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OidcProvider").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// A provider as a sign-in page shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct OidcSummary {
    /// The word for the API.
    pub name: String,
    /// What people call it.
    pub label: String,
}

/// The providers that people can sign in by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct OidcProviders {
    /// In the order of the settings.
    pub providers: Vec<OidcSummary>,
}

/// Body of the beginning of a sign-in by a provider.
#[derive(Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BeginOidc {
    /// The provider's name.
    #[validate(length(min = 1, max = 100))]
    pub provider: String,
    /// The page of the front end that the provider sends the person back to.
    #[validate(length(min = 1, max = 500), custom(function = "crm_core::rules::web_url"))]
    pub redirect_uri: String,
}

/// Where to send the person.
#[derive(Clone, Serialize, utoipa::ToSchema)]
pub struct OidcBegun {
    /// The provider's page.
    pub authorization_url: String,
    /// Comes back with the person. The front end keeps it and goes on only if the two are equal: otherwise somebody else's sign-in could be
    /// finished here.
    pub state: String,
}

/// Body of the end of a sign-in by a provider: what came back with the person.
#[derive(Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FinishOidc {
    /// The authorization code.
    #[validate(length(min = 1, max = 4000))]
    pub code: String,
    /// The state that the sign-in was begun with.
    #[validate(length(min = 1, max = 200))]
    pub state: String,
}

/// A sign-in begun at a provider.
#[derive(Queryable, Selectable)]
#[diesel(table_name = logins)]
struct Begun {
    provider: String,
    nonce: String,
    verifier: String,
    redirect_uri: String,
}

impl Identity {
    /// The providers that people can sign in by.
    pub fn oidc_providers(&self) -> OidcProviders {
        OidcProviders { providers: self.providers.summaries() }
    }

    /// Begins a sign-in by a provider.
    ///
    /// # Errors
    /// 422 for a provider that is not set, and for a page that is not the front end's; `TooMany`; `Unavailable` while the provider is
    /// away.
    pub async fn begin_oidc(&self, client: &Client, input: BeginOidc) -> Result<OidcBegun> {
        let BeginOidc { provider, redirect_uri } = input;
        let known = self.providers.find(&provider).ok_or_else(|| {
            Error::field(
                "provider",
                FieldCode::NotAChoice,
                "is not one of the providers of this installation",
            )
        })?;
        if !redirect_uri.starts_with(&self.settings.page("")) || redirect_uri.contains('#') {
            let message = "must be a page of the front end, without a fragment";
            return Err(Error::field("redirect_uri", FieldCode::NotAllowed, message));
        }
        self.db.platform(async |p| admit(p, client).await).await??;
        let asked = known.ask(self.db.clock().now(), &redirect_uri).await?;
        let (state, verifier) = (asked.state, self.keys.oidc.seal(asked.verifier.as_bytes())?);
        self.db
            .platform(async |p| {
                let now = p.now();
                let begun = (
                    logins::state_digest.eq(secret::digest(&state)),
                    logins::provider.eq(provider),
                    logins::nonce.eq(asked.nonce),
                    logins::verifier.eq(verifier),
                    logins::redirect_uri.eq(redirect_uri),
                    logins::created_at.eq(now),
                    logins::expires_at.eq(now + TTL),
                );
                diesel::insert_into(logins::table).values(begun).execute(p.conn()?).await?;
                Ok::<_, Error>(())
            })
            .await?;
        Ok(OidcBegun { authorization_url: asked.url, state })
    }

    /// Finishes a sign-in by a provider, with a new account where the address has none.
    ///
    /// # Errors
    /// `TokenUnusable` for a state that is unknown, used or too old; `InvalidCredentials` when the provider's answer proves nothing;
    /// `Forbidden` when it has not verified the address, when the address belongs to another of its identities, and for an account that
    /// is shut out; `TooMany`; `Unavailable` while the provider is away.
    pub async fn finish_oidc(&self, client: &Client, input: FinishOidc) -> Result<SignIn> {
        let FinishOidc { code, state } = input;
        let begun = self.db.platform(async |p| take(p, client, &state).await).await??;
        let Some(provider) = self.providers.find(&begun.provider) else { return Err(begin_again()) };
        let verifier = String::from_utf8(self.keys.oidc.open(&begun.verifier)?).map_err(Error::internal)?;
        let proof = provider::Proof { code, verifier, nonce: begun.nonce, redirect_uri: begun.redirect_uri };
        let now = self.db.clock().now();
        let claimed = match provider.redeem(now, proof).await {
            Ok(claimed) => claimed,
            Err(Fault::Away(error)) => return Err(Error::Unavailable(error)),
            Err(Fault::Refused(reason, refusal)) => {
                let event = refused(&begun.provider, reason);
                self.db.platform(async |p| event.record(p, client).await).await?;
                return Err(refusal);
            }
        };
        let prove = async || {
            self.db.platform(async |p| self.owner(p, client, &begun.provider, &claimed).await).await?
        };
        self.enter(client, retried(prove).await?).await
    }

    /// Whose account the identity opens. One that is seen for the first time is linked to the account of its address.
    async fn owner(
        &self,
        p: &mut PlatformTx,
        client: &Client,
        provider: &str,
        claimed: &Claimed,
    ) -> Settled<Proven> {
        forgive(p, client).await?;
        let this = identities::table.find((&claimed.issuer, &claimed.subject));
        let known = this.select(identities::user_id).first(p.conn()?).await.optional()?;
        if let Some(user) = known {
            return Ok(Ok(Proven::new(&Account::by_id(p, user).await?, Method::Oidc)));
        }
        let address = (claimed.email.as_str(), claimed.name.as_deref());
        let account = match self.account_of(p, client, Method::Oidc, address).await? {
            Ok(account) => account,
            Err(refusal) => return Ok(Err(refusal)),
        };
        lock(p, account.user.id).await?;
        let linked = diesel::insert_into(identities::table)
            .values((
                identities::issuer.eq(&claimed.issuer),
                identities::subject.eq(&claimed.subject),
                identities::user_id.eq(account.user.id),
                identities::created_at.eq(p.now()),
            ))
            .on_conflict_do_nothing()
            .execute(p.conn()?)
            .await?;
        let same = this.filter(identities::user_id.eq(account.user.id)).count();
        if linked == 0 && same.get_result::<i64>(p.conn()?).await? == 0 {
            refused(provider, "another_identity").user(account.user.id).record(p, client).await?;
            let message = "the account of this address belongs to another identity at this provider: sign in in another way";
            return Ok(Err(Error::Forbidden(message.into())));
        }
        let event = Event::done(EventKind::OidcLinked).user(account.user.id).detail("provider", provider);
        event.record(p, client).await?;
        Ok(Ok(Proven::new(&account, Method::Oidc)))
    }
}

fn refused(provider: &str, reason: &'static str) -> Event {
    Event::refused(EventKind::OidcRefused, reason).detail("provider", provider)
}

/// Counts what is begun and never finished, by address.
async fn admit(p: &mut PlatformTx, client: &Client) -> Settled<()> {
    let Some(ip) = client.ip else { return Ok(Ok(())) };
    let wait = throttle::count(p, &Key::address("oidc", ip), throttle::ADDRESS).await?;
    Ok(wait.map_or(Ok(()), |seconds| Err(Error::TooMany { seconds })))
}

async fn forgive(p: &mut PlatformTx, client: &Client) -> Result<()> {
    match client.ip {
        Some(ip) => throttle::take_back(p, &Key::address("oidc", ip)).await,
        None => Ok(()),
    }
}

/// Takes the sign-in that a state stands for, once.
async fn take(p: &mut PlatformTx, client: &Client, state: &str) -> Settled<Begun> {
    let this = logins::table.find(secret::digest(state)).filter(logins::expires_at.gt(p.now()));
    let begun = diesel::delete(this).returning(Begun::as_returning()).get_result(p.conn()?).await;
    if let Some(begun) = begun.optional()? {
        return Ok(Ok(begun));
    }
    if let Err(too_many) = admit(p, client).await? {
        return Ok(Err(too_many));
    }
    Event::refused(EventKind::OidcRefused, "unknown_state").record(p, client).await?;
    Ok(Err(begin_again()))
}

/// Removes sign-ins that nobody finished.
pub(crate) async fn sweep(tx: &mut impl Tx) -> Result<usize> {
    let over = logins::table.filter(logins::expires_at.le(tx.now()));
    Ok(diesel::delete(over).execute(tx.conn()?).await?)
}
