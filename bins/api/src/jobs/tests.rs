use std::fs;
use std::path::Path;

use chrono::{DateTime, Utc};
use crm_core::OrgId;
use crm_core::migrate::OwnerConnection;
use crm_identity::{IdentitySettings, TokenSettings};
use crm_mail::{Template, Transport};
use crm_schema::outbox;
use crm_testkit::{Database, fresh_database};
use diesel::prelude::*;
use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;

/// A database, the handlers, and the folder they write into.
struct Bench {
    database: Database,
    jobs: Jobs,
    dir: TempDir,
}

/// A job as it stands in the outbox.
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = outbox)]
struct Row {
    attempts: i32,
    run_at: DateTime<Utc>,
    leased_until: Option<DateTime<Utc>>,
    last_error: Option<String>,
    dead_at: Option<DateTime<Utc>>,
}

impl Bench {
    async fn new() -> Self {
        let (database, dir) = (fresh_database().await, tempfile::tempdir().unwrap());
        let db = database.db.clone();
        let identity_settings = IdentitySettings {
            tokens: TokenSettings::new("0123456789abcdef0123456789abcdef", "test"),
            frontend_url: "http://localhost".into(),
            platform_admin_domains: Vec::new(),
        };
        let jobs = Jobs {
            identity: Identity::new(db.clone(), identity_settings).unwrap(),
            mailer: Mailer::new(&Transport::Files { dir: dir.path().join("mail") }, "crm@example.com")
                .unwrap(),
            storage: Storage::local(&dir.path().join("files")).unwrap(),
            db,
        };
        Self { database, jobs, dir }
    }

    async fn enqueue(&self, kind: &'static str, payload: serde_json::Value) {
        let put = self.database.db.platform(async |p| crm_jobs::enqueue(p, kind, &payload).await);
        put.await.unwrap();
    }

    async fn enqueue_mail(&self) {
        let data = json!({"name": "Ann", "at": "2026-01-01"});
        let message = Message::new("ann@example.com", Template::PasswordChanged, data);
        self.enqueue(SEND_MAIL, serde_json::to_value(message).unwrap()).await;
    }

    fn worker(&self) -> Worker {
        Worker::new(self.database.db.clone())
    }

    /// Does what is due, with the handlers under test.
    async fn work_off(&self) -> usize {
        self.worker().work_off(&async |job: &Job| self.jobs.handle(job).await).await.unwrap()
    }

    async fn as_owner<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut OwnerConnection) -> QueryResult<T> + Send + 'static,
    ) -> T {
        let url = self.database.owner_url.clone();
        let done = tokio::task::spawn_blocking(move || work(&mut OwnerConnection::establish(&url).unwrap()));
        done.await.unwrap().unwrap()
    }

    async fn rows(&self) -> Vec<Row> {
        self.as_owner(|conn| outbox::table.select(Row::as_select()).load(conn)).await
    }

    /// The one job there is.
    async fn row(&self) -> Row {
        let mut rows = self.rows().await;
        assert_eq!(rows.len(), 1);
        rows.remove(0)
    }

    /// Lets a job be due again that waits for its next attempt or is leased.
    async fn pass_time(&self) {
        self.as_owner(|conn| {
            let past = Utc::now() - chrono::TimeDelta::minutes(1);
            let leased = outbox::leased_until.is_not_null();
            diesel::update(outbox::table.filter(leased)).set(outbox::leased_until.eq(past)).execute(conn)?;
            diesel::update(outbox::table).set(outbox::run_at.eq(past)).execute(conn)
        })
        .await;
    }

    fn mails(&self) -> Vec<String> {
        let files = fs::read_dir(self.dir.path().join("mail")).unwrap();
        files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect()
    }

    /// Puts a file where the mail directory was, so that no mail can be written.
    fn block_mail(&self) {
        fs::remove_dir(self.dir.path().join("mail")).unwrap();
        fs::write(self.dir.path().join("mail"), "").unwrap();
    }
}

#[tokio::test]
async fn work_does_what_is_due_and_stops_when_told() {
    let bench = Bench::new().await;
    for _ in 0..3 {
        bench.enqueue_mail().await;
    }
    let (stop, stopped) = watch::channel(false);
    let until_sent = async {
        while !bench.rows().await.is_empty() {}
        stop.send_replace(true);
    };
    tokio::join!(bench.jobs.work(stopped), until_sent);
    assert_eq!(bench.mails().len(), 3);
    assert!(bench.mails().iter().all(|mail| mail.contains("To: ann@example.com")));
}

