use actix_web::http::Method;
use actix_web::test::TestRequest;
use serde_json::json;

use crate::app::TestApp;

#[actix_web::test]
async fn every_refusal_has_one_shape() {
    let app = TestApp::new().await;
    let ann = app.founder().await;
    let unknown = app.get("/api/nothing/here/").await;
    let body = unknown.json();
    assert_eq!(unknown.problem(404).0, "not_found");
    for key in ["type", "title", "status", "code", "detail", "instance", "request_id"] {
        assert!(body.get(key).is_some(), "{key}: {body}");
    }
    assert_eq!(
        (&body["instance"], &body["request_id"]),
        (&json!("/api/nothing/here/"), &json!("test-request"))
    );
    assert_eq!(ann.get("/api/leads/not-a-uuid/").await.problem(404).0, "not_found");
    assert_eq!(ann.post("/api/leads/not-a-uuid/", &json!({})).await.status, 405);

    let send = async |content_type: &str, body: Vec<u8>| {
        let request = TestRequest::post()
            .uri("/api/leads/")
            .insert_header(("authorization", format!("Bearer {}", ann.token)))
            .insert_header(("content-type", content_type))
            .set_payload(body);
        app.send(request).await
    };
    assert_eq!(send("text/plain", b"{}".to_vec()).await.problem(415).0, "unsupported_media_type");
    for broken in [
        "",
        "{",
        "[]",
        "null",
        "\"text\"",
        "{\"title\": }",
        "\u{0}",
        &format!("{}1{}", "[".repeat(500), "]".repeat(500)),
    ] {
        assert_eq!(
            send("application/json", broken.into()).await.problem(400).0,
            "malformed_request",
            "{broken:.20}"
        );
    }
    let huge = format!("{{\"title\": \"{}\"}}", "x".repeat(2 * 1024 * 1024));
    assert_eq!(send("application/json", huge.into()).await.problem(413).0, "payload_too_large");
    assert_eq!(
        send("application/json", b"{\"title\": \"\xff\"}".to_vec()).await.problem(400).0,
        "malformed_request"
    );
    assert_eq!(
        send("application/json", br#"{"title": "a\u0000b"}"#.to_vec()).await.problem(422).1,
        ["title"]
    );
    send("application/json; charset=utf-8", b"{}".to_vec()).await.expect(201);
}

#[actix_web::test]
async fn a_nul_character_is_refused_wherever_it_stands() {
    let ann = TestApp::new().await.founder().await;
    let lead = ann.lead(json!({"title": "x"})).await;
    let id = lead["id"].as_str().unwrap();
    for field in ["title", "salutation", "description", "city", "job_title", "website", "postcode"] {
        ann.post("/api/leads/", &json!({field: "a\u{0}b"})).await.problem(422);
    }
    ann.post(&format!("/api/leads/comment/{id}/"), &json!({"comment": "a\u{0}b"})).await.problem(422);
    ann.post("/api/tags/", &json!({"name": "x", "description": "a\u{0}b"})).await.problem(422);
    ann.post("/api/teams/", &json!({"name": "x", "description": "a\u{0}b"})).await.problem(422);
    ann.post("/api/teams/", &json!({"name": "   "})).await.problem(422);
    ann.post("/api/tags/", &json!({"name": "   "})).await.problem(422);
    for query in ["search=a%00b", "title=a%00b", "title__icontains=%00", "email=%00"] {
        ann.get(&format!("/api/leads/?{query}")).await.problem(400);
    }
}

#[actix_web::test]
async fn a_path_answers_without_its_final_slash() {
    let ann = TestApp::new().await.founder().await;
    let lead = ann.lead(json!({"title": "x"})).await;
    ann.get("/api/leads?limit=1").await.expect(200);
    ann.get(&format!("/api/leads/{}", lead["id"].as_str().unwrap())).await.expect(200);
    ann.post("/api/leads", &json!({"title": "y"})).await.expect(201);
    ann.app.get("/healthz").await.expect(200);
    assert_eq!(
        ann.request(Method::HEAD, "/api/leads", None).await.status,
        200,
        "HEAD is a GET without the body"
    );
}

#[actix_web::test]
async fn hostile_credentials_are_refused_alike() {
    let app = TestApp::new().await;
    let ann = app.founder().await;
    let (head, rest) = ann.token.split_once('.').unwrap();
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    for token in [
        "".to_owned(),
        "x".into(),
        "a.b.c".into(),
        format!("{none}.{rest}"),
        format!("{none}.{}.", rest.split('.').next().unwrap()),
        format!("{head}.{}", &rest[..rest.len() - 3]),
        ann.refresh.clone(),
        "x".repeat(100_000),
    ] {
        let reply = app.request(Method::GET, "/api/leads/", Some(&token), None).await;
        assert_eq!(reply.header("www-authenticate"), "Bearer", "{token:.40}");
        assert_eq!(reply.problem(401).0, "unauthenticated", "{token:.40}");
    }
    let basic = TestRequest::get()
        .uri("/api/leads/")
        .insert_header(("authorization", format!("Token {}", ann.token)));
    assert_eq!(app.send(basic).await.problem(401).0, "unauthenticated");
}

#[actix_web::test]
async fn browsers_are_told_what_not_to_do() {
    let app = TestApp::new().await;
    let reply = app.get("/healthz/").await;
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
    assert_eq!(reply.header("x-frame-options"), "DENY");
    assert_eq!(reply.header("content-security-policy"), "default-src 'none'; frame-ancestors 'none'");
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(reply.header("x-request-id"), "test-request");
    let foreign = TestRequest::get().uri("/healthz/").insert_header(("origin", "https://evil.example"));
    assert_eq!(app.send(foreign).await.header("access-control-allow-origin"), "");
}

#[actix_web::test]
async fn health_readiness_and_metrics_answer() {
    let app = TestApp::new().await;
    assert_eq!(app.get("/healthz/").await.expect(200), json!({"status": "ok"}));
    assert_eq!(
        app.get("/readyz/").await.expect(200),
        json!({"database": true, "schema": true, "role": true})
    );
    app.get("/healthz/").await;
    let metrics = String::from_utf8(app.get("/metrics").await.bytes).unwrap();
    assert!(metrics.contains("http_request_duration_seconds"), "{metrics}");
}
