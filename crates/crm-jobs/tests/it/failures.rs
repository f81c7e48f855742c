//! What becomes of a job that is not done.

use std::sync::Mutex;
use std::time::Duration;

use chrono::Utc;
use crm_core::Error;
use crm_jobs::{Failure, Job};
use diesel_async::SimpleAsyncConnection;

use crate::support::{Queue, affect, due};

#[tokio::test]
async fn a_failed_job_waits_longer_every_time_and_is_dead_in_the_end() {
    let queue = Queue::new().await;
    let caller = queue.org().await;
    queue.put(&caller, due("fail")).await;
    let fail = async |_: &Job| Err(Failure::Retry("the server is away".into()));
    let mut waits = Vec::new();
    while queue.worker().work_off(&fail).await.unwrap() == 1 {
        let row = queue.row().await;
        assert_eq!(row.last_error.as_deref(), Some("the server is away"));
        waits.push((row.run_at - Utc::now()).as_seconds_f64());
        queue.pass_time().await;
    }
    assert_eq!(waits.len(), 12);
    for (attempt, wait) in waits[..11].iter().enumerate() {
        let longest = (10.0 * 2_f64.powi(attempt as i32)).min(3600.0);
        assert!((longest / 2.0 - 5.0..=longest).contains(wait), "{attempt}: {wait}");
    }
    let row = queue.row().await;
    assert_eq!((row.state.as_str(), row.attempts), ("dead", 12));
    let backlog = crm_jobs::backlog(&queue.db).await.unwrap();
    assert_eq!((backlog.pending, backlog.dead), (0, 1));
}

#[tokio::test]
async fn what_never_gets_better_is_dead_at_once_and_holds_nobody_up() {
    let queue = Queue::new().await;
    let caller = queue.org().await;
    for kind in ["final", "panic", "slow", "fine", "fine"] {
        queue.put(&caller, due(kind)).await;
    }
    let handle = async |job: &Job| match job.kind.as_str() {
        "final" => Err(Failure::Final("no".into())),
        "panic" => panic!("a fault of the handler"),
        "slow" => std::future::pending().await,
        _ => affect(&queue.db, job).await,
    };
    let worker = queue.worker().lease(Duration::from_millis(400)).attempts(3, Duration::from_millis(1));
    let ended = async || queue.rows().await.iter().all(|row| row.state == "dead");
    queue.work_until(worker, &handle, ended).await;
    let mut left: Vec<_> =
        queue.rows().await.into_iter().map(|row| (row.kind, row.attempts, row.last_error.unwrap())).collect();
    left.sort();
    let expected =
        [("final", 1, "no"), ("panic", 3, "the handler panicked"), ("slow", 3, "the handler took too long")];
    assert_eq!(left, expected.map(|(kind, attempts, error)| (kind.to_owned(), attempts, error.to_owned())));
    assert_eq!(queue.effects().await.len(), 2);
}

#[tokio::test]
async fn a_handler_that_fails_inside_leaves_nothing() {
    let queue = Queue::new().await;
    let caller = queue.org().await;
    queue.put(&caller, due("half")).await;
    let handle = async |job: &Job| {
        job.inside(&queue.db, async |t| {
            t.conn()?.batch_execute("INSERT INTO effects (job, n) VALUES (gen_random_uuid(), 1)").await?;
            Err::<(), _>(Error::internal("half-way"))
        })
        .await
    };
    queue.worker().work_off(&handle).await.unwrap();
    let row = queue.row().await;
    assert_eq!(
        (row.state.as_str(), row.last_error.as_deref()),
        ("waiting", Some("internal error: half-way"))
    );
    assert_eq!(queue.effects().await, []);
}

#[tokio::test]
async fn who_has_lost_a_job_changes_nothing_any_more() {
    let queue = Queue::new().await;
    let caller = queue.org().await;
    for late in ["inside", "done", "failed"] {
        queue.put(&caller, due("slow")).await;
        let id = queue.row().await.id;
        let outcome = Mutex::new(None);
        let handle = async |job: &Job| {
            // Meanwhile the lease ends and another worker has the job.
            queue.pass_time().await;
            queue.worker().work_off(&async |_: &Job| panic!("it is not due")).await.unwrap();
            queue.pass_time().await;
            let taken_over = async |job: &Job| {
                assert_eq!((job.id, job.attempts), (id, 2));
                Err(Failure::Retry("taken over".into()))
            };
            assert_eq!(queue.worker().work_off(&taken_over).await.unwrap(), 1);
            let done = match late {
                "inside" => affect(&queue.db, job).await,
                "done" => Ok(()),
                _ => Err(Failure::Final("too late".into())),
            };
            *outcome.lock().unwrap() = Some(done.clone());
            done
        };
        queue.worker().work_off(&handle).await.unwrap();
        let row = queue.row().await;
        assert_eq!(
            (row.state.as_str(), row.attempts, row.last_error.as_deref()),
            ("waiting", 2, Some("taken over")),
            "{late}"
        );
        assert_eq!(queue.effects().await, [], "{late}");
        if late == "inside" {
            let lost = Failure::Retry("internal error: another worker has taken the job over".into());
            assert_eq!(outcome.into_inner().unwrap(), Some(Err(lost)));
        }
        queue.as_owner("DELETE FROM jobs").await;
    }
}

#[tokio::test]
async fn nobody_takes_over_a_job_whose_effects_are_under_way() {
    let queue = Queue::new().await;
    let caller = queue.org().await;
    queue.put(&caller, due("slow")).await;
    let handle = async |job: &Job| {
        job.inside(&queue.db, async |t| {
            t.conn()?.batch_execute("INSERT INTO effects (job, n) VALUES (gen_random_uuid(), 1)").await?;
            // The lease ends, but the row is locked until this transaction has.
            let other = queue.worker().lease(Duration::ZERO);
            assert_eq!(other.work_off(&async |_: &Job| panic!("it is taken")).await?, 0);
            Ok::<_, Error>(())
        })
        .await
    };
    let worker = queue.worker().lease(Duration::from_secs(100));
    worker.work_off(&handle).await.unwrap();
    assert_eq!((queue.rows().await.len(), queue.effects().await.len()), (0, 1));
}
