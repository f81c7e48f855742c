//! Who is told what, and who is not.

use crm_access::BuiltinRole::{Admin, Courier, User};
use crm_core::{Caller, Result};
use crm_leads::LEADS;
use crm_mail::Template;
use crm_records::comments::{COMMENTED, Commented};
use crm_records::{Precondition, followers};
use crm_schema::organizations;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;
use serde_json::json;

use super::support::{World, address};
use crate::Verb;
use crate::delivery::lock;

impl World {
    async fn told(&self, who: &Caller) -> Vec<Verb> {
        self.feed(who).await.iter().map(|notification| notification.verb).collect()
    }

    async fn mailed(&self, who: &Caller) -> Vec<Template> {
        self.mails_to(who).await.iter().map(|mail| mail.template).collect()
    }
}

#[tokio::test]
async fn whoever_gets_a_record_is_told_but_not_whoever_gave_it() {
    let w = World::new().await;
    let (ann, bob) = (w.member(Admin).await, w.member(User).await);
    let lead = w.lead(&ann, &[&ann, &bob]).await;
    w.work().await;
    assert_eq!((w.told(&ann).await, w.mailed(&ann).await), (vec![], vec![]));
    let told = w.feed(&bob).await;
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].verb, told[0].title.as_str()), (Verb::Assigned, "Forty chairs"));
    assert_eq!((told[0].kind.as_deref(), told[0].record_id), (Some("lead"), Some(lead)));
    assert_eq!((told[0].created_by, told[0].read_at), (ann.member, None));
    assert_eq!(told[0].link, format!("/leads/{lead}"));
    let mails = w.mails_to(&bob).await;
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].template, Template::Assigned);
    assert_eq!(
        mails[0].data,
        json!({"org_name": "Chairs", "assigned_by": format!("ADMIN {}", ann.member.unwrap()), "kind": "lead",
            "title": "Forty chairs", "link": format!("https://crm.example.com/leads/{lead}")})
    );
}

#[tokio::test]
async fn a_mention_tells_whoever_may_read_the_record_and_a_comment_tells_its_followers() {
    let w = World::new().await;
    let (ann, bob, eve) = (w.member(Admin).await, w.member(User).await, w.member(User).await);
    let carl = w.member(Courier).await;
    let lead = w.lead(&ann, &[&bob]).await;
    w.work().await;
    let text = format!("@{} @{} @{} @{} look", address(&ann), address(&bob), address(&eve), address(&carl));
    let long = format!("{text} {}", "é".repeat(300));
    let comment = w.comment(&bob, lead, &long).await;
    w.work().await;
    assert_eq!(w.told(&bob).await, [Verb::Assigned], "nobody is told of their own words, mentioned or not");
    assert_eq!(w.told(&ann).await, [Verb::Mentioned], "and of a comment that mentions them once");
    assert_eq!(w.told(&eve).await, [], "not hers to read");
    assert_eq!(w.told(&carl).await, [], "nor his");
    assert_eq!((w.mailed(&eve).await, w.mailed(&carl).await), (vec![], vec![]));
    let told = w.feed(&ann).await.remove(0);
    let excerpt: String = long.chars().take(200).collect();
    assert_eq!(told.data, json!({"comment_id": comment.base.id, "excerpt": excerpt}));
    let mail = w.mails_to(&ann).await.remove(0);
    assert_eq!((mail.template, &mail.data["excerpt"]), (Template::Mentioned, &json!(excerpt)));

    w.comment(&ann, lead, "Done.").await;
    w.work().await;
    assert_eq!(w.told(&bob).await, [Verb::Commented, Verb::Assigned]);
    assert_eq!(w.mailed(&bob).await, [Template::Assigned], "a comment comes without a mail by default");
    assert_eq!(w.told(&ann).await, [Verb::Mentioned]);
    assert_eq!(w.told(&eve).await, [], "a mention makes a follower and no reader");
}

