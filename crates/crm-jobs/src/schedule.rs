use std::str::FromStr;

use chrono::{DateTime, Utc};
use crm_core::{Db, Error, OrgId, Result};
use crm_schema::organizations;
use croner::Cron;
use diesel::{ExpressionMethods, QueryDsl};
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::{CHANNEL, Failure, Job, NewJob, sql};

/// The kind of the jobs that put in one for every organization.
pub(crate) const FAN_OUT: &str = "platform.fan_out";

/// For how many organizations at once.
const BATCH: usize = 500;

/// What is to be done regularly. However many workers have it in their lists, it fires once, and once for all that was missed while
/// none was running.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Its own, for ever: under it the database keeps the next time.
    pub name: &'static str,
    /// When, in UTC: minute, hour, day, month, day of the week.
    pub cron: &'static str,
    /// The kind of the job to put in.
    pub kind: &'static str,
    /// Whether it is one job for every active organization instead of one of the platform.
    pub per_org: bool,
}

/// A schedule and when to look at it again.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    schedule: Schedule,
    cron: Cron,
    next: DateTime<Utc>,
}

impl Planned {
    /// To be looked at once at the start, for what was missed.
    pub(crate) fn new(schedule: Schedule) -> Result<Self> {
        let cron = Cron::from_str(schedule.cron).map_err(Error::internal)?;
        Ok(Self { schedule, cron, next: DateTime::UNIX_EPOCH })
    }

    /// Puts its job in where it is due and no other worker has done so.
    pub(crate) async fn fire(&mut self, db: &Db) -> Result<()> {
        let now = db.clock().now();
        if self.next > now {
            return Ok(());
        }
        let next = self.cron.find_next_occurrence(&now, false).map_err(Error::internal)?;
        let Schedule { name, cron, kind, per_org } = self.schedule;
        let (kind, payload) = match per_org {
            true => {
                (FAN_OUT, json!(FanOut { kind: kind.into(), name: name.into(), after: OrgId(Uuid::nil()) }))
            }
            false => (kind, json!({})),
        };
        let fire = sql::job_schedules_fire(name, cron, now, next, Uuid::now_v7(), kind, payload);
        let fired = db.platform(async |p| {
            if diesel::select(fire).get_result(p.conn()?).await? {
                p.signal(CHANNEL, String::new());
            }
            Ok::<_, Error>(())
        });
        fired.await?;
        self.next = next;
        Ok(())
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct FanOut {
    kind: String,
    name: String,
    after: OrgId,
}

/// Puts in one job for each of the next organizations, and itself again where there are more.
pub(crate) async fn fan_out(db: &Db, job: &Job) -> Result<(), Failure> {
    let FanOut { kind, name, after } = job.payload()?;
    let active =
        organizations::table.filter(organizations::is_active.eq(true)).filter(organizations::id.gt(after));
    let batch = active.order_by(organizations::id).limit(BATCH as i64).select(organizations::id);
    let done = job.on_platform(db, async |p| {
        let orgs: Vec<OrgId> = batch.load(p.conn()?).await?;
        let Some(&last) = orgs.last() else { return Ok(()) };
        let ids: Vec<_> = orgs.iter().map(|_| Uuid::now_v7()).collect();
        let count = orgs.len();
        let put = sql::jobs_put_each(ids, orgs, kind.as_str(), json!({}), name.as_str());
        diesel::select(put).execute(p.conn()?).await?;
        p.signal(CHANNEL, String::new());
        if count < BATCH {
            return Ok(());
        }
        let key = format!("{name} {last}");
        NewJob::new(FAN_OUT, &FanOut { kind, name, after: last })?.key(key).put(p).await
    });
    done.await
}
