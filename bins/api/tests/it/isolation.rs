use std::collections::BTreeSet;

use crm_api::operation::Permit;
use serde_json::{Value, json};

use crate::app::{Person, Reply, TestApp};

const UNKNOWN: &str = "0190b5a0-0000-7000-8000-00000000dead";

/// One of everything that an organization owns, and the organization itself.
async fn one_of_each(ann: &Person) -> Vec<String> {
    let lead = ann.lead(json!({"title": "Secret", "email": "secret@example.com"})).await;
    let lead = lead["id"].as_str().unwrap();
    let account = ann.post("/api/accounts/", &json!({"name": "Secret"})).await.expect(201);
    let contact = json!({"first_name": "Secret", "last_name": "Person", "account_id": account["id"]});
    let contact = ann.post("/api/contacts/", &contact).await.expect(201);
    // Before the import, because whoever waits for mail does every job that is there.
    let message = json!({"from_email": ann.sender().await, "message_subject": "Secret", "message_body": "Secret",
        "recipients": [contact["id"]]});
    let at = format!("/api/accounts/{}/create_mail/", account["id"].as_str().unwrap());
    let message = ann.post(&at, &message).await.expect(201);
    let sender = ann.get("/api/mail/senders/").await.expect(200)["results"][0].clone();
    let comment =
        ann.post(&format!("/api/leads/comment/{lead}/"), &json!({"comment": "secret"})).await.expect(201);
    let file =
        ann.upload(&format!("/api/leads/attachment/{lead}/"), "secret.txt", b"secret").await.expect(201);
    let tag = ann.post("/api/tags/", &json!({"name": "Secret"})).await.expect(201);
    let team = ann.post("/api/teams/", &json!({"name": "Secret"})).await.expect(201);
    let role = json!({"name": "Secret", "grants": {"leads": {"actions": ["view"], "scope": "all"}}});
    let role = ann.post("/api/roles/", &role).await.expect(201);
    let token = ann.post("/api/profile/tokens/", &json!({"name": "Secret"})).await.expect(201);
    let suppression = json!({"kind": "address", "value": "secret@example.com"});
    let suppression = ann.post("/api/mail/suppressions/", &suppression).await.expect(201);
    let field = json!({"target": "leads", "key": "secret", "label": "Secret", "field_type": "text"});
    let field = ann.post("/api/custom-fields/", &field).await.expect(201);
    let pipeline = ann.post("/api/leads/pipelines/", &json!({"name": "Secret"})).await.expect(201);
    let stage = &pipeline["stages"][0];
    let converted = ann.lead(json!({"first_name": "Covert", "email": "covert@example.com"})).await;
    let converted = ann
        .post(&format!("/api/leads/{}/convert/", converted["id"].as_str().unwrap()), &json!({}))
        .await
        .expect(200);
    let webhook = json!({"url": "https://example.com/secret", "events": ["*"]});
    let webhook = ann.post("/api/webhooks/", &webhook).await.expect(201);
    let import = ann.upload("/api/leads/import/", "secret.csv", b"title\nSecret\n").await.expect(202);
    let document = ann.document(&[("title", "Secret document")]).await;
    let form = ann.post("/api/api-settings/", &json!({"title": "Secret"})).await.expect(201);
    let ids = [
        &account,
        &message,
        &sender,
        &contact,
        &document,
        &form,
        &import,
        &webhook,
        &pipeline,
        stage,
        &comment,
        &file,
        &tag,
        &team,
        &role,
        &token,
        &field,
        &suppression,
    ]
    .map(|value| value["id"].as_str().unwrap().to_owned());
    let mut all = vec![lead.to_owned(), ann.member_id(), ann.org["id"].as_str().unwrap().to_owned()];
    all.extend(ids);
    let parts = ["lead_id", "account_id", "contact_id", "opportunity_id"];
    all.extend(parts.map(|key| converted[key].as_str().unwrap().to_owned()));
    all.extend(deals(ann).await);
    all
}

