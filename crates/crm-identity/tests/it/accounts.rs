use chrono::TimeDelta;
use crm_core::{Code, Db, UserId};
use crm_identity::{
    ChangePassword, ForgotPassword, Login, RefreshToken, Register, ResetPassword, VerifyEmail,
};
use crm_schema::{email_tokens, users};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};

use crate::support::{
    NEW_PASSWORD, PASSWORD, Person, World, address, body, client, faults, new_org, refusal, registration,
};

fn change(old: &str) -> ChangePassword {
    body(json!({"old_password": old, "new_password": NEW_PASSWORD, "confirm_password": NEW_PASSWORD}))
        .unwrap()
}

fn reset(token: &str) -> ResetPassword {
    body(json!({"token": token, "password": NEW_PASSWORD, "confirm_password": NEW_PASSWORD})).unwrap()
}

fn forgot(email: &str) -> ForgotPassword {
    body(json!({"email": email})).unwrap()
}

fn refresh(person: &Person) -> RefreshToken {
    body(json!({"refresh_token": person.refresh_token})).unwrap()
}

async fn hash_of(db: &Db, user: UserId) -> Option<String> {
    let stored = users::table.find(user).select(users::password_hash);
    db.platform(async |p| stored.first(p.conn()?).await.map_err(crm_core::Error::from)).await.unwrap()
}

#[tokio::test]
async fn registering_signs_in_without_an_organization() {
    let world = World::shared().await;
    let email = address("Example.COM");
    let signed_in = world.identity.register(&client(), registration(&email)).await.unwrap();
    assert_eq!((signed_in.user.email.as_str(), signed_in.user.name.as_str()), (email.as_str(), "Ann"));
    assert_eq!((signed_in.tokens.token_type, signed_in.tokens.expires_in), ("Bearer", 86_400));
    assert!(signed_in.current_org.is_none() && signed_in.organizations.is_empty());
    assert_eq!(signed_in.user.email_verified_at, None);
    let person = world.somebody(email.clone(), &signed_in);
    assert_eq!(refusal(person.claims.in_org()), Code::NoOrganization);
    assert_eq!(world.mailed(&email).await, ["verify_email"]);
    assert_eq!(world.events(&person).await, [("registered".into(), true)]);
    let shown = serde_json::to_value(&signed_in).unwrap().to_string();
    assert!(!shown.contains("argon2") && !shown.contains("password"), "{shown}");
}

#[tokio::test]
async fn an_address_has_one_account_whatever_its_case() {
    let world = World::shared().await;
    let person = world.person().await;
    for email in [person.email.clone(), person.email.to_uppercase(), format!(" {} ", person.email)] {
        let again = world.identity.register(&client(), registration(&email)).await;
        assert_eq!(faults(again), (Code::Duplicate, vec!["email".into()]), "{email}");
    }
    assert_eq!(world.last_event(&person).await, ("registered".into(), false));
}

#[tokio::test]
async fn of_registrations_at_once_one_succeeds() {
    let world = World::shared().await;
    let email = address("example.com");
    let client = client();
    let attempts = (0..4).map(|_| world.identity.register(&client, registration(&email)));
    let done = futures_util::future::join_all(attempts).await;
    let (made, refused): (Vec<_>, Vec<_>) = done.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 1);
    for refused in refused {
        assert_eq!(faults(refused), (Code::Duplicate, vec!["email".into()]));
    }
}

#[test]
fn a_registration_is_judged_field_by_field() {
    let good = json!({"email": "ann@example.com", "password": PASSWORD, "confirm_password": PASSWORD});
    assert!(body::<Register>(good.clone()).is_ok());
    for (field, value) in [
        ("email", json!("not an address")),
        ("email", json!("")),
        ("email", json!(format!("{}@example.com", "x".repeat(250)))),
        ("email", json!("ann\u{0}@example.com")),
        ("password", json!("short")),
        ("password", json!("x".repeat(129))),
        ("confirm_password", json!("something else")),
        ("name", json!("two\nlines")),
        ("name", json!("x".repeat(256))),
        ("is_superuser", json!(true)),
    ] {
        let mut wrong = good.clone();
        wrong[field] = value.clone();
        let (_, fields) = faults(body::<Register>(wrong));
        assert!(fields.iter().any(|fault| fault == field), "{field} = {value}: {fields:?}");
    }
    for missing in ["email", "password", "confirm_password"] {
        let mut wrong = good.clone();
        wrong.as_object_mut().unwrap().remove(missing);
        assert_eq!(faults(body::<Register>(wrong)), (Code::ValidationFailed, vec![missing.into()]));
    }
}

