//! `Idempotency-Key`: a POST that is sent again has its effect once and the same answer.

use actix_web::http::Method;
use actix_web::test;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::app::{PASSWORD, Person, Reply, TestApp, unique_email};

const LEADS: &str = "/api/leads/";

async fn keyed(person: &Person, key: &str, path: &str, body: &Value) -> Reply {
    person.with(Method::POST, path, ("idempotency-key", key), Some(body)).await
}

async fn leads(person: &Person) -> usize {
    person.get("/api/leads/?limit=200").await.expect(200)["results"].as_array().unwrap().len()
}

#[actix_web::test]
async fn a_repetition_gets_the_first_answer_and_has_no_effect() {
    let ann = TestApp::new().await.founder().await;
    let body = json!({"title": "Once", "email": "once@example.com"});
    let first = keyed(&ann, "key-1", LEADS, &body).await;
    assert_eq!((first.status, first.header("idempotent-replayed")), (201, ""));
    for _ in 0..2 {
        let again = keyed(&ann, "key-1", LEADS, &body).await;
        assert_eq!((again.status, again.header("idempotent-replayed")), (201, "true"));
        assert_eq!(again.bytes, first.bytes);
        for header in ["location", "etag", "content-type"] {
            assert_eq!(again.header(header), first.header(header), "{header}");
        }
    }
    assert_eq!(leads(&ann).await, 1);
    // Another key is another request, and runs into the rule that the first one made.
    assert_eq!(keyed(&ann, "key-2", LEADS, &body).await.problem(409).0, "duplicate");
}

#[actix_web::test]
async fn a_key_stands_for_one_request_of_one_member() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    keyed(&ann, "shared", LEADS, &json!({"title": "Ann's"})).await.expect(201);
    let (other_body, tags) = (json!({"title": "Other"}), json!({"name": "Other"}));
    for (path, body) in
        [(LEADS, &other_body), ("/api/leads/?fields=title", &other_body), ("/api/tags/", &tags)]
    {
        let reused = keyed(&ann, "shared", path, body).await;
        if path.contains('?') {
            assert_eq!(reused.status, 400, "a parameter that the operation does not take");
        } else {
            assert_eq!(reused.problem(422).0, "idempotency_key_reused", "{path}");
        }
    }
    let bobs = keyed(&bob, "shared", LEADS, &json!({"title": "Bob's"})).await;
    assert_eq!((bobs.status, bobs.header("idempotent-replayed")), (201, ""));
}

#[actix_web::test]
async fn a_refusal_is_judged_anew() {
    let ann = TestApp::new().await.founder().await;
    let wrong = json!({"title": "Wrong", "probability": 101});
    assert_eq!(keyed(&ann, "again", LEADS, &wrong).await.problem(422).0, "validation_failed");
    let right = keyed(&ann, "again", LEADS, &json!({"title": "Right"})).await;
    assert_eq!((right.status, right.header("idempotent-replayed")), (201, ""));
}

#[actix_web::test]
async fn of_requests_at_once_one_has_the_effect() {
    let ann = TestApp::new().await.founder().await;
    let body = json!({"title": "Together"});
    let replies = join_all((0..6).map(|_| keyed(&ann, "together", LEADS, &body))).await;
    for reply in &replies {
        match reply.status {
            201 => {}
            409 => assert_eq!(reply.json()["code"], "request_in_progress"),
            other => panic!("{other}: {}", String::from_utf8_lossy(&reply.bytes)),
        }
    }
    assert!(replies.iter().any(|reply| reply.status == 201));
    assert_eq!(leads(&ann).await, 1);
}

#[actix_web::test]
async fn a_file_is_added_once() {
    let ann = TestApp::new().await.founder().await;
    let lead = ann.lead(json!({"title": "With a file"})).await;
    let files = format!("/api/leads/attachment/{}/", lead["id"].as_str().unwrap());
    let key = Some("upload-1");
    let first = ann.upload_keyed(&files, "a.txt", b"hello", key).await;
    let again = ann.upload_keyed(&files, "a.txt", b"hello", key).await;
    assert_eq!((first.status, again.status, &first.bytes), (201, 201, &again.bytes));
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(
        ann.upload_keyed(&files, "a.txt", b"hullo", key).await.problem(422).0,
        "idempotency_key_reused"
    );
    assert_eq!(ann.get(&format!("{files}?count=true")).await.expect(200)["count"], 1);
    assert_eq!(ann.get("/api/org/storage/").await.expect(200)["used_bytes"], 5);
}

#[actix_web::test]
async fn outside_an_organization_too() {
    let app = TestApp::new().await;
    let ann = app.register(&unique_email()).await;
    let org = json!({"name": "Founded once"});
    let first = keyed(&ann, "found", "/api/org/", &org).await;
    let again = keyed(&ann, "found", "/api/org/", &org).await;
    assert_eq!((first.status, again.status, &first.bytes), (201, 201, &again.bytes));
    assert_eq!(ann.get("/api/org/").await.expect(200)["results"].as_array().unwrap().len(), 1);

    // A refresh token is spent by its use: only the key makes it safe to ask again.
    let refresh = json!({"refresh": ann.refresh});
    let ask = async || {
        let request = test::TestRequest::post()
            .uri("/api/auth/refresh-token/")
            .insert_header(("idempotency-key", ann.email.clone()))
            .set_json(&refresh);
        app.send(request).await
    };
    let (first, again) = (ask().await, ask().await);
    assert_eq!((first.status, again.status, &first.bytes), (200, 200, &again.bytes));
    // A refusal leaves the key free.
    let sign_in = async |password: &str| {
        let body = json!({"email": ann.email, "password": password});
        let request = test::TestRequest::post()
            .uri("/api/auth/login/")
            .insert_header(("idempotency-key", format!("login-{}", ann.email)))
            .set_json(body);
        app.send(request).await
    };
    assert_eq!(sign_in("not the password").await.status, 401);
    assert_eq!(sign_in(PASSWORD).await.status, 200);
}

#[actix_web::test]
async fn a_key_must_be_one() {
    let ann = TestApp::new().await.founder().await;
    for key in ["", "two words", &"x".repeat(256), "caf\u{e9}"] {
        let refused = keyed(&ann, key, LEADS, &json!({"title": "X"})).await;
        assert_eq!(refused.problem(400).0, "malformed_request", "{key}");
    }
    assert_eq!(leads(&ann).await, 0);
}

#[actix_web::test]
async fn a_key_is_forgotten_after_a_day() {
    let database = crm_testkit::fresh_database().await;
    let (app, clock) = (TestApp::on(database.db.clone()).await, database.db.clock());
    let ann = app.founder().await;
    let body = json!({"title": "Daily"});
    keyed(&ann, "daily", LEADS, &body).await.expect(201);
    clock.advance(chrono::TimeDelta::hours(23));
    assert_eq!(keyed(&ann, "daily", LEADS, &body).await.header("idempotent-replayed"), "true");
    clock.advance(chrono::TimeDelta::minutes(61));
    let ann = ann.sign_in_again().await;
    let later = keyed(&ann, "daily", LEADS, &body).await;
    assert_eq!((later.status, later.header("idempotent-replayed")), (201, ""));
    assert_eq!(leads(&ann).await, 2);
}