/// One of everything that deals consist of.
async fn deals(ann: &Person) -> Vec<String> {
    let product = ann.post("/api/products/", &json!({"name": "Secret"})).await.expect(201);
    let deal = ann.post("/api/opportunities/", &json!({"name": "Secret"})).await.expect(201);
    let lines = format!("/api/opportunities/{}/line-items/", deal["id"].as_str().unwrap());
    let line = ann.post(&lines, &json!({"name": "Secret"})).await.expect(201);
    let goal = json!({
        "name": "Secret", "goal_type": "DEALS_CLOSED", "target_value": 1, "period_type": "CUSTOM", "period_start": "2026-01-01",
        "period_end": "2026-12-31",
    });
    let goal = ann.post("/api/opportunities/goals/", &goal).await.expect(201);
    [product, deal, line, goal].map(|value| value["id"].as_str().unwrap().to_owned()).into()
}

fn without(reply: &Reply, id: &str) -> (u16, Vec<(String, String)>, String) {
    let mut headers: Vec<_> =
        reply.headers.iter().map(|(k, v)| (k.to_string(), v.to_str().unwrap().to_owned())).collect();
    headers.sort();
    (reply.status, headers, String::from_utf8(reply.bytes.clone()).unwrap().replace(id, "ID"))
}

#[actix_web::test]
async fn on_every_route_another_organizations_id_answers_as_one_that_never_existed() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.founder().await, app.founder().await);
    let ids = one_of_each(&ann).await;
    let routes = crm_api::routes::all();
    let mut answered = BTreeSet::new();
    for op in routes.operations().iter().filter(|op| op.path.contains("{id}")) {
        if matches!(op.permit, Permit::Platform(_)) {
            continue;
        }
        let body = op.body.as_ref().map(|_| json!({}));
        // The line is there, whatever stands before it.
        let line = &ids[ids.len() - 2];
        let at = |id: &str| op.path.replace("{id}", id).replace("{line}", line);
        for id in ids.iter().filter(|id| !op.path.contains("{line}") || *id != line) {
            let theirs = eve.request(op.method.clone(), &at(id), body.as_ref()).await;
            let nowhere = eve.request(op.method.clone(), &at(UNKNOWN), body.as_ref()).await;
            assert_eq!(theirs.status, 404, "{} {} {id}: {}", op.method, op.path, theirs.json());
            assert_eq!(without(&theirs, id), without(&nowhere, UNKNOWN), "{} {}", op.method, op.path);
        }
        if op.method == actix_web::http::Method::GET {
            for id in &ids {
                if ann.get(&at(id)).await.status == 200 {
                    answered.insert(op.path);
                }
            }
            assert!(
                answered.contains(op.path),
                "{} is answered to nobody: the fixture lacks its record",
                op.path
            );
        }
    }
    // And nothing happened to what Ann owns.
    assert_eq!(ann.get("/api/leads/?count=true").await.expect(200)["count"], 1);
}

#[actix_web::test]
async fn lists_and_search_show_nothing_of_another_organization() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.founder().await, app.founder().await);
    let ids = one_of_each(&ann).await;
    let routes = crm_api::routes::all();
    for op in routes.operations().iter().filter(|op| op.list.is_some() && !op.path.contains('{')) {
        if matches!(op.permit, Permit::Platform(_)) {
            continue;
        }
        let asked = if op.exports { "" } else { "?limit=200&count=true" };
        let page = eve.get(&format!("{}{asked}", op.path)).await;
        let text = String::from_utf8(page.bytes.clone()).unwrap();
        assert_eq!(page.status, 200, "{}: {text}", op.path);
        assert!(!ids.iter().any(|id| text.contains(id)), "{}: {text}", op.path);
    }
    assert_eq!(eve.get("/api/leads/?search=secret").await.expect(200)["results"], json!([]));
    assert_eq!(eve.get("/api/search/?q=secret").await.expect(200)["results"], json!([]));
    assert!(ann.get("/api/search/?q=secret").await.expect(200)["results"].as_array().unwrap().len() > 1);
    let teams = eve.get("/api/users/get-teams-and-users/").await;
    assert!(!String::from_utf8(teams.bytes).unwrap().contains(&ann.member_id()));
}

