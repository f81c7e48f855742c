//! Work after the commit: written in the transaction of the change that causes it, so it exists exactly when the change does.
//!
//! [`enqueue`] puts a [`Job`] into the outbox; [`Worker::run`] hands claimed jobs to a handler and retries those that fail.
//! A job is delivered at least once; its id stays the same, so that a handler can tell a repetition.

mod worker;

use crm_core::{Result, Tx};
use diesel::sql_types::{Jsonb, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use uuid::Uuid;

pub use worker::{Failure, Job, Worker};

diesel::define_sql_function! {
    /// Puts a job in, for the organization of the transaction if it has one.
    fn outbox_put(id: SqlUuid, kind: Text, payload: Jsonb) -> diesel::sql_types::Nullable<Text>;
}

/// Writes a job of `kind` into the outbox; a worker finds it once this transaction has committed.
///
/// # Errors
/// `Internal` when the payload has no JSON form.
pub async fn enqueue(tx: &mut impl Tx, kind: &'static str, payload: &impl Serialize) -> Result<()> {
    let payload = serde_json::to_value(payload).map_err(crm_core::Error::internal)?;
    diesel::select(outbox_put(Uuid::now_v7(), kind, payload)).execute(tx.conn()?).await?;
    tx.mark_enqueued();
    Ok(())
}
