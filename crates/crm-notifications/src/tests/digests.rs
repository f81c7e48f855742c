//! What stayed unread, summed up.

use chrono::{DateTime, TimeDelta, Utc};
use crm_access::BuiltinRole::{Admin, User};
use crm_mail::Template;
use serde_json::json;

use super::support::World;
use crate::feed::ReadAll;
use crate::{DIGEST, feed};

impl World {
    /// Moves the clock forward to an instant.
    fn at(&self, instant: &str) {
        let instant: DateTime<Utc> = instant.parse().unwrap();
        let by = instant - self.db.clock().now();
        assert!(by >= TimeDelta::zero(), "{instant} is over");
        self.db.clock().advance(by + TimeDelta::seconds(1));
    }

    async fn digests(&self) -> Vec<serde_json::Value> {
        let digests = self.mails().await.into_iter().filter(|mail| mail.template == Template::Digest);
        digests.map(|mail| mail.data).collect()
    }
}

const QUIET: &str = r#"{"verbs": {"assigned": {"mail": false}}, "digest": "daily", "digest_hour": 2}"#;

#[tokio::test]
async fn a_digest_goes_once_a_day_with_what_is_unread_and_new() {
    let w = World::new().await;
    let (ann, bob) = (w.member(Admin).await, w.member(User).await);
    let told_before = w.lead(&ann, &[&bob]).await;
    w.work().await;
    // Berlin, where two o'clock is skipped on 2028-03-26 and comes twice on 2028-10-29.
    w.at("2028-03-25T12:00:00Z");
    w.prefer(&bob, serde_json::from_str(QUIET).unwrap()).await;
    w.run(DIGEST).await;
    assert_eq!(w.digests().await, [] as [serde_json::Value; 0], "the first hour has not come");
    let lead = w.lead(&ann, &[&bob]).await;
    w.work().await;
    w.at("2028-03-26T00:59:00Z");
    w.run(DIGEST).await;
    assert_eq!(w.digests().await.len(), 0);
    w.at("2028-03-26T01:00:00Z");
    w.run(DIGEST).await;
    w.run(DIGEST).await;
    w.at("2028-03-26T03:00:00Z");
    w.run(DIGEST).await;
    let sent = w.digests().await;
    let by = format!("ADMIN {}", ann.member.unwrap());
    assert_eq!(
        sent,
        [
            json!({"org_name": "Chairs", "name": format!("USER {}", bob.member.unwrap()), "count": 1, "items": [{
                "text": format!("{by} assigned you a lead: Forty chairs"),
                "link": format!("https://crm.example.com/leads/{lead}"),
                "at": "2028-03-25 13:00",
            }]})
        ],
        "once, and without {told_before}, which was told before the digest was wanted"
    );

    w.at("2028-03-27T00:00:00Z");
    w.run(DIGEST).await;
    assert_eq!(w.digests().await.len(), 1, "nothing is new, though something is unread");
    w.lead(&ann, &[&bob]).await;
    w.work().await;
    w.db.tenant(&bob, async |t| feed::read_all(t, ReadAll::default()).await).await.unwrap();
    w.at("2028-03-28T00:00:00Z");
    w.run(DIGEST).await;
    assert_eq!(w.digests().await.len(), 1, "what was read is not summed up");

    w.at("2028-10-28T22:00:00Z");
    w.run(DIGEST).await;
    w.lead(&ann, &[&bob]).await;
    w.work().await;
    for (at, sent) in [("2028-10-29T00:00:00Z", 2), ("2028-10-29T01:00:00Z", 2), ("2028-10-29T12:00:00Z", 2)]
    {
        w.at(at);
        w.lead(&ann, &[&bob]).await;
        w.run(DIGEST).await;
        assert_eq!(w.digests().await.len(), sent, "{at}: the second two o'clock is not another day");
    }
    w.at("2028-11-05T12:00:00Z");
    w.run(DIGEST).await;
    assert_eq!(w.digests().await.len(), 3, "what was missed for a week goes in one");
    assert_eq!(w.digests().await[2]["count"], 2);
}

#[tokio::test]
async fn a_long_digest_counts_the_rest() {
    let w = World::new().await;
    let (ann, bob) = (w.member(Admin).await, w.member(User).await);
    w.prefer(&bob, serde_json::from_str(QUIET).unwrap()).await;
    for _ in 0..52 {
        w.lead(&ann, &[&bob]).await;
    }
    w.work().await;
    w.db.clock().advance(TimeDelta::days(1));
    w.run(DIGEST).await;
    let sent = w.digests().await;
    assert_eq!((&sent[0]["count"], sent[0]["items"].as_array().unwrap().len()), (&json!(52), 50));
    w.lead(&ann, &[&bob]).await;
    w.work().await;
    w.db.clock().advance(TimeDelta::days(1));
    w.run(DIGEST).await;
    assert_eq!(w.digests().await[1]["count"], 1, "those that were counted were told of");
}

#[tokio::test]
async fn of_two_jobs_at_once_one_sends() {
    let w = World::new().await;
    let (ann, bob, eve) = (w.member(Admin).await, w.member(User).await, w.member(User).await);
    for member in [&bob, &eve] {
        w.prefer(member, serde_json::from_str(QUIET).unwrap()).await;
    }
    w.lead(&ann, &[&bob, &eve]).await;
    w.work().await;
    w.set_state(&eve, "inactive").await;
    w.db.clock().advance(TimeDelta::days(1));
    let send = async || w.db.tenant(&w.system, async |t| crate::digest::send(t, "").await).await;
    let (one, other) = tokio::join!(send(), send());
    one.and(other).unwrap();
    let sent = w.mails().await;
    assert_eq!(sent.iter().map(|mail| mail.template).collect::<Vec<_>>(), [Template::Digest]);
    assert_eq!(sent[0].to, super::support::address(&bob), "and nothing to whoever is not active");
    w.prefer(&bob, json!({"digest": "off"})).await;
    w.lead(&ann, &[&bob]).await;
    w.work().await;
    w.db.clock().advance(TimeDelta::days(8));
    w.run(DIGEST).await;
    assert_eq!(w.digests().await.len(), 1, "who wants none gets none");
}
