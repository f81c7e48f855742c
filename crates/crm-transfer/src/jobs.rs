//! Imports as background work.

use chrono::TimeDelta;
use crm_core::{CallerSource, Code, Db, Error, MemberId, Result, TenantTx};
use crm_jobs::{ATTEMPTS, Failure, Job, NewJob, Schedule, System};
use crm_schema::imports;
use crm_storage::Storage;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Transferable;
use crate::model::{ImportState, locked, store};
use crate::run::Progress;

/// The kind of the jobs that import; their payload is [`Work`].
pub const IMPORT: &str = "import";

/// The kind of the jobs that take an import back.
pub const UNDO_IMPORT: &str = "import_undo";

/// The kind of the jobs that end imports which nobody works on any more.
pub const END_STUCK: &str = "imports.stuck";

/// What is done regularly here.
pub const SCHEDULES: &[Schedule] =
    &[Schedule { name: END_STUCK, cron: "29 * * * *", kind: END_STUCK, per_org: true }];

/// After how long nobody works on an import any more that has not moved: a job is tried for some three hours and a half.
const STUCK: TimeDelta = TimeDelta::hours(5);

/// What is told of an import that could not be worked on.
const GIVEN_UP: &str =
    "something went wrong here, not with the file: what is done so far stays, and can be taken back";

/// When a worker looks after an import that somebody wanted to do at once.
const LATER: TimeDelta = TimeDelta::minutes(15);

/// Which import, and in whose name.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Work {
    /// The import.
    pub import: Uuid,
    /// The member who asked for it.
    pub member: MemberId,
}

impl Work {
    /// Work on an import in the name of the caller.
    ///
    /// # Errors
    /// `Forbidden` for the program itself.
    pub fn of(t: &TenantTx, import: Uuid) -> Result<Self> {
        let member = t.actor().ok_or_else(|| Error::Forbidden("an import is a member's".into()))?;
        Ok(Self { import, member })
    }

    /// Has it done after this transaction.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn put(self, t: &mut TenantTx, kind: &'static str) -> Result<()> {
        NewJob::new(kind, &self)?.put(t).await
    }

    /// Has it done later, unless it is done by then: for whoever does it here and now and may be stopped half-way.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn put_later(self, t: &mut TenantTx, kind: &'static str) -> Result<()> {
        let at = t.now() + LATER;
        NewJob::new(kind, &self)?.at(at).put(t).await
    }
}

impl<W: CallerSource + 'static> Transferable<W> {
    /// Does a job of one of the kinds [`IMPORT`] and [`UNDO_IMPORT`] as the member whom `who` finds.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn work(
        all: &[Self],
        db: &Db,
        storage: &Storage,
        job: &Job,
        who: impl Fn(crm_core::OrgId, MemberId) -> W,
    ) -> Result<(), Failure> {
        let work: Work = job.payload()?;
        let org = job.org_id.ok_or_else(|| Failure::Final("the job has no organization".into()))?;
        let system = System(org);
        let import = db.tenant(&system, async |t| locked(t, work.import).await).await?;
        let Some(module) = all.iter().find(|module| module.name == import.fields.module) else {
            given_up(db, &system, work.import, "there is no such module any more").await?;
            return Err(Failure::Final("an import into no module".into()));
        };
        let who = who(org, work.member);
        let (kind, done) = match job.kind.as_str() {
            UNDO_IMPORT => (UNDO_IMPORT, module.undo(db, &who, work.import).await),
            _ => (IMPORT, module.run(db, storage, &who, work.import, &|_| ()).await),
        };
        match done {
            Ok(Progress::Finished) => Ok(()),
            Ok(Progress::More) => job.inside(db, async |t| work.put(t, kind).await).await,
            Err(error) if error.code().status() >= 500 => {
                // Where only the moment was wrong, or another worker is at it, it may yet go on.
                if job.attempts >= ATTEMPTS && error.code() == Code::Internal {
                    given_up(db, &system, work.import, GIVEN_UP).await?;
                }
                Err(error.into())
            }
            // Whoever asked for it is not there any more, or may not do it any more.
            Err(error) => Ok(given_up(db, &system, work.import, &error.to_string()).await?),
        }
    }
}

async fn given_up(db: &Db, system: &System, id: Uuid, error: &str) -> Result<()> {
    db.tenant(system, async |t| end(t, id, error).await).await
}

/// Ends the work on an import, so that it can be taken back, and asked for again where it was being taken back.
async fn end(t: &mut TenantTx, id: Uuid, error: &str) -> Result<()> {
    let mut import = locked(t, id).await?;
    import.fields.state = match import.fields.state {
        ImportState::Queued | ImportState::Running => ImportState::Failed,
        ImportState::Undoing => ImportState::Done,
        // It has come to its end by itself.
        _ => return Ok(()),
    };
    import.fields.finished_at = import.fields.finished_at.or(Some(t.now()));
    import.fields.error = Some(error.chars().take(2_000).collect());
    store(t, &import).await
}

/// Ends the imports of an organization that nobody works on any more: their jobs died with their workers.
///
/// # Errors
/// Those of the database.
pub async fn end_stuck(t: &mut TenantTx) -> Result<()> {
    let under_way = [ImportState::Queued, ImportState::Running, ImportState::Undoing];
    let stuck: Vec<Uuid> = imports::table
        .filter(imports::org_id.eq(t.org()).and(imports::state.eq_any(under_way)))
        .filter(imports::updated_at.lt(t.now() - STUCK))
        .order_by(imports::id)
        .select(imports::id)
        .for_update()
        .load(t.conn()?)
        .await?;
    for id in stuck {
        end(t, id, GIVEN_UP).await?;
    }
    Ok(())
}
