//! An import at work.
//!
//! Where bad rows are skipped, each batch is a transaction of its own that notes how far it came, so that whoever goes on after a crash
//! repeats nothing. Where it is all or nothing, one transaction holds everything, and what shows the progress is written beside it.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::time::{Duration, Instant};

use crm_core::{CallerSource, Code, Db, Error, Result, TenantTx};
use crm_jobs::System;
use crm_records::Module;
use crm_schema::imports;
use crm_storage::{Key, Storage};
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;
use futures_util::TryStreamExt;
use uuid::Uuid;

use crate::judge::Judge;
use crate::model::{Import, ImportMode, ImportState, Kept, locked, store};
use crate::names::is_ours;
use crate::preview::BATCH;
use crate::rows::{self, Outcome, Worked, number};
use crate::source::Source;
use crate::write::write;

/// How long an import works at a stretch before it lets others have their turn.
pub(crate) const STRETCH: Duration = Duration::from_secs(45);

/// How often it begins anew where other transactions get into its way.
pub(crate) const TRIES: usize = 5;

/// How long one that is all or nothing may take: longer than that no job may.
const WHOLE: Duration = Duration::from_secs(75);

/// Rows that are refused of one that is all or nothing, as far as they are told one by one.
const MOST_TOLD: usize = 10_000;

/// After how many batches the progress is shown.
const SHOW_EVERY: u32 = 4;

diesel::define_sql_function! {
    /// Takes a lock until the transaction ends, unless somebody has it.
    fn pg_try_advisory_xact_lock(key: BigInt) -> diesel::sql_types::Bool;
}

/// Whether there is more to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It has come to its end.
    Finished,
    /// It goes on where it stopped.
    More,
}

/// What became of the rows of a batch, in numbers.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    created: i32,
    updated: i32,
    skipped: i32,
    failed: i32,
}

impl Counts {
    fn of(rows: &[Worked]) -> Self {
        let mut counts = Self::default();
        for row in rows {
            *match row.outcome {
                Outcome::Created(..) => &mut counts.created,
                Outcome::Updated(..) => &mut counts.updated,
                Outcome::Skipped(_) => &mut counts.skipped,
                Outcome::Failed(_) => &mut counts.failed,
            } += 1;
        }
        counts
    }

    fn add(self, import: &mut Import) {
        import.fields.created_rows += self.created;
        import.fields.updated_rows += self.updated;
        import.fields.skipped_rows += self.skipped;
        import.fields.failed_rows += self.failed;
    }
}

/// Works on an import as `who` until it is finished or others should have their turn; `shown` hears how many rows have been read. To do it
/// twice does nothing twice.
///
/// # Errors
/// `Unavailable` and `Internal`: what went wrong with the import itself is told by its record.
pub async fn run<M: Module>(
    db: &Db,
    storage: &Storage,
    who: &impl CallerSource,
    id: Uuid,
    shown: impl Fn(i32),
) -> Result<Progress> {
    run_for::<M>(db, storage, who, id, (shown, STRETCH)).await
}

/// The same for a time of the caller's choice: one batch at least, and one that is all or nothing as a whole.
pub(crate) async fn run_for<M: Module>(
    db: &Db,
    storage: &Storage,
    who: &impl CallerSource,
    id: Uuid,
    (shown, stretch): (impl Fn(i32), Duration),
) -> Result<Progress> {
    let mut tries = 0;
    loop {
        match attempt::<M>(db, storage, who, id, (&shown, stretch)).await {
            Err(error) if error.is_contended() && tries < TRIES => tries += 1,
            Err(error) if error.is_contended() => return Err(Error::Unavailable(error.to_string().into())),
            done => return done,
        }
    }
}

