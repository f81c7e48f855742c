use serde_json::{Value, json};

use crate::app::{Person, TestApp};

impl Person {
    async fn audit(&self, query: &str) -> Vec<Value> {
        let page = self.get(&format!("/api/audit/?limit=200&{query}")).await.expect(200);
        page["results"].as_array().unwrap().clone()
    }
}

#[actix_web::test]
async fn administrators_read_the_audit_trail_of_their_organization() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.founder().await, app.founder().await);
    let bob = ann.colleague("USER").await;
    let events = ann.audit("").await;
    let words: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert!(words.contains(&"org_created") && words.contains(&"membership_joined"), "{words:?}");
    assert!(events.iter().all(|event| event["org_id"] == ann.org["id"]));
    assert!(!eve.audit("").await.iter().any(|event| event["org_id"] == ann.org["id"]));
    assert_eq!(bob.get("/api/audit/").await.problem(403).0, "forbidden");
    assert_eq!(ann.audit("event=org_created&success=true").await.len(), 1);
    let next =
        ann.get("/api/audit/?limit=1&event=org_created,membership_invited,org_switch").await.expect(200);
    let second = ann.get(next["next"].as_str().unwrap()).await.expect(200);
    assert_ne!(second["results"][0]["id"], next["results"][0]["id"]);
    for (query, field) in
        [("evnt=x", "evnt"), ("event=nothing", "event"), ("org_id=x", "org_id"), ("expand=user_id", "expand")]
    {
        let (code, fields) = ann.get(&format!("/api/audit/?{query}")).await.problem(400);
        assert_eq!((code.as_str(), fields), ("invalid_parameter", vec![field.to_owned()]), "{query}");
    }
    assert_eq!(ann.get("/api/audit/?cursor=x").await.problem(400).0, "invalid_cursor");
    assert_eq!(ann.get("/api/platform/audit/").await.problem(403).0, "forbidden");
}

#[actix_web::test]
async fn every_refusal_of_a_member_is_written_down() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    for _ in 0..3 {
        bob.get("/api/roles/").await.problem(403);
    }
    bob.post("/api/tags/", &json!({"name": "x"})).await.problem(403);
    let denied = ann.audit("event=permission_denied").await;
    let operations: Vec<_> =
        denied.iter().map(|event| event["detail"]["operation"].as_str().unwrap()).collect();
    assert_eq!(operations, ["create_tag", "list_roles"], "the same again is only counted");
    assert_eq!((&denied[0]["success"], &denied[0]["org_id"]), (&json!(false), &ann.org["id"]));
    let said = ["request_id", "method", "route"].map(|key| denied[0][key].as_str().unwrap_or_default());
    assert_eq!(said, ["test-request", "POST", "/api/tags/"]);
}

#[actix_web::test]
async fn what_opens_nothing_is_written_down() {
    let ann = TestApp::new().await.founder().await;
    let body = json!({"name": "Old", "scopes": ["leads:read"]});
    let made = ann.post("/api/profile/tokens/", &body).await.expect(201);
    ann.delete(&format!("/api/profile/tokens/{}/", made["id"].as_str().unwrap())).await;
    let program = Person { token: made["token"].as_str().unwrap().to_owned(), ..ann.clone() };
    // An address of its own, so that no other test's token is taken for a repetition.
    let at = ("x-forwarded-for", "2001:db8:77::1");
    let get = actix_web::http::Method::GET;
    assert_eq!(program.with(get, "/api/leads/", at, None).await.problem(401).0, "unauthenticated");
    let invalid = ann.audit("event=token_invalid").await;
    assert_eq!((invalid.len(), &invalid[0]["ip_address"]), (1, &json!("2001:db8:77::1")));
    let bob = ann.colleague("USER").await;
    let status = format!("/api/user/{}/status/", bob.member_id());
    ann.post(&status, &json!({"status": "inactive"})).await.expect(200);
    bob.get("/api/leads/").await.problem(401);
    assert_eq!(ann.audit("event=cross_org_attempt").await.len(), 1);
}
