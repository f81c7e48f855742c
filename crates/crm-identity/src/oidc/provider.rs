//! One provider of identities: what it says of itself, the page it sends people to, and what its tokens prove.

use std::borrow::Cow;
use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, TimeDelta, Utc};
use crm_core::{Code, Error, Result};
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreIdToken, CoreIdTokenClaims,
    CoreJwsSigningAlgorithm, CoreProviderMetadata,
};
use openidconnect::{
    AuthType, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, IssuerUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier,
    RedirectUrl, RequestTokenError, Scope, SignatureVerificationError, TokenResponse,
};
use validator::ValidateEmail;

use super::http::Http;
use super::{OidcProvider, OidcSettings, OidcSummary};
use crate::secret;

/// How long what a provider says of itself is believed; a key that is not in it makes us ask again at once.
const BELIEVED: TimeDelta = TimeDelta::hours(1);

/// How far ahead the provider's clock may be.
const LEEWAY: TimeDelta = TimeDelta::minutes(5);

const NAME_MAX: usize = 255;

/// Signatures that only the provider can make; those under the shared client secret are not among them.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

type ProviderClient = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// Every provider of the settings.
#[derive(Debug, Default)]
pub(crate) struct Providers(Vec<Provider>);

impl Providers {
    pub(crate) fn new(settings: OidcSettings) -> Result<Self> {
        let http = Arc::new(Http::new(settings.timeout)?);
        let provider = |settings| Provider { settings, http: http.clone(), known: RwLock::default() };
        Ok(Self(settings.providers.into_iter().map(provider).collect()))
    }

    pub(super) fn summaries(&self) -> Vec<OidcSummary> {
        let summary = |OidcProvider { name, label, .. }: &OidcProvider| OidcSummary {
            name: name.clone(),
            label: label.clone(),
        };
        self.0.iter().map(|provider| summary(&provider.settings)).collect()
    }

    pub(super) fn find(&self, name: &str) -> Option<&Provider> {
        self.0.iter().find(|provider| provider.settings.name == name)
    }
}

/// A provider, and what it last said of itself.
#[derive(Debug)]
pub(super) struct Provider {
    settings: OidcProvider,
    http: Arc<Http>,
    known: RwLock<Option<Known>>,
}

#[derive(Debug, Clone)]
struct Known {
    metadata: Arc<CoreProviderMetadata>,
    since: DateTime<Utc>,
}

/// Where to send somebody, and what their return will be measured by.
pub(super) struct Asked {
    pub(super) url: String,
    pub(super) state: String,
    pub(super) nonce: String,
    pub(super) verifier: String,
}

/// What came back, and what it is measured by.
pub(super) struct Proof {
    pub(super) code: String,
    pub(super) verifier: String,
    pub(super) nonce: String,
    pub(super) redirect_uri: String,
}

/// Who somebody is, by the word of their provider.
pub(super) struct Claimed {
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) email: String,
    pub(super) name: Option<String>,
}

/// Why a provider's answer is no proof.
pub(super) enum Fault {
    /// There is none.
    Away(Box<dyn std::error::Error + Send + Sync>),
    /// It proves nothing, for the reason that is written down and in the words that are told.
    Refused(&'static str, Error),
}

impl Provider {
    /// Makes up a request for somebody to be sent to the provider with.
    ///
    /// # Errors
    /// `Unavailable` while the provider is away; 422 for a page that is no URL.
    pub(super) async fn ask(&self, now: DateTime<Utc>, redirect_uri: &str) -> Result<Asked> {
        let metadata = self.metadata(now).await.map_err(Error::Unavailable)?;
        let client = self.client(&metadata).set_redirect_uri(page(redirect_uri)?);
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let (state, nonce) = (CsrfToken::new(secret::token()), Nonce::new(secret::token()));
        let flow = CoreAuthenticationFlow::AuthorizationCode;
        let (url, state, nonce) = client
            .authorize_url(flow, move || state, move || nonce)
            .add_scope(Scope::new("email".into()))
            .add_scope(Scope::new("profile".into()))
            .set_pkce_challenge(challenge)
            .url();
        Ok(Asked {
            url: url.into(),
            state: state.into_secret(),
            nonce: nonce.secret().clone(),
            verifier: verifier.into_secret(),
        })
    }

    /// Exchanges an authorization code for the word of the provider, and believes it if all is as it must be.
    pub(super) async fn redeem(&self, now: DateTime<Utc>, proof: Proof) -> Result<Claimed, Fault> {
        let Proof { code, verifier, nonce, redirect_uri } = proof;
        let metadata = self.metadata(now).await.map_err(Fault::Away)?;
        let unusable = || no_proof("unusable_answer");
        let redirect_uri = page(&redirect_uri).map_err(|_| unusable())?;
        let client = self.client(&metadata);
        let answer = client
            .exchange_code(AuthorizationCode::new(code))
            .map_err(|_| unusable())?
            .set_pkce_verifier(PkceCodeVerifier::new(verifier))
            .set_redirect_uri(Cow::Owned(redirect_uri))
            .request_async(&*self.http)
            .await
            .map_err(|error| match error {
                RequestTokenError::Request(away) => Fault::Away(away.into()),
                RequestTokenError::ServerResponse(_) => no_proof("code_refused"),
                RequestTokenError::Parse(..) | RequestTokenError::Other(_) => unusable(),
            })?;
        let token = answer.id_token().ok_or_else(|| no_proof("no_id_token"))?;
        let nonce = Nonce::new(nonce);
        match believed(&client, token, &nonce, now) {
            Err(ClaimsVerificationError::SignatureVerification(
                SignatureVerificationError::NoMatchingKey,
            )) => {
                // The provider may have changed its keys since it was asked for them.
                let metadata = self.discover(now).await.map_err(Fault::Away)?;
                let client = self.client(&metadata);
                claimed(believed(&client, token, &nonce, now))
            }
            claims => claimed(claims),
        }
    }