#[tokio::test]
async fn an_edited_comment_tells_those_whom_it_mentions_now_and_did_not_before() {
    let w = World::new().await;
    let (ann, bob, eve) = (w.member(Admin).await, w.member(Admin).await, w.member(Admin).await);
    let lead = w.lead(&ann, &[]).await;
    let comment = w.comment(&ann, lead, &format!("ask @{}", address(&bob))).await;
    let id = comment.base.id;
    w.work().await;
    let edits = [format!("ask @{} and @{}", address(&bob), address(&eve)), "ask nobody".into()];
    for text in edits.into_iter().chain([format!("ask @{}", address(&eve))]) {
        w.edit_comment(&ann, id, &text).await;
        w.work().await;
    }
    assert_eq!(w.told(&bob).await, [Verb::Mentioned]);
    assert_eq!(w.told(&eve).await, [Verb::Mentioned], "once");
    assert_eq!(w.mailed(&eve).await, [Template::Mentioned]);
    assert_eq!(w.told(&ann).await, []);

    let comment = w.comment(&ann, lead, &format!("ask @{}", address(&bob))).await;
    w.edit_comment(&ann, comment.base.id, &format!("ask @{}", address(&eve))).await;
    w.work().await;
    assert_eq!(w.told(&bob).await, [Verb::Mentioned], "the second mention was taken back in time");
    assert_eq!(w.told(&eve).await, [Verb::Mentioned, Verb::Mentioned]);
}

#[tokio::test]
async fn a_job_that_is_there_twice_tells_once() {
    let w = World::new().await;
    let (ann, bob) = (w.member(Admin).await, w.member(Admin).await);
    let lead = w.lead(&ann, &[]).await;
    let comment = w.comment(&ann, lead, &format!("@{}", address(&bob))).await;
    let again = Commented {
        kind: "lead".into(),
        comment_id: comment.base.id,
        mentioned: vec![bob.member.unwrap()],
        is_new: true,
        by: ann.member,
    };
    w.db.tenant(&ann, async |t| crm_jobs::enqueue(t, COMMENTED, &again).await).await.unwrap();
    w.work().await;
    assert_eq!(w.told(&bob).await, [Verb::Mentioned]);
    assert_eq!(w.mailed(&bob).await, [Template::Mentioned]);
}

#[tokio::test]
async fn whoever_lost_the_record_meanwhile_is_told_nothing() {
    let w = World::new().await;
    let (ann, bob, eve) = (w.member(Admin).await, w.member(User).await, w.member(User).await);
    let lead = w.lead(&ann, &[&bob, &eve]).await;
    w.assign(&ann, lead, &[&eve]).await;
    w.work().await;
    assert_eq!((w.told(&bob).await, w.mailed(&bob).await), (vec![], vec![]));
    assert_eq!(w.told(&eve).await, [Verb::Assigned]);

    // Who follows and has lost the record hears nothing either.
    w.db.tenant(&eve, async |t| followers::follow(t, &LEADS, lead, true).await).await.unwrap();
    w.assign(&ann, lead, &[]).await;
    w.comment(&ann, lead, &format!("without @{}", address(&eve))).await;
    w.work().await;
    assert_eq!(w.told(&eve).await, [Verb::Assigned]);
}

#[tokio::test]
async fn whoever_is_not_active_is_told_nothing() {
    let w = World::new().await;
    let ann = w.member(Admin).await;
    let lead = w.lead(&ann, &[]).await;
    for state in ["inactive", "removed"] {
        let bob = w.member(Admin).await;
        w.assign(&ann, lead, &[&bob]).await;
        w.comment(&ann, lead, &format!("@{}", address(&bob))).await;
        w.set_state(&bob, state).await;
        w.work().await;
        assert_eq!((w.told(&bob).await, w.mailed(&bob).await), (vec![], vec![]), "{state}");
    }
    let bob = w.member(Admin).await;
    w.assign(&ann, lead, &[&bob]).await;
    w.db.platform(async |p| -> Result<()> {
        let this = organizations::table.find(w.system.org.id);
        diesel::update(this).set(organizations::is_active.eq(false)).execute(p.conn()?).await?;
        Ok(())
    })
    .await
    .unwrap();
    w.work().await;
    assert_eq!((w.told(&bob).await, w.mailed(&bob).await), (vec![], vec![]), "a suspended organization");
}