/// Works on an import from where it is. What is contended is told as such: it may begin anew.
async fn attempt<M: Module>(
    db: &Db,
    storage: &Storage,
    who: &impl CallerSource,
    id: Uuid,
    (shown, stretch): (&impl Fn(i32), Duration),
) -> Result<Progress> {
    let system = System(who.org());
    let begun = db
        .tenant(&system, async |t| {
            let mut import = locked(t, id).await?;
            match import.fields.state {
                ImportState::Queued => {
                    import.fields.state = ImportState::Running;
                    import.fields.started_at = Some(t.now());
                    store(t, &import).await?;
                }
                ImportState::Running => {}
                _ => return Ok(None),
            }
            Ok::<_, Error>(Some(import))
        })
        .await?;
    let Some(import) = begun else { return Ok(Progress::Finished) };
    let worked = async {
        let file = fetch(storage, &Key::new(import.base.org_id.0, import.fields.file_id)).await?;
        let kept = Kept::of(&import.fields)?;
        let delimiter = kept.delimiter.to_string();
        let opened = tokio::task::spawn_blocking(move || Source::open(file, Some(&delimiter)));
        let source = opened.await.map_err(Error::internal)??;
        match import.fields.mode {
            ImportMode::SkipBad => skipping::<M>(db, who, &import, &kept, source, (shown, stretch)).await,
            ImportMode::AllOrNothing => whole::<M>(db, who, &import, &kept, source, shown).await,
        }
    };
    match worked.await {
        Ok(progress) => Ok(progress),
        Err(Stop::Error(error)) if is_ours(&error) => Err(error),
        // Somebody else is at it.
        Err(Stop::Taken) => Err(Error::Unavailable("another worker is at this import".into())),
        Err(Stop::Error(error)) => failed(db, &system, id, &error.to_string(), &[], Counts::default()).await,
        Err(Stop::Refused { told, counts }) => {
            let (rows, were) = if counts.failed == 1 { ("row", "was") } else { ("rows", "were") };
            let error = format!("{} {rows} {were} refused, so nothing was imported", counts.failed);
            failed(db, &system, id, &error, &told, counts).await
        }
    }
}