#[tokio::test]
async fn a_person_without_a_name_is_called_by_the_address() {
    let world = World::shared().await;
    let email = address("example.com");
    let input: Register =
        body(json!({"email": email, "password": PASSWORD, "confirm_password": PASSWORD})).unwrap();
    let signed_in = world.identity.register(&client(), input).await.unwrap();
    assert_eq!(signed_in.user.name, email.split('@').next().unwrap());
}

#[tokio::test]
async fn a_link_verifies_an_address_once() {
    let world = World::shared().await;
    let person = world.person().await;
    let token = world.mailed_token(&person.email).await;
    let verify = async |token: &str| {
        world.identity.verify_email(&client(), VerifyEmail { token: token.to_owned() }).await
    };
    assert_eq!(refusal(verify("made up").await), Code::TokenUnusable);
    assert_eq!(refusal(world.identity.reset_password(&client(), reset(&token)).await), Code::TokenUnusable);
    assert!(verify(&token).await.unwrap().email_verified_at.is_some());
    assert_eq!(refusal(verify(&token).await), Code::TokenUnusable);
    assert_eq!(world.last_event(&person).await, ("email_verified".into(), true));
    let me = world.identity.me(&person.claims).await.unwrap();
    assert_eq!(me.platform_admin, None, "an ordinary domain makes nobody an administrator");
    world.identity.resend_verification(&person.claims).await.unwrap();
    assert_eq!(world.mailed(&person.email).await.len(), 1, "there is nothing left to verify");
}

#[tokio::test]
async fn a_verification_link_expires() {
    let world = World::fresh().await;
    let person = world.person().await;
    let token = world.mailed_token(&person.email).await;
    world.db.clock().advance(TimeDelta::hours(48));
    let late = world.identity.verify_email(&client(), VerifyEmail { token }).await;
    assert_eq!(refusal(late), Code::TokenUnusable);
}

#[tokio::test]
async fn another_link_can_be_had_three_times_an_hour() {
    let world = World::shared().await;
    let person = world.person().await;
    for _ in 0..3 {
        world.identity.resend_verification(&person.claims).await.unwrap();
    }
    assert_eq!(refusal(world.identity.resend_verification(&person.claims).await), Code::TooManyRequests);
    assert_eq!(world.mails(&person.email).await.len(), 4);
}

#[tokio::test]
async fn a_platform_domain_counts_once_the_address_is_verified() {
    let world = World::shared().await;
    let person = world.person_at("OPS.example").await;
    assert_eq!(world.identity.me(&person.claims).await.unwrap().platform_admin, None, "not before");
    let token = world.mailed_token(&person.email).await;
    let user = world.identity.verify_email(&client(), VerifyEmail { token }).await.unwrap();
    assert!(user.email_verified_at.is_some());
    let events = world.events(&person).await;
    for expected in ["platform_admin_granted", "sessions_ended"] {
        assert!(events.contains(&(expected.into(), true)), "{events:?}");
    }
}

#[tokio::test]
async fn who_reads_the_mail_of_a_platform_address_chooses_its_password() {
    let world = World::shared().await;
    let stranger = world.person_at("ops.example").await;
    world.identity.resend_verification(&stranger.claims).await.unwrap();
    let [first, second] = &world.mails(&stranger.email).await[..] else { panic!("two mails") };
    let token = |mail: &Value| {
        let (_, token) = mail["data"]["link"].as_str().unwrap().split_once("?token=").unwrap();
        VerifyEmail { token: token.to_owned() }
    };
    world.identity.verify_email(&client(), token(first)).await.unwrap();
    assert_eq!(refusal(world.identity.me(&stranger.claims).await), Code::Unauthenticated);
    assert_eq!(refusal(world.identity.refresh(&client(), refresh(&stranger)).await), Code::Unauthenticated);
    let (known, unknown) =
        (world.login(&stranger.email, PASSWORD).await, world.login(&address("ops.example"), PASSWORD).await);
    let (known, unknown) = (known.unwrap_err(), unknown.unwrap_err());
    assert_eq!((known.code(), known.to_string()), (Code::InvalidCredentials, unknown.to_string()));

    assert_eq!(world.work_off(&stranger.email).await, 1);
    let link = world.mailed_token(&stranger.email).await;
    world.identity.reset_password(&client(), reset(&link)).await.unwrap();
    let owner =
        world.somebody(stranger.email.clone(), &world.login(&stranger.email, NEW_PASSWORD).await.unwrap());
    world.identity.verify_email(&client(), token(second)).await.unwrap();
    let me = world.identity.me(&owner.claims).await.expect("another link takes nothing away");
    assert!(me.platform_admin.unwrap().is_superuser);
}

