//! An import taken back: what it made is deleted, what it changed is changed back, unless somebody has changed it since.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crm_core::body::{Object, merge};
use crm_core::{CallerSource, Db, Error, Result, TenantTx};
use crm_records::{Edit, Module, Precondition};
use crm_schema::import_rows;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

use crate::model::{ImportState, Kept, locked, store};
use crate::names::is_ours;
use crate::run::Progress;

/// Rows of one transaction.
const BATCH: i64 = 200;

/// How long it works at a stretch before it lets others have their turn.
const STRETCH: Duration = Duration::from_secs(45);

/// What an import did to one record.
#[derive(Debug, Default)]
struct Deed {
    created: bool,
    /// At which version it left the record.
    version: i64,
    /// What takes all its changes back.
    before: Object,
    rows: i32,
    /// The last row that had to do with it.
    last: i32,
}

/// Takes an import back as `who` until it is done or others should have their turn. To do it twice does nothing twice.
///
/// # Errors
/// `Unavailable` and `Internal`; `Forbidden`.
pub async fn undo<M: Module>(db: &Db, who: &impl CallerSource, id: Uuid) -> Result<Progress> {
    let begun = Instant::now();
    while begun.elapsed() < STRETCH {
        let finished = db.tenant(who, async |t| {
            t.keep_quiet();
            batch::<M>(t, id).await
        });
        if finished.await? {
            return Ok(Progress::Finished);
        }
    }
    Ok(Progress::More)
}

/// Takes the next rows back, from the last one on; whether those were all.
async fn batch<M: Module>(t: &mut TenantTx, id: Uuid) -> Result<bool> {
    let mut import = locked(t, id).await?;
    if import.fields.state != ImportState::Undoing {
        return Ok(true);
    }
    let mut kept = Kept::of(&import.fields)?;
    let before = kept.undo_before.unwrap_or(i32::MAX);
    let rows: Vec<(i32, Option<Uuid>)> = import_rows::table
        .filter(import_rows::org_id.eq(t.org()).and(import_rows::import_id.eq(id)))
        .filter(import_rows::outcome.eq_any(["created", "updated"]).and(import_rows::row_number.lt(before)))
        .order_by(import_rows::row_number.desc())
        .limit(BATCH)
        .select((import_rows::row_number, import_rows::record_id))
        .load(t.conn()?)
        .await?;
    let deeds = deeds(t, id, rows.iter().filter_map(|(_, record)| *record).collect()).await?;
    for (record, deed) in deeds {
        // What a later row had to do with has been dealt with before.
        if deed.last >= before {
            continue;
        }
        let count = deed.rows;
        match take_back::<M>(t, record, deed).await? {
            true => import.fields.undone_rows += count,
            false => import.fields.kept_rows += count,
        }
    }
    let finished = (rows.len() as i64) < BATCH;
    kept.undo_before = rows.last().map(|(number, _)| *number);
    if finished {
        kept.undo_before = None;
        import.fields.state = ImportState::Undone;
    }
    import.fields.options = serde_json::to_value(kept).map_err(Error::internal)?;
    store(t, &import).await?;
    Ok(finished)
}

/// A row that did something: its number, what it did, to which record, at which version it left it, and how that was.
type Done = (i32, String, Option<Uuid>, Option<i64>, Option<Value>);

/// All that an import did to these records.
async fn deeds(t: &mut TenantTx, id: Uuid, records: Vec<Uuid>) -> Result<BTreeMap<Uuid, Deed>> {
    let rows: Vec<Done> = import_rows::table
        .filter(import_rows::org_id.eq(t.org()).and(import_rows::import_id.eq(id)))
        .filter(
            import_rows::outcome.eq_any(["created", "updated"]).and(import_rows::record_id.eq_any(records)),
        )
        .order_by(import_rows::row_number.desc())
        .select((
            import_rows::row_number,
            import_rows::outcome,
            import_rows::record_id,
            import_rows::record_version,
            import_rows::before,
        ))
        .load(t.conn()?)
        .await?;
    let mut deeds: BTreeMap<Uuid, Deed> = BTreeMap::new();
    for (number, outcome, record, version, before) in rows {
        let Some(record) = record else { continue };
        let deed = deeds.entry(record).or_default();
        deed.created |= outcome == "created";
        deed.version = deed.version.max(version.unwrap_or_default());
        deed.last = deed.last.max(number);
        deed.rows += 1;
        if let Some(Value::Object(before)) = before {
            // The older state wins.
            deed.before = merge(std::mem::take(&mut deed.before), before);
        }
    }
    Ok(deeds)
}

/// Whether nothing of it is left: a record that somebody has changed since stays as it is.
async fn take_back<M: Module>(t: &mut TenantTx, record: Uuid, deed: Deed) -> Result<bool> {
    let precondition = Precondition { if_match: Some(vec![deed.version]) };
    let done = t.savepoint(async |t| {
        if deed.created {
            return M::delete(t, record, &precondition).await;
        }
        M::update(t, record, Edit { body: deed.before, partial: true, precondition }).await.map(drop)
    });
    match done.await {
        Ok(()) => Ok(true),
        // Somebody has deleted what it made.
        Err(Error::NotFound) => Ok(deed.created),
        Err(error) if is_ours(&error) => Err(error),
        Err(_) => Ok(false),
    }
}
