//! What a member reads of it, and who does not.

use chrono::TimeDelta;
use crm_access::BuiltinRole::Admin;
use crm_core::{Code, Error, Result, TenantTx};
use crm_leads::LEADS;
use crm_records::followers::{self, Among};
use crm_schema::notifications;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::json;
use uuid::Uuid;

use super::support::{World, member_of, org};
use crate::delivery::{Event, deliver};
use crate::feed::{self, ReadAll};
use crate::{PURGE, Verb, preferences};

/// Tells everybody who follows the lead something new.
async fn tell(t: &mut TenantTx, lead: Uuid) -> Result<()> {
    let readers = followers::readers(t, &LEADS, lead, Among::Followers).await?;
    let event = Event {
        verb: Verb::Assigned,
        id: Uuid::now_v7(),
        by: None,
        kind: "lead",
        record: lead,
        comment: None,
        title: &"é".repeat(300),
        link: "/leads/x",
        data: json!({}),
    };
    let mail = |_: &_| panic!("mail is off");
    deliver(t, &event, &readers, mail).await
}

const QUIET: &str = r#"{"verbs": {"assigned": {"mail": false}}}"#;

#[tokio::test]
async fn one_reads_and_deletes_only_ones_own() {
    let w = World::new().await;
    let (ann, bob) = (w.member(Admin).await, w.member(Admin).await);
    let other_org = org(&w.db, chrono_tz::UTC).await;
    let eve = member_of(&w.db, &other_org, Admin).await;
    w.lead(&ann, &[&bob]).await;
    w.lead(&ann, &[&bob]).await;
    w.work().await;
    let told = w.feed(&bob).await;
    assert_eq!(told.len(), 2);
    assert!(told[0].id > told[1].id, "newest first");
    for stranger in [&ann, &eve] {
        assert_eq!((w.feed(stranger).await.len(), w.unread(stranger).await), (0, 0));
        let read = w.db.tenant(stranger, async |t| feed::read(t, told[0].id).await).await;
        assert!(matches!(read, Err(Error::NotFound)), "{read:?}");
        let deleted = w.db.tenant(stranger, async |t| feed::delete(t, told[0].id).await).await;
        assert!(matches!(deleted, Err(Error::NotFound)), "{deleted:?}");
        w.db.tenant(stranger, async |t| feed::read_all(t, ReadAll::default()).await).await.unwrap();
        let news = w.db.tenant(stranger, async |t| feed::since(t, Uuid::nil()).await).await.unwrap();
        assert_eq!((news.notifications, news.unread.count), (vec![], 0));
    }
    assert_eq!(w.unread(&bob).await, 2);

    w.db.tenant(&bob, async |t| feed::read(t, told[1].id).await).await.unwrap();
    let read_at = w.feed(&bob).await[1].read_at;
    assert!(read_at.is_some());
    w.db.clock().advance(TimeDelta::hours(1));
    w.db.tenant(&bob, async |t| feed::read(t, told[1].id).await).await.unwrap();
    w.db.tenant(&bob, async |t| feed::read_all(t, ReadAll::default()).await).await.unwrap();
    let read = w.feed(&bob).await;
    assert_eq!(read[1].read_at, read_at, "the first time counts");
    assert!(read[0].read_at > read_at);
    assert_eq!(w.list(&bob, &[("read_at__isnull", "true")]).await, []);
    w.db.tenant(&bob, async |t| feed::delete(t, told[0].id).await).await.unwrap();
    let again = w.db.tenant(&bob, async |t| feed::delete(t, told[0].id).await).await;
    assert!(matches!(again, Err(Error::NotFound)), "{again:?}");
    assert_eq!(w.feed(&bob).await.len(), 1);
    let system = w.db.tenant(&w.system, feed::unread).await;
    assert!(matches!(system, Err(Error::NotFound)), "the program itself is told nothing");
}