#[tokio::test]
async fn neither_a_subdomain_nor_a_member_becomes_a_platform_administrator() {
    let world = World::shared().await;
    let (subdomain, member) =
        (world.person_at("sub.ops.example").await, world.person_at("ops.example").await);
    world.identity.create_org(&client(), &member.claims, new_org("Ops")).await.unwrap();
    for person in [subdomain, member] {
        let token = world.mailed_token(&person.email).await;
        world.identity.verify_email(&client(), VerifyEmail { token }).await.unwrap();
        assert_eq!(world.identity.me(&person.claims).await.unwrap().platform_admin, None, "{}", person.email);
    }
}

#[tokio::test]
async fn changing_the_password_ends_the_other_sessions() {
    let world = World::shared().await;
    let here = world.person().await;
    let there = world.somebody(here.email.clone(), &world.login(&here.email, PASSWORD).await.unwrap());
    world.identity.change_password(&client(), &here.claims, change(PASSWORD)).await.unwrap();
    assert!(world.identity.me(&here.claims).await.is_ok());
    assert!(world.identity.refresh(&client(), refresh(&here)).await.is_ok());
    assert_eq!(refusal(world.identity.me(&there.claims).await), Code::Unauthenticated);
    assert_eq!(refusal(world.identity.refresh(&client(), refresh(&there)).await), Code::Unauthenticated);
    assert_eq!(refusal(world.login(&here.email, PASSWORD).await), Code::InvalidCredentials);
    assert!(world.login(&here.email, NEW_PASSWORD).await.is_ok());
    assert_eq!(world.mailed(&here.email).await, ["verify_email", "password_changed"]);
    let events = world.events(&here).await;
    for expected in ["password_changed", "sessions_ended"] {
        assert!(events.contains(&(expected.into(), true)), "{events:?}");
    }
}

#[tokio::test]
async fn a_wrong_old_password_changes_nothing_and_counts() {
    let world = World::shared().await;
    let person = world.person().await;
    let before = hash_of(&world.db, person.claims.user).await;
    for _ in 0..5 {
        let wrong = world.identity.change_password(&client(), &person.claims, change("wrong")).await;
        assert_eq!(faults(wrong), (Code::ValidationFailed, vec!["old_password".into()]));
    }
    let right = world.identity.change_password(&client(), &person.claims, change(PASSWORD)).await;
    assert_eq!(refusal(right), Code::TooManyRequests);
    assert_eq!(refusal(world.login(&person.email, PASSWORD).await), Code::TooManyRequests, "guesses add up");
    assert_eq!(hash_of(&world.db, person.claims.user).await, before);
    assert_eq!(world.last_event(&person).await, ("password_changed".into(), false));
}

#[tokio::test]
async fn a_forgotten_password_is_reset_once_by_link() {
    let world = World::shared().await;
    let person = world.person().await;
    world.identity.forgot_password(&client(), forgot(&person.email.to_uppercase())).await.unwrap();
    assert_eq!(world.work_off(&person.email).await, 1);
    assert_eq!(world.mailed(&person.email).await, ["verify_email", "password_reset"]);
    let token = world.mailed_token(&person.email).await;
    world.identity.reset_password(&client(), reset(&token)).await.unwrap();
    assert_eq!(
        refusal(world.identity.me(&person.claims).await),
        Code::Unauthenticated,
        "every session has ended"
    );
    assert_eq!(refusal(world.login(&person.email, PASSWORD).await), Code::InvalidCredentials);
    assert!(world.login(&person.email, NEW_PASSWORD).await.is_ok());
    assert_eq!(refusal(world.identity.reset_password(&client(), reset(&token)).await), Code::TokenUnusable);
    assert!(world.events(&person).await.contains(&("password_reset".into(), true)));
    assert_eq!(world.mailed(&person.email).await.last().unwrap(), "password_changed");
}

