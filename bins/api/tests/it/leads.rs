use actix_web::http::Method;
use serde_json::{Value, json};

use crate::app::TestApp;

fn path(record: &Value) -> String {
    format!("/api/leads/{}/", record["id"].as_str().unwrap())
}

#[actix_web::test]
async fn a_lead_is_created_read_changed_and_deleted() {
    let ann = TestApp::new().await.founder().await;
    let reply = ann
        .post(
            "/api/leads/",
            &json!({
                "title": "  Two hundred chairs ", "first_name": "Grace", "last_name": "Hopper", "email": "Grace@Example.com",
                "phone": "+1 (555) 010-0100", "status": "assigned", "source": "call", "rating": "HOT", "industry": "SOFTWARE",
                "opportunity_amount": "1250.5", "currency": "EUR", "probability": 40, "close_date": "2027-01-31",
                "city": "", "country": "DE", "website": "example.com", "linkedin_url": "https://linkedin.com/in/grace",
                "assigned_to": [ann.member_id()],
            }),
        )
        .await;
    let location = reply.header("location").to_owned();
    assert_eq!(reply.header("etag"), "\"1\"");
    let lead = reply.expect(201);
    assert_eq!(location, path(&lead));
    assert_eq!(lead["title"], "Two hundred chairs");
    assert_eq!(lead["opportunity_amount"], "1250.50");
    assert_eq!(lead["city"], Value::Null, "blank is null");
    assert_eq!(lead["created_by"], ann.member["id"]);
    assert_eq!(lead["assigned_to"], json!([ann.member["id"]]));
    assert!(lead.get("email_normalized").is_none());

    assert_eq!(ann.get(&path(&lead)).await.expect(200), lead, "what is read is what was answered");

    let changed = ann.patch(&path(&lead), &json!({"status": "in process", "phone": null})).await.expect(200);
    assert_eq!(changed["version"], 2);
    assert_eq!((&changed["status"], &changed["phone"]), (&json!("in process"), &Value::Null));
    assert_eq!(changed["title"], lead["title"], "absent is not null");

    let replaced = ann.put(&path(&lead), &json!({"last_name": "Hopper"})).await.expect(200);
    assert_eq!(
        (&replaced["title"], &replaced["assigned_to"]),
        (&Value::Null, &json!([])),
        "PUT clears what is left out"
    );

    assert_eq!(ann.delete(&path(&lead)).await.status, 204);
    assert_eq!(ann.get(&path(&lead)).await.problem(404).0, "not_found");
}

#[actix_web::test]
async fn a_change_that_changes_nothing_makes_no_version() {
    let ann = TestApp::new().await.founder().await;
    let lead = ann.lead(json!({"title": "Same", "opportunity_amount": "10", "currency": "USD"})).await;
    let same =
        ann.patch(&path(&lead), &json!({"title": "Same", "opportunity_amount": "10.00"})).await.expect(200);
    assert_eq!(same, lead);
}

#[actix_web::test]
async fn what_is_read_can_be_written_back() {
    let ann = TestApp::new().await.founder().await;
    let lead =
        ann.lead(json!({"title": "Round trip", "opportunity_amount": "99.90", "currency": "CHF"})).await;
    let mut back = lead.clone();
    back["title"] = json!("Round trip 2");
    let stored = ann.put(&path(&lead), &back).await.expect(200);
    assert_eq!((&stored["title"], &stored["version"]), (&json!("Round trip 2"), &json!(2)));
    let (code, fields) = ann.put(&path(&lead), &back).await.problem(400);
    assert_eq!(
        (code.as_str(), fields),
        ("read_only_field", vec!["updated_at".to_owned(), "version".to_owned()])
    );
    for (field, value) in [("id", json!("0190b5a0-0000-7000-8000-000000000000")), ("is_sample", json!(true))]
    {
        let (code, fields) = ann.patch(&path(&lead), &json!({field: value})).await.problem(400);
        assert_eq!((code.as_str(), fields), ("read_only_field", vec![field.to_owned()]));
    }
}

