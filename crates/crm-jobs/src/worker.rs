use std::time::Duration;

use crm_core::{Db, OrgId, Result};
use diesel::OptionalExtension;
use diesel::sql_types::{Integer, Jsonb, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use rand::Rng;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::timeout;
use uuid::Uuid;

/// How long a worker may keep a job before another one takes it over, in seconds.
const LEASE_SECONDS: i32 = 120;
/// How often a job is tried before it is left for the operator.
const MAX_ATTEMPTS: i32 = 12;
/// How long an idle worker waits when nothing wakes it: for jobs of other processes and for retries.
const IDLE: Duration = Duration::from_secs(1);

/// A claimed job.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct Job {
    /// The same at every attempt.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// The organization whose change caused it.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub org_id: Option<OrgId>,
    /// Which handler it is for.
    #[diesel(sql_type = Text)]
    pub kind: String,
    #[diesel(sql_type = Jsonb)]
    payload: serde_json::Value,
    /// 1 at the first.
    #[diesel(sql_type = Integer)]
    pub attempts: i32,
}

impl Job {
    /// What it was enqueued with.
    ///
    /// # Errors
    /// [`Failure::Final`]: a payload that can't be read will not get better.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_value(self.payload.clone()).map_err(|e| Failure::Final(format!("payload: {e}")))
    }
}

/// Why a job was not done. The text is for the operator and must not carry personal data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Try again later.
    Retry(String),
    /// Never try again.
    Final(String),
}

impl From<crm_core::Error> for Failure {
    fn from(error: crm_core::Error) -> Self {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Self::Retry(format!("{error}{cause}"))
    }
}

/// Takes jobs from the outbox. Any number of workers may run, in one process or in many.
#[derive(Debug, Clone)]
pub struct Worker {
    db: Db,
}

impl Worker {
    /// A worker on `db`.
    pub const fn new(db: Db) -> Self {
        Self { db }
    }

    /// Works until `stop` turns true or its sender is gone; a job under way is finished first. Where the future is dropped instead,
    /// another worker takes that job over when its lease ends.
    pub async fn run(
        &self,
        handle: &impl AsyncFn(&Job) -> Result<(), Failure>,
        mut stop: watch::Receiver<bool>,
    ) {
        while !*stop.borrow() {
            match self.work_off(handle).await {
                Ok(0) => {}
                Ok(_) => continue,
                Err(error) => tracing::warn!(%error, "the outbox can't be read"),
            }
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                _ = timeout(IDLE, self.db.outbox_signal().notified()) => {}
            }
        }
    }

    /// Does the job that has been due longest, if there is one, and answers how many that were.
    ///
    /// # Errors
    /// `Unavailable` without a database.
    pub async fn work_off(&self, handle: &impl AsyncFn(&Job) -> Result<(), Failure>) -> Result<usize> {
        let lease = Uuid::now_v7();
        let Some(job) = self.claim(lease).await? else {
            return Ok(0);
        };
        let outcome = handle(&job).await;
        if let Err(failure) = &outcome {
            tracing::warn!(job = %job.id, kind = job.kind, attempt = job.attempts, ?failure, "job failed");
        }
        self.finish(&job, lease, outcome).await?;
        Ok(1)
    }

    /// One job, whose lease covers the time it takes.
    async fn claim(&self, lease: Uuid) -> Result<Option<Job>> {
        #[expect(
            clippy::disallowed_methods,
            reason = "a set-returning function in FROM has no form in the DSL"
        )]
        let query = diesel::sql_query("SELECT * FROM outbox_claim($1, 1, $2)")
            .bind::<SqlUuid, _>(lease)
            .bind::<Integer, _>(LEASE_SECONDS);
        self.db.platform(async |p| Ok(query.get_result(p.conn()?).await.optional()?)).await
    }

    async fn finish(&self, job: &Job, lease: Uuid, outcome: Result<(), Failure>) -> Result<()> {
        diesel::define_sql_function! { fn outbox_done(id: SqlUuid, lease: SqlUuid) -> Nullable<Text>; }
        diesel::define_sql_function! {
            fn outbox_failed(id: SqlUuid, lease: SqlUuid, error: Text, retry_seconds: Nullable<Integer>) -> Nullable<Text>;
        }
        self.db
            .platform(async |p| {
                let conn = p.conn()?;
                match outcome {
                    Ok(()) => diesel::select(outbox_done(job.id, lease)).execute(conn).await?,
                    Err(failure) => {
                        let (error, retry) = match failure {
                            Failure::Retry(error) if job.attempts < MAX_ATTEMPTS => {
                                (error, Some(backoff(job.attempts)))
                            }
                            Failure::Retry(error) | Failure::Final(error) => (error, None),
                        };
                        diesel::select(outbox_failed(job.id, lease, error, retry)).execute(conn).await?
                    }
                };
                Ok(())
            })
            .await
    }
}

/// Seconds until the next attempt: doubling from five to an hour, with jitter so that failures do not march in step.
fn backoff(attempts: i32) -> i32 {
    let base = 5_i32.saturating_mul(1 << attempts.clamp(0, 10)).min(3600);
    base / 2 + rand::rng().random_range(0..=base / 2)
}
