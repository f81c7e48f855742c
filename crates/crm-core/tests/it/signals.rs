//! What one process tells the others after a commit.

use std::time::Duration;

use crm_core::{Caller, Clock, Db, DbSettings, Error, Signal};
use crm_testkit::fresh_database;
use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;

use crate::new_org;

async fn tell(db: &Db, caller: &Caller, payloads: &[&str], commit: bool) {
    let told: Result<(), Error> = db
        .tenant(caller, async |t| {
            for payload in payloads {
                t.signal("tests", (*payload).to_owned());
            }
            if commit { Ok(()) } else { Err(Error::NotFound) }
        })
        .await;
    assert_eq!(told.is_ok(), commit);
}

async fn next(heard: &mut Receiver<Signal>) -> String {
    let signal = timeout(Duration::from_secs(20), heard.recv()).await.unwrap().unwrap();
    assert_eq!(signal.channel, "tests");
    signal.payload
}

#[tokio::test]
async fn another_process_hears_what_was_committed_and_nothing_else() {
    let database = fresh_database().await;
    let settings = DbSettings { url: database.app_url.clone(), pool_size: 2, wait: Duration::from_secs(10) };
    let [here, there] = [(); 2].map(|()| Db::connect(&settings, Clock::default()).unwrap());
    let caller = new_org(&here).await;
    let (mut local, mut remote) = (here.signals(), there.signals());
    // Whoever has only just begun to listen may miss the first ones.
    for heard in [&mut local, &mut remote] {
        loop {
            tell(&here, &caller, &["ready"], true).await;
            if timeout(Duration::from_millis(200), heard.recv()).await.is_ok() {
                break;
            }
        }
    }
    tell(&here, &caller, &["undone"], false).await;
    tell(&here, &caller, &["one", "two", "one"], true).await;
    tell(&here, &caller, &["end"], true).await;
    for heard in [&mut local, &mut remote] {
        let mut payloads = Vec::new();
        while payloads.last().is_none_or(|last| last != "end") {
            payloads.push(next(heard).await);
        }
        payloads.retain(|payload| payload != "ready");
        payloads.sort_unstable();
        assert_eq!(payloads, ["end", "one", "two"], "each once, and nothing that was undone");
    }
}