#[actix_web::test]
async fn bad_values_are_refused_by_field_and_nothing_is_written() {
    let ann = TestApp::new().await.founder().await;
    let long = "x".repeat(256);
    for (body, status, code, field) in [
        (json!({"first_name": " "}), 422, "validation_failed", "first_name"),
        (json!({"title": long}), 422, "validation_failed", "title"),
        (json!({"email": "not an address"}), 422, "validation_failed", "email"),
        (json!({"phone": "12"}), 422, "validation_failed", "phone"),
        (json!({"phone": "call me maybe"}), 422, "validation_failed", "phone"),
        (json!({"linkedin_url": "javascript:alert(1)"}), 422, "validation_failed", "linkedin_url"),
        (json!({"status": "lost"}), 422, "validation_failed", "status"),
        (json!({"status": {"assigned": null}}), 400, "malformed_request", "status"),
        (json!({"opportunity_amount": "99999999999999999"}), 422, "validation_failed", "opportunity_amount"),
        (json!({"probability": 101}), 422, "validation_failed", "probability"),
        (json!({"probability": -1}), 422, "validation_failed", "probability"),
        (json!({"probability": "50"}), 400, "malformed_request", "probability"),
        (json!({"opportunity_amount": "-1"}), 422, "validation_failed", "opportunity_amount"),
        (json!({"opportunity_amount": "NaN"}), 422, "validation_failed", "opportunity_amount"),
        (json!({"opportunity_amount": "1.234"}), 422, "validation_failed", "opportunity_amount"),
        (json!({"opportunity_amount": [1]}), 400, "malformed_request", "opportunity_amount"),
        (json!({"currency": "XXY"}), 422, "validation_failed", "currency"),
        (json!({"country": "Germany"}), 422, "validation_failed", "country"),
        (json!({"close_date": "-0044-03-15"}), 422, "validation_failed", "close_date"),
        (json!({"next_follow_up": "+12345-01-01"}), 422, "validation_failed", "next_follow_up"),
        (json!({"close_date": "2026-02-30"}), 422, "validation_failed", "close_date"),
        (json!({"is_active": null}), 400, "malformed_request", "is_active"),
        (json!({"titel": "x"}), 400, "malformed_request", "titel"),
        (json!({"assigned_to": ["x"]}), 422, "validation_failed", "assigned_to[0]"),
        (json!({"assigned_to": "x"}), 400, "malformed_request", "assigned_to"),
        (json!({"tags": ["0190b5a0-0000-7000-8000-000000000000"]}), 422, "validation_failed", "tags"),
        (json!({"teams": ["0190b5a0-0000-7000-8000-000000000000"]}), 422, "validation_failed", "teams"),
        (
            json!({"assigned_to": ["0190b5a0-0000-7000-8000-000000000000"]}),
            422,
            "validation_failed",
            "assigned_to",
        ),
        (json!({"status": "converted"}), 422, "validation_failed", "email"),
    ] {
        let (got, fields) = ann.post("/api/leads/", &body).await.problem(status);
        assert_eq!((got.as_str(), fields), (code, vec![field.to_owned()]), "{body}");
    }
    assert_eq!(ann.get("/api/leads/?count=true").await.expect(200)["count"], 0);
}

#[actix_web::test]
async fn several_faults_are_named_at_once() {
    let ann = TestApp::new().await.founder().await;
    let body = json!({"email": "x", "probability": 200, "phone": "1"});
    let (_, fields) = ann.post("/api/leads/", &body).await.problem(422);
    assert_eq!(fields, ["email", "phone", "probability"]);
}

#[actix_web::test]
async fn an_address_is_unique_in_its_organization_ignoring_case() {
    let app = TestApp::new().await;
    let (ann, bob) = (app.founder().await, app.founder().await);
    ann.lead(json!({"email": "Same@Example.com"})).await;
    let (code, fields) = ann.post("/api/leads/", &json!({"email": "same@example.COM"})).await.problem(409);
    assert_eq!((code.as_str(), fields), ("duplicate", vec!["email".to_owned()]));
    bob.lead(json!({"email": "same@example.com"})).await;
    let other = ann.lead(json!({"email": "other@example.com"})).await;
    assert_eq!(
        ann.patch(&path(&other), &json!({"email": "SAME@example.com"})).await.problem(409).0,
        "duplicate"
    );
    ann.lead(json!({"email": null})).await;
    ann.lead(json!({"email": ""})).await;
}

