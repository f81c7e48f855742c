use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crm_core::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Params;

/// Where a page begins: opaque to clients, and good only for the query it was given out for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// A digest of the query.
    #[serde(rename = "q")]
    query: String,
    /// Whether the page lies before these keys.
    #[serde(rename = "b", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) backward: bool,
    /// The sort keys of the row at the edge.
    #[serde(rename = "k")]
    pub(super) keys: Vec<Option<String>>,
}

impl Cursor {
    pub(super) fn at(params: &Params, backward: bool, keys: Vec<Option<String>>) -> Self {
        Self { query: digest(params), backward, keys }
    }

    /// # Errors
    /// `InvalidCursor` when it is malformed or belongs to another query.
    pub(super) fn read(text: &str, params: &Params) -> Result<Self> {
        let wrong = |why| Error::Refused(Code::InvalidCursor, why);
        let cursor: Self = URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| wrong("cursor is malformed: use next or previous as they were given".into()))?;
        if cursor.query != digest(params) {
            return Err(wrong(
                "cursor belongs to another query: filters and ordering must stay the same".into(),
            ));
        }
        Ok(cursor)
    }

    pub(super) fn link(&self, params: &Params) -> String {
        let text = URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default());
        let kept = params.pairs.iter().filter(|(key, _)| !matches!(key.as_str(), "cursor" | "offset"));
        let query =
            kept.map(|(key, value)| format!("{}={}&", escape(key), escape(value))).collect::<String>();
        format!("{}?{query}cursor={text}", params.path)
    }
}

fn digest(params: &Params) -> String {
    let mut pairs: Vec<_> = params
        .pairs
        .iter()
        .filter(|(key, _)| {
            !matches!(key.as_str(), "cursor" | "limit" | "offset" | "count" | "fields" | "expand")
        })
        .collect();
    pairs.sort();
    let mut hash = Sha256::new();
    for (key, value) in pairs {
        hash.update(key);
        hash.update([0]);
        hash.update(value);
        hash.update([0]);
    }
    let hash: [u8; 32] = hash.finalize().into();
    URL_SAFE_NO_PAD.encode(hash.first_chunk::<9>().unwrap_or(&[0; 9]))
}

fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~,:".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
