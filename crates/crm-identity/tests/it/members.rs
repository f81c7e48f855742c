use crm_core::{Code, MemberId, Result};
use crm_identity::members::{self, Member, MemberState};
use crm_records::list::{Page, Params, Shaped};
use crm_records::{Base, Edit, Precondition, base_values};
use crm_schema::{changes, team_members, teams};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Person, World, address, body, client, faults, patch, put, refusal};

async fn id(world: &World, who: &Person) -> Uuid {
    world.membership(who).await.base.id
}

async fn update(world: &World, by: &Person, id: Uuid, edit: Edit) -> Result<Member> {
    world.tenant(by, async |t| members::update(t, &client(), id, edit).await).await
}

async fn status(world: &World, by: &Person, id: Uuid, status: &str) -> Result<Member> {
    let change = body(json!({"status": status})).unwrap();
    world.tenant(by, async |t| members::change_status(t, &client(), id, change).await).await
}

async fn remove(world: &World, by: &Person, id: Uuid) -> Result<()> {
    world.tenant(by, async |t| members::remove(t, &client(), id, &Precondition::default()).await).await
}

async fn find(world: &World, by: &Person, id: Uuid) -> Result<Member> {
    world.tenant(by, async |t| members::find(t, id).await).await
}

async fn list(world: &World, by: &Person, params: &[(&str, &str)]) -> Result<Vec<Member>> {
    let page: Page<Shaped<Member>> =
        world.tenant(by, async |t| members::list(t, &Params::of(params)).await).await?;
    let plain = |shaped| match shaped {
        Shaped::Plain(member) => member,
        Shaped::Value(value) => panic!("{value}"),
    };
    Ok(page.results.into_iter().map(plain).collect())
}

#[tokio::test]
async fn a_member_is_shown_with_the_account() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let member = world.membership(&ann).await;
    let shown = serde_json::to_value(&member).unwrap();
    assert_eq!(shown["org_id"], json!(ann.claims.org));
    assert_eq!((&shown["role"], &shown["role_id"]), (&json!("ADMIN"), &json!(member.role_id)));
    assert_eq!(
        (&shown["state"], &shown["is_active"], &shown["phone"]),
        (&json!("active"), &json!(true), &Value::Null)
    );
    let details = &shown["user_details"];
    assert_eq!((&details["id"], &details["email"]), (&json!(ann.claims.user), &json!(ann.email)));
    assert_eq!((&details["name"], &details["is_active"]), (&json!("Ann"), &json!(true)));
    assert!(details.get("last_login").is_some() && details.get("profile_pic").is_some());
}

#[tokio::test]
async fn members_are_listed_filtered_and_paged() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let bob = world.joined(&ann, "USER").await;
    let (open, _) = world.invited(&ann, &address("example.com"), "USER").await;
    let gone = world.joined(&ann, "USER").await;
    remove(world, &ann, id(world, &gone).await).await.unwrap();

    let all = list(world, &ann, &[]).await.unwrap();
    let (ann_id, bob_id) = (id(world, &ann).await, id(world, &bob).await);
    let ids = |members: &[Member]| members.iter().map(|m| m.base.id).collect::<Vec<_>>();
    assert_eq!(ids(&all), [open.base.id, bob_id, ann_id], "newest first, without those who left");
    for (filter, want) in [
        (vec![("state", "invited")], vec![open.base.id]),
        (vec![("role_id", &*all[1].role_id.to_string())], vec![open.base.id, bob_id]),
        (vec![("email", &*bob.email.to_uppercase())], vec![bob_id]),
        (vec![("email__icontains", &bob.email[5..20])], vec![bob_id]),
        (vec![("ordering", "created_at"), ("limit", "1")], vec![ann_id]),
        (vec![("ordering", "email"), ("state", "active"), ("has_sales_access", "true")], vec![]),
    ] {
        assert_eq!(ids(&list(world, &ann, &filter).await.unwrap()), want, "{filter:?}");
    }
    for wrong in [("state", "removed"), ("password", "x"), ("ordering", "phone")] {
        assert_eq!(refusal(list(world, &ann, &[wrong]).await), Code::InvalidParameter, "{wrong:?}");
    }
    let first =
        world.tenant(&ann, async |t| members::list(t, &Params::of(&[("limit", "2")])).await).await.unwrap();
    assert!(first.next.is_some() && first.previous.is_none());
}

