use actix_web::http::Method;
use chrono::Days;
use serde_json::{Value, json};

use crate::app::{Person, TestApp};

fn path(record: &Value) -> String {
    format!("/api/opportunities/{}/", record["id"].as_str().unwrap())
}

impl Person {
    /// Adds an opportunity and answers it.
    pub(crate) async fn deal(&self, body: Value) -> Value {
        self.post("/api/opportunities/", &body).await.expect(201)
    }
}

fn today() -> String {
    // Organizations are at home in UTC unless told.
    chrono::Utc::now().date_naive().to_string()
}

fn in_days(days: u64) -> String {
    chrono::Utc::now().date_naive().checked_add_days(Days::new(days)).unwrap().to_string()
}

#[actix_web::test]
async fn an_opportunity_is_created_read_changed_and_deleted() {
    let ann = TestApp::new().await.founder().await;
    let reply = ann
        .post(
            "/api/opportunities/",
            &json!({
                "name": "  Two hundred chairs ", "stage": "PROPOSAL", "opportunity_type": "NEW_BUSINESS",
                "amount": "1250.5", "lead_source": "EXISTING CUSTOMER", "closed_on": "2027-01-31",
                "assigned_to": [ann.member_id()], "description": "",
            }),
        )
        .await;
    let location = reply.header("location").to_owned();
    let deal = reply.expect(201);
    assert_eq!(location, path(&deal));
    for (field, want) in [
        ("name", json!("Two hundred chairs")),
        ("amount", json!("1250.50")),
        ("currency", json!("USD")),
        ("probability", json!(50)),
        ("probability_is_manual", json!(false)),
        ("amount_source", json!("MANUAL")),
        ("closed_by", Value::Null),
        ("description", Value::Null),
        ("days_in_stage", json!(0)),
        ("aging_status", json!("green")),
        ("assigned_to", json!([ann.member["id"]])),
    ] {
        assert_eq!(deal[field], want, "{field}");
    }
    assert!(deal.get("name_normalized").is_none());
    assert_eq!(ann.get(&path(&deal)).await.expect(200), deal, "what is read is what was answered");
    let changed = ann.patch(&path(&deal), &json!({"description": "Oak"})).await.expect(200);
    assert_eq!((&changed["version"], &changed["amount"]), (&json!(2), &json!("1250.50")));
    let mut back = changed.clone();
    back["name"] = json!("Three hundred chairs");
    let stored = ann.put(&path(&deal), &back).await.expect(200);
    assert_eq!(
        (&stored["name"], &stored["probability_is_manual"]),
        (&json!("Three hundred chairs"), &json!(false)),
        "what is read can be written back, and chooses no probability"
    );
    assert_eq!(ann.delete(&path(&deal)).await.status, 204);
    assert_eq!(ann.get(&path(&deal)).await.problem(404).0, "not_found");
}

#[actix_web::test]
async fn bad_values_are_refused_by_field_and_nothing_is_written() {
    let ann = TestApp::new().await.founder().await;
    ann.deal(json!({"name": "Taken"})).await;
    let unknown = "0190b5a0-0000-7000-8000-000000000000";
    for (body, status, code, field) in [
        (json!({}), 422, "validation_failed", "name"),
        (json!({"name": " "}), 422, "validation_failed", "name"),
        (json!({"name": "x".repeat(256)}), 422, "validation_failed", "name"),
        (json!({"name": "a", "stage": "WON"}), 422, "validation_failed", "stage"),
        (json!({"name": "a", "stage": null}), 400, "malformed_request", "stage"),
        (json!({"name": "a", "probability": 101}), 422, "validation_failed", "probability"),
        (json!({"name": "a", "probability": -1}), 422, "validation_failed", "probability"),
        (json!({"name": "a", "amount": "-1"}), 422, "validation_failed", "amount"),
        (json!({"name": "a", "amount": "0.001", "currency": "EUR"}), 422, "validation_failed", "amount"),
        (json!({"name": "a", "currency": "XXY"}), 422, "validation_failed", "currency"),
        (json!({"name": "a", "closed_on": "2026-02-30"}), 422, "validation_failed", "closed_on"),
        (json!({"name": "a", "account_id": unknown}), 422, "validation_failed", "account_id"),
        (json!({"name": "a", "contacts": [unknown]}), 422, "validation_failed", "contacts"),
        (json!({"name": "a", "assigned_to": [unknown]}), 422, "validation_failed", "assigned_to"),
        (json!({"name": "a", "closed_by": unknown}), 400, "malformed_request", "closed_by"),
        (json!({"name": "a", "amount_source": "MANUAL"}), 400, "malformed_request", "amount_source"),
        (json!({"name": "TAKEN"}), 409, "duplicate", "name"),
    ] {
        let (got, fields) = ann.post("/api/opportunities/", &body).await.problem(status);
        assert_eq!((got.as_str(), fields), (code, vec![field.to_owned()]), "{body}");
    }
    assert_eq!(ann.get("/api/opportunities/?count=true").await.expect(200)["count"], 1);
}

