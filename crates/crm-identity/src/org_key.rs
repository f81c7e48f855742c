//! Keys as their owners hold them: unguessable, and saying which organization can make sense of them, so that they are looked up inside
//! that one. The database keeps their digests.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crm_core::OrgId;
use uuid::Uuid;

use crate::secret::{self, ORG_BYTES, SECRET_BYTES, random};

/// How much of a raw key is kept to be shown, in characters.
const SHOWN: usize = 16;

/// A new key that begins with `mark`. The random part comes first: it is what tells the keys of an organization apart in a list.
pub fn new(mark: &str, org: OrgId) -> String {
    let mut bytes = random().to_vec();
    bytes.extend(org.0.as_bytes());
    format!("{mark}{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// The organization that a key names.
pub fn org_of(mark: &str, key: &str) -> Option<OrgId> {
    let bytes = URL_SAFE_NO_PAD.decode(key.strip_prefix(mark)?).ok()?;
    let org = bytes.last_chunk().filter(|_| bytes.len() == SECRET_BYTES + ORG_BYTES)?;
    Some(OrgId(Uuid::from_bytes(*org)))
}

/// What of a key may be shown.
pub fn shown(key: &str) -> &str {
    key.get(..SHOWN).unwrap_or_default()
}

/// What is stored instead of a key.
pub fn digest(key: &str) -> String {
    secret::digest(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: &str = "amp_pat_";

    #[test]
    fn a_key_names_its_organization_and_shows_its_random_part() {
        let org = OrgId::generate();
        let (key, other) = (new(MARK, org), new(MARK, org));
        assert_eq!((key.len(), org_of(MARK, &key)), (72, Some(org)));
        assert_eq!((shown(&key).len(), shown(&key) == shown(&other)), (16, false));
        let longer = format!("{key}AAAA");
        for text in ["", MARK, "amp_pat_!", &key[8..], &key[..71], &longer] {
            assert_eq!(org_of(MARK, text), None, "{text}");
        }
        assert_eq!(org_of("amp_web_", &key), None, "a key of one kind is none of another");
    }
}
