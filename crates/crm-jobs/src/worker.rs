use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex as Briefly, MutexGuard, PoisonError};
use std::time::Duration;

use crm_core::{Db, Error, Result, Signal};
use diesel::OptionalExtension;
use diesel_async::RunQueryDsl;
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Mutex, Notify, broadcast, watch};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::schedule::{FAN_OUT, Planned, fan_out};
use crate::{CHANNEL, Failure, Job, Schedule, sql};

/// How long an idle worker waits when nothing wakes it, and how often it looks after what waits.
const IDLE: Duration = Duration::from_secs(1);

/// How often a worker tries a job unless told otherwise.
pub const ATTEMPTS: i32 = 12;

/// How often the outcome of a job is written anew while the database is away.
const SETTLE_TRIES: usize = 10;

/// Does jobs. Any number of workers may run, in one process or in many.
#[derive(Debug, Clone)]
pub struct Worker {
    db: Db,
    slots: usize,
    lease: Duration,
    attempts: i32,
    wait: Duration,
    plan: Vec<Planned>,
}

impl Worker {
    /// A worker on `db` that does four jobs at once, gives each 90 seconds, and tries it twelve times over some three hours.
    pub const fn new(db: Db) -> Self {
        let (lease, wait) = (Duration::from_secs(120), Duration::from_secs(10));
        Self { db, slots: 4, lease, attempts: ATTEMPTS, wait, plan: Vec::new() }
    }

    /// Does that many jobs at once.
    #[must_use]
    pub fn slots(self, slots: usize) -> Self {
        Self { slots: slots.max(1), ..self }
    }

    /// Gives a job up to others after `lease`, and to nobody before: it may take three quarters of that.
    #[must_use]
    pub fn lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// Tries a job `attempts` times, the second time after `wait` at most, and then after twice as long each time.
    #[must_use]
    pub fn attempts(self, attempts: i32, wait: Duration) -> Self {
        Self { attempts, wait, ..self }
    }

    /// Sees to it that `schedules` fire.
    ///
    /// # Errors
    /// `Internal` for a cron expression that is none.
    pub fn schedules(self, schedules: &[Schedule]) -> Result<Self> {
        let plan = schedules.iter().map(|schedule| Planned::new(*schedule)).collect::<Result<_>>()?;
        Ok(Self { plan, ..self })
    }

    /// Works until `stop` turns true; jobs under way are finished first. Where its sender is gone, until nothing is due. Where the
    /// future is dropped instead, other workers take the jobs under way over when their leases end.
    pub async fn run(&self, handle: &impl AsyncFn(&Job) -> Result<(), Failure>, stop: watch::Receiver<bool>) {
        let floor = Floor::new(self);
        let slots = (0..self.slots).map(|_| async {
            while let Some(job) = self.next(&floor, stop.clone()).await {
                self.work(handle, &job).await;
                floor.leave(job.lane());
            }
        });
        tokio::join!(join_all(slots), self.keep_time(stop.clone()));
    }

    /// Does one job that is due, if there is one, and answers how many that were.
    ///
    /// # Errors
    /// `Unavailable` without a database.
    pub async fn work_off(&self, handle: &impl AsyncFn(&Job) -> Result<(), Failure>) -> Result<usize> {
        while self.sweep().await? {}
        let Some(job) = self.claim(Uuid::nil(), Vec::new()).await? else {
            return Ok(0);
        };
        self.work(handle, &job).await;
        Ok(1)
    }

