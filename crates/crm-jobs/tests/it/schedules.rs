//! What is done regularly.

use std::sync::Mutex;

use chrono::TimeDelta;
use crm_jobs::{Job, Schedule, Worker};
use tokio::sync::watch;

use crate::support::Queue;

const SWEEP: Schedule =
    Schedule { name: "sweep", cron: "30 * * * *", kind: "platform.sweep", per_org: false };
const DIGEST: Schedule = Schedule { name: "digest", cron: "0 3 * * *", kind: "digest", per_org: true };

impl Queue {
    /// Four workers look at the schedules at the same time, do what is due, and end.
    async fn four_workers(&self, schedules: &[Schedule]) -> Vec<String> {
        let done = Mutex::<Vec<String>>::default();
        let (stop, stopped) = watch::channel(false);
        drop(stop);
        let note = async |job: &Job| {
            done.lock().unwrap().push(job.kind.clone());
            Ok(())
        };
        let worker = || Worker::new(self.db.clone()).schedules(schedules).unwrap();
        let workers = [worker(), worker(), worker(), worker()];
        futures_util::future::join_all(workers.iter().map(|worker| worker.run(&note, stopped.clone()))).await;
        // What the last one put in when the others had ended.
        while self.worker().work_off(&note).await.unwrap() > 0 {}
        done.into_inner().unwrap()
    }
}

#[tokio::test]
async fn a_schedule_fires_once_however_many_workers_and_however_much_was_missed() {
    let queue = Queue::new().await;
    let none: [&str; 0] = [];
    assert_eq!(queue.four_workers(&[SWEEP]).await, none, "a new one waits for its time");
    assert_eq!(queue.four_workers(&[SWEEP]).await, none);
    queue.db.clock().advance(TimeDelta::minutes(61));
    assert_eq!(queue.four_workers(&[SWEEP]).await, ["platform.sweep"]);
    assert_eq!(queue.four_workers(&[SWEEP]).await, none);
    queue.db.clock().advance(TimeDelta::days(3));
    assert_eq!(queue.four_workers(&[SWEEP]).await, ["platform.sweep"], "72 were missed");
}

#[tokio::test]
async fn a_changed_schedule_waits_for_its_new_time() {
    let queue = Queue::new().await;
    queue.four_workers(&[SWEEP]).await;
    queue.db.clock().advance(TimeDelta::minutes(61));
    let yearly = Schedule { cron: "0 0 1 1 *", ..SWEEP };
    assert_eq!(queue.four_workers(&[yearly]).await, [""; 0]);
    queue.db.clock().advance(TimeDelta::days(366));
    assert_eq!(queue.four_workers(&[yearly]).await, ["platform.sweep"]);
}

#[tokio::test]
async fn a_schedule_of_organizations_reaches_every_active_one_once() {
    let queue = Queue::new().await;
    queue
        .as_owner(
            "INSERT INTO organizations (id, name, is_active)
             SELECT gen_random_uuid(), 'Fern', n > 7 FROM generate_series(1, 1107) n",
        )
        .await;
    queue.four_workers(&[DIGEST]).await;
    queue.db.clock().advance(TimeDelta::days(1));
    let worker = queue.worker().schedules(&[DIGEST]).unwrap();
    let (stop, stopped) = watch::channel(false);
    drop(stop);
    let done = Mutex::<Vec<_>>::default();
    let note = async |job: &Job| {
        assert_eq!(job.kind, "digest");
        done.lock().unwrap().push(job.org_id.unwrap());
        Ok(())
    };
    worker.run(&note, stopped).await;
    while queue.worker().work_off(&note).await.unwrap() > 0 {}
    let mut done = done.into_inner().unwrap();
    assert_eq!(done.len(), 1100, "three batches");
    done.sort();
    done.dedup();
    assert_eq!(done.len(), 1100, "each once");
}

#[tokio::test]
async fn an_organization_that_is_behind_gets_no_second_one() {
    let queue = Queue::new().await;
    let caller = queue.org().await;
    let never = queue.db.clock().now() + TimeDelta::days(300);
    queue.put(&caller, crm_jobs::NewJob::new("digest", &()).unwrap().key("digest").at(never)).await;
    queue.four_workers(&[DIGEST]).await;
    queue.db.clock().advance(TimeDelta::days(1));
    assert_eq!(queue.four_workers(&[DIGEST]).await, [""; 0]);
    assert_eq!(queue.row().await.state, "waiting");
}

#[tokio::test]
async fn an_expression_that_is_none_is_refused() {
    let queue = Queue::new().await;
    for cron in ["", "every day", "61 * * * *", "* * *"] {
        assert!(queue.worker().schedules(&[Schedule { cron, ..SWEEP }]).is_err(), "{cron}");
    }
}
