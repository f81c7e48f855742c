//! Background work: which handler does which kind of job, and what is done regularly.
//!
//! A handler with effects in the database alone does them in `job.inside(&self.db, …)`: exactly once.

use std::time::Duration;

use anyhow::Context as _;
use crm_core::{CallerSource as _, Db, TenantTx};
use crm_identity::{Identity, InTheNameOf};
use crm_jobs::{Failure, Job, Schedule, Worker};
use crm_mail::Mailer;
use crm_notifications::Notifier;
use crm_opportunities::reminders;
use crm_records::attachments::{DELETE_FILES, DeletedFiles};
use crm_records::{merge, orphans, tags};
use crm_storage::{Key, Storage};
use crm_transfer::Transferable;
use crm_webhooks::Webhooks;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::routes::{TARGETS, TRANSFERABLE, taggable};
use crate::startup::{Running, cause};

#[cfg(test)]
mod tests;

/// How long jobs under way may take to finish once the worker is to stop.
const GRACE: Duration = Duration::from_secs(10);

/// The kind of the jobs that remove outdated rows outside every organization.
const SWEEP: &str = "platform.sweep";

/// The kind of the jobs that remove answers kept for idempotency keys.
const FORGOTTEN_ANSWERS: &str = "forgotten_answers";

/// What is done regularly here; the name is for ever, because the database keeps the next time under it.
const SCHEDULES: &[Schedule] = &[
    Schedule { name: "sweep", cron: "17 * * * *", kind: SWEEP, per_org: false },
    Schedule { name: "orphaned_files", cron: "41 2 * * *", kind: orphans::SWEEP, per_org: true },
    Schedule { name: "forgotten_answers", cron: "7 3 * * *", kind: FORGOTTEN_ANSWERS, per_org: true },
];

/// What is done regularly at all.
const ALL_SCHEDULES: [&[Schedule]; 6] = [
    SCHEDULES,
    crm_webhooks::SCHEDULES,
    crm_notifications::SCHEDULES,
    reminders::SCHEDULES,
    merge::SCHEDULES,
    crm_transfer::SCHEDULES,
];

/// What does the jobs, all but the sending of mail.
#[derive(Clone)]
pub struct Handlers {
    /// The database.
    pub db: Db,
    /// Accounts, sessions, organizations.
    pub identity: Identity,
    /// Files.
    pub storage: Storage,
    /// What is sent to other programs.
    pub webhooks: Webhooks,
    /// What members are told.
    pub notifier: Notifier,
    /// Where links in mails lead.
    pub frontend_url: String,
}

/// The handlers, and what sends mail, at work.
#[derive(Clone)]
pub struct Jobs {
    handlers: Handlers,
    mailer: Mailer,
    worker: Worker,
}

impl Jobs {
    /// Handlers that work with what is running.
    ///
    /// # Errors
    /// For a schedule that can't be read.
    pub fn new(running: &Running) -> anyhow::Result<Self> {
        let Running { db, identity, mailer, storage, webhooks, settings, .. } = running;
        let worker = Worker::new(db.clone()).slots(settings.worker_slots).schedules(&ALL_SCHEDULES.concat());
        let handlers = Handlers {
            db: db.clone(),
            identity: identity.clone(),
            storage: storage.clone(),
            webhooks: webhooks.clone(),
            notifier: Notifier::new(TARGETS, &settings.frontend_url),
            frontend_url: settings.frontend_url.clone(),
        };
        let worker = worker.map_err(cause).context("a schedule can't be read")?;
        Ok(Self { handlers, mailer: mailer.clone(), worker })
    }

    /// Works until `stop` turns true or its sender is gone, and then finishes the jobs under way unless they take too long;
    /// such a job is taken over by another worker when its lease ends.
    pub async fn work(&self, stop: watch::Receiver<bool>) {
        let late = async {
            // An error means that whoever could tell is gone.
            let _ = stop.clone().wait_for(|stop| *stop).await;
            sleep(GRACE).await;
        };
        let handle = async |job: &Job| self.dispatch(job).await;
        tokio::select! {
            () = self.worker.run(&handle, stop.clone()) => {}
            () = late => tracing::warn!("jobs under way were given up"),
        }
    }

    async fn dispatch(&self, job: &Job) -> Result<(), Failure> {
        match job.kind.as_str() {
            crm_mail::SEND | crm_mail::SEND_OUTSIDE => {
                let send = async |message: &_| self.mailer.send(message).await;
                crm_mail::deliver(&self.handlers.db, job, send).await
            }
            _ => self.handlers.handle(job).await,
        }
    }
}

impl Handlers {
    /// Does one job.
    ///
    /// # Errors
    /// As each handler says whether it is worth another try; `Retry` for a kind that nobody here knows.
    pub async fn handle(&self, job: &Job) -> Result<(), Failure> {
        match job.kind.as_str() {
            DELETE_FILES => self.delete_files(job).await,
            crm_accounts::messages::SEND_MESSAGE => {
                let due = job.payload()?;
                let author = async |t: &mut TenantTx, member| {
                    InTheNameOf { org: t.org(), member }.caller(t.shared()?).await
                };
                job.inside(&self.db, async |t| crm_accounts::messages::send(t, due, author).await).await
            }
            crm_transfer::IMPORT | crm_transfer::UNDO_IMPORT => {
                let who = |org, member| InTheNameOf { org, member };
                Transferable::work(&TRANSFERABLE, &self.db, &self.storage, job, who).await
            }
            crm_transfer::END_STUCK => job.inside(&self.db, async |t| crm_transfer::end_stuck(t).await).await,
            crm_custom_fields::BACKFILL => {
                let batch = job.payload()?;
                job.inside(&self.db, async |t| crm_custom_fields::backfill(t, batch).await).await
            }
            tags::MERGE => {
                let merging = job.payload()?;
                job.inside(&self.db, async |t| tags::go_on(t, &taggable(), merging).await).await
            }
            merge::SETTLE => job.inside(&self.db, async |t| merge::settle(t).await).await,
            SWEEP => {
                self.identity.sweep().await?;
                Ok(self.db.platform(async |p| crm_idempotency::forget_accounts(p).await.map(drop)).await?)
            }
            orphans::SWEEP => {
                let org = job.org_id.ok_or_else(|| Failure::Final("the job has no organization".into()))?;
                Ok(orphans::sweep(&self.db, &self.storage, org).await.map(drop)?)
            }
            FORGOTTEN_ANSWERS => {
                job.inside(&self.db, async |t| crm_idempotency::forget(t).await.map(drop)).await
            }
            _ => {
                if let Some(done) = self.webhooks.handle(job).await {
                    return done;
                }
                if let Some(done) = self.notifier.handle(&self.db, job).await {
                    return done;
                }
                if let Some(done) = reminders::handle(&self.db, job, &self.frontend_url).await {
                    return done;
                }
                let of_identity = self.identity.handle(job).await;
                // It may be of a newer program that runs beside this one.
                of_identity.unwrap_or_else(|| {
                    Err(Failure::Retry("there is no handler for jobs of this kind".into()))
                })
            }
        }
    }

    async fn delete_files(&self, job: &Job) -> Result<(), Failure> {
        let org = job.org_id.ok_or_else(|| Failure::Final("the job has no organization".into()))?;
        let files: DeletedFiles = job.payload()?;
        for id in files.ids {
            let deleted = self.storage.delete(&Key::new(org.0, id)).await;
            deleted.map_err(|error| Failure::Retry(error.to_string()))?;
        }
        Ok(())
    }
}