#[actix_web::test]
async fn the_amount_takes_the_currency_of_the_organization() {
    let ann = TestApp::new().await.founder().await;
    let lead = ann.lead(json!({"opportunity_amount": "10"})).await;
    assert_eq!((&lead["currency"], &lead["opportunity_amount"]), (&json!("USD"), &json!("10.00")));
    let yen = ann.patch(&path(&lead), &json!({"currency": "JPY"})).await.expect(200);
    assert_eq!(yen["opportunity_amount"], "10");
    assert_eq!(ann.patch(&path(&yen), &json!({"currency": null})).await.problem(422).1, ["currency"]);
    let half = ann.lead(json!({"opportunity_amount": "10.50"})).await;
    let (_, fields) = ann.patch(&path(&half), &json!({"currency": "JPY"})).await.problem(422);
    assert_eq!(fields, ["opportunity_amount"]);
}

#[actix_web::test]
async fn a_stale_version_is_refused_and_a_known_one_not_sent_again() {
    let ann = TestApp::new().await.founder().await;
    let lead = ann.lead(json!({"title": "One"})).await;
    let at = path(&lead);
    let body = json!({"title": "Two"});
    assert_eq!(ann.with(Method::PATCH, &at, ("if-match", "\"1\""), Some(&body)).await.status, 200);
    let stale = ann.with(Method::PATCH, &at, ("if-match", "\"1\""), Some(&json!({"title": "Three"}))).await;
    assert_eq!(stale.header("etag"), "\"2\"");
    assert_eq!(stale.problem(412).0, "stale_version");
    assert_eq!(
        ann.with(Method::DELETE, &at, ("if-match", "\"1\""), None).await.problem(412).0,
        "stale_version"
    );
    for tag in ["W/\"2\"", "2", "\"x\"", ""] {
        assert_eq!(
            ann.with(Method::DELETE, &at, ("if-match", tag), None).await.problem(412).0,
            "stale_version",
            "{tag}"
        );
    }
    let one_of = ("if-match", "\"7\", \"2\"");
    assert_eq!(ann.with(Method::PATCH, &at, one_of, Some(&json!({"title": "Two"}))).await.status, 200);
    assert_eq!(ann.with(Method::GET, &at, ("if-none-match", "\"2\""), None).await.status, 304);
    assert_eq!(ann.with(Method::GET, &at, ("if-none-match", "\"1\""), None).await.status, 200);
}

#[actix_web::test]
async fn simultaneous_changes_are_both_kept() {
    let ann = TestApp::new().await.founder().await;
    let lead = ann.lead(json!({"title": "Contended"})).await;
    let at = path(&lead);
    let (city, state) = (json!({"city": "Berlin"}), json!({"state": "BE"}));
    let (one, two) = futures_util::join!(ann.patch(&at, &city), ann.patch(&at, &state));
    assert_eq!((one.status, two.status), (200, 200));
    let now = ann.get(&at).await.expect(200);
    assert_eq!((&now["city"], &now["state"], &now["version"]), (&json!("Berlin"), &json!("BE"), &json!(3)));
}

#[actix_web::test]
async fn the_history_tells_field_by_field_who_changed_what() {
    let ann = TestApp::new().await.founder().await;
    let lead = ann.lead(json!({"title": "Old", "probability": 10})).await;
    ann.patch(&path(&lead), &json!({"title": "New", "assigned_to": [ann.member_id()]})).await.expect(200);
    let page = ann.get(&format!("{}history/?expand=created_by", path(&lead))).await.expect(200);
    let entries = page["results"].as_array().unwrap();
    assert_eq!(
        entries.iter().map(|e| e["action"].as_str().unwrap()).collect::<Vec<_>>(),
        ["updated", "created"]
    );
    assert_eq!(
        entries[0]["fields"],
        json!({"title": ["Old", "New"], "assigned_to": [[], [ann.member_id()]]})
    );
    assert_eq!((&entries[0]["version"], &entries[0]["created_by"]["email"]), (&json!(2), &json!(ann.email)));
}