#[tokio::test]
async fn only_administrators_look_at_others() {
    let world = World::shared().await;
    let (ann, stranger) = (world.founder().await, world.founder().await);
    let bob = world.joined(&ann, "USER").await;
    let (ann_id, bob_id) = (id(world, &ann).await, id(world, &bob).await);
    assert!(find(world, &ann, bob_id).await.is_ok());
    assert!(find(world, &bob, bob_id).await.is_ok());
    assert_eq!(refusal(find(world, &bob, ann_id).await), Code::Forbidden);
    assert_eq!(refusal(list(world, &bob, &[]).await), Code::Forbidden);
    assert_eq!(refusal(update(world, &bob, bob_id, patch(json!({"role": "ADMIN"}))).await), Code::Forbidden);
    assert_eq!(refusal(status(world, &bob, ann_id, "inactive").await), Code::Forbidden);
    assert_eq!(refusal(remove(world, &bob, ann_id).await), Code::Forbidden);
    for unknown in [bob_id, Uuid::now_v7()] {
        assert_eq!(refusal(find(world, &stranger, unknown).await), Code::NotFound);
        assert_eq!(refusal(update(world, &stranger, unknown, patch(json!({}))).await), Code::NotFound);
        assert_eq!(refusal(status(world, &stranger, unknown, "inactive").await), Code::NotFound);
        assert_eq!(refusal(remove(world, &stranger, unknown).await), Code::NotFound);
    }
}

#[tokio::test]
async fn an_administrator_changes_what_a_member_is() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let bob = world.joined(&ann, "USER").await;
    let bob_id = id(world, &bob).await;
    let whole = json!({
        "role": "manager", "phone": "+49 30 1234567", "alternate_phone": "", "has_sales_access": true,
        "has_marketing_access": true, "date_of_joining": "2026-02-01",
    });
    let changed = update(world, &ann, bob_id, put(whole)).await.unwrap();
    assert_eq!((changed.fields.role.as_str(), changed.base.version), ("MANAGER", 3));
    assert_eq!(
        (changed.fields.phone.as_deref(), changed.fields.alternate_phone.as_deref()),
        (Some("+49 30 1234567"), None)
    );
    assert!(changed.fields.has_sales_access && changed.fields.has_marketing_access);
    assert_eq!(world.last_event(&ann).await, ("membership_changed".into(), true));
    let stored = find(world, &ann, bob_id).await.unwrap();
    assert_eq!(serde_json::to_value(&stored).unwrap(), serde_json::to_value(&changed).unwrap());
    let same = update(world, &ann, bob_id, patch(json!({"role": " Manager ", "has_sales_access": true})))
        .await
        .unwrap();
    assert_eq!(same.base.version, changed.base.version, "nothing changed");
    let fields: Value = world
        .tenant(&ann, async |t| {
            let last = changes::table.filter(changes::record_id.eq(bob_id)).order_by(changes::id.desc());
            Ok(last.select(changes::fields).first(t.conn()?).await?)
        })
        .await
        .unwrap();
    assert_eq!(fields["role"], json!(["USER", "MANAGER"]));
    assert!(fields.get("is_active").is_none() && fields.get("version").is_none(), "{fields}");
}

#[tokio::test]
async fn the_account_is_not_the_administrators_to_change() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let bob = world.joined(&ann, "USER").await;
    let bob_id = id(world, &bob).await;
    for (field, value, code) in [
        ("email", json!("mine@example.com"), Code::MalformedRequest),
        ("name", json!("Mallory"), Code::MalformedRequest),
        ("password", json!("hunter2hunter2"), Code::MalformedRequest),
        ("user_details", json!({"email": "mine@example.com"}), Code::ReadOnlyField),
        ("state", json!("inactive"), Code::ReadOnlyField),
        ("is_active", json!(false), Code::ReadOnlyField),
        ("role_id", json!(Uuid::now_v7()), Code::ReadOnlyField),
        ("org_id", json!(Uuid::now_v7()), Code::ReadOnlyField),
        ("role", json!("EMPEROR"), Code::ValidationFailed),
        ("phone", json!("call me"), Code::ValidationFailed),
        ("date_of_joining", json!("2026-02-30"), Code::ValidationFailed),
    ] {
        let refused = update(world, &ann, bob_id, patch(json!({field: value}))).await;
        assert_eq!(faults(refused), (code, vec![field.to_owned()]));
    }
    let stale = Edit {
        precondition: Precondition { if_match: Some(vec![1]) },
        ..patch(json!({"phone": "12345678"}))
    };
    assert_eq!(refusal(update(world, &ann, bob_id, stale).await), Code::StaleVersion);
    assert_eq!(world.membership(&bob).await.base.version, 2);
}