    /// The next job for a slot. One slot at a time claims or waits, so that an idle worker asks once and not once per slot.
    async fn next(&self, floor: &Floor, mut stop: watch::Receiver<bool>) -> Option<Job> {
        let mut turn = floor.turn.lock().await;
        while !*stop.borrow() {
            while turn.signals.try_recv().is_ok() {}
            match self.claim(turn.after, floor.full()).await {
                Ok(Some(job)) => {
                    turn.after = job.lane();
                    floor.enter(job.lane());
                    return Some(job);
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "no job can be claimed"),
            }
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return None,
                () = woken(&mut turn.signals) => {}
                () = floor.left.notified() => {}
                () = sleep(IDLE) => {}
            }
        }
        None
    }

    async fn claim(&self, after: Uuid, except: Vec<Uuid>) -> Result<Option<Job>> {
        let claim = sql::Claim { lease: Uuid::now_v7(), after, except, seconds: self.lease.as_secs_f64() };
        self.db.platform(async |p| Ok(claim.get_result(p.conn()?).await.optional()?)).await
    }

    /// Does a job and writes down how it went.
    async fn work(&self, handle: &impl AsyncFn(&Job) -> Result<(), Failure>, job: &Job) {
        let working = async {
            match job.kind.as_str() {
                FAN_OUT => fan_out(&self.db, job).await,
                _ => handle(job).await,
            }
        };
        let limit = self.lease.mul_f64(0.75);
        let done = match timeout(limit, AssertUnwindSafe(working).catch_unwind()).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err(Failure::Retry("the handler panicked".into())),
            Err(_) => Err(Failure::Retry("the handler took too long".into())),
        };
        let outcome = match &done {
            Ok(()) => "done",
            Err(Failure::Retry(_)) if job.attempts < self.attempts => "retry",
            Err(_) => "dead",
        };
        metrics::counter!("jobs_total", "kind" => job.kind.clone(), "outcome" => outcome).increment(1);
        if let Err(failure) = &done {
            tracing::warn!(job = %job.id, kind = job.kind, attempt = job.attempts, ?failure, "job failed");
        }
        for _ in 0..SETTLE_TRIES {
            match self.settle(job, &done).await {
                Err(Error::Unavailable(_)) => sleep(IDLE).await,
                Err(error) => {
                    return tracing::error!(job = %job.id, %error, "the outcome of a job can't be written");
                }
                Ok(()) => return,
            }
        }
    }

    async fn settle(&self, job: &Job, done: &Result<(), Failure>) -> Result<()> {
        if job.is_done() {
            return Ok(());
        }
        let held: bool = self
            .db
            .platform(async |p| {
                let conn = p.conn()?;
                let held = match done {
                    Ok(()) => diesel::select(sql::jobs_done(job.id, job.lease())).get_result(conn).await?,
                    Err(Failure::Retry(error)) if job.attempts < self.attempts => {
                        let wait = Some(self.wait.as_secs_f64());
                        let failed = sql::jobs_failed(job.id, job.lease(), error.as_str(), wait);
                        diesel::select(failed).get_result(conn).await?
                    }
                    Err(Failure::Retry(error) | Failure::Final(error)) => {
                        let failed = sql::jobs_failed(job.id, job.lease(), error.as_str(), None::<f64>);
                        diesel::select(failed).get_result(conn).await?
                    }
                };
                Ok::<_, Error>(held)
            })
            .await?;
        if !held {
            tracing::warn!(job = %job.id, kind = job.kind, "another worker has taken the job over");
        }
        Ok(())
    }

    /// Looks after what waits, beside the slots.
    async fn keep_time(&self, mut stop: watch::Receiver<bool>) {
        let mut plan = self.plan.clone();
        loop {
            for planned in &mut plan {
                if let Err(error) = planned.fire(&self.db).await {
                    tracing::warn!(%error, "a schedule can't be looked at");
                }
            }
            let pause = match self.sweep().await {
                Ok(true) => Duration::ZERO,
                Ok(false) => IDLE,
                Err(error) => {
                    tracing::warn!(%error, "waiting jobs can't be looked at");
                    IDLE
                }
            };
            if timeout(pause, stop.wait_for(|stop| *stop)).await.is_ok() {
                return;
            }
        }
    }

    /// Makes due what has waited long enough; whether there may be more.
    async fn sweep(&self) -> Result<bool> {
        let sweep = sql::jobs_sweep(self.attempts, self.wait.as_secs_f64());
        self.db.platform(async |p| Ok(diesel::select(sweep).get_result(p.conn()?).await?)).await
    }
}

/// What the slots of a running worker share.
struct Floor {
    turn: Mutex<Turn>,
    /// How many jobs of each lane are under way.
    busy: Briefly<HashMap<Uuid, usize>>,
    /// How many of one lane may be.
    most: usize,
    /// One has been finished.
    left: Notify,
}

/// What the slot has whose turn it is to claim.
struct Turn {
    after: Uuid,
    signals: broadcast::Receiver<Signal>,
}

impl Floor {
    fn new(worker: &Worker) -> Self {
        Self {
            turn: Mutex::new(Turn { after: Uuid::nil(), signals: worker.db.signals() }),
            busy: Briefly::default(),
            most: (worker.slots / 2).max(1),
            left: Notify::new(),
        }
    }

    fn busy(&self) -> MutexGuard<'_, HashMap<Uuid, usize>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lanes that leave the other slots to others.
    fn full(&self) -> Vec<Uuid> {
        self.busy().iter().filter(|(_, count)| **count >= self.most).map(|(lane, _)| *lane).collect()
    }

    fn enter(&self, lane: Uuid) {
        *self.busy().entry(lane).or_default() += 1;
    }

    fn leave(&self, lane: Uuid) {
        let mut busy = self.busy();
        if let Some(count) = busy.get_mut(&lane) {
            *count -= 1;
            if *count == 0 {
                busy.remove(&lane);
            }
        }
        self.left.notify_one();
    }
}

/// Waits until somebody has put jobs in, as far as this process hears of it.
async fn woken(signals: &mut broadcast::Receiver<Signal>) {
    loop {
        match signals.recv().await {
            Ok(signal) if signal.channel != CHANNEL => {}
            Err(RecvError::Closed) => return std::future::pending().await,
            Ok(_) | Err(RecvError::Lagged(_)) => return,
        }
    }
}