#[actix_web::test]
async fn whoever_gets_a_lead_is_told_by_mail_once() {
    let database = crm_testkit::fresh_database().await;
    let ann = TestApp::on(database.db.clone()).await.founder().await;
    let bob = ann.colleague("USER").await;
    let lead =
        ann.lead(json!({"last_name": "Hopper", "assigned_to": [bob.member_id(), ann.member_id()]})).await;
    ann.patch(&path(&lead), &json!({"city": "Berlin"})).await.expect(200);
    let told = ann.app.mails("assigned").await;
    assert_eq!(
        told.iter().map(|mail| &mail.to).collect::<Vec<_>>(),
        [&bob.email],
        "once, and not whoever assigned it"
    );
    assert_eq!(told[0].data["title"], "Hopper");
    assert!(told[0].data["link"].as_str().unwrap().ends_with(lead["id"].as_str().unwrap()));
}

#[actix_web::test]
async fn comments_belong_to_their_author() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    let lead = ann.lead(json!({"title": "Discussed", "assigned_to": [bob.member_id()]})).await;
    let comments = format!("/api/leads/comment/{}/", lead["id"].as_str().unwrap());
    let said = bob.post(&comments, &json!({"comment": format!("ask @{}", ann.email)})).await.expect(201);
    assert_eq!((&said["created_by"], &said["mentions"]), (&bob.member["id"], &json!([ann.member["id"]])));
    let theirs = ann.post(&comments, &json!({"comment": "Done.", "is_internal": true})).await.expect(201);
    let one = |comment: &Value| format!("/api/leads/comment/{}/", comment["id"].as_str().unwrap());

    let edited = bob.patch(&one(&said), &json!({"comment": "never mind"})).await.expect(200);
    assert_eq!(
        (&edited["comment"], &edited["mentions"], &edited["version"]),
        (&json!("never mind"), &json!([]), &json!(2))
    );
    assert_eq!(bob.patch(&one(&theirs), &json!({"comment": "x"})).await.problem(403).0, "forbidden");
    assert_eq!(bob.delete(&one(&theirs)).await.problem(403).0, "forbidden");
    ann.patch(&one(&said), &json!({"comment": "moderated"})).await.expect(200);

    let history = ann.get(&format!("{}history/?action=comment_edited", path(&lead))).await.expect(200);
    assert_eq!(
        history["results"][1]["fields"]["comment"][1], "never mind",
        "the history keeps what was said"
    );
    for (body, status) in [
        (json!({"comment": "  "}), 422),
        (json!({"comment": "x".repeat(10_001)}), 422),
        (json!({}), 422),
        (json!({"comment": "x", "record_id": lead["id"]}), 400),
    ] {
        ann.post(&comments, &body).await.problem(status);
    }
    ann.post(&comments, &json!({"comment": "x".repeat(10_000)})).await.expect(201);
    assert_eq!(ann.get(&format!("{comments}?is_internal=true&count=true")).await.expect(200)["count"], 1);
    assert_eq!(bob.delete(&one(&said)).await.status, 204);
    ann.delete(&path(&lead)).await;
    assert_eq!(ann.patch(&one(&theirs), &json!({"comment": "x"})).await.problem(404).0, "not_found");
}

#[actix_web::test]
async fn a_comment_on_a_lead_that_goes_away_is_refused_and_never_an_error_of_ours() {
    let ann = TestApp::new().await.founder().await;
    for _ in 0..15 {
        let lead = ann.lead(json!({"title": "Contended"})).await;
        let id = lead["id"].as_str().unwrap();
        let (at, comment) = (format!("/api/leads/comment/{id}/"), json!({"comment": "still there?"}));
        let here = path(&lead);
        let (said, gone) = futures_util::join!(ann.post(&at, &comment), ann.delete(&here));
        assert!(matches!(said.status, 201 | 404 | 409), "{}", said.json());
        assert!(matches!(gone.status, 204 | 409), "{}", gone.json());
    }
}
