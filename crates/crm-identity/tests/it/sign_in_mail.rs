use std::collections::BTreeSet;
use std::net::IpAddr;

use chrono::TimeDelta;
use crm_core::{Code, TenantTx};
use crm_identity::{
    Client, Credential, RequestSignInMail, SignIn, VerifySignInCode, VerifySignInLink, access_tokens,
};
use crm_schema::{security_events, sign_in_codes, sign_in_links, throttles};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};

use crate::support::{PASSWORD, Person, World, address, body, client, faults, refusal};

fn wanted(email: &str, delivery: &str) -> RequestSignInMail {
    body(json!({"email": email, "delivery": delivery})).unwrap()
}

async fn request(world: &World, email: &str, delivery: &str) -> crm_core::Result<()> {
    world.identity.request_sign_in_mail(&client(), wanted(email, delivery)).await
}

/// The token of a link that is mailed now.
async fn link(world: &World, email: &str) -> String {
    request(world, email, "link").await.unwrap();
    assert_eq!(world.work_off(email).await, 1);
    world.mailed_token(email).await
}

/// The code that is mailed now.
async fn code(world: &World, email: &str) -> String {
    request(world, email, "code").await.unwrap();
    assert_eq!(world.work_off(email).await, 1);
    let mail = world.mails(email).await.pop().unwrap();
    assert_eq!((&mail["template"], &mail["data"]["valid_minutes"]), (&json!("sign_in_code"), &json!(10)));
    mail["data"]["code"].as_str().unwrap().to_owned()
}

async fn follow(world: &World, token: &str) -> crm_core::Result<SignIn> {
    let input: VerifySignInLink = body(json!({"token": token})).unwrap();
    world.identity.verify_sign_in_link(&client(), input).await
}

async fn enter(world: &World, email: &str, code: &str) -> crm_core::Result<SignIn> {
    world.identity.verify_sign_in_code(&client(), entry(email, code)).await
}

fn entry(email: &str, code: &str) -> VerifySignInCode {
    body(json!({"email": email, "code": code})).unwrap()
}

/// A code that is not this one.
fn another(code: &str) -> &'static str {
    if code == "000000" { "000001" } else { "000000" }
}

async fn detail(world: &World, person: &Person) -> Value {
    let latest = security_events::table.filter(security_events::user_id.eq(person.claims.user));
    let latest = latest.order_by(security_events::id.desc()).select(security_events::detail);
    let load =
        async |p: &mut crm_core::PlatformTx| latest.first(p.conn()?).await.map_err(crm_core::Error::from);
    world.db.platform(load).await.unwrap()
}

#[tokio::test]
async fn a_link_signs_in_once() {
    let world = World::shared().await;
    let person = world.person().await;
    world.verify(&person).await;
    request(world, &person.email.to_uppercase(), "link").await.unwrap();
    assert_eq!(world.work_off(&person.email).await, 1);
    let token = world.mailed_token(&person.email).await;
    let signed_in = follow(world, &token).await.unwrap().signed_in().unwrap();
    assert_eq!(signed_in.user.id, person.claims.user, "one account, in whichever case the address is typed");
    assert!(signed_in.user.last_login_at.is_some() && signed_in.current_org.is_none());
    assert_eq!(world.last_event(&person).await, ("login_success".into(), true));
    assert_eq!(detail(world, &person).await["method"], "link");
    assert_eq!(refusal(follow(world, &token).await), Code::TokenUnusable);
    assert!(world.login(&person.email, PASSWORD).await.is_ok(), "a proven account keeps its password");
}

