//! Secrets that must be read back are stored sealed: AES-256-GCM under a key derived from the installation's secret, one per purpose.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngCore;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};

use crate::{Error, Result};

const SALT: &[u8] = b"amphora sealed value v1";

/// Seals and opens the secrets of one purpose; what was sealed for another one can't be opened.
#[derive(Clone)]
pub struct Sealer {
    key: LessSafeKey,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

impl Sealer {
    /// Seals under the installation's `secret` for a `purpose`.
    ///
    /// # Errors
    /// `Internal` when no key can be derived, which no secret brings about.
    pub fn new(secret: &str, purpose: &'static str) -> Result<Self> {
        let derived = Salt::new(HKDF_SHA256, SALT).extract(secret.as_bytes());
        let info = [purpose.as_bytes()];
        let okm = derived.expand(&info, &AES_256_GCM).map_err(|_| Error::internal("no key was derived"))?;
        Ok(Self { key: LessSafeKey::new(UnboundKey::from(okm)) })
    }

    /// The sealed form of `plain`: base64url text, another one each time.
    ///
    /// # Errors
    /// `Internal` for more than the cipher can take.
    pub fn seal(&self, plain: &[u8]) -> Result<String> {
        let mut nonce = [0; NONCE_LEN];
        rand::rng().fill_bytes(&mut nonce);
        let mut sealed = plain.to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed)
            .map_err(|_| Error::internal("can't seal"))?;
        Ok(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
    }

    /// What was sealed.
    ///
    /// # Errors
    /// `Internal` for what was altered, or sealed under another secret or for another purpose.
    pub fn open(&self, sealed: &str) -> Result<Vec<u8>> {
        let broken = || Error::internal("a sealed value can't be opened: was SECRET_KEY changed?");
        let bytes = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| broken())?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN).ok_or_else(broken)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| broken())?;
        let mut opened = sealed.to_vec();
        Ok(self.key.open_in_place(nonce, Aad::empty(), &mut opened).map_err(|_| broken())?.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_secret_and_purpose_open_what_was_sealed() {
        let sealer = Sealer::new("a secret of the installation", "totp").unwrap();
        let sealed = sealer.seal(b"plain").unwrap();
        assert_eq!(sealer.open(&sealed).unwrap(), b"plain");
        assert_ne!(sealed, sealer.seal(b"plain").unwrap());
        for other in [("another secret", "totp"), ("a secret of the installation", "webhook")] {
            assert!(Sealer::new(other.0, other.1).unwrap().open(&sealed).is_err(), "{other:?}");
        }
        let mut altered = sealed.clone().into_bytes();
        altered[20] = if altered[20] == b'A' { b'B' } else { b'A' };
        for text in [String::from_utf8(altered).unwrap(), String::new(), "!".into(), sealed[..10].into()] {
            assert!(sealer.open(&text).is_err(), "{text}");
        }
    }
}