#[actix_web::test]
async fn a_name_is_unique_ignoring_case_and_may_change_its_own() {
    let app = TestApp::new().await;
    let (ann, bob) = (app.founder().await, app.founder().await);
    let deal = ann.deal(json!({"name": "Chairs"})).await;
    bob.deal(json!({"name": "chairs"})).await;
    assert_eq!(ann.patch(&path(&deal), &json!({"name": "CHAIRS"})).await.expect(200)["name"], "CHAIRS");
}

#[actix_web::test]
async fn the_probability_follows_the_stage_unless_it_was_set_by_hand() {
    let ann = TestApp::new().await.founder().await;
    let deal = ann.deal(json!({"name": "Chairs", "amount": "10"})).await;
    for (change, want) in [
        (json!({"stage": "QUALIFICATION"}), (25, false)),
        (json!({"stage": "NEGOTIATION"}), (75, false)),
        (json!({"probability": 60}), (60, true)),
        (json!({"stage": "PROPOSAL"}), (60, true)),
        (json!({"probability": null}), (50, false)),
        (json!({"probability": 0}), (0, true)),
        (json!({"stage": "NEGOTIATION"}), (0, true)),
        (json!({"stage": "CLOSED_WON"}), (100, false)),
        (json!({"probability": 50}), (100, false)),
        (json!({"stage": "CLOSED_LOST"}), (0, false)),
        (json!({"stage": "PROPOSAL"}), (50, false)),
        (json!({"stage": "PROSPECTING", "probability": 33}), (33, true)),
    ] {
        let now = ann.patch(&path(&deal), &change).await.expect(200);
        assert_eq!(
            (&now["probability"], &now["probability_is_manual"]),
            (&json!(want.0), &json!(want.1)),
            "{change}"
        );
    }
}

#[actix_web::test]
async fn a_whole_new_state_without_a_probability_follows_the_stage_again() {
    let ann = TestApp::new().await.founder().await;
    let deal = ann.deal(json!({"name": "Chairs", "stage": "PROPOSAL", "probability": 33})).await;
    let mut back = deal.clone();
    back["description"] = json!("Oak");
    let kept = ann.put(&path(&deal), &back).await.expect(200);
    assert_eq!((&kept["probability"], &kept["probability_is_manual"]), (&json!(33), &json!(true)));
    let body = json!({"name": "Chairs", "stage": "PROPOSAL"});
    let now = ann.put(&path(&deal), &body).await.expect(200);
    assert_eq!((&now["probability"], &now["probability_is_manual"]), (&json!(50), &json!(false)));
}

#[actix_web::test]
async fn a_closed_deal_has_a_date_and_a_won_one_an_amount_however_it_got_there() {
    let ann = TestApp::new().await.founder().await;
    let won = json!({"name": "No amount", "stage": "CLOSED_WON"});
    assert_eq!(ann.post("/api/opportunities/", &won).await.problem(422).1, ["amount"]);
    let won = json!({"name": "Zero", "stage": "CLOSED_WON", "amount": "0"});
    assert_eq!(ann.post("/api/opportunities/", &won).await.problem(422).1, ["amount"]);
    let won = ann.deal(json!({"name": "Won", "stage": "CLOSED_WON", "amount": "5"})).await;
    assert_eq!(
        (&won["closed_on"], &won["closed_by"], &won["probability"]),
        (&json!(today()), &ann.member["id"], &json!(100))
    );
    // What was only hoped for is not when it closed; what is given stays.
    let hoped = ann.deal(json!({"name": "Hoped", "amount": "5", "closed_on": in_days(40)})).await;
    let closed = ann.patch(&path(&hoped), &json!({"stage": "CLOSED_WON"})).await.expect(200);
    assert_eq!(closed["closed_on"], today());
    let given = json!({"stage": "CLOSED_LOST", "closed_on": "2026-01-05"});
    assert_eq!(ann.patch(&path(&hoped), &given).await.expect(200)["closed_on"], "2026-01-05");
    for refused in [json!({"closed_on": null}), json!({"stage": "CLOSED_WON", "amount": null})] {
        ann.patch(&path(&hoped), &refused).await.problem(422);
    }
    // A replacement that leaves the date out is judged as it would be stored.
    let put = json!({"name": "Won", "stage": "CLOSED_WON", "amount": "5"});
    assert_eq!(ann.put(&path(&won), &put).await.problem(422).1, ["closed_on"]);
    assert_eq!(ann.get(&path(&won)).await.expect(200)["closed_on"], today());
    let open = ann.deal(json!({"name": "Open", "amount": "5", "closed_on": "2026-01-05"})).await;
    let put = json!({"name": "Open", "stage": "CLOSED_WON", "amount": "5"});
    assert_eq!(ann.put(&path(&open), &put).await.expect(200)["closed_on"], today());
}

