//! Figures, on a server that keeps what it has committed. By hand:
//! `cargo test -p crm-jobs --release -- --ignored --exact bench::figures --nocapture`.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crm_core::{Db, migrate};
use crm_jobs::{Job, Worker};
use crm_pg::{Cluster, Options, Role};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::support::{affect, connect, effects_table, flood, new_org, number, numbered};

#[tokio::test]
#[ignore = "measures"]
async fn figures() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { dir: folder.path().join("pg"), durable: true, owner_may_create_databases: false };
    let cluster = tokio::task::spawn_blocking(move || Cluster::start(&options).unwrap()).await.unwrap();
    let [app, owner_url] = [Role::App, Role::Owner].map(|role| cluster.url(role, "crm"));
    let url = owner_url.clone();
    tokio::task::spawn_blocking(move || migrate::run_at(&url).unwrap()).await.unwrap();
    let (db, owner) = (connect(&app), connect(&owner_url));
    effects_table(&owner).await;
    let [big, small] = [new_org(&db).await, new_org(&db).await];

    // From the commit that put a job in to its start, by a worker with nothing else to do, and by one that has 100,000 of another.
    for backlog in [0, 100_000] {
        flood(&owner, big.org.id, backlog).await;
        let started = Mutex::new(HashMap::new());
        let count = AtomicUsize::new(0);
        let handle = async |job: &Job| {
            if job.org_id == Some(small.org.id) {
                started.lock().unwrap().insert(number(job), Instant::now());
            }
            count.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        let (stop, stopped) = watch::channel(false);
        let measure = async {
            sleep(Duration::from_secs(2)).await;
            let (before, from) = (count.load(Ordering::Relaxed), Instant::now());
            let mut delays = Vec::new();
            for n in 0..200 {
                db.tenant(&small, async |t| numbered("small", n).put(t).await).await.unwrap();
                let put = Instant::now();
                sleep(Duration::from_millis(30)).await;
                while !started.lock().unwrap().contains_key(&n) {
                    sleep(Duration::from_millis(1)).await;
                }
                delays.push(started.lock().unwrap()[&n].saturating_duration_since(put));
            }
            let done = count.load(Ordering::Relaxed) - before;
            delays.sort();
            println!(
                "behind {backlog}: start after p50 {:?}, p99 {:?}, max {:?}; {:.0} jobs/s meanwhile",
                delays[100],
                delays[198],
                delays[199],
                done as f64 / from.elapsed().as_secs_f64()
            );
            stop.send_replace(true);
        };
        let worker = Worker::new(db.clone());
        tokio::join!(worker.run(&handle, stopped), measure);
    }
    for (what, inside) in [("effects outside", false), ("effects inside", true)] {
        for slots in [1, 4, 8] {
            let rate = drain(&db, &owner, [&big, &small].map(|org| org.org.id), slots, inside).await;
            println!("{what}, {slots} slots: {rate:.0} jobs/s");
        }
    }
    tokio::task::spawn_blocking(move || drop(cluster)).await.unwrap();
}

/// How many jobs a second one worker does of two organizations that have enough.
async fn drain(db: &Db, owner: &Db, orgs: [crm_core::OrgId; 2], slots: usize, inside: bool) -> f64 {
    for org in orgs {
        flood(owner, org, 20_000).await;
    }
    let count = AtomicUsize::new(0);
    let handle = async |job: &Job| {
        count.fetch_add(1, Ordering::Relaxed);
        if inside { affect(db, job).await } else { Ok(()) }
    };
    let (stop, stopped) = watch::channel(false);
    let measure = async {
        sleep(Duration::from_secs(1)).await;
        let (before, from) = (count.load(Ordering::Relaxed), Instant::now());
        sleep(Duration::from_secs(5)).await;
        let rate = (count.load(Ordering::Relaxed) - before) as f64 / from.elapsed().as_secs_f64();
        stop.send_replace(true);
        rate
    };
    let worker = Worker::new(db.clone()).slots(slots);
    tokio::join!(worker.run(&handle, stopped), measure).1
}