#[tokio::test]
async fn a_reset_voids_the_other_links_and_the_wait_for_guesses() {
    let world = World::shared().await;
    let person = world.person().await;
    let mut links = Vec::new();
    for _ in 0..2 {
        world.identity.forgot_password(&client(), forgot(&person.email)).await.unwrap();
        world.work_off(&person.email).await;
        links.push(world.mailed_token(&person.email).await);
    }
    for _ in 0..5 {
        world.login(&person.email, "wrong").await.unwrap_err();
    }
    assert_eq!(refusal(world.login(&person.email, PASSWORD).await), Code::TooManyRequests);
    world.identity.reset_password(&client(), reset(&links[0])).await.unwrap();
    assert_eq!(
        refusal(world.identity.reset_password(&client(), reset(&links[1])).await),
        Code::TokenUnusable
    );
    assert!(world.login(&person.email, NEW_PASSWORD).await.is_ok());
}

#[tokio::test]
async fn of_two_resets_with_one_link_one_succeeds() {
    let world = World::shared().await;
    let person = world.person().await;
    world.identity.forgot_password(&client(), forgot(&person.email)).await.unwrap();
    world.work_off(&person.email).await;
    let token = world.mailed_token(&person.email).await;
    let client = client();
    let both = [reset(&token), reset(&token)].map(|input| world.identity.reset_password(&client, input));
    let done = futures_util::future::join_all(both).await;
    assert_eq!(done.iter().filter(|result| result.is_ok()).count(), 1);
}

#[tokio::test]
async fn a_reset_link_expires_and_is_stored_as_a_digest() {
    let world = World::fresh().await;
    let person = world.person().await;
    world.identity.forgot_password(&client(), forgot(&person.email)).await.unwrap();
    world.work_off(&person.email).await;
    let token = world.mailed_token(&person.email).await;
    let stored: Vec<String> = world
        .db
        .platform(async |p| {
            email_tokens::table
                .select(email_tokens::digest)
                .load(p.conn()?)
                .await
                .map_err(crm_core::Error::from)
        })
        .await
        .unwrap();
    assert_eq!(stored.len(), 2);
    assert!(stored.iter().all(|digest| digest.len() == 64 && *digest != token));
    world.db.clock().advance(TimeDelta::hours(1));
    assert_eq!(refusal(world.identity.reset_password(&client(), reset(&token)).await), Code::TokenUnusable);
    assert!(world.login(&person.email, PASSWORD).await.is_ok());
}

#[tokio::test]
async fn asking_for_a_reset_tells_nothing() {
    let world = World::shared().await;
    let nobody = address("example.com");
    world.identity.forgot_password(&client(), forgot(&nobody)).await.unwrap();
    assert_eq!(world.work_off(&nobody).await, 1, "the same work is done for an address without account");
    assert_eq!(world.mailed(&nobody).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_stranger_can_have_three_reset_mails_an_hour_sent() {
    let world = World::fresh().await;
    let person = world.person().await;
    for _ in 0..5 {
        world.identity.forgot_password(&client(), forgot(&person.email)).await.unwrap();
    }
    assert_eq!(world.work_off(&person.email).await, 3);
    world.db.clock().advance(TimeDelta::minutes(61));
    world.identity.forgot_password(&client(), forgot(&person.email)).await.unwrap();
    assert_eq!(world.work_off(&person.email).await, 1);
}

#[tokio::test]
async fn a_shut_out_account_gets_no_reset_mail() {
    let world = World::shared().await;
    let person = world.person().await;
    world.shut_out(&person).await;
    world.identity.forgot_password(&client(), forgot(&person.email)).await.unwrap();
    world.work_off(&person.email).await;
    assert_eq!(world.mailed(&person.email).await, ["verify_email"]);
}

#[test]
fn what_is_unknown_in_a_body_is_refused() {
    let wrong: [(&str, crm_core::Result<()>); 3] = [
        ("login", body::<Login>(json!({"email": "a@b.example", "password": "x", "otp": "1"})).map(drop)),
        (
            "reset",
            body::<ResetPassword>(
                json!({"token": "x", "password": PASSWORD, "confirm_password": PASSWORD, "user": 1}),
            )
            .map(drop),
        ),
        ("forgot", body::<ForgotPassword>(json!({"email": Value::Null})).map(drop)),
    ];
    for (what, result) in wrong {
        assert_eq!(refusal(result), Code::MalformedRequest, "{what}");
    }
}
