//! What becomes of jobs when a process dies: this program runs itself as the worker that is killed.

use std::collections::{HashMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crm_core::{Caller, Db, migrate};
use crm_jobs::{Failure, Job, Worker};
use crm_pg::{Cluster, Options, Role};
use rand::Rng;
use tokio::sync::watch;
use tokio::time::sleep;
use uuid::Uuid;

use crate::support::{Queue, affect, connect, due, new_org, number, numbered};

const URL: &str = "CRM_JOBS_TEST_URL";
const FILE: &str = "CRM_JOBS_TEST_FILE";
const ATTEMPTS: &str = "CRM_JOBS_TEST_ATTEMPTS";

/// Short, so that a killed worker's jobs are soon taken over.
const LEASE: Duration = Duration::from_millis(800);

/// No test: the worker that the other tests start and kill.
#[tokio::test]
#[ignore = "started by other tests"]
async fn worker_process() {
    let (Ok(url), Ok(file), Ok(attempts)) =
        (std::env::var(URL), std::env::var(FILE), std::env::var(ATTEMPTS))
    else {
        return;
    };
    let db = connect(&url);
    let (_stop, stopped) = watch::channel(false);
    let handle = async |job: &Job| do_one(&db, Path::new(&file), job).await;
    worker(&db, attempts.parse().unwrap()).run(&handle, stopped).await;
}

fn worker(db: &Db, attempts: i32) -> Worker {
    Worker::new(db.clone()).lease(LEASE).attempts(attempts, Duration::from_millis(50))
}

async fn do_one(db: &Db, file: &Path, job: &Job) -> Result<(), Failure> {
    match job.kind.as_str() {
        "inside" => affect(db, job).await,
        "outside" => {
            let mut file = OpenOptions::new().append(true).open(file).unwrap();
            // One write, so that no line is cut off half-way.
            file.write_all(format!("{} {}\n", job.id, number(job)).as_bytes()).unwrap();
            Ok(())
        }
        "abort" => std::process::abort(),
        other => Err(Failure::Final(other.into())),
    }
}

fn start(queue: &Queue, file: &Path, attempts: i32) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "crashes::worker_process"])
        .env(URL, &queue.database.app_url)
        .env(FILE, file)
        .env(ATTEMPTS, attempts.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn workers_killed_at_any_moment_lose_no_job_and_do_none_twice() {
    const ROUNDS: i64 = 50;
    const EACH: i64 = 20;
    let queue = Queue::new().await;
    let orgs = [queue.org().await, queue.org().await, queue.org().await];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("outside");
    fs::write(&file, "").unwrap();

    let mut children = vec![start(&queue, &file, 10_000), start(&queue, &file, 10_000)];
    for round in 0..ROUNDS {
        put_some(&queue.db, &orgs, round * EACH..(round + 1) * EACH).await;
        sleep(Duration::from_millis(rand::rng().random_range(5..150))).await;
        // SIGKILL: it runs nothing any more.
        let mut killed = children.remove(0);
        killed.kill().unwrap();
        killed.wait().unwrap();
        children.push(start(&queue, &file, 10_000));
    }
    for child in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let handle = async |job: &Job| do_one(&queue.db, &file, job).await;
    queue.work_until(worker(&queue.db, 10_000), &handle, async || queue.rows().await.is_empty()).await;

    let all: HashSet<i64> = (0..ROUNDS * EACH).collect();
    let inside = queue.effects().await;
    assert_eq!(inside.len(), all.len(), "none twice");
    assert_eq!(inside.iter().map(|(_, n)| *n).collect::<HashSet<_>>(), all, "none lost");
    let text = fs::read_to_string(&file).unwrap();
    let mut outside = HashMap::<i64, Uuid>::new();
    for line in text.lines() {
        let (id, n) = line.split_once(' ').unwrap();
        let (id, n) = (id.parse().unwrap(), n.parse().unwrap());
        assert_eq!(*outside.entry(n).or_insert(id), id, "a repetition can be told by its id");
    }
    assert_eq!(outside.into_keys().collect::<HashSet<_>>(), all, "none lost");
    println!("{} effects outside for {} jobs", text.lines().count(), all.len());
}

/// Puts in two jobs for each number: one with an effect inside the database, one with an effect outside.
async fn put_some(db: &Db, orgs: &[Caller], numbers: std::ops::Range<i64>) {
    for n in numbers {
        let org = &orgs[n as usize % orgs.len()];
        let put = db.tenant(org, async |t| {
            numbered("inside", n).put(t).await?;
            numbered("outside", n).put(t).await
        });
        put.await.unwrap();
    }
}

#[tokio::test]
async fn a_job_that_takes_its_worker_down_dies_alone() {
    let queue = Queue::new().await;
    let orgs = [queue.org().await];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("outside");
    fs::write(&file, "").unwrap();
    queue.put(&orgs[0], due("abort")).await;
    put_some(&queue.db, &orgs, 0..30).await;

    let mut crashes = 0;
    let mut child = start(&queue, &file, 3);
    loop {
        if child.try_wait().unwrap().is_some() {
            crashes += 1;
            child = start(&queue, &file, 3);
        }
        if queue.rows().await.iter().all(|row| row.state == "dead") {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let row = queue.row().await;
    assert_eq!(
        (row.kind.as_str(), row.attempts, row.last_error.as_deref()),
        ("abort", 3, Some("the worker was lost"))
    );
    assert_eq!(crashes, 3);
    assert_eq!(queue.effects().await.len(), 30, "the others went on");
}

#[tokio::test]
async fn jobs_survive_a_restart_of_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { dir: folder.path().join("pg"), durable: true, owner_may_create_databases: false };
    let start = || {
        let options = options.clone();
        tokio::task::spawn_blocking(move || Cluster::start(&options).unwrap())
    };
    let cluster = start().await.unwrap();
    let [app, owner] = [Role::App, Role::Owner].map(|role| cluster.url(role, "crm"));
    tokio::task::spawn_blocking(move || migrate::run_at(&owner).unwrap()).await.unwrap();
    let db = connect(&app);
    let org = new_org(&db).await;
    put_n(&db, &org, 60).await;

    let done = std::sync::Mutex::<Vec<i64>>::default();
    let handle = async |job: &Job| {
        let n = number(job);
        job.inside(&db, async |_| {
            sleep(Duration::from_millis(2)).await;
            Ok::<_, crm_core::Error>(())
        })
        .await?;
        done.lock().unwrap().push(n);
        Ok(())
    };
    let (stop, stopped) = watch::channel(false);
    let worker = worker(&db, 100);
    let restart = async {
        while done.lock().unwrap().len() < 10 {
            sleep(Duration::from_millis(1)).await;
        }
        tokio::task::spawn_blocking(move || drop(cluster)).await.unwrap();
        let cluster = start().await.unwrap();
        put_n(&db, &org, 5).await;
        while crm_jobs::backlog(&db).await.unwrap().pending > 0 {
            sleep(Duration::from_millis(10)).await;
        }
        stop.send_replace(true);
        cluster
    };
    let both = async { tokio::join!(worker.run(&handle, stopped), restart) };
    let ((), cluster) = tokio::time::timeout(Duration::from_secs(30), both).await.expect("all is done");
    let done = done.into_inner().unwrap();
    assert!(
        (63..=65).contains(&done.len()),
        "told of all but those whose commit's answer was cut off: {}",
        done.len()
    );
    assert_eq!(crm_jobs::backlog(&db).await.unwrap().dead, 0);
    tokio::task::spawn_blocking(move || drop(cluster)).await.unwrap();
}

async fn put_n(db: &Db, org: &Caller, count: i64) {
    for n in 0..count {
        db.tenant(org, async |t| numbered("inside", n).put(t).await).await.unwrap();
    }
}