#[tokio::test]
async fn a_list_filters_and_orders_like_every_other() {
    let w = World::new().await;
    let (ann, bob) = (w.member(Admin).await, w.member(Admin).await);
    let lead = w.lead(&ann, &[&bob]).await;
    w.work().await;
    w.db.clock().advance(TimeDelta::minutes(1));
    w.comment(&ann, lead, "Done.").await;
    w.work().await;
    let told = w.feed(&bob).await;
    let id = lead.to_string();
    let first = told[1].created_at.to_rfc3339();
    for (params, want) in [
        (vec![("verb", "commented")], vec![told[0].id]),
        (vec![("verb__in", "assigned,commented"), ("kind", "lead")], vec![told[0].id, told[1].id]),
        (vec![("kind", "contact")], vec![]),
        (vec![("record_id", id.as_str()), ("ordering", "created_at")], vec![told[1].id, told[0].id]),
        (vec![("created_at__gt", first.as_str())], vec![told[0].id]),
        (vec![("read_at__isnull", "false")], vec![]),
    ] {
        let found: Vec<_> = w.list(&bob, &params).await.iter().map(|n| n.id).collect();
        assert_eq!(found, want, "{params:?}");
    }
}

#[tokio::test]
async fn what_comes_while_all_are_marked_as_read_stays_unread() {
    let w = World::new().await;
    let ann = w.member(Admin).await;
    w.prefer(&ann, serde_json::from_str(QUIET).unwrap()).await;
    let lead = w.lead(&ann, &[]).await;
    w.db.tenant(&w.system, async |t| tell(t, lead).await).await.unwrap();
    // Begun before and committed after.
    let mut coming = w.db.open(&w.system).await.unwrap();
    tell(&mut coming, lead).await.unwrap();
    w.db.tenant(&ann, async |t| feed::read_all(t, ReadAll::default()).await).await.unwrap();
    coming.commit().await.unwrap();
    let told = w.feed(&ann).await;
    assert_eq!(told.iter().map(|n| n.read_at.is_some()).collect::<Vec<_>>(), [false, true]);
    assert_eq!(told[0].title.chars().count(), 255);

    w.db.clock().advance(TimeDelta::minutes(1));
    w.db.tenant(&w.system, async |t| tell(t, lead).await).await.unwrap();
    let before = Some(told[0].created_at);
    w.db.tenant(&ann, async |t| feed::read_all(t, ReadAll { before }).await).await.unwrap();
    let told = w.feed(&ann).await;
    assert_eq!(told.iter().map(|n| n.read_at.is_some()).collect::<Vec<_>>(), [false, true, true]);
}

#[tokio::test]
async fn ids_grow_in_the_order_in_which_they_can_be_seen() {
    let w = World::new().await;
    let ann = w.member(Admin).await;
    w.prefer(&ann, serde_json::from_str(QUIET).unwrap()).await;
    let lead = w.lead(&ann, &[]).await;
    let mut first = w.db.open(&w.system).await.unwrap();
    tell(&mut first, lead).await.unwrap();
    let second = w.db.tenant(&w.system, async |t| tell(t, lead).await);
    let meanwhile = async {
        // Long enough for the second to get there if nothing held it up.
        let early = tokio::time::timeout(std::time::Duration::from_millis(300), async {
            while w.feed(&ann).await.is_empty() {
                tokio::task::yield_now().await;
            }
        });
        assert!(early.await.is_err(), "the second waits for the first");
        first.commit().await.unwrap();
    };
    tokio::join!(second, meanwhile).0.unwrap();
    let told = w.feed(&ann).await;
    assert_eq!(told.len(), 2);
    let news = w.db.tenant(&ann, async |t| feed::since(t, told[1].id).await).await.unwrap();
    assert_eq!(news.notifications, [told[0].clone()]);

    // A machine whose clock is ahead made the newest one.
    let ahead = Uuid::from_u128(Uuid::now_v7().as_u128() + (1 << 90));
    w.db.tenant(&w.system, async |t| -> Result<()> {
        let newest = notifications::table
            .filter(notifications::org_id.eq(t.org()).and(notifications::id.eq(told[0].id)));
        diesel::update(newest).set(notifications::id.eq(ahead)).execute(t.conn()?).await?;
        Ok(())
    })
    .await
    .unwrap();
    w.db.tenant(&w.system, async |t| tell(t, lead).await).await.unwrap();
    assert!(w.feed(&ann).await[0].id > ahead);
}

