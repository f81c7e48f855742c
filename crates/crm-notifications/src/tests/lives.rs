//! Waking those who wait.

use std::time::Duration;

use crm_access::BuiltinRole::Admin;
use crm_core::{Code, MemberId, OrgId};
use tokio::time::timeout;

use super::support::World;
use crate::Live;
use crate::feed::{self, ReadAll};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn whoever_waits_is_woken_by_what_concerns_them() {
    let w = World::new().await;
    let (ann, bob) = (w.member(Admin).await, w.member(Admin).await);
    let live = Live::new(&w.db);
    let org = w.system.org.id;
    let mut bobs = live.wait_for(org, bob.member.unwrap()).unwrap();
    let mut anns = live.wait_for(org, ann.member.unwrap()).unwrap();
    // Until the subscription stands, a signal may get lost.
    let told = async {
        while !bobs.woken(Duration::from_millis(100)).await {
            w.lead(&ann, &[&bob]).await;
            w.work().await;
        }
    };
    timeout(LONG, told).await.unwrap();
    while bobs.woken(Duration::from_millis(300)).await {}
    assert!(!anns.woken(Duration::from_millis(1)).await, "not by what concerns somebody else");
    w.db.tenant(&bob, async |t| feed::read_all(t, ReadAll::default()).await).await.unwrap();
    assert!(bobs.woken(LONG).await, "their other windows count anew");
    w.db.tenant(&bob, async |t| feed::read_all(t, ReadAll::default()).await).await.unwrap();
    assert!(!bobs.woken(Duration::from_millis(300)).await, "nothing has changed");
}

#[tokio::test]
async fn so_many_wait_and_no_more() {
    let db = crm_testkit::shared_db().await;
    let live = Live::new(&db);
    let (org, ann) = (OrgId::generate(), MemberId::generate());
    let mut waiting: Vec<_> = (0..5).map(|_| live.wait_for(org, ann).unwrap()).collect();
    assert_eq!(live.wait_for(org, ann).unwrap_err().code(), Code::TooManyRequests);
    live.wait_for(org, MemberId::generate()).unwrap();
    live.wait_for(OrgId::generate(), ann).unwrap();
    waiting.pop();
    waiting.push(live.wait_for(org, ann).unwrap());
    waiting.extend((5..2000).map(|_| live.wait_for(org, MemberId::generate()).unwrap()));
    assert_eq!(live.wait_for(org, MemberId::generate()).unwrap_err().code(), Code::Unavailable);
    waiting.clear();
    live.wait_for(org, ann).unwrap();
}

#[tokio::test]
async fn at_the_end_everybody_goes() {
    let db = crm_testkit::shared_db().await;
    let live = Live::new(&db);
    let (org, ann) = (OrgId::generate(), MemberId::generate());
    let mut waiting = live.wait_for(org, ann).unwrap();
    assert!(waiting.wait(Duration::from_millis(1)).await);
    let closing = live.clone();
    let ended = tokio::join!(waiting.wait(LONG), async move { closing.close() }).0;
    assert!(!ended);
    assert!(!waiting.wait(LONG).await, "and stays closed");
    assert_eq!(live.wait_for(org, ann).unwrap_err().code(), Code::Unavailable);
}
