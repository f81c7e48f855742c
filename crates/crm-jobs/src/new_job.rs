use chrono::{DateTime, Utc};
use crm_core::{Error, Result, Tx};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use uuid::Uuid;

use crate::{CHANNEL, PLATFORM, sql};

const PRIORITY: i32 = 100;

/// A job to be put in.
#[derive(Debug, Clone)]
pub struct NewJob {
    kind: &'static str,
    payload: serde_json::Value,
    key: Option<String>,
    priority: i32,
    at: Option<DateTime<Utc>>,
}

impl NewJob {
    /// A job of `kind` that is due at once.
    ///
    /// # Errors
    /// `Internal` when the payload has no JSON form.
    pub fn new(kind: &'static str, payload: &impl Serialize) -> Result<Self> {
        let payload = serde_json::to_value(payload).map_err(Error::internal)?;
        Ok(Self { kind, payload, key: None, priority: PRIORITY, at: None })
    }

    /// Is not put in where one of the same organization, kind and key is still to be claimed: that one will do it, at its own time
    /// and with its own payload, and after the transaction that put this one. A key has 200 characters at most.
    #[must_use]
    pub fn key(self, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// Comes before the organization's other jobs where it is lower than theirs; 100 otherwise.
    #[must_use]
    pub fn priority(self, priority: i32) -> Self {
        Self { priority, ..self }
    }

    /// Is not done before that, by the clock of the database.
    #[must_use]
    pub fn at(self, at: DateTime<Utc>) -> Self {
        Self { at: Some(at), ..self }
    }

    /// Writes it; a worker finds it once this transaction has committed.
    ///
    /// # Errors
    /// `Internal` outside every organization, unless the kind begins with `platform.`: such a job would not know whose rows it is for.
    pub async fn put(self, tx: &mut impl Tx) -> Result<()> {
        let Self { kind, payload, key, priority, at } = self;
        if tx.org().is_none() && !kind.starts_with(PLATFORM) {
            return Err(Error::internal(format!("a job of the kind {kind} needs an organization")));
        }
        let put = sql::jobs_put(Uuid::now_v7(), kind, payload, key, priority, at);
        diesel::select(put).execute(tx.conn()?).await?;
        tx.signal(CHANNEL, String::new());
        Ok(())
    }
}

/// Puts a job of `kind` in; a worker finds it once this transaction has committed.
///
/// # Errors
/// As [`NewJob::new`] and [`NewJob::put`].
pub async fn enqueue(tx: &mut impl Tx, kind: &'static str, payload: &impl Serialize) -> Result<()> {
    NewJob::new(kind, payload)?.put(tx).await
}