    fn client(&self, metadata: &CoreProviderMetadata) -> ProviderClient {
        let OidcProvider { client_id, client_secret, .. } = &self.settings;
        let secret = ClientSecret::new(client_secret.clone());
        let client = CoreClient::from_provider_metadata(
            metadata.clone(),
            ClientId::new(client_id.clone()),
            Some(secret),
        );
        let takes = |method| {
            metadata.token_endpoint_auth_methods_supported().is_none_or(|methods| methods.contains(&method))
        };
        match takes(CoreClientAuthMethod::ClientSecretBasic) {
            true => client,
            false => client.set_auth_type(AuthType::RequestBody),
        }
    }

    /// What the provider says of itself, asked for again once an hour.
    async fn metadata(
        &self,
        now: DateTime<Utc>,
    ) -> Result<Arc<CoreProviderMetadata>, Box<dyn std::error::Error + Send + Sync>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        match known.filter(|known| now < known.since + BELIEVED) {
            Some(known) => Ok(known.metadata),
            None => self.discover(now).await,
        }
    }

    async fn discover(
        &self,
        now: DateTime<Utc>,
    ) -> Result<Arc<CoreProviderMetadata>, Box<dyn std::error::Error + Send + Sync>> {
        let issuer = IssuerUrl::new(self.settings.issuer.clone())?;
        let found = CoreProviderMetadata::discover_async(issuer, &*self.http).await;
        let metadata = Arc::new(found.inspect_err(|error| {
            tracing::warn!(provider = self.settings.name, %error, "the provider of identities can't be asked");
        })?);
        let known = Known { metadata: metadata.clone(), since: now };
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(known);
        Ok(metadata)
    }
}

fn page(redirect_uri: &str) -> Result<RedirectUrl> {
    RedirectUrl::new(redirect_uri.to_owned())
        .map_err(|_| Error::field("redirect_uri", crm_core::FieldCode::InvalidUrl, "must be a URL"))
}

/// The claims of a token that is signed by the provider, for this installation, for this sign-in, and valid now.
fn believed<'a>(
    client: &ProviderClient,
    token: &'a CoreIdToken,
    nonce: &Nonce,
    now: DateTime<Utc>,
) -> Result<&'a CoreIdTokenClaims, ClaimsVerificationError> {
    let made_by = now + LEEWAY;
    let verifier = client
        .id_token_verifier()
        .set_allowed_algs(ALGORITHMS)
        .set_time_fn(move || now)
        .set_issue_time_verifier_fn(
            move |at| if at <= made_by { Ok(()) } else { Err("made later than now".into()) },
        );
    token.claims(&verifier, nonce)
}

fn claimed(claims: Result<&CoreIdTokenClaims, ClaimsVerificationError>) -> Result<Claimed, Fault> {
    let claims = claims.map_err(|error| no_proof(reason(&error)))?;
    let email = claims.email().map(|email| email.trim().to_owned()).filter(|email| is_address(email));
    let email = email.ok_or_else(|| {
        forbidden("no_email", "the provider did not tell your e-mail address: allow it to, and begin again")
    })?;
    // Absent is as good as false.
    if claims.email_verified() != Some(true) {
        return Err(forbidden("unverified_email", "the provider has not verified your e-mail address"));
    }
    let name = claims.name().and_then(|name| name.get(None)).map(|name| one_line(name));
    Ok(Claimed {
        issuer: claims.issuer().to_string(),
        subject: claims.subject().to_string(),
        email,
        name: name.filter(|name| !name.is_empty()),
    })
}

fn is_address(email: &str) -> bool {
    email.len() <= 254 && email.validate_email() && !email.contains(char::is_control)
}

fn one_line(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(NAME_MAX).collect::<String>().trim().to_owned()
}

fn reason(error: &ClaimsVerificationError) -> &'static str {
    match error {
        ClaimsVerificationError::Expired(_) => "expired",
        ClaimsVerificationError::InvalidAudience(_) => "wrong_audience",
        ClaimsVerificationError::InvalidIssuer(_) => "wrong_issuer",
        ClaimsVerificationError::InvalidNonce(_) => "wrong_nonce",
        ClaimsVerificationError::SignatureVerification(_) => "wrong_signature",
        _ => "unusable_answer",
    }
}

fn no_proof(reason: &'static str) -> Fault {
    let message = "the provider's answer does not prove who you are: begin again";
    Fault::Refused(reason, Error::Refused(Code::InvalidCredentials, message.into()))
}

fn forbidden(reason: &'static str, message: &'static str) -> Fault {
    Fault::Refused(reason, Error::Forbidden(message.into()))
}