/// Why an import does not go on.
enum Stop {
    Error(Error),
    /// Somebody else works on it.
    Taken,
    /// It is all or nothing, and rows were refused: the first of them.
    Refused {
        told: Vec<Worked>,
        counts: Counts,
    },
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

async fn failed(
    db: &Db,
    system: &System,
    id: Uuid,
    error: &str,
    told: &[Worked],
    counts: Counts,
) -> Result<Progress> {
    db.tenant(system, async |t| {
        let mut import = locked(t, id).await?;
        if import.fields.state != ImportState::Running {
            return Ok(Progress::Finished);
        }
        rows::put(t, id, told).await?;
        import.fields.failed_rows += counts.failed;
        import.fields.state = ImportState::Failed;
        import.fields.error = Some(error.chars().take(2_000).collect());
        import.fields.finished_at = Some(t.now());
        store(t, &import).await?;
        Ok(Progress::Finished)
    })
    .await
}

/// A stored file in a place where it can be read twice.
///
/// # Errors
/// `Internal`.
pub async fn fetch(storage: &Storage, key: &Key) -> Result<File> {
    let mut file = tempfile::tempfile().map_err(Error::internal)?;
    let mut blob = storage.get(key).await.map_err(Error::internal)?;
    while let Some(chunk) = blob.bytes.try_next().await.map_err(Error::internal)? {
        file.write_all(&chunk).map_err(Error::internal)?;
    }
    file.rewind().map_err(Error::internal)?;
    Ok(file)
}

async fn alone(t: &mut TenantTx, id: Uuid) -> Result<(), Stop> {
    let (_, low) = id.as_u64_pair();
    let taken = diesel::select(pg_try_advisory_xact_lock(low.cast_signed()));
    let taken: bool = taken.get_result(t.conn()?).await.map_err(Error::from)?;
    if taken { Ok(()) } else { Err(Stop::Taken) }
}

async fn skipping<M: Module>(
    db: &Db,
    who: &impl CallerSource,
    import: &Import,
    kept: &Kept,
    mut source: Source,
    (shown, stretch): (&impl Fn(i32), Duration),
) -> Result<Progress, Stop> {
    let begun = Instant::now();
    let id = import.base.id;
    let mut position = import.fields.done_rows;
    let mut judge = judge::<M>(db, who, import, kept).await?;
    let mut rows = source.next_rows(BATCH)?;
    loop {
        let last = source.read_so_far();
        let mut batch = std::mem::replace(&mut rows, source.next_rows(BATCH)?);
        let is_last = rows.is_empty();
        batch.retain(|row| number(row.number) > position);
        if batch.is_empty() && !is_last {
            continue;
        }
        let (reached, lets_go) = (number(last).max(position), begun.elapsed() >= stretch);
        let done = db.tenant(who, async |t| {
            t.keep_quiet();
            let mut now = locked(t, id).await?;
            if now.fields.state != ImportState::Running || now.fields.done_rows != position {
                return Err(Stop::Taken);
            }
            let items = judge.judge::<M>(t, batch).await?;
            let worked = write::<M>(t, &mut judge, items).await?;
            judge.tidy(t, &worked).await?;
            rows::put(t, id, &worked).await?;
            Counts::of(&worked).add(&mut now);
            now.fields.done_rows = reached;
            if is_last {
                now.fields.done_rows = now.fields.total_rows;
                now.fields.state = ImportState::Done;
                now.fields.finished_at = Some(t.now());
            }
            store(t, &now).await?;
            Ok::<_, Stop>(())
        });
        done.await?;
        position = reached;
        shown(position);
        if is_last {
            return Ok(Progress::Finished);
        }
        if lets_go {
            return Ok(Progress::More);
        }
    }
}

async fn whole<M: Module>(
    db: &Db,
    who: &impl CallerSource,
    import: &Import,
    kept: &Kept,
    mut source: Source,
    shown: &impl Fn(i32),
) -> Result<Progress, Stop> {
    let begun = Instant::now();
    let id = import.base.id;
    let mut judge = judge::<M>(db, who, import, kept).await?;
    let system = System(who.org());
    db.tenant(who, async |t| {
        t.keep_quiet();
        alone(t, id).await?;
        let (mut sum, mut told) = (Counts::default(), Vec::new());
        let mut batches = 0;
        loop {
            let rows = source.next_rows(BATCH)?;
            if rows.is_empty() {
                break;
            }
            let items = judge.judge::<M>(t, rows).await?;
            let mut worked = write::<M>(t, &mut judge, items).await?;
            let counts = Counts::of(&worked);
            sum.created += counts.created;
            sum.updated += counts.updated;
            sum.skipped += counts.skipped;
            sum.failed += counts.failed;
            if sum.failed == 0 {
                rows::put(t, id, &worked).await?;
            } else {
                // From here on nothing is written any more: the rest is only judged.
                judge.dry = true;
                worked.retain(|row| matches!(row.outcome, Outcome::Failed(_)));
                worked.truncate(MOST_TOLD.saturating_sub(told.len()));
                told.append(&mut worked);
            }
            if begun.elapsed() > WHOLE {
                let message =
                    "took too long to be done as a whole: import the file in parts, or with mode=skip_bad";
                return Err(Error::Refused(Code::ValidationFailed, message.into()).into());
            }
            batches += 1;
            let done = number(source.read_so_far());
            shown(done);
            if batches % SHOW_EVERY == 0 {
                show(db, &system, id, done).await;
            }
        }
        if sum.failed > 0 {
            return Err(Stop::Refused { told, counts: sum });
        }
        let mut now = locked(t, id).await?;
        if now.fields.state != ImportState::Running {
            return Err(Stop::Taken);
        }
        sum.add(&mut now);
        now.fields.done_rows = now.fields.total_rows;
        now.fields.state = ImportState::Done;
        now.fields.finished_at = Some(t.now());
        store(t, &now).await?;
        Ok(Progress::Finished)
    })
    .await
}

async fn judge<M: Module>(db: &Db, who: &impl CallerSource, import: &Import, kept: &Kept) -> Result<Judge> {
    db.tenant(who, async |t| {
        crate::model::may_import::<M>(t, import.fields.duplicates)?;
        let fields = kept.columns.iter().map(|column| column.field.as_deref());
        Judge::new::<M>(t, fields, kept.habits(), import.fields.duplicates, false).await
    })
    .await
}

/// Shows how far an import is whose own transaction nobody sees yet. Where that fails, the next time will do.
async fn show(db: &Db, system: &System, id: Uuid, done: i32) {
    let shown = db.tenant(system, async |t| {
        let now = t.now();
        diesel::update(imports::table.filter(imports::org_id.eq(t.org()).and(imports::id.eq(id))))
            .set((
                imports::done_rows.eq(done),
                imports::version.eq(imports::version + 1),
                imports::updated_at.eq(now),
            ))
            .execute(t.conn()?)
            .await?;
        Ok::<_, Error>(())
    });
    if let Err(error) = shown.await {
        tracing::warn!(%error, "the progress of an import can't be shown");
    }
}
