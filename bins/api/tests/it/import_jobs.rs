//! Imports as work that may be interrupted, repeated and given up.

use std::cell::Cell;
use std::time::Duration;

use chrono::TimeDelta;
use crm_core::{MemberId, OrgId};
use crm_identity::InTheNameOf;
use crm_jobs::{Failure, Job, Worker};
use crm_transfer::{END_STUCK, Progress};
use diesel::{Connection as _, ExpressionMethods as _, QueryDsl as _, RunQueryDsl as _};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::Person;
use crate::imports::{alone, at_import, begin, count, counts, now};

/// The work on one import, done by hand.
pub(crate) struct Work {
    ann: Person,
    module: String,
    who: InTheNameOf,
    import: Uuid,
}

impl Work {
    pub(crate) fn of(ann: &Person, import: &Value) -> Self {
        let who = InTheNameOf {
            org: OrgId(ann.org["id"].as_str().unwrap().parse().unwrap()),
            member: MemberId(ann.member_id().parse().unwrap()),
        };
        let import_id = import["id"].as_str().unwrap().parse().unwrap();
        Self {
            ann: ann.clone(),
            module: import["module"].as_str().unwrap().to_owned(),
            who,
            import: import_id,
        }
    }

    pub(crate) async fn run_for(&self, stretch: Duration) -> crm_core::Result<Progress> {
        self.run_and(stretch, &|_| ()).await
    }

    async fn run_and(&self, stretch: Duration, shown: &dyn Fn(i32)) -> crm_core::Result<Progress> {
        let module = crm_api::routes::TRANSFERABLE.iter().find(|module| module.name == self.module).unwrap();
        let (db, storage) = (&self.ann.app.db, &self.ann.app.state.storage);
        module.run_for(db, storage, &self.who, self.import, (shown, stretch)).await
    }
}

/// More rows than two batches have, one of them bad.
fn many() -> String {
    let mut text = String::from("title,email\nbad,no address\n");
    for n in 0..1_200 {
        text.push_str(&format!("lead {n},lead{n}@example.com\n"));
    }
    text
}

async fn begun() -> (Person, crm_testkit::Database, Value) {
    let (ann, database) = alone().await;
    let begun = begin(&ann, "/api/leads/import/?mode=skip_bad", &many()).await;
    (ann, database, begun)
}

#[actix_web::test]
async fn an_import_lets_others_have_their_turn_and_goes_on_where_it_was() {
    let (ann, _database, begun) = begun().await;
    let work = Work::of(&ann, &begun);
    for done in [500, 1_000] {
        assert_eq!(work.run_for(Duration::ZERO).await.unwrap(), Progress::More);
        let now = now(&ann, &begun).await;
        assert_eq!((&now["state"], &now["done_rows"]), (&json!("running"), &json!(done)));
        assert_eq!(counts(&now), [done - 1, 0, 0, 1]);
    }
    assert_eq!(work.run_for(Duration::ZERO).await.unwrap(), Progress::Finished);
    let done = now(&ann, &begun).await;
    assert_eq!(
        (&done["state"], counts(&done), &done["done_rows"]),
        (&json!("done"), [1_200, 0, 0, 1], &json!(1_201))
    );
    assert_eq!(work.run_for(Duration::ZERO).await.unwrap(), Progress::Finished, "once more, too late");
    assert_eq!(count(&ann, "leads").await, 1_200);
}

