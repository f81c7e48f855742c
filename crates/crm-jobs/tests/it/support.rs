//! A queue to test with, and a look past its functions.

use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use crm_core::{Caller, Clock, Db, DbSettings, Error, OrgId, OrgInfo};
use crm_jobs::{Failure, Job, NewJob, Worker};
use crm_schema::{jobs, organizations};
use crm_testkit::{Database, fresh_database};
use diesel::prelude::*;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use serde_json::{Value, json};
use uuid::Uuid;

diesel::table! {
    /// What the jobs of the tests do inside the database.
    effects (id) {
        id -> BigInt,
        job -> Uuid,
        n -> BigInt,
    }
}

/// A database with nothing in it but a table of effects.
pub(crate) struct Queue {
    pub(crate) db: Db,
    pub(crate) owner: Db,
    pub(crate) database: Database,
}

/// A job as it stands in the table.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable)]
#[diesel(table_name = jobs)]
pub(crate) struct Row {
    pub(crate) id: Uuid,
    pub(crate) org_id: Option<Uuid>,
    pub(crate) kind: String,
    pub(crate) payload: Value,
    pub(crate) state: String,
    pub(crate) run_at: DateTime<Utc>,
    pub(crate) attempts: i32,
    pub(crate) last_error: Option<String>,
}

impl Queue {
    pub(crate) async fn new() -> Self {
        let database = fresh_database().await;
        let queue = Self { db: database.db.clone(), owner: connect(&database.owner_url), database };
        effects_table(&queue.owner).await;
        queue
    }

    /// Founds an organization and answers the program itself acting in it.
    pub(crate) async fn org(&self) -> Caller {
        new_org(&self.db).await
    }

    /// Puts a job in, in a transaction of its own.
    pub(crate) async fn put(&self, caller: &Caller, job: NewJob) {
        self.db.tenant(caller, async |t| job.put(t).await).await.unwrap();
    }

    pub(crate) async fn put_platform(&self, job: NewJob) {
        self.db.platform(async |p| job.put(p).await).await.unwrap();
    }

    pub(crate) async fn flood(&self, org: OrgId, count: usize) {
        flood(&self.owner, org, count).await;
    }

    pub(crate) async fn as_owner(&self, sql: &str) {
        execute(&self.owner, sql).await;
    }

    /// Every job, oldest first.
    pub(crate) async fn rows(&self) -> Vec<Row> {
        let query = jobs::table.order_by(jobs::id).select(Row::as_select());
        self.owner.platform(async |p| query.load(p.conn()?).await.map_err(Error::from)).await.unwrap()
    }

    /// The one job there is.
    pub(crate) async fn row(&self) -> Row {
        let mut rows = self.rows().await;
        assert_eq!(rows.len(), 1, "{rows:?}");
        rows.remove(0)
    }

    /// Which jobs had their effect, and what for, in the order of their commits.
    pub(crate) async fn effects(&self) -> Vec<(Uuid, i64)> {
        let query = effects::table.order_by(effects::id).select((effects::job, effects::n));
        self.db.platform(async |p| query.load(p.conn()?).await.map_err(Error::from)).await.unwrap()
    }

    /// Lets everything that waits or is leased have waited long enough.
    pub(crate) async fn pass_time(&self) {
        let past = Utc::now() - TimeDelta::minutes(1);
        let set = diesel::update(jobs::table).set(jobs::run_at.eq(past));
        self.owner.platform(async |p| set.execute(p.conn()?).await.map_err(Error::from)).await.unwrap();
    }

    pub(crate) fn worker(&self) -> Worker {
        Worker::new(self.db.clone())
    }

    /// Does what is due and answers the kinds, in order.
    pub(crate) async fn work_off(&self) -> Vec<String> {
        let done = Mutex::<Vec<String>>::default();
        let note = async |job: &Job| {
            done.lock().unwrap().push(job.kind.clone());
            Ok(())
        };
        while self.worker().work_off(&note).await.unwrap() > 0 {}
        done.into_inner().unwrap()
    }

    /// Works with `handle` until `enough` says so.
    pub(crate) async fn work_until(
        &self,
        worker: Worker,
        handle: &impl AsyncFn(&Job) -> Result<(), Failure>,
        enough: impl AsyncFn() -> bool,
    ) {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let watch = async {
            while !enough().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            stop.send_replace(true);
        };
        let both = async { tokio::join!(worker.run(handle, stopped), watch) };
        tokio::time::timeout(Duration::from_secs(30), both).await.expect("the work is done");
    }
}

/// Makes what the jobs of the tests write into.
pub(crate) async fn effects_table(owner: &Db) {
    let sql = "CREATE TABLE effects (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, job uuid NOT NULL, n bigint NOT NULL);
        GRANT SELECT, INSERT ON effects TO crm_app";
    execute(owner, sql).await;
}

/// Puts in many jobs of one organization as fast as the database can.
pub(crate) async fn flood(owner: &Db, org: OrgId, count: usize) {
    let sql = format!(
        "INSERT INTO jobs (id, org_id, kind, payload, state, run_at)
         SELECT gen_random_uuid(), '{org}', 'flood', jsonb_build_object('n', n), 'ready', now()
         FROM generate_series(1, {count}) n"
    );
    execute(owner, &sql).await;
}

async fn execute(db: &Db, sql: &str) {
    let run = db.platform(async |p| p.conn()?.batch_execute(sql).await.map_err(Error::from));
    run.await.unwrap_or_else(|error| panic!("{error:?}\n{sql}"));
}

/// A job that is due at once.
pub(crate) fn due(kind: &'static str) -> NewJob {
    numbered(kind, 0)
}

pub(crate) fn numbered(kind: &'static str, n: i64) -> NewJob {
    NewJob::new(kind, &json!({"n": n})).unwrap()
}

pub(crate) fn number(job: &Job) -> i64 {
    job.payload::<Value>().unwrap()["n"].as_i64().unwrap()
}

/// Has an effect inside the database, exactly once.
pub(crate) async fn affect(db: &Db, job: &Job) -> Result<(), Failure> {
    let n = number(job);
    let done = job.inside(db, async |t| {
        let row = (effects::job.eq(job.id), effects::n.eq(n));
        diesel::insert_into(effects::table).values(row).execute(t.conn()?).await?;
        Ok::<_, Error>(())
    });
    done.await
}

pub(crate) async fn new_org(db: &Db) -> Caller {
    let org = OrgInfo {
        id: OrgId::generate(),
        name: "Fern".into(),
        currency: "EUR".into(),
        timezone: chrono_tz::UTC,
    };
    let row = (organizations::id.eq(org.id), organizations::name.eq(&org.name));
    let founded = db.platform(async |p| {
        diesel::insert_into(organizations::table).values(row).execute(p.conn()?).await.map_err(Error::from)
    });
    founded.await.unwrap();
    Caller::system(org)
}

pub(crate) fn connect(url: &str) -> Db {
    let settings = DbSettings { url: url.into(), pool_size: 8, wait: Duration::from_secs(5) };
    Db::connect(&settings, Clock::default()).unwrap()
}
