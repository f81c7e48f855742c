//! The token as its owner holds it: unguessable, and saying which organization can make sense of it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crm_core::OrgId;
use uuid::Uuid;

use crate::secret::{ORG_BYTES, SECRET_BYTES, random};

/// What every raw token begins with, so that a scanner of leaked secrets knows one.
pub(crate) const MARK: &str = "amp_pat_";

/// How much of a raw token is kept to be shown, in characters.
const SHOWN: usize = 16;

/// A new token. The random part comes first: it is what tells the tokens of an organization apart in a list.
pub(crate) fn new(org: OrgId) -> String {
    let mut bytes = random().to_vec();
    bytes.extend(org.0.as_bytes());
    format!("{MARK}{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// The organization that a token names.
pub(crate) fn org_of(token: &str) -> Option<OrgId> {
    let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(MARK)?).ok()?;
    let org = bytes.last_chunk().filter(|_| bytes.len() == SECRET_BYTES + ORG_BYTES)?;
    Some(OrgId(Uuid::from_bytes(*org)))
}

/// What of a token may be shown.
pub(crate) fn shown(token: &str) -> &str {
    token.get(..SHOWN).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_organization_and_shows_its_random_part() {
        let org = OrgId::generate();
        let (token, other) = (new(org), new(org));
        assert_eq!((token.len(), org_of(&token)), (72, Some(org)));
        assert_eq!((shown(&token).len(), shown(&token) == shown(&other)), (16, false));
        let longer = format!("{token}AAAA");
        for text in ["", MARK, "amp_pat_!", &token[8..], &token[..71], &longer] {
            assert_eq!(org_of(text), None, "{text}");
        }
    }
}
