//! Who follows a record, and who may read it.

use std::collections::BTreeSet;

use crm_access::BuiltinRole::{Admin, Courier, User};
use crm_core::{Caller, Error};
use crm_leads::LEADS;
use crm_records::followers::{self, Among, Following};
use crm_records::{Edit, RecordInput};
use serde_json::json;
use uuid::Uuid;

use super::support::{World, address};

impl World {
    async fn following(&self, who: &Caller, lead: Uuid) -> Following {
        self.db.tenant(who, async |t| followers::find(t, &LEADS, lead).await).await.unwrap()
    }

    async fn follow(&self, who: &Caller, lead: Uuid, follow: bool) {
        self.db.tenant(who, async |t| followers::follow(t, &LEADS, lead, follow).await).await.unwrap();
    }
}

#[tokio::test]
async fn whoever_has_to_do_with_a_record_follows_it_as_long_as_they_have() {
    let w = World::new().await;
    let (ann, bob, eve) = (w.member(Admin).await, w.member(User).await, w.member(Admin).await);
    let lead = w.lead(&ann, &[&bob]).await;
    let following = w.following(&bob, lead).await;
    assert_eq!(
        (following.following, following.followers),
        (true, vec![ann.member.unwrap(), bob.member.unwrap()])
    );
    assert!(!w.following(&eve, lead).await.following);
    w.comment(&eve, lead, "here").await;
    assert!(w.following(&eve, lead).await.following, "commented");
    let carl = w.member(Admin).await;
    w.comment(&ann, lead, &format!("@{}", address(&carl))).await;
    assert!(w.following(&carl, lead).await.following, "mentioned");
    w.assign(&ann, lead, &[]).await;
    assert_eq!(
        w.following(&ann, lead).await.followers,
        [ann.member.unwrap(), eve.member.unwrap(), carl.member.unwrap()],
        "no longer assigned"
    );
}

#[tokio::test]
async fn what_somebody_said_counts_more() {
    let w = World::new().await;
    let (ann, bob, eve) = (w.member(Admin).await, w.member(Admin).await, w.member(User).await);
    let lead = w.lead(&ann, &[]).await;
    w.follow(&bob, lead, true).await;
    w.follow(&bob, lead, true).await;
    assert_eq!(w.following(&ann, lead).await.followers, [ann.member.unwrap(), bob.member.unwrap()]);
    w.follow(&ann, lead, false).await;
    w.comment(&ann, lead, "I comment and still do not follow").await;
    assert_eq!(
        w.following(&ann, lead).await,
        Following { following: false, followers: vec![bob.member.unwrap()] }
    );
    w.comment(&bob, lead, "Nobody hears this").await;
    w.work().await;
    assert_eq!((w.feed(&ann).await.len(), w.feed(&bob).await.len()), (0, 1));
    w.follow(&ann, lead, true).await;
    assert!(w.following(&ann, lead).await.following);
    for follow in [true, false] {
        let refused = w.db.tenant(&eve, async |t| followers::follow(t, &LEADS, lead, follow).await).await;
        assert!(matches!(refused, Err(Error::NotFound)), "{refused:?}");
    }
    let refused = w.db.tenant(&eve, async |t| followers::find(t, &LEADS, lead).await).await;
    assert!(matches!(refused, Err(Error::NotFound)), "{refused:?}");
}

#[tokio::test]
async fn a_reader_is_exactly_who_could_open_the_record() {
    let w = World::new().await;
    let mut members = Vec::new();
    for role in [Admin, User, User, User, Courier] {
        members.push(w.member(role).await);
    }
    let team = w.team(&[&members[2], &members[4]]).await;
    // As their requests find them.
    for on_it in [2, 4] {
        members[on_it].teams = vec![team];
    }
    let body = json!({"title": "The team's", "teams": [team]}).as_object().unwrap().clone();
    let input = RecordInput::parse(body).unwrap();
    let teams = w.db.tenant(&w.system, async |t| crm_leads::create(t, input).await).await.unwrap().base.id;
    let own = w.lead(&members[1], &[]).await;
    let assigned = w.lead(&w.system, &[&members[3], &members[4]]).await;
    let edit = Edit::patch(json!({"teams": [team]}).as_object().unwrap().clone());
    let both = w.lead(&members[3], &[&members[1]]).await;
    w.db.tenant(&w.system, async |t| crm_leads::update(t, both, edit).await).await.unwrap();
    let nobodys = w.lead(&w.system, &[]).await;
    let everybody: Vec<_> = members.iter().map(|member| member.member.unwrap()).collect();
    for lead in [teams, own, assigned, both, nobodys] {
        let mut can_open = BTreeSet::new();
        for member in &members {
            if w.db.tenant(member, async |t| crm_leads::find(t, lead).await).await.is_ok() {
                can_open.insert(member.member.unwrap());
            }
        }
        let readers =
            w.db.tenant(&w.system, async |t| {
                followers::readers(t, &LEADS, lead, Among::Members(&everybody)).await
            })
            .await
            .unwrap();
        let readers: BTreeSet<_> = readers.into_iter().map(|reader| reader.id).collect();
        assert_eq!(readers, can_open, "{lead}");
    }
}