#[tokio::test]
async fn a_code_signs_in_once() {
    let world = World::shared().await;
    let person = world.person().await;
    world.verify(&person).await;
    let code = code(world, &person.email).await;
    let both = [(), ()].map(|()| enter(world, &person.email, &code));
    let done = futures_util::future::join_all(both).await;
    assert_eq!(done.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(refusal(enter(world, &person.email, &code).await), Code::InvalidCredentials);
    for malformed in ["12345", "1234567", "12345a", "１２３４５６"] {
        let input = body::<VerifySignInCode>(json!({"email": person.email, "code": malformed}));
        assert_eq!(faults(input.map(drop)).1, ["code"], "{malformed}");
    }
}

#[tokio::test]
async fn who_has_no_account_gets_one_by_proving_the_address() {
    let world = World::shared().await;
    for delivery in ["link", "code"] {
        let email = address("example.com");
        let sign_in = match delivery {
            "link" => follow(world, &link(world, &email).await).await,
            _ => {
                let code = code(world, &email).await;
                assert_eq!(refusal(enter(world, &email, another(&code)).await), Code::InvalidCredentials);
                assert_eq!(refusal(world.login(&email, PASSWORD).await), Code::InvalidCredentials);
                enter(world, &email.to_uppercase(), &code).await
            }
        };
        let signed_in = sign_in.unwrap().signed_in().unwrap();
        let person = world.somebody(email.clone(), &signed_in);
        assert!(signed_in.user.email_verified_at.is_some() && signed_in.organizations.is_empty());
        assert_eq!(signed_in.user.email.to_lowercase(), email.to_lowercase());
        let mailed = world.mailed(&signed_in.user.email).await;
        assert_eq!(mailed.last().unwrap(), "welcome");
        let events: Vec<_> = world.events(&person).await.into_iter().map(|(event, _)| event).collect();
        assert_eq!(events, ["registered", "login_success"]);
        let again =
            follow(world, &link(world, &signed_in.user.email).await).await.unwrap().signed_in().unwrap();
        assert_eq!(again.user.id, signed_in.user.id);
    }
}

#[tokio::test]
async fn of_two_links_followed_at_once_both_find_one_account() {
    let world = World::shared().await;
    let email = address("example.com");
    let tokens = [link(world, &email).await, link(world, &email).await];
    let both = tokens.iter().map(|token| follow(world, token));
    let done = futures_util::future::join_all(both).await;
    let ids: Vec<_> = done.into_iter().map(|done| done.unwrap().signed_in().unwrap().user.id).collect();
    assert_eq!(ids[0], ids[1], "asking again burns nobody's link");
}

#[tokio::test]
async fn asking_again_mails_the_same_code() {
    let world = World::fresh().await;
    let person = world.person().await;
    world.verify(&person).await;
    let first = code(&world, &person.email).await;
    world.db.clock().advance(TimeDelta::minutes(9));
    assert_eq!(code(&world, &person.email).await, first);
    world.db.clock().advance(TimeDelta::minutes(9));
    assert!(enter(&world, &person.email, &first).await.is_ok(), "valid since it was last mailed");
    let next = code(&world, &person.email).await;
    let seeds: Vec<uuid::Uuid> = world
        .db
        .platform(async |p| {
            sign_in_codes::table
                .select(sign_in_codes::seed)
                .load(p.conn()?)
                .await
                .map_err(crm_core::Error::from)
        })
        .await
        .unwrap();
    assert_eq!(seeds.len(), 1);
    assert!(!seeds[0].to_string().contains(&next));
}

#[tokio::test]
async fn links_and_codes_expire_and_are_swept_away() {
    let world = World::fresh().await;
    let person = world.person().await;
    let token = link(&world, &person.email).await;
    let code = code(&world, &person.email).await;
    world.db.clock().advance(TimeDelta::minutes(10));
    assert_eq!(refusal(follow(&world, &token).await), Code::TokenUnusable);
    assert_eq!(refusal(enter(&world, &person.email, &code).await), Code::InvalidCredentials);
    world.identity.sweep().await.unwrap();
    let left: (i64, i64) = world
        .db
        .platform(async |p| {
            let links = sign_in_links::table.count().get_result(p.conn()?).await?;
            Ok::<_, crm_core::Error>((links, sign_in_codes::table.count().get_result(p.conn()?).await?))
        })
        .await
        .unwrap();
    assert_eq!(left, (0, 0));
}

#[tokio::test]
async fn five_guesses_burn_a_code_and_ten_a_day_end_the_guessing() {
    let world = World::fresh().await;
    let person = world.person().await;
    world.verify(&person).await;
    let mut judged = 0;
    for _ in 0..3 {
        let right = code(&world, &person.email).await;
        for _ in 0..6 {
            match refusal(enter(&world, &person.email, another(&right)).await) {
                Code::InvalidCredentials => judged += 1,
                code => assert_eq!(code, Code::TooManyRequests),
            }
        }
        assert_eq!(refusal(enter(&world, &person.email, &right).await), Code::TooManyRequests);
        world.db.clock().advance(TimeDelta::minutes(61));
    }
    assert_eq!(judged, 10, "five an hour, ten a day");
    assert!(
        follow(&world, &link(&world, &person.email).await).await.is_ok(),
        "links can't be guessed, so they go on"
    );
    world.db.clock().advance(TimeDelta::days(1));
    let right = code(&world, &person.email).await;
    assert!(enter(&world, &person.email, &right).await.is_ok());
}

#[tokio::test]
async fn a_burnt_code_stays_burnt_whoever_asks() {
    let world = World::fresh().await;
    let person = world.person().await;
    let burnt = code(&world, &person.email).await;
    for _ in 0..5 {
        enter(&world, &person.email, another(&burnt)).await.unwrap_err();
    }
    // Without the count of guesses the code itself refuses.
    let forget = diesel::delete(throttles::table.filter(throttles::key.like("sign_in_code%")));
    world
        .db
        .platform(async |p| forget.execute(p.conn()?).await.map_err(crm_core::Error::from))
        .await
        .unwrap();
    assert_eq!(refusal(enter(&world, &person.email, &burnt).await), Code::InvalidCredentials);
    let next = code(&world, &person.email).await;
    assert_ne!(next, burnt, "one time in a million it is the same");
    assert!(enter(&world, &person.email, &next).await.is_ok());
}

#[tokio::test]
async fn nobody_learns_who_has_an_account() {
    let world = World::shared().await;
    let (person, nobody) = (world.person().await, address("example.com"));
    for email in [&person.email, &nobody] {
        request(world, email, "code").await.unwrap();
        assert_eq!(refusal(enter(world, email, "000000").await), Code::InvalidCredentials);
        assert_eq!(world.work_off(email).await, 1);
        assert_eq!(world.mailed(email).await.last().unwrap(), "sign_in_code");
    }
}

#[tokio::test]
async fn mails_are_few_for_an_account_for_an_address_and_for_all() {
    let world = World::fresh().await;
    let person = world.person().await;
    for _ in 0..6 {
        request(&world, &person.email, "link").await.unwrap();
    }
    assert_eq!(world.work_off(&person.email).await, 3, "the others are accepted and not done");
    world.db.clock().advance(TimeDelta::minutes(61));
    request(&world, &person.email, "link").await.unwrap();
    assert_eq!(world.work_off(&person.email).await, 1);

    let flooder = Client { ip: Some("192.0.2.7".parse::<IpAddr>().unwrap()), ..client() };
    let flood =
        async || world.identity.request_sign_in_mail(&flooder, wanted(&address("example.com"), "link")).await;
    for _ in 0..20 {
        flood().await.unwrap();
    }
    assert_eq!(refusal(flood().await), Code::TooManyRequests);

    let all = throttles::table.filter(throttles::key.like("sign_in_mail:hour:%"));
    let full = diesel::update(all).set(throttles::failures.eq(999));
    world.db.platform(async |p| full.execute(p.conn()?).await.map_err(crm_core::Error::from)).await.unwrap();
    request(&world, &address("example.com"), "link").await.unwrap();
    assert_eq!(refusal(request(&world, &address("example.com"), "link").await), Code::TooManyRequests);
    world.db.clock().advance(TimeDelta::hours(1));
    assert!(request(&world, &address("example.com"), "link").await.is_ok(), "the next hour is a new one");
}

#[tokio::test]
async fn only_one_membership_is_chosen_unasked() {
    let world = World::shared().await;
    let person = world.person().await;
    world.verify(&person).await;
    let bound = async || {
        let code = code(world, &person.email).await;
        let by_code = enter(world, &person.email, &code).await.unwrap().signed_in().unwrap();
        by_code.current_org.map(|org| org.id)
    };
    assert_eq!(bound().await, None);
    let first = world.found(&person).await;
    assert_eq!(bound().await, first.claims.org);
    world.found(&person).await;
    let by_link = follow(world, &link(world, &person.email).await).await.unwrap().signed_in().unwrap();
    assert!(by_link.current_org.is_none() && by_link.organizations.len() == 2);
}

#[tokio::test]
async fn an_account_that_somebody_else_made_is_taken_from_them() {
    let world = World::shared().await;
    let squatter = world.founder().await;
    let wanted = json!({"name": "Left behind", "scopes": ["*:read"]});
    let resources = BTreeSet::from(["leads"]);
    let create =
        async |t: &mut TenantTx| access_tokens::create(t, &client(), &resources, body(wanted)?).await;
    let left = world.tenant(&squatter, create).await.unwrap();
    let Credential::Token(left) = world.identity.read_bearer(&left.token, "GET", "/api/leads/").unwrap()
    else {
        panic!("not an access token")
    };
    let opens = async || world.db.tenant(&left, async |_| Ok::<_, crm_core::Error>(())).await;
    assert!(opens().await.is_ok());
    let setup = world.identity.set_up_two_factor(&squatter.claims).await.unwrap();
    let secret = totp_rs::Secret::try_from_base32(&setup.secret).unwrap();
    let totp = totp_rs::Builder::new().with_secret(secret).build().unwrap();
    let now = world.db.clock().now().timestamp().cast_unsigned();
    let code = body(json!({"code": totp.generate(now).to_string()})).unwrap();
    world.identity.enable_two_factor(&client(), &squatter.claims, code).await.unwrap();

    let token = link(world, &squatter.email).await;
    let owner = follow(world, &token).await.unwrap().signed_in().unwrap();
    assert_eq!(owner.user.id, squatter.claims.user);
    assert!(owner.user.email_verified_at.is_some());
    assert_eq!(refusal(world.identity.me(&squatter.claims).await), Code::Unauthenticated);
    assert_eq!(refusal(world.login(&squatter.email, PASSWORD).await), Code::InvalidCredentials);
    let owner = world.somebody(squatter.email.clone(), &owner);
    assert!(!world.identity.two_factor(&owner.claims).await.unwrap().enabled);
    assert_eq!(
        world.work_off(&squatter.email).await,
        2,
        "a link to set a password, and the end of the tokens"
    );
    assert_eq!(world.mailed(&squatter.email).await.last().unwrap(), "password_reset");
    assert_eq!(refusal(opens().await), Code::Unauthenticated);
}

#[tokio::test]
async fn whoever_is_shut_out_gets_neither_mail_nor_session() {
    let world = World::shared().await;
    let person = world.person().await;
    let token = link(world, &person.email).await;
    world.shut_out(&person).await;
    assert_eq!(refusal(follow(world, &token).await), Code::Forbidden);
    assert_eq!(world.last_event(&person).await, ("login_failure".into(), false));
    assert_eq!(refusal(follow(world, &token).await), Code::TokenUnusable, "it is spent");
    let mails = world.mails(&person.email).await.len();
    request(world, &person.email, "link").await.unwrap();
    assert_eq!(world.work_off(&person.email).await, 1);
    assert_eq!(world.mails(&person.email).await.len(), mails);
}

#[tokio::test]
async fn a_mailed_link_does_not_replace_the_second_factor() {
    let world = World::shared().await;
    let person = world.person().await;
    world.verify(&person).await;
    let setup = world.identity.set_up_two_factor(&person.claims).await.unwrap();
    let secret = totp_rs::Secret::try_from_base32(&setup.secret).unwrap();
    let totp = totp_rs::Builder::new().with_secret(secret).build().unwrap();
    let now = world.db.clock().now().timestamp().cast_unsigned();
    let code = body(json!({"code": totp.generate(now).to_string()})).unwrap();
    let codes = world.identity.enable_two_factor(&client(), &person.claims, code).await.unwrap();
    let sign_in = follow(world, &link(world, &person.email).await).await.unwrap();
    let SignIn::SecondFactor(asked) = sign_in else { panic!("no second factor was asked for") };
    let answer = json!({"challenge": asked.challenge, "recovery_code": codes.recovery_codes[0]});
    let signed_in = world.identity.verify_second_factor(&client(), body(answer).unwrap()).await.unwrap();
    assert_eq!(signed_in.user.id, person.claims.user);
    assert_eq!(detail(world, &person).await, json!({"method": "link", "second_factor": "recovery_code"}));
}

#[tokio::test]
async fn proving_an_address_of_the_operator_makes_a_platform_administrator() {
    let world = World::shared().await;
    let email = address("ops.example");
    let signed_in = follow(world, &link(world, &email).await).await.unwrap().signed_in().unwrap();
    let person = world.somebody(email, &signed_in);
    let me = world.identity.me(&person.claims).await.unwrap();
    assert!(me.platform_admin.is_some_and(|rank| rank.is_superuser));
    assert_eq!(person.claims.kind, crm_identity::TokenKind::Platform);
}

#[tokio::test]
async fn what_is_written_down_names_nobody() {
    let world = World::fresh().await;
    let email = address("example.com");
    request(&world, &email, "code").await.unwrap();
    enter(&world, &email, "000000").await.unwrap_err();
    follow(&world, "unknown").await.unwrap_err();
    let rows: Vec<(String, bool, Value)> = world
        .db
        .platform(async |p| {
            let columns = (security_events::event, security_events::success, security_events::detail);
            let all = security_events::table.order_by(security_events::id).select(columns);
            all.load(p.conn()?).await.map_err(crm_core::Error::from)
        })
        .await
        .unwrap();
    let told: Vec<_> = rows.iter().map(|(event, success, _)| (event.as_str(), *success)).collect();
    assert_eq!(
        told,
        [("magic_link_requested", true), ("sign_in_code_failed", false), ("login_failure", false)]
    );
    assert!(rows.iter().all(|(_, _, detail)| !detail.to_string().contains('@')));
    assert_eq!(rows[0].2["account"].as_str().unwrap().len(), 64);
}
