//! An import taken back: what it made is deleted, what it changed is changed back, unless somebody has changed or used it since.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crm_core::body::Object;
use crm_core::{CallerSource, Db, Error, Result, TenantTx};
use crm_records::{Edit, Kin, Module, Precondition, used};
use crm_schema::import_rows;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

use crate::model::{ImportState, Kept, locked, store};
use crate::names::is_ours;
use crate::run::{Progress, STRETCH, TRIES};

/// Rows of one transaction.
const BATCH: i64 = 200;

/// What an import did to one record.
#[derive(Debug, Default)]
struct Deed {
    created: bool,
    /// The people that it made the record with.
    people: Vec<Uuid>,
    /// At which versions it left the record, the last one first.
    versions: Vec<i64>,
    /// What takes all its changes back.
    before: Object,
    rows: i32,
    /// The last row that had to do with it.
    last: i32,
}

impl Deed {
    /// Whether nobody else changed the record between two of the rows.
    fn is_alone(&self) -> bool {
        self.versions.iter().zip(self.versions.iter().skip(1)).all(|(later, earlier)| *later == earlier + 1)
    }
}

/// Takes an import back as `who` until it is done or others should have their turn. To do it twice does nothing twice.
///
/// # Errors
/// `Unavailable` and `Internal`; `Forbidden`.
pub async fn undo<M: Module>(db: &Db, who: &impl CallerSource, id: Uuid) -> Result<Progress> {
    undo_for::<M>(db, who, id, STRETCH).await
}

/// The same for a time of the caller's choice: one batch at least.
pub(crate) async fn undo_for<M: Module>(
    db: &Db,
    who: &impl CallerSource,
    id: Uuid,
    stretch: Duration,
) -> Result<Progress> {
    let begun = Instant::now();
    let mut tries = 0;
    loop {
        let finished = db.tenant(who, async |t| {
            t.keep_quiet();
            batch::<M>(t, id).await
        });
        match finished.await {
            Ok(true) => return Ok(Progress::Finished),
            Ok(false) => tries = 0,
            Err(error) if error.is_contended() && tries < TRIES => tries += 1,
            Err(error) if error.is_contended() => return Err(Error::Unavailable(error.to_string().into())),
            Err(error) => return Err(error),
        }
        if begun.elapsed() >= stretch {
            return Ok(Progress::More);
        }
    }
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
    let mut deeds = deeds(t, id, rows.iter().filter_map(|(_, record)| *record).collect()).await?;
    // What a later row had to do with has been dealt with before.
    deeds.retain(|_, deed| deed.last < before);
    let used = used_since::<M>(t, &deeds).await?;
    for (record, deed) in deeds {
        let count = deed.rows;
        let is_left = !deed.is_alone() || used.contains(&record);
        match !is_left && take_back::<M>(t, record, deed).await? {
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

/// Those of the records that the import made which somebody uses: no version tells of that.
async fn used_since<M: Module>(t: &mut TenantTx, deeds: &BTreeMap<Uuid, Deed>) -> Result<BTreeSet<Uuid>> {
    let made = || deeds.iter().filter(|(_, deed)| deed.created);
    let ids: Vec<Uuid> = made().map(|(id, _)| *id).collect();
    let pairs = made().flat_map(|(id, deed)| deed.people.iter().map(|person| (*id, *person))).collect();
    used(t, &M::TARGET.resource, &ids, &Kin { pairs, lead: None }).await
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
        deed.versions.extend(version);
        deed.last = deed.last.max(number);
        deed.rows += 1;
        let Some(Value::Object(mut before)) = before else {
            deed.created |= outcome == "created";
            continue;
        };
        if outcome == "created" {
            deed.created = true;
            let people = before.remove("contacts").map(serde_json::from_value).transpose();
            deed.people = people.map_err(Error::internal)?.unwrap_or_default();
        } else {
            older(&mut deed.before, before);
        }
    }
    Ok(deeds)
}

/// Lays an older state over a newer one, key by key, and so the organization's own fields: that one had no value is part of it.
fn older(newer: &mut Object, older: Object) {
    for (key, value) in older {
        match (newer.get_mut(&key), value) {
            (Some(Value::Object(own)), Value::Object(were)) if key == "custom_fields" => own.extend(were),
            (_, value) => drop(newer.insert(key, value)),
        }
    }
}

/// Whether nothing of it is left: a record that somebody has changed since stays as it is.
async fn take_back<M: Module>(t: &mut TenantTx, record: Uuid, deed: Deed) -> Result<bool> {
    let precondition = Precondition { if_match: Some(deed.versions.iter().take(1).copied().collect()) };
    let done = t.savepoint(async |t| {
        if deed.created {
            return M::delete(t, record, &precondition).await;
        }
        M::restore(t, record, Edit { body: deed.before, partial: true, precondition }).await.map(drop)
    });
    match done.await {
        Ok(()) => Ok(true),
        // Somebody has deleted what it made.
        Err(Error::NotFound) => Ok(deed.created),
        Err(error) if is_ours(&error) => Err(error),
        Err(_) => Ok(false),
    }
}
