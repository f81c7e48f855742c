use std::fs;

use chrono::TimeDelta;
use crm_core::migrate::OwnerConnection;
use crm_core::{Caller, OrgId, OrgInfo, Tx};
use crm_identity::{IdentitySettings, TokenSettings};
use crm_mail::{Message, Template, Transport};
use crm_schema::jobs;
use crm_storage::Key;
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

/// A job as it stands in the table.
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = jobs)]
struct Row {
    kind: String,
    state: String,
    attempts: i32,
    last_error: Option<String>,
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
        let mail = Transport::Files { dir: dir.path().join("mail") };
        let handlers = Handlers {
            identity: Identity::new(db.clone(), identity_settings).unwrap(),
            storage: Storage::local(&dir.path().join("files")).unwrap(),
            webhooks: Webhooks::new(
                db.clone(),
                crm_webhooks::WebhookSettings::new("0123456789abcdef0123456789abcdef", false).unwrap(),
                crate::routes::TARGETS,
            )
            .unwrap(),
            notifier: Notifier::new(TARGETS, "http://localhost"),
            frontend_url: "http://localhost".into(),
            db: db.clone(),
        };
        let jobs = Jobs {
            handlers,
            mailer: Mailer::new(&mail, "crm@example.com").unwrap(),
            worker: Worker::new(db).schedules(&ALL_SCHEDULES.concat()).unwrap(),
        };
        Self { database, jobs, dir }
    }

    async fn enqueue_mail(&self) {
        let data = json!({"name": "Ann", "at": "2026-01-01"});
        let message = Message::new("ann@example.com", Template::PasswordChanged, data);
        let put = self.database.db.platform(async |p| crm_mail::enqueue(p, &message).await);
        put.await.unwrap();
    }

    /// Does one job that is due, with the handlers under test.
    async fn work_off(&self) -> usize {
        self.jobs.worker.work_off(&async |job: &Job| self.jobs.dispatch(job).await).await.unwrap()
    }

    async fn rows(&self) -> Vec<Row> {
        let url = self.database.owner_url.clone();
        let read = move || {
            let mut owner = OwnerConnection::establish(&url).unwrap();
            jobs::table.order_by(jobs::id).select(Row::as_select()).load(&mut owner).unwrap()
        };
        tokio::task::spawn_blocking(read).await.unwrap()
    }

    fn mails(&self) -> Vec<String> {
        let files = fs::read_dir(self.dir.path().join("mail")).unwrap();
        files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect()
    }
}

/// The program itself in an organization that has no row of its own.
fn somewhere() -> Caller {
    let id = OrgId::generate();
    Caller::system(OrgInfo { id, name: "Fern".into(), currency: "EUR".into(), timezone: Default::default() })
}

async fn put(tx: &mut impl Tx, kind: &'static str) -> crm_core::Result<()> {
    crm_jobs::enqueue(tx, kind, &json!({})).await
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
async fn what_is_done_regularly_has_a_handler() {
    let bench = Bench::new().await;
    let caller = somewhere();
    for schedule in ALL_SCHEDULES.concat() {
        match schedule.per_org {
            true => bench.database.db.tenant(&caller, async |t| put(t, schedule.kind).await).await.unwrap(),
            false => bench.database.db.platform(async |p| put(p, schedule.kind).await).await.unwrap(),
        }
        assert_eq!(bench.work_off().await, 1);
        let unknown = |row: &Row| row.last_error.as_ref().is_some_and(|error| error.contains("no handler"));
        assert!(!bench.rows().await.iter().any(unknown), "{}", schedule.kind);
    }
}

#[tokio::test]
async fn the_hourly_sweep_comes_with_its_hour() {
    let bench = Bench::new().await;
    let (stop, stopped) = watch::channel(false);
    drop(stop);
    bench.jobs.work(stopped.clone()).await;
    assert_eq!(bench.rows().await.len(), 0);
    bench.database.db.clock().advance(TimeDelta::hours(1));
    let only_look = Worker::new(bench.database.db.clone()).schedules(SCHEDULES).unwrap();
    only_look.run(&async |_: &Job| Err(Failure::Final("seen".into())), stopped).await;
    let kinds: Vec<_> = bench.rows().await.into_iter().map(|row| row.kind).collect();
    assert_eq!(kinds, [SWEEP]);
}

#[tokio::test]
async fn what_nobody_knows_waits_for_a_program_that_does() {
    let bench = Bench::new().await;
    bench.database.db.platform(async |p| put(p, "platform.of_tomorrow").await).await.unwrap();
    assert_eq!(bench.work_off().await, 1);
    let rows = bench.rows().await;
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((row.state.as_str(), row.attempts), ("waiting", 1));
    assert_eq!(row.last_error.as_deref(), Some("there is no handler for jobs of this kind"));
}

#[tokio::test]
async fn files_go_with_their_rows_and_only_in_their_organization() {
    let bench = Bench::new().await;
    let [caller, other] = [somewhere(), somewhere()];
    let id = Uuid::now_v7();
    for org in [&caller, &other] {
        let bytes = futures_util::stream::iter([Ok::<_, String>(bytes::Bytes::from("text"))]);
        bench.jobs.handlers.storage.put(org.org.id.0, id, "a.txt", 100, bytes).await.unwrap();
    }
    let files = json!({"ids": [id, Uuid::now_v7()]});
    let put = bench.database.db.tenant(&caller, async |t| crm_jobs::enqueue(t, DELETE_FILES, &files).await);
    put.await.unwrap();
    assert_eq!(bench.work_off().await, 1);
    assert_eq!(bench.rows().await.len(), 0, "one that is gone already is fine");
    let exists = |caller: &Caller| {
        bench.dir.path().join("files").join(Key::new(caller.org.id.0, id).to_string()).exists()
    };
    assert_eq!((exists(&caller), exists(&other)), (false, true));
}