#[actix_web::test]
async fn nothing_of_another_organization_can_be_linked() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.founder().await, app.founder().await);
    let tag = ann.post("/api/tags/", &json!({"name": "Secret"})).await.expect(201);
    let team = ann.post("/api/teams/", &json!({"name": "Secret"})).await.expect(201);
    let lead = eve.lead(json!({"title": "Eve's"})).await;
    let at = format!("/api/leads/{}/", lead["id"].as_str().unwrap());
    for (field, id) in [("assigned_to", &ann.member["id"]), ("tags", &tag["id"]), ("teams", &team["id"])] {
        let (_, fields) = eve.patch(&at, &json!({field: [id]})).await.problem(422);
        assert_eq!(fields, [field]);
        let foreign = eve.post("/api/leads/", &json!({field: [id]})).await;
        let unknown = eve.post("/api/leads/", &json!({field: [UNKNOWN]})).await;
        let id = id.as_str().unwrap();
        assert_eq!(without(&foreign, id), without(&unknown, UNKNOWN), "{field}");
    }
    let members = json!({"name": "Mixed", "users": [ann.member["id"]]});
    assert_eq!(eve.post("/api/teams/", &members).await.problem(422).1, ["users"]);
    assert_eq!(
        eve.get("/api/leads/?count=true").await.expect(200)["count"],
        1,
        "a refused creation leaves nothing"
    );
}

#[actix_web::test]
async fn the_organization_comes_from_the_token_and_from_nowhere_else() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.founder().await, app.founder().await);
    ann.lead(json!({"title": "Secret"})).await;
    let org = ann.org["id"].as_str().unwrap();
    let reply = eve.with(actix_web::http::Method::GET, "/api/leads/", ("org", org), None).await;
    assert_eq!(reply.expect(200)["results"], json!([]));
    assert_eq!(eve.get(&format!("/api/leads/?org_id={org}")).await.problem(400).1, ["org_id"]);
    let (_, fields) = eve.post("/api/leads/", &json!({"org_id": org, "title": "x"})).await.problem(400);
    assert_eq!(fields, ["org_id"]);
    assert_eq!(eve.post("/api/auth/switch-org/", &json!({"org_id": org})).await.problem(403).0, "forbidden");
    assert_eq!(
        eve.post("/api/auth/switch-org/", &json!({"org_id": UNKNOWN})).await.problem(403).0,
        "forbidden"
    );
}

#[actix_web::test]
async fn whoever_is_shut_out_is_out_at_the_next_request() {
    let app = TestApp::new().await;
    let ann = app.founder().await;
    let bob = ann.colleague("USER").await;
    bob.get("/api/leads/").await.expect(200);
    let status = format!("/api/user/{}/status/", bob.member_id());
    ann.post(&status, &json!({"status": "inactive"})).await.expect(200);
    assert_eq!(bob.get("/api/leads/").await.problem(401).0, "unauthenticated");
    assert_eq!(
        bob.post("/api/auth/refresh-token/", &json!({"refresh_token": bob.refresh})).await.status,
        200,
        "the session lives on without the organization"
    );
    ann.post(&status, &json!({"status": "active"})).await.expect(200);
    bob.get("/api/leads/").await.expect(200);
    let other = bob.colleague_of_nobody();
    assert_eq!(other.get("/api/leads/").await.problem(403).0, "no_organization");
}

impl Person {
    /// The same person with the token of their registration, which names no organization.
    fn colleague_of_nobody(&self) -> Self {
        let mut person = self.clone();
        person.token = self.first_token.clone();
        person.org = Value::Null;
        person
    }
}
