//! What is derived from the installation's secret to keep the secrets of a sign-in.

use crm_core::{Result, Sealer, UserId};
use ring::hmac::{self, HMAC_SHA256};
use uuid::Uuid;

/// How many codes of six digits there are.
const SIX_DIGITS: u64 = 1_000_000;

/// Seals what must be read back, and digests what is short enough to be tried out by whoever has the table but not the secret.
#[derive(Debug)]
pub(crate) struct Keys {
    /// Secrets of authenticators.
    pub(crate) totp: Sealer,
    /// PKCE verifiers.
    pub(crate) oidc: Sealer,
    digests: hmac::Key,
}

impl Keys {
    pub(crate) fn new(secret: &str) -> Result<Self> {
        let root = hmac::Key::new(HMAC_SHA256, secret.as_bytes());
        let derived = hmac::sign(&root, b"amphora digests of codes v1");
        Ok(Self {
            totp: Sealer::new(secret, "totp")?,
            oidc: Sealer::new(secret, "oidc")?,
            digests: hmac::Key::new(HMAC_SHA256, derived.as_ref()),
        })
    }

    /// What is stored instead of a recovery code.
    pub(crate) fn recovery_digest(&self, user: UserId, code: &str) -> String {
        let tag = hmac::sign(&self.digests, format!("recovery\n{user}\n{code}").as_bytes());
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The six digits that a seed stands for at one address.
    pub(crate) fn sign_in_code(&self, email_normalized: &str, seed: Uuid) -> String {
        let tag = hmac::sign(&self.digests, format!("sign-in\n{seed}\n{email_normalized}").as_bytes());
        let number = tag.as_ref().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
        format!("{:06}", number % SIX_DIGITS)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_code_depends_on_secret_address_and_seed() {
        let (keys, others) = (Keys::new("one secret").unwrap(), Keys::new("another secret").unwrap());
        let seed = Uuid::new_v4();
        let code = keys.sign_in_code("ann@example.com", seed);
        assert!(code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()), "{code}");
        assert_eq!(code, keys.sign_in_code("ann@example.com", seed));
        let seeds: Vec<_> = (0..50).map(|_| Uuid::new_v4()).collect();
        let differ = |a: &dyn Fn(Uuid) -> String, b: &dyn Fn(Uuid) -> String| {
            seeds.iter().filter(|seed| a(**seed) != b(**seed)).count() > 45
        };
        let ann = |seed| keys.sign_in_code("ann@example.com", seed);
        assert!(differ(&ann, &|seed| others.sign_in_code("ann@example.com", seed)));
        assert!(differ(&ann, &|seed| keys.sign_in_code("bob@example.com", seed)));
        assert!(seeds.iter().map(|seed| ann(*seed)).collect::<BTreeSet<_>>().len() > 45);
    }

    #[test]
    fn a_recovery_code_is_digested_for_one_account_under_one_secret() {
        let (keys, others) = (Keys::new("one secret").unwrap(), Keys::new("another secret").unwrap());
        let (ann, bob) = (UserId::generate(), UserId::generate());
        let digests = [
            keys.recovery_digest(ann, "AAAAABBBBB"),
            keys.recovery_digest(bob, "AAAAABBBBB"),
            keys.recovery_digest(ann, "AAAAABBBBC"),
            others.recovery_digest(ann, "AAAAABBBBB"),
        ];
        assert_eq!(digests.iter().collect::<BTreeSet<_>>().len(), digests.len());
        assert!(digests.iter().all(|digest| digest.len() == 64));
    }
}
