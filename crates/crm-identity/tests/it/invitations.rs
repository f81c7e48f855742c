use chrono::TimeDelta;
use crm_core::{Code, OrgId, Result};
use crm_identity::members::{self, Member, MemberState};
use crm_identity::{AcceptInvitation, Invite, SignedIn};
use crm_records::Precondition;
use serde_json::json;
use uuid::Uuid;

use crate::support::{PASSWORD, Person, World, acceptance, address, body, client, faults, invite, refusal};

async fn send(world: &World, by: &Person, input: Invite) -> Result<Member> {
    world.tenant(by, async |t| world.identity.invite(t, &client(), input).await).await
}

async fn accept(world: &World, who: Option<&Person>, token: &str) -> Result<SignedIn> {
    let input: AcceptInvitation = match who {
        Some(_) => body(json!({"token": token})).unwrap(),
        None => acceptance(token),
    };
    world.identity.accept_invitation(&client(), who.map(|person| &person.claims), input).await
}

async fn remove(world: &World, by: &Person, id: Uuid) {
    world
        .tenant(by, async |t| members::remove(t, &client(), id, &Precondition::default()).await)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_invitation_is_mailed_and_shown_as_open() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let email = address("example.com");
    let input: Invite = body(json!({
        "email": format!(" {email} "), "role": "user", "phone": "+49 30 1234567", "has_sales_access": true,
    }))
    .unwrap();
    let member = send(world, &ann, input).await.unwrap();
    assert_eq!(
        (member.state, member.is_active, member.fields.role.as_str()),
        (MemberState::Invited, false, "USER")
    );
    assert_eq!(member.fields.phone.as_deref(), Some("+49 30 1234567"));
    assert!(member.fields.has_sales_access && !member.fields.has_marketing_access);
    assert_eq!((member.user_details.id, member.user_details.email.as_str()), (None, email.as_str()));
    let mails = world.mails(&email).await;
    let data = &mails[0]["data"];
    assert_eq!(
        (&mails[0]["template"], &data["org_name"], &data["role"]),
        (&json!("invitation"), &json!("Acme"), &json!("USER"))
    );
    assert_eq!((&data["inviter_name"], &data["valid_days"]), (&json!("Ann"), &json!(7)));
    assert!(data["link"].as_str().unwrap().starts_with("https://app.example/invitation?token="), "{data}");
    assert_eq!(world.last_event(&ann).await, ("membership_invited".into(), true));
}

#[tokio::test]
async fn somebody_without_account_makes_one_and_is_in() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let email = address("example.com");
    let (invitation, token) = world.invited(&ann, &email, "USER").await;
    let signed_in = accept(world, None, &token).await.unwrap();
    assert_eq!((signed_in.user.email.as_str(), signed_in.user.name.as_str()), (email.as_str(), "Bob"));
    assert!(signed_in.user.email_verified_at.is_some(), "the link proved the address");
    assert_eq!(signed_in.current_org.as_ref().map(|org| org.id), ann.claims.org);
    assert_eq!(signed_in.organizations.len(), 1);
    let bob = world.somebody(email.clone(), &signed_in);
    let member = world.membership(&bob).await;
    assert_eq!((member.base.id, member.state), (invitation.base.id, MemberState::Active));
    assert_eq!(member.base.updated_by.map(|id| id.0), Some(invitation.base.id), "they joined by themselves");
    assert_eq!(world.events(&bob).await, [("registered".into(), true), ("membership_joined".into(), true)]);
    assert_eq!(refusal(accept(world, None, &token).await), Code::TokenUnusable);
    assert!(world.login(&email, PASSWORD).await.is_ok());
}

#[tokio::test]
async fn a_new_account_needs_a_good_password_twice() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let (_, token) = world.invited(&ann, &address("example.com"), "USER").await;
    let try_with =
        async |input: AcceptInvitation| world.identity.accept_invitation(&client(), None, input).await;
    for (input, field) in [
        (json!({"token": token}), "password"),
        (json!({"token": token, "password": PASSWORD}), "confirm_password"),
        (
            json!({"token": token, "password": PASSWORD, "confirm_password": "something else"}),
            "confirm_password",
        ),
    ] {
        assert_eq!(
            faults(try_with(body(input).unwrap()).await),
            (Code::ValidationFailed, vec![field.into()])
        );
    }
    let short =
        body::<AcceptInvitation>(json!({"token": token, "password": "short", "confirm_password": "short"}));
    assert_eq!(faults(short).1, ["password"]);
    assert!(accept(world, None, &token).await.is_ok(), "the invitation is still open");
}

