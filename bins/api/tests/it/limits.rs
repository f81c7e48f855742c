//! How much one client may ask for.

use std::num::NonZeroU32;

use actix_web::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crm_api::limits::Rates;
use serde_json::json;

use crate::app::{QUOTA, TestApp};

pub(crate) const NONE: Rates =
    Rates { token: None, org: None, address: None, web_form: None, web_form_address: None, in_flight: 1_000 };

async fn app(rates: Rates) -> TestApp {
    TestApp::limited(crm_testkit::shared_db().await, rates).await
}

#[actix_web::test]
async fn a_token_may_ask_so_often_a_minute() {
    let app = app(Rates { token: NonZeroU32::new(20), ..NONE }).await;
    let ann = app.founder().await;
    let first = ann.get("/api/leads/").await;
    assert_eq!((first.status, first.header("ratelimit-policy")), (200, "\"token\";q=20;w=60"));
    let left = |reply: &crate::app::Reply| -> u32 {
        let text = reply.header("ratelimit").strip_prefix("\"token\";r=").unwrap().to_owned();
        text.split(';').next().unwrap().parse().unwrap()
    };
    let second = ann.get("/api/leads/").await;
    assert_eq!(left(&second), left(&first) - 1);
    for _ in 0..left(&second) {
        assert_eq!(ann.get("/api/leads/").await.status, 200);
    }
    let refused = ann.get("/api/leads/").await;
    assert!((1..=4).contains(&refused.header("retry-after").parse::<u32>().unwrap()), "{refused:?}");
    assert_eq!(left(&refused), 0);
    assert_eq!(refused.problem(429).0, "too_many_requests");
    // Somebody else is not held up, and neither is the same person with another session.
    assert_eq!(app.founder().await.get("/api/leads/").await.status, 200);
    assert_eq!(ann.sign_in_again().await.get("/api/leads/").await.status, 200);
}

#[actix_web::test]
async fn an_organization_shares_its_limit_and_others_do_not() {
    let app = app(Rates { org: NonZeroU32::new(12), ..NONE }).await;
    let ann = app.founder().await;
    let bob = ann.colleague("USER").await;
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.extend([ann.get("/api/leads/").await.status, bob.get("/api/leads/").await.status]);
    }
    assert!(statuses.contains(&200) && statuses.ends_with(&[429, 429]), "{statuses:?}");
    assert_eq!(app.founder().await.get("/api/leads/").await.status, 200);
}

#[actix_web::test]
async fn an_address_is_limited_before_anybody_signs_in() {
    let app = app(Rates { address: NonZeroU32::new(5), ..NONE }).await;
    let ask = async |address: &str, path: &str| {
        let request =
            actix_web::test::TestRequest::get().uri(path).insert_header(("x-forwarded-for", address));
        app.send(request).await
    };
    for _ in 0..5 {
        assert_eq!(ask("2001:db8::1", "/api/leads/").await.status, 401);
    }
    // The same /64 is the same address.
    assert_eq!(ask("2001:db8::2", "/api/leads/").await.problem(429).0, "too_many_requests");
    assert_eq!(ask("2001:db8:0:1::1", "/api/leads/").await.status, 401);
}

#[actix_web::test]
async fn a_process_that_has_its_hands_full_says_so_and_can_still_be_watched() {
    let app = app(Rates { in_flight: 0, ..NONE }).await;
    let refused = app.get("/api/leads/").await;
    assert_eq!(refused.header("retry-after"), "2");
    assert_eq!(refused.problem(503).0, "unavailable");
    for path in ["/healthz/", "/readyz/", "/metrics/"] {
        assert_eq!(app.get(path).await.status, 200, "{path}");
    }
}

#[actix_web::test]
async fn an_organization_can_fill_its_storage_and_empty_it_again() {
    let ann = TestApp::new().await.founder().await;
    let lead = ann.lead(json!({"title": "With files"})).await;
    let lead = lead["id"].as_str().unwrap();
    let files = format!("/api/leads/attachment/{lead}/");
    let file = vec![b'x'; 25 * 1024 * 1024];
    let mut kept = Vec::new();
    for name in ["a.txt", "b.txt"] {
        kept.push(ann.upload(&files, name, &file).await.expect(201));
    }
    assert_eq!(ann.upload(&files, "c.txt", &file).await.problem(413).0, "quota_exceeded");
    let usage = ann.get("/api/org/storage/").await.expect(200);
    assert_eq!(usage, json!({"used_bytes": 2 * file.len(), "files": 2, "quota_bytes": QUOTA}));
    let gone = kept[0]["id"].as_str().unwrap();
    assert_eq!(ann.delete(&format!("/api/leads/attachment/{gone}/")).await.status, 204);
    ann.upload(&files, "c.txt", &file).await.expect(201);
    // A record takes its files with it.
    assert_eq!(ann.delete(&format!("/api/leads/{lead}/")).await.status, 204);
    let usage = ann.get("/api/org/storage/").await.expect(200);
    assert_eq!((&usage["used_bytes"], &usage["files"]), (&json!(0), &json!(0)));
}

#[actix_web::test]
async fn a_forged_token_uses_up_nobody_elses_limit() {
    let app = app(Rates { org: NonZeroU32::new(15), ..NONE }).await;
    let ann = app.founder().await;
    let org: uuid::Uuid = ann.org["id"].as_str().unwrap().parse().unwrap();
    for n in 0..40_u8 {
        let raw = [[n; 32].as_slice(), org.as_bytes()].concat();
        let forged = format!("amp_pat_{}", URL_SAFE_NO_PAD.encode(raw));
        let refused = app.request(Method::GET, "/api/leads/", Some(&forged), None).await;
        assert_eq!(refused.status, 401);
    }
    assert_eq!(ann.get("/api/leads/").await.status, 200);
}
