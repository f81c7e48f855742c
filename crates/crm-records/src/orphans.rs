//! Bytes in the file store that no row names: an upload whose transaction never came to an end leaves them behind.

use std::collections::HashSet;
use std::time::SystemTime;

use chrono::TimeDelta;
use crm_core::{Db, Error, OrgId, Result};
use crm_jobs::System;
use crm_schema::attachments;
use crm_storage::{Key, Storage};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use futures_util::TryStreamExt;
use uuid::Uuid;

use crate::usage;

/// The kind of the jobs that sweep the file store for one organization.
pub const SWEEP: &str = "orphaned_files";

/// How old bytes must be: their row may be on its way still.
const AGE: TimeDelta = TimeDelta::hours(24);

/// How many files are looked up at a time.
const BATCH: usize = 1_000;

/// Deletes the bytes of an organization that no row names, and answers how many files that were. What it keeps is counted anew.
///
/// # Errors
/// `Unavailable` or `Internal` when the database or the store can't be read.
pub async fn sweep(db: &Db, storage: &Storage, org: OrgId) -> Result<usize> {
    let before = SystemTime::from(db.clock().now() - AGE);
    let mut batches = storage.written_before(org.0, before).try_chunks(BATCH);
    let mut swept = 0;
    while let Some(keys) = batches.try_next().await.map_err(|broken| Error::internal(broken.1))? {
        let named = named(db, org, keys.iter().map(Key::id).collect()).await?;
        for key in keys.iter().filter(|key| !named.contains(&key.id())) {
            storage.delete(key).await.map_err(Error::internal)?;
            swept += 1;
        }
    }
    db.tenant(&System(org), async |t| usage::recount(t).await).await?;
    Ok(swept)
}

/// Which of the files the organization has rows of.
async fn named(db: &Db, org: OrgId, ids: Vec<Uuid>) -> Result<HashSet<Uuid>> {
    db.tenant(&System(org), async |t| {
        let these = attachments::org_id.eq(t.org()).and(attachments::id.eq_any(ids));
        let found: Vec<Uuid> =
            attachments::table.filter(these).select(attachments::id).load(t.conn()?).await?;
        Ok(found.into_iter().collect())
    })
    .await
}