#[actix_web::test]
async fn who_closed_it_is_whoever_did_and_nobody_once_it_is_open_again() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    let deal = ann.deal(json!({"name": "Chairs", "amount": "5", "assigned_to": [bob.member_id()]})).await;
    let closed = bob.patch(&path(&deal), &json!({"stage": "CLOSED_LOST"})).await.expect(200);
    assert_eq!(closed["closed_by"], bob.member["id"]);
    let again = json!({"stage": "CLOSED_LOST", "description": "Too dear"});
    let again = ann.patch(&path(&deal), &again).await.expect(200);
    assert_eq!(again["closed_by"], bob.member["id"], "it was closed before");
    assert_eq!(again["stage_changed_at"], closed["stage_changed_at"]);
    let open = ann.patch(&path(&deal), &json!({"stage": "PROPOSAL"})).await.expect(200);
    assert_eq!(open["closed_by"], Value::Null);
    assert_ne!(open["stage_changed_at"], closed["stage_changed_at"]);
    let whole =
        json!({"name": "Chairs", "amount": "5", "stage": "CLOSED_WON", "assigned_to": [bob.member_id()]});
    bob.put(&path(&deal), &whole).await.expect(200);
    assert_eq!(ann.get(&path(&deal)).await.expect(200)["closed_by"], bob.member["id"], "as it is stored");
    let born = bob.deal(json!({"name": "Tables", "stage": "CLOSED_LOST"})).await;
    assert_eq!(ann.get(&path(&born)).await.expect(200)["closed_by"], bob.member["id"]);
    for field in ["closed_by", "stage_changed_at", "amount_source", "probability_is_manual"] {
        let (code, fields) = ann.patch(&path(&deal), &json!({field: "x"})).await.problem(400);
        assert_eq!((code.as_str(), fields), ("read_only_field", vec![field.to_owned()]));
    }
    let history = ann.get(&format!("{}history/", path(&deal))).await.expect(200);
    let changed = history["results"][0]["fields"].as_object().unwrap();
    assert!(!changed.contains_key("days_in_stage") && !changed.contains_key("position"), "{changed:?}");
}

#[actix_web::test]
async fn a_user_sees_and_changes_their_own_deals_and_deletes_what_they_made() {
    let ann = TestApp::new().await.founder().await;
    let (bob, eve) = (ann.colleague("USER").await, ann.colleague("USER").await);
    let deal = bob.deal(json!({"name": "Bob's", "assigned_to": [eve.member_id()]})).await;
    let hidden = ann.deal(json!({"name": "Ann's"})).await;
    assert_eq!(bob.get("/api/opportunities/?count=true").await.expect(200)["count"], 1);
    assert_eq!(bob.get(&path(&hidden)).await.problem(404).0, "not_found");
    assert_eq!(bob.patch(&path(&hidden), &json!({"name": "Mine"})).await.problem(404).0, "not_found");
    eve.patch(&path(&deal), &json!({"stage": "PROPOSAL"})).await.expect(200);
    assert_eq!(eve.delete(&path(&deal)).await.problem(403).0, "forbidden");
    assert_eq!(bob.delete(&path(&deal)).await.status, 204);
    let stale = bob.deal(json!({"name": "Stale"})).await;
    let body = json!({"name": "Newer"});
    let reply = bob.with(Method::PATCH, &path(&stale), ("if-match", "\"7\""), Some(&body)).await;
    assert_eq!(reply.problem(412).0, "stale_version");
}
