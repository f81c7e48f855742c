//! Background work: which handler does which kind of job, and what is cleaned up every hour.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use crm_core::Db;
use crm_identity::{Identity, SEND_MAIL};
use crm_jobs::{Failure, Job, Worker};
use crm_mail::{Mailer, Message};
use crm_records::attachments::{DELETE_FILES, DeletedFiles};
use crm_storage::{Key, Storage};
use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::startup::{Running, cause};

#[cfg(test)]
mod tests;

/// How long jobs under way may take to finish once the worker is to stop.
const GRACE: Duration = Duration::from_secs(10);

/// How long one job may take: less than its lease, so that nobody else starts it meanwhile.
const TIME_LIMIT: Duration = Duration::from_secs(90);

const HOUSEKEEPING: Duration = Duration::from_secs(3600);

/// Whatever the handlers need.
#[derive(Clone)]
pub struct Jobs {
    db: Db,
    identity: Identity,
    mailer: Mailer,
    storage: Storage,
}

impl Jobs {
    /// Handlers that work with what is running.
    pub fn new(running: &Running) -> Self {
        let Running { db, identity, mailer, storage, .. } = running;
        Self { db: db.clone(), identity: identity.clone(), mailer: mailer.clone(), storage: storage.clone() }
    }

    /// Works until `stop` turns true or its sender is gone, and then finishes the jobs under way unless they take too long;
    /// such a job is taken over by another worker when its lease ends.
    pub async fn work(&self, stop: watch::Receiver<bool>) {
        let late = async {
            stopped(stop.clone()).await;
            sleep(GRACE).await;
        };
        let worker = Worker::new(self.db.clone());
        let handle = async |job: &Job| self.handle(job).await;
        let work = async {
            tokio::join!(worker.run(&handle, stop.clone()), self.keep_house(stop.clone()));
        };
        tokio::select! {
            () = work => {}
            () = late => tracing::warn!("jobs under way were given up"),
        }
    }

    async fn keep_house(&self, stop: watch::Receiver<bool>) {
        loop {
            match self.identity.sweep().await {
                Ok(rows) => tracing::debug!(rows, "outdated rows were removed"),
                Err(error) => tracing::warn!("outdated rows can't be removed: {:#}", cause(error)),
            }
            tokio::select! {
                biased;
                () = stopped(stop.clone()) => return,
                () = sleep(HOUSEKEEPING) => {}
            }
        }
    }

    /// Does one job and counts it.
    ///
    /// # Errors
    /// Whether to try again, and why it failed.
    pub async fn handle(&self, job: &Job) -> Result<(), Failure> {
        let done = timeout(TIME_LIMIT, AssertUnwindSafe(self.dispatch(job)).catch_unwind()).await;
        let failed = |why: &str| Err(Failure::Retry(why.into()));
        let done = match done {
            Ok(done) => done.unwrap_or_else(|_| failed("the handler panicked")),
            Err(_) => failed("the handler took too long"),
        };
        let outcome = match done {
            Ok(()) => "done",
            Err(Failure::Retry(_)) => "retry",
            Err(Failure::Final(_)) => "failed",
        };
        metrics::counter!("jobs_total", "kind" => job.kind.clone(), "outcome" => outcome).increment(1);
        done
    }

    async fn dispatch(&self, job: &Job) -> Result<(), Failure> {
        match job.kind.as_str() {
            SEND_MAIL => self.send_mail(job).await,
            DELETE_FILES => self.delete_files(job).await,
            _ => {
                let of_identity = self.identity.handle(job).await;
                of_identity.unwrap_or_else(|| {
                    Err(Failure::Final("there is no handler for jobs of this kind".into()))
                })
            }
        }
    }

    async fn send_mail(&self, job: &Job) -> Result<(), Failure> {
        let message: Message = job.payload()?;
        // Only the error's own words: what the mail server said may quote the recipient.
        self.mailer.send(&message).await.map_err(|error| match error.is_permanent() {
            true => Failure::Final(error.to_string()),
            false => Failure::Retry(error.to_string()),
        })
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

/// Waits until work is to stop.
async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that whoever could tell is gone.
    let _ = stop.wait_for(|stop| *stop).await;
}