#[tokio::test]
async fn somebody_with_an_account_signs_in_to_accept() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let bob = world.person().await;
    let (_, token) = world.invited(&ann, &bob.email.to_uppercase(), "USER").await;
    assert_eq!(refusal(accept(world, None, &token).await), Code::Unauthenticated);
    let signed_in = accept(world, Some(&bob), &token).await.unwrap();
    assert_eq!(signed_in.current_org.map(|org| org.id), ann.claims.org);
    let claims = world.identity.verify_access(&signed_in.tokens.access_token).unwrap();
    assert_eq!(
        (claims.user, claims.session, claims.org),
        (bob.claims.user, bob.claims.session, ann.claims.org)
    );
    assert!(world.login(&bob.email, PASSWORD).await.is_ok(), "the password is what it was");
    assert_eq!(signed_in.user.name, "Ann");
    assert_eq!(signed_in.user.email, bob.email);
}

#[tokio::test]
async fn inviting_an_account_neither_touches_nor_reveals_it() {
    let world = World::shared().await;
    let (ann, bob) = (world.founder().await, world.founder().await);
    let before = world.identity.me(&bob.claims).await.unwrap();
    let nobody = address("example.com");
    let (with, without) = (
        send(world, &ann, invite(&bob.email, "USER")).await.unwrap(),
        send(world, &ann, invite(&nobody, "USER")).await.unwrap(),
    );
    let alike = |member: &Member| {
        let mut shown = serde_json::to_value(member).unwrap();
        for key in ["id", "created_at", "updated_at"] {
            shown.as_object_mut().unwrap().remove(key);
        }
        shown["user_details"]["email"] = json!(null);
        shown
    };
    assert_eq!(alike(&with), alike(&without));
    let listed = world.tenant(&ann, async |t| members::find(t, with.base.id).await).await.unwrap();
    assert_eq!((listed.user_details.id, listed.user_details.name.as_str()), (None, ""));
    let after = world.identity.me(&bob.claims).await.unwrap();
    assert_eq!((after.user, after.organizations), (before.user, before.organizations));
}

#[tokio::test]
async fn an_invitation_is_for_one_address() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let (bob, mallory) = (world.person().await, world.person().await);
    let (_, token) = world.invited(&ann, &bob.email, "ADMIN").await;
    assert_eq!(refusal(accept(world, Some(&mallory), &token).await), Code::Forbidden);
    assert_eq!(world.last_event(&mallory).await, ("permission_denied".into(), false));
    assert!(accept(world, Some(&bob), &token).await.is_ok());
    assert_eq!(refusal(accept(world, Some(&bob), &token).await), Code::TokenUnusable);
}

#[tokio::test]
async fn an_address_is_invited_once_at_a_time() {
    let world = World::shared().await;
    let (ann, other) = (world.founder().await, world.founder().await);
    let bob = world.joined(&ann, "USER").await;
    let (open, _) = world.invited(&ann, &address("example.com"), "USER").await;
    for email in [&bob.email, &open.user_details.email, &ann.email, &bob.email.to_uppercase()] {
        let again = send(world, &ann, invite(email, "USER")).await;
        assert_eq!(faults(again), (Code::Duplicate, vec!["email".into()]), "{email}");
    }
    assert!(send(world, &other, invite(&bob.email, "USER")).await.is_ok(), "another organization may");
}

#[tokio::test]
async fn an_organization_sends_fifty_invitations_an_hour() {
    let world = World::fresh().await;
    let (ann, other) = (world.founder().await, world.founder().await);
    for _ in 0..50 {
        send(&world, &ann, invite(&address("example.com"), "USER")).await.unwrap();
    }
    let stranger = address("example.com");
    assert_eq!(refusal(send(&world, &ann, invite(&stranger, "USER")).await), Code::TooManyRequests);
    assert_eq!(world.mails(&stranger).await.len(), 0);
    assert!(send(&world, &other, invite(&stranger, "USER")).await.is_ok(), "others are not concerned");
    world.db.clock().advance(TimeDelta::minutes(61));
    assert!(send(&world, &ann, invite(&stranger, "USER")).await.is_ok());
}

#[tokio::test]
async fn an_address_is_sent_five_invitations_a_day() {
    let world = World::fresh().await;
    let mut anns = Vec::new();
    for _ in 0..3 {
        anns.push(world.founder().await);
    }
    let email = address("example.com");
    for ann in anns.iter().chain(&anns[..2]) {
        let invited = send(&world, ann, invite(&email.to_lowercase(), "USER")).await.unwrap();
        remove(&world, ann, invited.base.id).await;
    }
    assert_eq!(refusal(send(&world, &anns[2], invite(&email, "USER")).await), Code::TooManyRequests);
    world.db.clock().advance(TimeDelta::hours(12));
    assert_eq!(world.identity.sweep().await.unwrap(), 0, "a count that still matters stays");
    let ann = world.somebody(anns[2].email.clone(), &world.login(&anns[2].email, PASSWORD).await.unwrap());
    assert_eq!(refusal(send(&world, &ann, invite(&email, "USER")).await), Code::TooManyRequests);
    world.db.clock().advance(TimeDelta::hours(13));
    let ann = world.somebody(ann.email.clone(), &world.login(&ann.email, PASSWORD).await.unwrap());
    assert!(send(&world, &ann, invite(&email, "USER")).await.is_ok());
}

