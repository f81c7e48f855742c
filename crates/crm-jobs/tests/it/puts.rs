//! What is put in, and what is not.

use chrono::{TimeDelta, Utc};
use crm_core::{Code, Error};
use crm_jobs::{Job, backlog, enqueue};
use serde_json::json;
use tokio::sync::oneshot;

use crate::support::{Queue, due, number, numbered};

#[tokio::test]
async fn a_job_exists_exactly_when_its_cause_does_and_carries_the_organization() {
    let queue = Queue::new().await;
    let caller = queue.org().await;
    let undone = queue.db.tenant(&caller, async |t| {
        enqueue(t, "greet", &json!({"n": 1})).await?;
        Err::<(), _>(Error::NotFound)
    });
    undone.await.unwrap_err();
    assert_eq!(queue.rows().await, []);

    queue.db.tenant(&caller, async |t| enqueue(t, "greet", &json!({"n": 2})).await).await.unwrap();
    let row = queue.row().await;
    assert_eq!(
        (row.org_id, row.kind.as_str(), row.state.as_str()),
        (Some(caller.org.id.0), "greet", "ready")
    );
    assert_eq!(row.payload, json!({"n": 2}));

    let handle = async |job: &Job| {
        assert_eq!((job.id, job.org_id, job.attempts), (row.id, Some(caller.org.id), 1));
        job.inside(&queue.db, async |t| {
            assert_eq!((t.org(), t.caller().org.name.as_str(), t.actor()), (caller.org.id, "Fern", None));
            Ok::<_, Error>(())
        })
        .await
    };
    assert_eq!(queue.worker().work_off(&handle).await.unwrap(), 1);
    assert_eq!(queue.rows().await, []);
}

#[tokio::test]
async fn outside_every_organization_only_the_platforms_own_jobs_are_taken() {
    let queue = Queue::new().await;
    let caller = queue.org().await;
    let put = queue.db.platform(async |p| due("greet").put(p).await).await;
    assert_eq!(put.unwrap_err().code(), Code::Internal);
    assert_eq!(queue.rows().await, []);

    queue.put_platform(due("platform.greet")).await;
    queue.put(&caller, due("platform.greet")).await;
    let orgs: Vec<_> = queue.rows().await.into_iter().map(|row| row.org_id).collect();
    assert_eq!(orgs, [None, None], "wherever it was put in");
    let inside = async |job: &Job| job.inside(&queue.db, async |_| Ok::<_, Error>(())).await;
    while queue.worker().work_off(&inside).await.unwrap() > 0 {}
    for row in queue.rows().await {
        assert_eq!(row.last_error.as_deref(), Some("the job has no organization"));
    }

    for (org, kind) in [("NULL", "greet"), ("gen_random_uuid()", "platform.greet")] {
        let sql = format!(
            "INSERT INTO jobs (id, org_id, kind, payload, state, run_at) VALUES (gen_random_uuid(), {org}, '{kind}', '{{}}', 'ready', now())"
        );
        let refused = queue.owner.platform(async |p| {
            diesel_async::SimpleAsyncConnection::batch_execute(p.conn()?, &sql).await.map_err(Error::from)
        });
        let cause = format!("{:?}", refused.await.unwrap_err());
        assert!(cause.contains("jobs_org_id_check"), "{cause}");
    }
}

#[tokio::test]
async fn a_key_is_put_once_as_long_as_nobody_has_claimed_it() {
    let queue = Queue::new().await;
    let [ann, bob] = [queue.org().await, queue.org().await];
    let keyed = |n| numbered("index", n).key("all");
    for n in 1..=3 {
        queue.put(&ann, keyed(n)).await;
    }
    assert_eq!(queue.row().await.payload, json!({"n": 1}), "the first one stands for all");
    queue.put(&bob, keyed(4)).await;
    queue.put(&ann, numbered("index", 5).key("other")).await;
    queue.put(&ann, numbered("count", 6).key("all")).await;
    queue.put(&ann, numbered("index", 7)).await;
    assert_eq!(queue.rows().await.len(), 5, "another organization, key or kind, or none");

    let again = async |job: &Job| {
        if number(job) == 4 {
            queue.put(&bob, keyed(8)).await;
        }
        Ok(())
    };
    while queue.worker().work_off(&again).await.unwrap() > 0 {}
    assert_eq!(queue.rows().await, [], "what was put while the first one was under way was done as well");
}

#[tokio::test]
async fn transactions_that_put_one_key_do_not_wait_for_each_other() {
    let queue = Queue::new().await;
    let caller = queue.org().await;
    let keyed = |n| numbered("index", n).key("all");
    let (put, go_on) = (oneshot::channel(), oneshot::channel());
    let first = queue.db.tenant(&caller, async |t| {
        keyed(1).put(t).await?;
        put.0.send(()).unwrap();
        go_on.1.await.unwrap();
        Ok::<_, Error>(())
    });
    let second = async {
        put.1.await.unwrap();
        queue.put(&caller, keyed(2)).await;
        // Committed, while the first one is still open.
        assert_eq!(queue.row().await.payload, json!({"n": 2}));
        go_on.0.send(()).unwrap();
    };
    let (first, ()) = tokio::join!(first, second);
    first.unwrap();
    assert_eq!(queue.rows().await.len(), 2);
    assert_eq!(queue.work_off().await, ["index"], "the claim of one takes the other with it");
    assert_eq!(queue.rows().await, []);
}

#[tokio::test]
async fn a_job_that_stands_for_another_waits_for_the_others_transaction() {
    let queue = Queue::new().await;
    let caller = queue.org().await;
    queue.put(&caller, due("index").key("all")).await;
    let open = queue.db.tenant(&caller, async |t| {
        due("index").key("all").put(t).await?;
        // A worker that took it now would not see what this transaction does.
        assert_eq!(queue.work_off().await, [""; 0]);
        Ok::<_, Error>(())
    });
    open.await.unwrap();
    assert_eq!(queue.work_off().await, ["index"]);
}

#[tokio::test]
async fn lower_priorities_come_first_and_nothing_before_its_time() {
    let queue = Queue::new().await;
    let caller = queue.org().await;
    let soon = Utc::now() + TimeDelta::hours(1);
    queue.put(&caller, due("later").at(soon).priority(1)).await;
    queue.put(&caller, due("past").at(Utc::now() - TimeDelta::hours(1)).priority(150)).await;
    queue.put(&caller, due("plain")).await;
    queue.put(&caller, due("urgent").priority(-5)).await;
    queue.put(&caller, due("idle").priority(200)).await;
    queue.put(&caller, due("plain too")).await;
    assert_eq!(queue.work_off().await, ["urgent", "plain", "plain too", "past", "idle"]);
    assert_eq!(queue.row().await.state, "waiting");
    let counted = backlog(&queue.db).await.unwrap();
    assert_eq!((counted.pending, counted.dead, counted.oldest_due_seconds), (1, 0, 0.0));

    queue.pass_time().await;
    assert!(backlog(&queue.db).await.unwrap().oldest_due_seconds >= 60.0);
    assert_eq!(queue.work_off().await, ["later"]);
}