#[tokio::test]
async fn what_is_gone_is_not_told_and_what_was_told_of_it_goes_with_it() {
    let w = World::new().await;
    let (ann, bob) = (w.member(Admin).await, w.member(Admin).await);
    let lead = w.lead(&ann, &[]).await;
    let early = w.comment(&ann, lead, &format!("@{}", address(&bob))).await;
    w.delete_comment(&ann, early.base.id).await;
    w.work().await;
    assert_eq!(w.told(&bob).await, []);

    let late = w.comment(&ann, lead, &format!("@{}", address(&bob))).await;
    w.assign(&ann, lead, &[&bob]).await;
    w.work().await;
    assert_eq!(w.unread(&bob).await, 2);
    w.delete_comment(&ann, late.base.id).await;
    assert_eq!(w.told(&bob).await, [Verb::Assigned]);

    w.comment(&ann, lead, &format!("@{}", address(&bob))).await;
    w.assign(&ann, lead, &[]).await;
    w.assign(&ann, lead, &[&bob]).await;
    let any = Precondition::default();
    w.db.tenant(&ann, async |t| crm_leads::delete(t, lead, &any).await).await.unwrap();
    w.work().await;
    assert_eq!(w.told(&bob).await, []);
    assert_eq!(w.unread(&bob).await, 0);
}

#[tokio::test]
async fn preferences_say_what_is_told_where() {
    let w = World::new().await;
    let ann = w.member(Admin).await;
    let lead = w.lead(&ann, &[]).await;
    for (in_app, mail) in [(true, true), (true, false), (false, true), (false, false)] {
        let bob = w.member(Admin).await;
        let both = json!({"in_app": in_app, "mail": mail});
        w.prefer(&bob, json!({"verbs": {"assigned": both, "mentioned": both, "commented": both}})).await;
        w.assign(&ann, lead, &[&bob]).await;
        w.comment(&ann, lead, &format!("@{}", address(&bob))).await;
        w.comment(&ann, lead, "something else").await;
        w.work().await;
        let told = if in_app { vec![Verb::Commented, Verb::Mentioned, Verb::Assigned] } else { vec![] };
        assert_eq!(w.told(&bob).await, told, "in the application: {in_app}, by mail: {mail}");
        let mailed = [Template::Assigned, Template::Mentioned, Template::Commented];
        let mailed = if mail { mailed.to_vec() } else { vec![] };
        assert_eq!(w.mailed(&bob).await, mailed, "in the application: {in_app}, by mail: {mail}");
    }
}

#[tokio::test]
async fn whoever_is_mentioned_and_whoever_follows_are_locked_in_one_order() {
    let w = World::new().await;
    let (ann, bob, eve) = (w.member(Admin).await, w.member(User).await, w.member(User).await);
    let (first, last) = if bob.member < eve.member { (&bob, &eve) } else { (&eve, &bob) };
    let lead = w.lead(&ann, &[first, last]).await;
    w.work().await;
    // The one who is told first is the one to be locked last.
    w.comment(&ann, lead, &format!("@{} look", address(last))).await;
    let mut other = w.db.open(&w.system).await.unwrap();
    lock(&mut other, &[first.member.unwrap()]).await.unwrap();
    let meanwhile = async {
        let waiting = "(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')";
        let waiting = diesel::select(sql::<BigInt>(waiting));
        let is_waited_for = async || {
            let count =
                w.db.platform(async |p| -> Result<i64> { Ok(waiting.clone().get_result(p.conn()?).await?) });
            count.await.unwrap() > 0
        };
        while !is_waited_for().await {}
        lock(&mut other, &[last.member.unwrap()]).await.unwrap();
        other.commit().await.unwrap();
    };
    tokio::join!(w.work(), meanwhile);
    assert_eq!(w.told(first).await, [Verb::Commented, Verb::Assigned]);
    assert_eq!(w.told(last).await, [Verb::Mentioned, Verb::Assigned]);
}