#[tokio::test]
async fn of_invitations_at_once_one_is_sent() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let email = address("example.com");
    let both = [(), (), ()].map(|()| send(world, &ann, invite(&email, "USER")));
    let done = futures_util::future::join_all(both).await;
    assert_eq!(done.iter().filter(|result| result.is_ok()).count(), 1);
    for refused in done.into_iter().filter(Result::is_err) {
        assert_eq!(faults(refused), (Code::Duplicate, vec!["email".into()]));
    }
    assert_eq!(world.mails(&email).await.len(), 1);
}

#[tokio::test]
async fn of_acceptances_at_once_one_succeeds() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let (_, token) = world.invited(&ann, &address("example.com"), "USER").await;
    let both = [(), ()].map(|()| accept(world, None, &token));
    let done = futures_util::future::join_all(both).await;
    assert_eq!(done.iter().filter(|result| result.is_ok()).count(), 1, "{done:?}");
    assert_eq!(world.org(&ann).await.member_count, 2);
}

#[tokio::test]
async fn an_expired_invitation_is_renewed() {
    let world = World::fresh().await;
    let ann = world.founder().await;
    let email = address("example.com");
    let (first, old_token) = world.invited(&ann, &email, "USER").await;
    world.db.clock().advance(TimeDelta::days(7));
    assert_eq!(refusal(accept(&world, None, &old_token).await), Code::TokenUnusable);
    let ann = world.somebody(ann.email.clone(), &world.login(&ann.email, PASSWORD).await.unwrap());
    let (again, token) = world.invited(&ann, &email, "MANAGER").await;
    assert_eq!((again.base.id, again.fields.role.as_str()), (first.base.id, "MANAGER"));
    assert_eq!(refusal(accept(&world, None, &old_token).await), Code::TokenUnusable);
    assert!(accept(&world, None, &token).await.is_ok());
}

#[tokio::test]
async fn somebody_who_left_comes_back_as_the_same_member() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let bob = world.joined(&ann, "USER").await;
    let id = world.membership(&bob).await.base.id;
    remove(world, &ann, id).await;
    let (again, token) = world.invited(&ann, &bob.email, "MANAGER").await;
    assert_eq!((again.base.id, again.state), (id, MemberState::Invited));
    assert_eq!(
        refusal(world.tenant(&bob, async |_| Ok(())).await),
        Code::Unauthenticated,
        "not before accepting"
    );
    let signed_in = accept(world, Some(&bob), &token).await.unwrap();
    let bob = world.somebody(bob.email.clone(), &signed_in);
    let member = world.membership(&bob).await;
    assert_eq!((member.base.id, member.fields.role.as_str(), member.is_active), (id, "MANAGER", true));
}

#[tokio::test]
async fn a_platform_administrator_joins_nothing() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let root = world.root().await;
    let (_, token) = world.invited(&ann, &root.email, "ADMIN").await;
    assert_eq!(refusal(accept(world, Some(&root), &token).await), Code::Forbidden);
    assert_eq!(world.org(&ann).await.member_count, 1);
}

#[tokio::test]
async fn made_up_tokens_open_nothing() {
    use base64::Engine;
    let world = World::shared().await;
    let ann = world.founder().await;
    let encode = |org: OrgId| {
        let bytes = [org.0.as_bytes().as_slice(), &[7; 32]].concat();
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
    };
    for token in ["", "garbage", &encode(ann.claims.org.unwrap()), &encode(OrgId::generate())] {
        assert_eq!(refusal(accept(world, None, token).await), Code::TokenUnusable, "{token}");
        assert_eq!(refusal(accept(world, Some(&ann), token).await), Code::TokenUnusable, "{token}");
    }
}

#[tokio::test]
async fn inviting_needs_permission_and_a_role_that_is_there() {
    let world = World::shared().await;
    let ann = world.founder().await;
    let bob = world.joined(&ann, "USER").await;
    assert_eq!(refusal(send(world, &bob, invite(&address("example.com"), "USER")).await), Code::Forbidden);
    let unknown = send(world, &ann, invite(&address("example.com"), "EMPEROR")).await;
    assert_eq!(faults(unknown), (Code::ValidationFailed, vec!["role".into()]));
    for (wrong, field) in [
        (json!({"email": "nobody", "role": "USER"}), "email"),
        (json!({"role": "USER"}), "email"),
        (json!({"email": "a@b.example"}), "role"),
        (json!({"email": "a@b.example", "role": "USER", "phone": "call me"}), "phone"),
        (json!({"email": "a@b.example", "role": "USER", "name": "Bob"}), "name"),
        (json!({"email": "a@b.example", "role": "USER", "org_id": OrgId::generate()}), "org_id"),
    ] {
        assert_eq!(faults(body::<Invite>(wrong)).1, [field]);
    }
}