#[tokio::test]
async fn what_was_read_long_ago_is_deleted_and_what_is_unread_is_kept() {
    let w = World::new().await;
    let ann = w.member(Admin).await;
    w.prefer(&ann, serde_json::from_str(QUIET).unwrap()).await;
    let lead = w.lead(&ann, &[]).await;
    for _ in 0..3 {
        w.db.tenant(&w.system, async |t| tell(t, lead).await).await.unwrap();
    }
    let told = w.feed(&ann).await;
    w.db.tenant(&ann, async |t| feed::read(t, told[0].id).await).await.unwrap();
    w.db.clock().advance(TimeDelta::days(80));
    w.db.tenant(&ann, async |t| feed::read(t, told[1].id).await).await.unwrap();
    w.run(PURGE).await;
    assert_eq!(w.feed(&ann).await.len(), 3);
    w.db.clock().advance(TimeDelta::days(11));
    w.run(PURGE).await;
    let left: Vec<_> = w.feed(&ann).await.iter().map(|n| n.id).collect();
    assert_eq!(left, [told[1].id, told[2].id], "read 11 days ago, and unread for 91");
}

#[tokio::test]
async fn preferences_are_as_by_default_until_they_are_changed() {
    let w = World::new().await;
    let (ann, bob) = (w.member(Admin).await, w.member(Admin).await);
    let everywhere = json!({"in_app": true, "mail": true});
    let in_app = json!({"in_app": true, "mail": false});
    let mut want = json!({"verbs": {"assigned": everywhere, "mentioned": everywhere, "commented": in_app},
        "digest": "off", "digest_hour": 8});
    let shown = async |who| json!(w.db.tenant(who, preferences::find).await.unwrap());
    assert_eq!(shown(&ann).await, want);
    w.prefer(&ann, json!({"verbs": {"commented": {"mail": true}}, "digest": "weekly"})).await;
    w.prefer(&ann, json!({"digest_hour": 23, "verbs": {"assigned": {"in_app": false}}})).await;
    want["verbs"]["commented"] = everywhere.clone();
    want["verbs"]["assigned"]["in_app"] = json!(false);
    want["digest"] = json!("weekly");
    want["digest_hour"] = json!(23);
    assert_eq!(shown(&ann).await, want);
    w.prefer(&ann, json!({"verbs": {"assigned": null}})).await;
    want["verbs"]["assigned"] = everywhere;
    assert_eq!(shown(&ann).await, want, "null is the default");
    assert_eq!(shown(&bob).await["digest"], "off", "everybody has their own");
    for (patch, code, field) in [
        (json!({"verbs": {"comented": {"mail": true}}}), Code::MalformedRequest, "verbs.comented"),
        (json!({"verbs": {"commented": {"sms": true}}}), Code::MalformedRequest, "verbs.commented.sms"),
        (json!({"verbs": {"commented": {"mail": "yes"}}}), Code::MalformedRequest, "verbs.commented.mail"),
        (json!({"digest": "hourly"}), Code::ValidationFailed, "digest"),
        (json!({"digest": null}), Code::MalformedRequest, "digest"),
        (json!({"digest_hour": 24}), Code::ValidationFailed, "digest_hour"),
        (json!({"digest_hour": "8"}), Code::MalformedRequest, "digest_hour"),
        (json!({"digested_at": null}), Code::MalformedRequest, "digested_at"),
    ] {
        let body = patch.as_object().unwrap().clone();
        let refused = w.db.tenant(&ann, async |t| preferences::update(t, body).await).await;
        let Err(Error::Fields(found, fields)) = refused else { panic!("{patch}: {refused:?}") };
        assert_eq!((found, fields[0].field.as_str()), (code, field), "{patch}");
    }
    assert_eq!(shown(&ann).await, want, "what is refused changes nothing");
}
