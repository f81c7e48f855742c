use actix_web::http::Method;
use crm_api::operation::Permit;
use serde_json::{Value, json};

use crate::app::{Person, Reply, TestApp};

const UNKNOWN: &str = "0190b5a0-0000-7000-8000-00000000dead";

impl Person {
    /// A program that presents a token of this person with these scopes.
    async fn program(&self, scopes: &[&str]) -> (Self, Value) {
        let body = json!({"name": "A program", "scopes": scopes});
        let made = self.post("/api/profile/tokens/", &body).await.expect(201);
        let token = made["token"].as_str().unwrap().to_owned();
        (Self { token, ..self.clone() }, made)
    }
}

fn detail(reply: &Reply) -> String {
    reply.json()["detail"].as_str().unwrap_or_default().to_owned()
}

#[actix_web::test]
async fn a_token_is_shown_once_and_revoked_as_often_as_one_likes() {
    let ann = TestApp::new().await.founder().await;
    let body = json!({"name": "Sync", "scopes": ["Leads:Read", "leads:read"]});
    let reply = ann.post("/api/profile/tokens/", &body).await;
    let location = reply.header("location").to_owned();
    let made = reply.expect(201);
    let token = made["token"].as_str().unwrap();
    assert_eq!((&made["scopes"], &made["token_prefix"]), (&json!(["leads:read"]), &json!(token[..16])));
    assert_eq!(location, format!("/api/profile/tokens/{}/", made["id"].as_str().unwrap()));
    let listed = ann.get("/api/profile/tokens/?count=true&revoked_at__isnull=true").await;
    assert!(!String::from_utf8_lossy(&listed.bytes).contains(&token[16..]));
    let listed = listed.expect(200);
    assert_eq!((&listed["count"], &listed["results"][0]["id"]), (&json!(1), &made["id"]));
    for _ in 0..2 {
        assert_eq!(ann.delete(&location).await.status, 204);
    }
    let listed = ann.get("/api/profile/tokens/?count=true&revoked_at__isnull=true").await.expect(200);
    assert_eq!(listed["count"], 0);
    assert_eq!(ann.app.mail_of(&ann.email, "token_created").await.data["token_name"], "Sync");
}

#[actix_web::test]
async fn scopes_name_the_parts_of_the_api_that_there_are() {
    let ann = TestApp::new().await.founder().await;
    let make =
        async |scopes: Value| ann.post("/api/profile/tokens/", &json!({"name": "x", "scopes": scopes})).await;
    for part in
        ["leads", "teams", "tags", "users", "user", "roles", "profile", "org", "auth", "audit", "attachments"]
    {
        make(json!([format!("{part}:read"), format!("{part}:write")])).await.expect(201);
    }
    let reply = make(json!(["leads:read", "leds:read", "platform:read", "schema:read"])).await;
    assert!(reply.json()["errors"][0]["message"].as_str().unwrap().contains("did you mean leads?"));
    let (code, fields) = reply.problem(422);
    assert_eq!(
        (code.as_str(), fields),
        ("validation_failed", ["scopes.1", "scopes.2", "scopes.3"].map(str::to_owned).to_vec())
    );
}

#[actix_web::test]
async fn the_organization_oversees_its_tokens() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.founder().await, app.founder().await);
    let bob = ann.colleague("USER").await;
    let (_, made) = bob.program(&["leads:read"]).await;
    let id = made["id"].as_str().unwrap();
    let page = ann.get("/api/org/tokens/?count=true").await.expect(200);
    assert_eq!(page["totals"], json!({"count": 1, "live": 1, "orphaned": 0, "unused_90d": 0}));
    let row = &page["results"][0];
    assert_eq!((&row["id"], &row["is_live"], row.get("token")), (&made["id"], &json!(true), None));
    assert_eq!((&row["owner"]["id"], &row["owner"]["email"]), (&bob.member["id"], &json!(bob.email)));
    assert_eq!(bob.get("/api/org/tokens/").await.problem(403).0, "forbidden");
    let at = format!("/api/org/tokens/{id}/");
    assert_eq!(bob.delete(&at).await.problem(403).0, "forbidden");
    for path in [at.clone(), format!("/api/profile/tokens/{id}/"), format!("/api/org/tokens/{UNKNOWN}/")] {
        assert_eq!(eve.delete(&path).await.problem(404).0, "not_found", "{path}");
    }
    assert_eq!(ann.delete(&format!("/api/profile/tokens/{id}/")).await.problem(404).0, "not_found");
    assert_eq!(ann.delete(&at).await.status, 204);
    assert_eq!(ann.get("/api/org/tokens/").await.expect(200)["totals"]["live"], 0);
}

