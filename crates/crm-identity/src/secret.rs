//! Secrets that travel by mail; the database keeps their digests.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crm_core::OrgId;
use rand::RngCore;
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub(crate) const SECRET_BYTES: usize = 32;
pub(crate) const ORG_BYTES: usize = 16;

/// An unguessable token.
pub(crate) fn token() -> String {
    URL_SAFE_NO_PAD.encode(random())
}

/// An unguessable token that says which organization can make sense of it.
pub(crate) fn token_of(org: OrgId) -> String {
    let mut bytes = org.0.as_bytes().to_vec();
    bytes.extend(random());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The organization of such a token.
pub(crate) fn org_of(token: &str) -> Option<OrgId> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok().filter(|bytes| bytes.len() == ORG_BYTES + SECRET_BYTES)?;
    bytes.first_chunk().map(|org| OrgId(Uuid::from_bytes(*org)))
}

/// What is stored instead of a token, or of an address that must not be stored.
pub(crate) fn digest(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn random() -> [u8; SECRET_BYTES] {
    let mut bytes = [0; SECRET_BYTES];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_names_its_organization_and_nothing_else_does() {
        let org = OrgId::generate();
        assert_eq!(org_of(&token_of(org)), Some(org));
        assert_ne!(token_of(org), token_of(org));
        for text in ["", "!", &token(), &format!("{}A", token_of(org)), &org.to_string()] {
            assert_eq!(org_of(text), None, "{text}");
        }
    }

    #[test]
    fn a_digest_is_sha256_in_hexadecimal() {
        assert_eq!(digest("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
