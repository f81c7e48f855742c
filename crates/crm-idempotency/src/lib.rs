//! First answers to requests that carry an idempotency key, so that one sent again has its effect once and the same answer.
//!
//! What happens in an organization is looked up and stored in the transaction of the effect itself: [`recall`] at its beginning,
//! [`remember`] at its end. What happens outside one spans several transactions, so there a [`Claim`] is made before and settled
//! after. Answers may hold secrets that are shown once, so they are kept sealed.

mod claim;
mod org;

use crm_core::{Code, Error, Result, Sealer};
use serde::{Deserialize, Serialize};

pub use claim::{ACCOUNT_KEPT, Claim, Claimed, Held, forget_accounts};
pub use org::{KEPT, forget, recall, remember};

/// A request as far as its key is concerned.
#[derive(Debug, Clone)]
pub struct Request {
    /// What the client calls it.
    pub key: String,
    /// A digest of all that makes it this request: the same key with another one is a mistake.
    pub fingerprint: String,
}

/// An answer as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers that belong to it.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Answer {
    fn seal(&self, sealer: &Sealer) -> Result<String> {
        sealer.seal(&serde_json::to_vec(self).map_err(Error::internal)?)
    }

    fn open(sealer: &Sealer, sealed: &str) -> Result<Self> {
        serde_json::from_slice(&sealer.open(sealed)?).map_err(Error::internal)
    }
}

fn running() -> Error {
    let message = "a request with this Idempotency-Key is still running; try again in a moment";
    Error::Refused(Code::RequestInProgress, message.into())
}

fn reused() -> Error {
    let message = "this Idempotency-Key was used for another request; make a new key for each";
    Error::Refused(Code::IdempotencyKeyReused, message.into())
}