#[actix_web::test]
async fn a_token_reads_or_writes_what_its_scopes_name() {
    let ann = TestApp::new().await.founder().await;
    let lead = ann.lead(json!({"title": "Chairs"})).await;
    let at = format!("/api/leads/{}/", lead["id"].as_str().unwrap());
    let (reader, _) = ann.program(&["leads:read"]).await;
    let (writer, _) = ann.program(&["leads:write"]).await;
    assert_eq!(reader.get(&at).await.expect(200)["title"], "Chairs");
    let refused = reader.patch(&at, &json!({"title": "Tables"})).await;
    assert_eq!(detail(&refused), "this token lacks the scope leads:write");
    assert_eq!(refused.problem(403).0, "forbidden");
    writer.patch(&at, &json!({"title": "Tables"})).await.expect(200);
    assert_eq!(detail(&writer.get(&at).await), "this token lacks the scope leads:read");
    assert_eq!(detail(&reader.get("/api/teams/").await), "this token lacks the scope teams:read");
    let (me, _) = ann.program(&["auth:read"]).await;
    let shown = me.get("/api/auth/me/").await.expect(200);
    assert_eq!((&shown["email"], &shown["current_org"]["id"]), (&json!(ann.email), &ann.org["id"]));
}

#[actix_web::test]
async fn no_operation_is_open_to_a_token_without_the_scope_for_it() {
    let ann = TestApp::new().await.founder().await;
    let (nothing, _) = ann.program(&[]).await;
    let (everything, _) = ann.program(&["*:read", "*:write"]).await;
    let (reading, _) = ann.program(&["*:read"]).await;
    let routes = crm_api::routes::all();
    // What streams never ends, and leaving would end this test.
    let calls = routes.operations().iter().filter(|op| op.permit != Permit::Public);
    for op in calls.filter(|op| op.id != "leave_org" && !op.path.ends_with("/stream/")) {
        let path = op.path.replace("{id}", UNKNOWN).replace("{line}", UNKNOWN);
        let body = op.body.as_ref().map(|_| json!({}));
        let refused = nothing.request(op.method.clone(), &path, body.as_ref()).await;
        assert_eq!(refused.problem(403).0, "forbidden", "{}", op.id);
        let credentials = ["/api/auth/", "/api/profile/tokens/", "/api/org/tokens/", "/api/platform/"];
        let webhooks = ["create_webhook", "replace_webhook", "change_webhook", "delete_webhook"];
        let closed = op.id != "me" && credentials.iter().any(|closed| op.path.starts_with(closed))
            || op.path.ends_with("/rotate-secret/")
            || webhooks.contains(&op.id);
        let reply = everything.request(op.method.clone(), &path, body.as_ref()).await;
        if closed {
            assert_eq!(reply.problem(403).0, "forbidden", "{}", op.id);
        } else if op.permit != Permit::SignedIn {
            assert_ne!(reply.status, 403, "{}: {}", op.id, detail(&reply));
        }
        if op.method != Method::GET {
            let refused = reading.request(op.method.clone(), &path, body.as_ref()).await;
            assert_eq!(refused.problem(403).0, "forbidden", "{}", op.id);
        }
    }
}

#[actix_web::test]
async fn a_token_that_opens_nothing_is_answered_alike_and_at_once() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.founder().await, app.founder().await);
    let bob = ann.colleague("USER").await;
    let (program, made) = bob.program(&["leads:read"]).await;
    program.get("/api/leads/").await.expect(200);
    ann.delete(&format!("/api/org/tokens/{}/", made["id"].as_str().unwrap())).await;
    let revoked = program.get("/api/leads/").await;
    let (stranger, _) = eve.program(&["leads:read"]).await;
    let swapped = format!("{}{}", &stranger.token[..51], &program.token[51..]);
    for token in [swapped, "amp_pat_x".to_owned(), format!("amp_pat_{}", "A".repeat(64))] {
        let unknown = Person { token, ..bob.clone() }.get("/api/leads/").await;
        assert_eq!((unknown.status, unknown.header("www-authenticate")), (401, "Bearer"));
        assert_eq!(unknown.json(), revoked.json());
    }
    assert_eq!(revoked.problem(401).0, "unauthenticated");
    let status = format!("/api/user/{}/status/", bob.member_id());
    let (program, _) = bob.program(&["leads:read"]).await;
    ann.post(&status, &json!({"status": "inactive"})).await.expect(200);
    assert_eq!(program.get("/api/leads/").await.problem(401).0, "unauthenticated");
    ann.post(&status, &json!({"status": "active"})).await.expect(200);
    program.get("/api/leads/").await.expect(200);
}

#[actix_web::test]
async fn what_a_token_does_is_its_owners_and_its_use_is_noted() {
    let ann = TestApp::new().await.founder().await;
    let (program, made) = ann.program(&["leads:write"]).await;
    let lead = program.lead(json!({"title": "By a program"})).await;
    assert_eq!(lead["created_by"], ann.member["id"]);
    let listed = ann.get("/api/profile/tokens/").await.expect(200);
    assert!(listed["results"][0]["last_used_at"].is_string(), "{listed}");
    let used = ann.get("/api/audit/?event=token_used").await.expect(200);
    assert_eq!(used["results"][0]["detail"], json!({"token": made["id"]}));
}