#[tokio::test]
async fn work_stops_when_nobody_could_tell_it_to() {
    let bench = Bench::new().await;
    bench.enqueue_mail().await;
    let (stop, stopped) = watch::channel(false);
    drop(stop);
    bench.jobs.work(stopped).await;
    assert_eq!(bench.mails().len(), 1, "what was due is done first");
}

#[tokio::test]
async fn a_failed_job_is_tried_again_later() {
    let bench = Bench::new().await;
    bench.block_mail();
    bench.enqueue_mail().await;
    assert_eq!(bench.work_off().await, 1);
    let row = bench.row().await;
    assert_eq!((row.attempts, row.dead_at, row.leased_until), (1, None, None));
    assert!(row.run_at > Utc::now(), "it has to wait");
    assert_eq!(row.last_error.as_deref(), Some("the mail cannot be sent now"));
    assert_eq!(bench.work_off().await, 0);

    fs::remove_file(bench.dir.path().join("mail")).unwrap();
    bench.pass_time().await;
    assert_eq!(bench.work_off().await, 1);
    assert_eq!((bench.rows().await.len(), bench.mails().len()), (0, 1));
}

#[tokio::test]
async fn a_job_that_always_fails_is_left_for_the_operator() {
    let bench = Bench::new().await;
    bench.block_mail();
    bench.enqueue_mail().await;
    let mut waits = Vec::new();
    while bench.work_off().await == 1 {
        waits.push((bench.row().await.run_at - Utc::now()).num_seconds());
        bench.pass_time().await;
    }
    let row = bench.row().await;
    assert_eq!((row.attempts, waits.len()), (12, 12));
    assert!(row.dead_at.is_some());
    assert!(waits[0] <= 10 && waits[8] > 600, "the waits grow: {waits:?}");
}

#[tokio::test]
async fn what_can_never_succeed_is_not_tried_again() {
    for (kind, payload, error) in [
        ("no_such_kind", json!({}), "there is no handler for jobs of this kind"),
        (SEND_MAIL, json!({"to": "ann@example.com"}), "payload: missing field `id`"),
        (DELETE_FILES, json!({"ids": []}), "the job has no organization"),
    ] {
        let bench = Bench::new().await;
        bench.enqueue(kind, payload).await;
        assert_eq!(bench.work_off().await, 1);
        let row = bench.row().await;
        assert_eq!((row.attempts, row.last_error.as_deref()), (1, Some(error)), "{kind}");
        assert!(row.dead_at.is_some(), "{kind}");
    }
}

#[tokio::test]
async fn a_mail_that_cannot_be_composed_is_not_tried_again() {
    let bench = Bench::new().await;
    let message = Message::new("ann@example.com", Template::PasswordChanged, json!({}));
    bench.enqueue(SEND_MAIL, serde_json::to_value(message).unwrap()).await;
    bench.work_off().await;
    assert!(bench.row().await.dead_at.is_some());
    assert_eq!(bench.mails(), Vec::<String>::new());
}

#[tokio::test]
async fn files_go_with_their_rows_and_only_in_their_organization() {
    let bench = Bench::new().await;
    let [org, other] = [OrgId::generate(), OrgId::generate()];
    let id = Uuid::now_v7();
    let storage = &bench.jobs.storage;
    for org in [org, other] {
        let bytes = futures_util::stream::iter([Ok::<_, String>(bytes::Bytes::from("text"))]);
        storage.put(org.0, id, "a.txt", 100, bytes).await.unwrap();
    }
    let ids = json!({"ids": [id, Uuid::now_v7()]});
    bench.enqueue(DELETE_FILES, ids).await;
    bench
        .as_owner(move |conn| diesel::update(outbox::table).set(outbox::org_id.eq(org.0)).execute(conn))
        .await;
    assert_eq!(bench.work_off().await, 1);
    assert_eq!(bench.rows().await.len(), 0, "one that is gone already is fine");
    let left = |org: OrgId| bench.dir.path().join("files").join(Key::new(org.0, id).to_string());
    let exists = |org| Path::new(&left(org)).exists();
    assert_eq!((exists(org), exists(other)), (false, true));
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_finishes_nothing() {
    let bench = Bench::new().await;
    bench.enqueue_mail().await;
    let slow = async |_: &Job| {
        bench.pass_time().await;
        let failing = async |_: &Job| Err(Failure::Retry("taken over".into()));
        assert_eq!(bench.worker().work_off(&failing).await.unwrap(), 1);
        Ok(())
    };
    assert_eq!(bench.worker().work_off(&slow).await.unwrap(), 1);
    let row = bench.row().await;
    assert_eq!(
        (row.attempts, row.last_error.as_deref()),
        (2, Some("taken over")),
        "the late success counts for nothing"
    );
    assert_eq!(row.dead_at, None);
}