#[tokio::test]
async fn nobody_changes_their_own_role_or_shuts_themselves_out() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let ann_id = id(world, &ann).await;
    world.joined(&ann, "ADMIN").await;
    let demoted = update(world, &ann, ann_id, patch(json!({"role": "USER"}))).await;
    assert_eq!(faults(demoted), (Code::ValidationFailed, vec!["role".into()]));
    assert_eq!(refusal(status(world, &ann, ann_id, "inactive").await), Code::Conflict);
    assert_eq!(refusal(remove(world, &ann, ann_id).await), Code::Conflict);
    assert!(update(world, &ann, ann_id, patch(json!({"phone": "12345678"}))).await.is_ok());
    assert!(world.membership(&ann).await.is_active);
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let ann_id = id(world, &ann).await;
    let bob = world.joined(&ann, "ADMIN").await;
    status(world, &ann, id(world, &bob).await, "inactive").await.unwrap();
    world.invited(&ann, &address("example.com"), "ADMIN").await;
    world.joined(&ann, "USER").await;
    assert_eq!(refusal(update(world, &ann, ann_id, patch(json!({"role": "USER"}))).await), Code::LastAdmin);
    assert_eq!(refusal(status(world, &ann, ann_id, "inactive").await), Code::LastAdmin);
    assert_eq!(refusal(remove(world, &ann, ann_id).await), Code::LastAdmin);
    assert_eq!(
        refusal(world.tenant(&ann, async |t| members::leave(t, &client()).await).await),
        Code::LastAdmin
    );
}

#[tokio::test]
async fn an_administrator_whose_account_is_shut_out_is_none() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let ann_id = id(world, &ann).await;
    let bob = world.joined(&ann, "ADMIN").await;
    let bob_id = id(world, &bob).await;
    world.shut_out(&bob).await;
    let left = world.tenant(&ann, async |t| members::leave(t, &client()).await).await;
    assert_eq!(refusal(left), Code::LastAdmin);
    assert_eq!(refusal(status(world, &ann, ann_id, "inactive").await), Code::LastAdmin);
    assert!(remove(world, &ann, bob_id).await.is_ok(), "the one who is shut out can go");
}