#[actix_web::test]
async fn a_worker_that_dies_in_the_middle_of_a_batch_leaves_nothing_half_done() {
    let (ann, _database, begun) = begun().await;
    let work = Work::of(&ann, &begun);
    let polled = Cell::new(0);
    let reached = Cell::new(0);
    let shown = |done: i32| reached.set(done);
    {
        let mut running = Box::pin(work.run_and(Duration::from_secs(60), &shown));
        // It is dropped some steps into its second batch.
        std::future::poll_fn(|cx| {
            assert!(running.as_mut().poll(cx).is_pending(), "not finished yet");
            polled.set(polled.get() + i32::from(reached.get() > 0));
            if polled.get() > 5 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
    assert_eq!(reached.get(), 500);
    let now_is = now(&ann, &begun).await;
    assert_eq!((&now_is["state"], counts(&now_is)), (&json!("running"), [499, 0, 0, 1]));
    assert_eq!(count(&ann, "leads").await, 499);
    ann.app.work().await;
    let done = now(&ann, &begun).await;
    assert_eq!((&done["state"], counts(&done)), (&json!("done"), [1_200, 0, 0, 1]));
    assert_eq!(count(&ann, "leads").await, 1_200);
}

#[actix_web::test]
async fn two_workers_at_one_import_do_it_once() {
    let (ann, _database, begun) = begun().await;
    let (one, other) = (Work::of(&ann, &begun), Work::of(&ann, &begun));
    let long = Duration::from_secs(60);
    let (one, other) = tokio::join!(one.run_for(long), other.run_for(long));
    let lost = [&one, &other].into_iter().filter(|done| done.is_err()).count();
    assert!(lost <= 1, "{one:?} {other:?}");
    let done = now(&ann, &begun).await;
    assert_eq!((&done["state"], counts(&done)), (&json!("done"), [1_200, 0, 0, 1]));
    assert_eq!(count(&ann, "leads").await, 1_200);
}

#[actix_web::test]
async fn an_import_ends_where_its_member_is_gone_and_can_be_taken_back() {
    let (ann, _database) = alone().await;
    let bob = ann.colleague("ADMIN").await;
    ann.app.work().await;
    let begun = begin(&bob, "/api/leads/import/?mode=skip_bad", &many()).await;
    assert_eq!(Work::of(&bob, &begun).run_for(Duration::ZERO).await.unwrap(), Progress::More);
    ann.delete(&format!("/api/user/{}/", bob.member_id())).await.expect(204);
    ann.app.work().await;
    let ended = now(&ann, &begun).await;
    assert_eq!((&ended["state"], counts(&ended)), (&json!("failed"), [499, 0, 0, 1]), "{ended}");
    assert!(ended["error"].as_str().unwrap().contains("no longer active"), "{ended}");
    assert_eq!(crate::imports::undo(&ann, &begun).await, (499, 0));
    assert_eq!(count(&ann, "leads").await, 0);
}

/// Does one job with the handlers of the application, whatever becomes of it.
async fn one_job(ann: &Person) -> Option<Failure> {
    let (handlers, failed) = (ann.app.handlers(), Cell::new(None));
    let handle = async |job: &Job| {
        let handled = handlers.handle(job).await;
        failed.set(handled.clone().err());
        handled
    };
    assert_eq!(Worker::new(ann.app.db.clone()).work_off(&handle).await.unwrap(), 1);
    failed.take()
}

#[actix_web::test]
async fn the_last_attempt_says_that_there_is_no_other_one() {
    let (ann, database) = alone().await;
    ann.app.work().await;
    let begun = begin(&ann, "/api/leads/import/", "title\nx\n").await;
    // The file is lost.
    let key = crm_storage::Key::new(
        ann.org["id"].as_str().unwrap().parse().unwrap(),
        begun["file_id"].as_str().unwrap().parse().unwrap(),
    );
    ann.app.state.storage.delete(&key).await.unwrap();
    assert!(matches!(one_job(&ann).await, Some(Failure::Retry(_))));
    assert_eq!(now(&ann, &begun).await["state"], "running", "it will be tried again");
    let url = database.owner_url.clone();
    let last = move || {
        use crm_schema::jobs;
        let mut owner = crm_core::migrate::OwnerConnection::establish(&url).unwrap();
        let due = (jobs::attempts.eq(crm_jobs::ATTEMPTS - 1), jobs::run_at.eq(chrono::DateTime::UNIX_EPOCH));
        diesel::update(jobs::table.filter(jobs::kind.eq(crm_transfer::IMPORT)))
            .set(due)
            .execute(&mut owner)
            .unwrap();
    };
    tokio::task::spawn_blocking(last).await.unwrap();
    assert!(one_job(&ann).await.is_some());
    let ended = now(&ann, &begun).await;
    assert_eq!(ended["state"], "failed", "{ended}");
    assert!(ended["error"].is_string() && ended["finished_at"].is_string(), "{ended}");
}

#[actix_web::test]
async fn an_import_that_nobody_works_on_any_more_is_ended() {
    let (ann, database) = alone().await;
    let queued = begin(&ann, "/api/leads/import/", "title\nx\n").await;
    let running = begin(&ann, "/api/leads/import/?mode=skip_bad", &many()).await;
    assert_eq!(Work::of(&ann, &running).run_for(Duration::ZERO).await.unwrap(), Progress::More);
    let undoing = begin(&ann, "/api/leads/import/", "title\ny\n").await;
    Work::of(&ann, &undoing).run_for(Duration::ZERO).await.unwrap();
    ann.post(&format!("{}undo/", at_import(&undoing)), &json!({})).await.expect(202);
    let done = begin(&ann, "/api/leads/import/", "title\nz\n").await;
    Work::of(&ann, &done).run_for(Duration::ZERO).await.unwrap();
    let system = ann.app.system(&ann);
    let end_stuck = async || {
        let ended = ann.app.db.tenant(&system, async |t| crm_transfer::end_stuck(t).await).await;
        ended.unwrap();
    };
    end_stuck().await;
    assert_eq!(now(&ann, &queued).await["state"], "queued", "its job may still come");
    database.db.clock().advance(TimeDelta::hours(6));
    let ann = ann.sign_in_again().await;
    end_stuck().await;
    for (import, state) in [(&queued, "failed"), (&running, "failed"), (&undoing, "done"), (&done, "done")] {
        let now = now(&ann, import).await;
        assert_eq!(now["state"], state, "{now}");
        assert_eq!(now["error"].is_string(), import["id"] != done["id"], "{now}");
    }
    // Whatever jobs of theirs are left find nothing to do, and they can be taken back.
    ann.app.work().await;
    assert_eq!(now(&ann, &queued).await["state"], "failed");
    assert_eq!(crate::imports::undo(&ann, &running).await, (499, 0));
    assert_eq!(crate::imports::undo(&ann, &undoing).await, (1, 0));
    assert_eq!(count(&ann, "leads").await, 1);
    ann.app.put_job(END_STUCK, &ann).await;
    ann.app.work().await;
}
