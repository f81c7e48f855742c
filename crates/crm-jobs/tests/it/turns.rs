//! Whose turn it is, and how many work at once.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crm_core::OrgId;
use crm_jobs::{Failure, Job};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::support::{Queue, connect, due};

#[tokio::test]
async fn organizations_take_turns_however_much_one_of_them_has() {
    let queue = Queue::new().await;
    let orgs = [queue.org().await, queue.org().await, queue.org().await];
    let [flooded, small, late] = &orgs;
    queue.flood(flooded.org.id, 5_000).await;
    for _ in 0..3 {
        queue.put(small, due("small")).await;
    }
    queue.put_platform(due("platform.small")).await;
    let order = Mutex::new(Vec::<Option<OrgId>>::new());
    let handle = async |job: &Job| {
        order.lock().unwrap().push(job.org_id);
        if order.lock().unwrap().len() == 20 {
            queue.put(late, due("late")).await;
        }
        Ok(())
    };
    let seen = |org: Option<OrgId>| order.lock().unwrap().iter().filter(|seen| **seen == org).count();
    queue.work_until(queue.worker().slots(1), &handle, async || order.lock().unwrap().len() >= 40).await;
    let order_now = order.lock().unwrap().clone();
    let first_nine = &order_now[..9];
    assert_eq!(first_nine.iter().filter(|org| **org == Some(small.org.id)).count(), 3, "{first_nine:?}");
    assert!(first_nine.contains(&None));
    let late_at = order_now.iter().position(|org| *org == Some(late.org.id)).unwrap();
    assert!((20..=22).contains(&late_at), "among the next claims, not behind thousands: {late_at}");
    assert!(seen(Some(flooded.org.id)) >= 30, "the flood goes on meanwhile");
}

#[tokio::test]
async fn an_organization_whose_jobs_take_long_leaves_half_of_the_slots_to_others() {
    let queue = Queue::new().await;
    let [slow, quick] = [queue.org().await, queue.org().await];
    for _ in 0..10 {
        queue.put(&slow, due("slow")).await;
    }
    let (release, released) = watch::channel(false);
    let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let handle = async |job: &Job| {
        if job.kind == "quick" {
            release.send_replace(true);
            return Ok(());
        }
        most.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        if running.load(Ordering::Relaxed) == 2 && !*released.borrow() {
            queue.put(&quick, due("quick")).await;
        }
        released.clone().wait_for(|released| *released).await.unwrap();
        running.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    };
    // Without a slot for the quick one the slow ones would never end.
    queue.work_until(queue.worker().slots(4), &handle, async || queue.rows().await.is_empty()).await;
    assert_eq!(most.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn all_slots_work_at_once_when_there_is_work_for_several_organizations() {
    let queue = Queue::new().await;
    for _ in 0..3 {
        let caller = queue.org().await;
        for _ in 0..4 {
            queue.put(&caller, due("meet")).await;
        }
    }
    let (here, arrived) = watch::channel(0);
    let meet = async |_: &Job| {
        here.send_modify(|here| *here += 1);
        arrived.clone().wait_for(|arrived| *arrived >= 6).await.unwrap();
        Ok(())
    };
    // None of the first six ends before all of them have begun.
    queue.work_until(queue.worker().slots(6), &meet, async || queue.rows().await.is_empty()).await;
}

#[tokio::test]
async fn two_workers_share_the_work_and_do_each_job_once() {
    let queue = Queue::new().await;
    let caller = queue.org().await;
    queue.flood(caller.org.id, 300).await;
    let done = Mutex::new(HashMap::new());
    let handle = async |job: &Job| {
        *done.lock().unwrap().entry(job.id).or_insert(0) += 1;
        Ok(())
    };
    let enough = async || done.lock().unwrap().len() == 300 && queue.rows().await.is_empty();
    let [one, other] = [queue.worker(), queue.worker()];
    tokio::join!(queue.work_until(one, &handle, &enough), queue.work_until(other, &handle, &enough));
    assert!(done.lock().unwrap().values().all(|times| *times == 1));
}

#[tokio::test]
async fn a_job_of_another_process_wakes_an_idle_worker() {
    let queue = Queue::new().await;
    let caller = queue.org().await;
    let other_process = connect(&queue.database.app_url);
    let done = AtomicUsize::new(0);
    let handle = async |_: &Job| {
        done.fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    let took = Mutex::new(Duration::ZERO);
    let put_some = async {
        for n in 0..12 {
            let put = Instant::now();
            other_process.tenant(&caller, async |t| due("remote").put(t).await).await.unwrap();
            while done.load(Ordering::Relaxed) <= n {
                sleep(Duration::from_millis(1)).await;
            }
            if n >= 2 {
                // The first ones may come before the worker listens.
                *took.lock().unwrap() += put.elapsed();
            }
        }
    };
    let enough = async || done.load(Ordering::Relaxed) == 12;
    tokio::join!(queue.work_until(queue.worker(), &handle, enough), put_some);
    let took = *took.lock().unwrap();
    assert!(took < Duration::from_secs(4), "ten jobs one after the other took {took:?}: nothing woke it");
}

#[tokio::test]
async fn a_worker_stops_when_told_after_the_jobs_under_way() {
    let queue = Queue::new().await;
    let caller = queue.org().await;
    queue.flood(caller.org.id, 50).await;
    let (stop, stopped) = watch::channel(false);
    let done = AtomicUsize::new(0);
    let handle = async |_: &Job| -> Result<(), Failure> {
        stop.send_replace(true);
        sleep(Duration::from_millis(20)).await;
        done.fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    queue.worker().run(&handle, stopped).await;
    let done = done.into_inner();
    assert!((1..=2).contains(&done), "{done}");
    assert_eq!(queue.rows().await.len(), 50 - done);
    assert!(
        queue.rows().await.iter().all(|row| row.state == "ready"),
        "what was not begun waits for the next"
    );
}

#[tokio::test]
async fn a_worker_whose_owner_is_gone_does_what_is_due_and_ends() {
    let queue = Queue::new().await;
    let caller = queue.org().await;
    queue.flood(caller.org.id, 20).await;
    let (stop, stopped) = watch::channel(false);
    drop(stop);
    queue.worker().run(&async |_: &Job| Ok(()), stopped).await;
    assert_eq!(queue.rows().await, []);
}