#[tokio::test]
async fn a_former_member_is_on_no_team_when_invited_again() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let (bob, cid) = (world.joined(&ann, "USER").await, world.joined(&ann, "USER").await);
    let (bob_id, cid_id) = (id(world, &bob).await, id(world, &cid).await);
    let team = Uuid::now_v7();
    world
        .tenant(&ann, async |t| {
            let base = Base { id: team, ..Base::new(t) };
            crm_records::created(t, "team", &base, None).await?;
            let row =
                (base_values!(teams, base), teams::name.eq("North"), teams::name_normalized.eq("north"));
            diesel::insert_into(teams::table).values(row).execute(t.conn()?).await?;
            let on: Vec<_> = [t.actor().unwrap().0, bob_id, cid_id]
                .map(|member| {
                    (
                        team_members::org_id.eq(t.org()),
                        team_members::team_id.eq(team),
                        team_members::membership_id.eq(member),
                    )
                })
                .into();
            diesel::insert_into(team_members::table).values(on).execute(t.conn()?).await?;
            Ok(())
        })
        .await
        .unwrap();
    remove(world, &ann, bob_id).await.unwrap();
    world.tenant(&cid, async |t| members::leave(t, &client()).await).await.unwrap();
    let (_, token) = world.invited(&ann, &bob.email, "USER").await;
    let accept = body(json!({"token": token})).unwrap();
    let back = world.identity.accept_invitation(&client(), Some(&bob.claims), accept).await.unwrap();
    let bob = world.somebody(bob.email.clone(), &back);
    world
        .tenant(&bob, async |t| {
            assert_eq!((t.actor(), t.caller().teams.as_slice()), (Some(MemberId(bob_id)), [].as_slice()));
            let on = team_members::org_id.eq(t.org()).and(team_members::team_id.eq(team));
            let left = team_members::table.filter(on).count().get_result::<i64>(t.conn()?).await?;
            assert_eq!(left, 1, "the others stay");
            Ok(())
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn administrators_who_shut_each_other_out_leave_one() {
    let world = World::shared().await;
    for attempt in 0..4 {
        let ann = world.founder().await;
        let bob = world.joined(&ann, "ADMIN").await;
        let (ann_id, bob_id) = (id(world, &ann).await, id(world, &bob).await);
        let (one, other) = match attempt {
            0 => futures_util::join!(
                async { status(world, &ann, bob_id, "inactive").await.map(drop) },
                async { status(world, &bob, ann_id, "inactive").await.map(drop) }
            ),
            1 => futures_util::join!(
                async { update(world, &ann, bob_id, patch(json!({"role": "USER"}))).await.map(drop) },
                async { update(world, &bob, ann_id, patch(json!({"role": "USER"}))).await.map(drop) }
            ),
            2 => futures_util::join!(remove(world, &ann, bob_id), remove(world, &bob, ann_id)),
            _ => futures_util::join!(
                world.tenant(&ann, async |t| members::leave(t, &client()).await),
                world.tenant(&bob, async |t| members::leave(t, &client()).await)
            ),
        };
        assert_ne!(one.is_ok(), other.is_ok(), "{attempt}: {one:?} {other:?}");
        let survivor = if one.is_ok() && attempt < 3 { &ann } else { &bob };
        let survivor = if attempt == 3 && other.is_ok() { &ann } else { survivor };
        assert_eq!(world.membership(survivor).await.fields.role, "ADMIN", "{attempt}");
    }
}

#[tokio::test]
async fn a_removed_member_keeps_the_account_and_is_told() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let bob = world.joined(&ann, "USER").await;
    let bob_id = id(world, &bob).await;
    remove(world, &ann, bob_id).await.unwrap();
    assert_eq!(refusal(find(world, &ann, bob_id).await), Code::NotFound);
    assert_eq!(refusal(remove(world, &ann, bob_id).await), Code::NotFound);
    assert_eq!(world.mailed(&bob.email).await, ["invitation", "membership_removed"]);
    assert_eq!(world.last_event(&ann).await, ("membership_removed".into(), true));
    let me = world.identity.me(&bob.claims).await.unwrap();
    assert!(me.organizations.is_empty() && me.current_org.is_none());
}

#[tokio::test]
async fn a_withdrawn_invitation_is_worthless() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let email = address("example.com");
    let (invitation, token) = world.invited(&ann, &email, "USER").await;
    assert_eq!(refusal(status(world, &ann, invitation.base.id, "active").await), Code::Conflict);
    remove(world, &ann, invitation.base.id).await.unwrap();
    let accepted =
        world.identity.accept_invitation(&client(), None, crate::support::acceptance(&token)).await;
    assert_eq!(refusal(accepted), Code::TokenUnusable);
    assert_eq!(world.mailed(&email).await, ["invitation"]);
}

#[tokio::test]
async fn somebody_leaves_on_their_own() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let bob = world.joined(&ann, "USER").await;
    world.tenant(&bob, async |t| members::leave(t, &client()).await).await.unwrap();
    assert_eq!(refusal(world.tenant(&bob, async |_| Ok(())).await), Code::Unauthenticated);
    assert_eq!(list(world, &ann, &[]).await.unwrap().len(), 1);
    assert_eq!(world.last_event(&bob).await, ("membership_removed".into(), true));
}

#[tokio::test]
async fn a_status_is_one_of_two_words() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let bob = world.joined(&ann, "USER").await;
    let bob_id = id(world, &bob).await;
    for (word, state) in [
        ("Inactive", MemberState::Inactive),
        ("inactive", MemberState::Inactive),
        ("Active", MemberState::Active),
    ] {
        assert_eq!(status(world, &ann, bob_id, word).await.unwrap().state, state);
    }
    for wrong in [json!({"status": "removed"}), json!({"status": "INACTIVE"}), json!({})] {
        assert_eq!(
            faults(body::<members::StatusChange>(wrong)),
            (Code::ValidationFailed, vec!["status".into()])
        );
    }
}

#[tokio::test]
async fn the_roster_is_for_every_member() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let bob = world.joined(&ann, "COURIER").await;
    world.invited(&ann, &address("example.com"), "USER").await;
    let gone = world.joined(&ann, "USER").await;
    status(world, &ann, id(world, &gone).await, "inactive").await.unwrap();
    let roster = world.tenant(&bob, async |t| members::roster(t).await).await.unwrap();
    let mut want = [(ann.email.to_lowercase(), "ADMIN"), (bob.email.to_lowercase(), "COURIER")];
    want.sort();
    let got: Vec<_> = roster.profiles.iter().map(|p| (p.email.to_lowercase(), p.role.as_str())).collect();
    assert_eq!(got, want, "active members by e-mail address");
    let shown = serde_json::to_value(&roster.profiles[0]).unwrap();
    let mut fields: Vec<_> = shown.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["email", "id", "name", "role"], "and nothing more of them");
}
