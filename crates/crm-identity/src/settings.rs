use std::sync::Arc;

use chrono::TimeDelta;
use crm_core::{Db, Result};

use crate::audit_repeats::Repeats;
use crate::keys::Keys;
use crate::oidc::Providers;
use crate::{AccessClaims, OidcSettings, Tokens};

/// How tokens are signed and how long they last.
#[derive(Clone)]
pub struct TokenSettings {
    /// Signs every token: 32 bytes at least.
    pub secret: String,
    /// Who issues the tokens; tokens of another issuer are refused.
    pub issuer: String,
    /// How long an access token lasts.
    pub access_ttl: TimeDelta,
    /// How long a refresh token, and with it an unused session, lasts.
    pub refresh_ttl: TimeDelta,
}

impl TokenSettings {
    /// One day for access, 365 days for refresh.
    pub fn new(secret: impl Into<String>, issuer: impl Into<String>) -> Self {
        let (secret, issuer) = (secret.into(), issuer.into());
        Self { secret, issuer, access_ttl: TimeDelta::days(1), refresh_ttl: TimeDelta::days(365) }
    }
}

impl std::fmt::Debug for TokenSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenSettings").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// What identity needs to know of the installation.
#[derive(Debug, Clone)]
pub struct IdentitySettings {
    /// How tokens are made.
    pub tokens: TokenSettings,
    /// Where the links in mails lead.
    pub frontend_url: String,
    /// Whoever proves an address in one of these domains becomes a platform administrator.
    pub platform_admin_domains: Vec<String>,
}

impl IdentitySettings {
    /// A link to a page of the front end with a token.
    pub(crate) fn link(&self, page: &str, token: &str) -> String {
        format!("{}?token={token}", self.page(page))
    }

    /// A page of the frontend.
    pub(crate) fn page(&self, page: &str) -> String {
        format!("{}/{page}", self.frontend_url.trim_end_matches('/'))
    }

    /// Whether the address is in one of the platform administrators' domains; a subdomain is another domain.
    pub(crate) fn is_platform_address(&self, email_normalized: &str) -> bool {
        let domain = email_normalized.rsplit_once('@').map_or("", |(_, domain)| domain);
        self.platform_admin_domains
            .iter()
            .any(|listed| listed.trim().eq_ignore_ascii_case(domain) && !domain.is_empty())
    }
}

/// Accounts, sessions and invitations: whatever opens its own transactions or needs the installation's settings.
#[derive(Debug, Clone)]
pub struct Identity {
    pub(crate) db: Db,
    pub(crate) settings: Arc<IdentitySettings>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) providers: Arc<Providers>,
    pub(crate) repeats: Arc<Repeats>,
}

impl Identity {
    /// Identity on `db`.
    ///
    /// # Errors
    /// `Internal` when the secret is too short to sign with.
    pub fn new(db: Db, settings: IdentitySettings) -> Result<Self> {
        let tokens = Arc::new(Tokens::new(&settings.tokens)?);
        let keys = Arc::new(Keys::new(&settings.tokens.secret)?);
        let (providers, repeats) = (Arc::default(), Arc::default());
        Ok(Self { db, settings: Arc::new(settings), tokens, keys, providers, repeats })
    }

    /// The same with providers of identities that people may sign in by.
    ///
    /// # Errors
    /// `Internal` when no client for them can be made.
    pub fn with_oidc(self, settings: OidcSettings) -> Result<Self> {
        Ok(Self { providers: Arc::new(Providers::new(settings)?), ..self })
    }

    /// Reads the access token of a request.
    ///
    /// # Errors
    /// `Unauthenticated` unless it is one of ours, unaltered and not expired.
    pub fn verify_access(&self, token: &str) -> Result<AccessClaims> {
        self.tokens.verify_access(token, self.db.clock().now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_address_is_exactly_in_a_listed_domain() {
        let settings = IdentitySettings {
            tokens: TokenSettings::new("", ""),
            frontend_url: String::new(),
            platform_admin_domains: vec!["Ops.Example".into(), String::new()],
        };
        for (address, want) in [
            ("ann@ops.example", true),
            ("ann@sub.ops.example", false),
            ("ann@ops.example.org", false),
            ("ops.example@evil.example", false),
            ("ann@notops.example", false),
            ("ann@", false),
            ("ops.example", false),
        ] {
            assert_eq!(settings.is_platform_address(address), want, "{address}");
        }
    }
}
