use std::net::IpAddr;

use chrono::TimeDelta;
use crm_core::{Code, Error};
use crm_identity::{Client, SignedIn};
use crm_schema::security_events;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use crate::support::{PASSWORD, World, address, client, login};

fn wait<T: std::fmt::Debug>(result: crm_core::Result<T>) -> u64 {
    match result {
        Err(Error::TooMany { seconds }) => seconds,
        other => panic!("not slowed down: {other:?}"),
    }
}

fn from(ip: &str) -> Client {
    Client { ip: Some(ip.parse::<IpAddr>().unwrap()), user_agent: Some("x".repeat(600)), ..client() }
}

#[tokio::test]
async fn failures_slow_an_account_down_more_and_more() {
    let world = World::fresh().await;
    let person = world.person().await;
    for _ in 0..5 {
        assert_eq!(world.login(&person.email, "wrong").await.unwrap_err().code(), Code::InvalidCredentials);
    }
    for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
        let told = wait(world.login(&person.email, PASSWORD).await);
        assert!(told <= seconds + 1 && told > seconds / 2, "{told} seconds instead of {seconds}");
        world.db.clock().advance(TimeDelta::seconds(seconds.cast_signed()));
        assert_eq!(world.login(&person.email, "wrong").await.unwrap_err().code(), Code::InvalidCredentials);
    }
    world.db.clock().advance(TimeDelta::seconds(300));
    assert!(world.login(&person.email, PASSWORD).await.is_ok());
    for _ in 0..5 {
        let refused = world.login(&person.email, "wrong").await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidCredentials, "a success starts the count anew");
    }
}

#[tokio::test]
async fn an_account_that_is_not_there_is_slowed_down_alike() {
    let world = World::shared().await;
    let nobody = address("example.com");
    for _ in 0..5 {
        assert_eq!(world.login(&nobody, PASSWORD).await.unwrap_err().code(), Code::InvalidCredentials);
    }
    assert!(wait(world.login(&nobody.to_uppercase(), PASSWORD).await) <= 2);
}

#[tokio::test]
async fn an_hour_without_failures_is_forgiven() {
    let world = World::fresh().await;
    let person = world.person().await;
    for _ in 0..4 {
        world.login(&person.email, "wrong").await.unwrap_err();
    }
    world.db.clock().advance(TimeDelta::minutes(61));
    for _ in 0..5 {
        assert_eq!(world.login(&person.email, "wrong").await.unwrap_err().code(), Code::InvalidCredentials);
    }
    wait(world.login(&person.email, PASSWORD).await);
}

#[tokio::test]
async fn guesses_made_at_once_do_not_slip_through() {
    let world = World::shared().await;
    let person = world.person().await;
    let guesses = (0..16).map(|_| world.login(&person.email, "wrong"));
    let done = futures_util::future::join_all(guesses).await;
    let judged = done
        .iter()
        .filter(|result| matches!(result, Err(Error::Refused(Code::InvalidCredentials, _))))
        .count();
    assert!((5..=6).contains(&judged), "{judged}: one more if the first wait is over meanwhile");
    assert!(done.iter().all(|result| result.is_err()));
}

#[tokio::test]
async fn an_address_that_tries_many_accounts_is_slowed_down() {
    let world = World::fresh().await;
    let person = world.person().await;
    let attempt = async |client: &Client, email: &str, password: &str| -> crm_core::Result<SignedIn> {
        world.identity.login(client, login(email, password, None)).await?.signed_in()
    };
    let attacker = from("192.0.2.1");
    for _ in 0..20 {
        attempt(&attacker, &address("example.com"), "guess").await.unwrap_err();
    }
    assert!(wait(attempt(&attacker, &person.email, PASSWORD).await) <= 2);
    assert!(attempt(&from("192.0.2.2"), &person.email, PASSWORD).await.is_ok(), "others are not concerned");
    world.db.clock().advance(TimeDelta::seconds(1));
    assert!(attempt(&attacker, &person.email, PASSWORD).await.is_ok());
    attempt(&attacker, &person.email, "wrong").await.unwrap_err();
    let told = wait(attempt(&attacker, &person.email, PASSWORD).await);
    assert!(told <= 2, "the success counted as none: {told}");
}

#[tokio::test]
async fn a_busy_address_with_right_passwords_is_never_slowed_down() {
    let world = World::fresh().await;
    let person = world.person().await;
    let office = from("2001:db8::1");
    for _ in 0..21 {
        assert!(world.identity.login(&office, login(&person.email, PASSWORD, None)).await.is_ok());
    }
}

#[tokio::test]
async fn a_refused_sign_in_is_written_down_with_its_origin_and_without_the_address() {
    let world = World::fresh().await;
    let nobody = address("example.com");
    for _ in 0..6 {
        world.identity.login(&from("192.0.2.9"), login(&nobody, "guess", None)).await.unwrap_err();
    }
    type Row = (String, bool, Option<String>, Option<String>, serde_json::Value);
    let rows: Vec<Row> = world
        .db
        .platform(async |p| {
            let all = security_events::table.order_by(security_events::id).select((
                security_events::event,
                security_events::success,
                security_events::ip_address,
                security_events::user_agent,
                security_events::detail,
            ));
            all.load(p.conn()?).await.map_err(Error::from)
        })
        .await
        .unwrap();
    let reasons: Vec<_> = rows.iter().map(|row| row.4["reason"].as_str().unwrap()).collect();
    let want = [&["unknown_account"; 4][..], &["limit_reached", "unknown_account", "throttled"]].concat();
    assert_eq!(reasons, want);
    let (suspicious, failures): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| row.0 == "suspicious_activity");
    let limit = suspicious[0].4["limit"].as_str().unwrap();
    assert!(limit.starts_with("login:account:") && !limit.contains('@'), "{limit}");
    for (event, success, ip, user_agent, detail) in failures {
        assert_eq!((event.as_str(), success, ip.as_deref()), ("login_failure", false, Some("192.0.2.9")));
        assert_eq!(user_agent.unwrap().len(), 500);
        assert_eq!(detail["account"].as_str().unwrap().len(), 64);
        assert!(!detail.to_string().contains('@'), "{detail}");
    }
}
