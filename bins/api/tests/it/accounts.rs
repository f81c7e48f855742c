use actix_web::http::Method;
use serde_json::{Value, json};

use crate::app::{Person, TestApp};

const UNKNOWN: &str = "0190b5a0-0000-7000-8000-00000000dead";

pub(crate) fn id(record: &Value) -> &str {
    record["id"].as_str().unwrap()
}

fn path(record: &Value) -> String {
    format!("/api/accounts/{}/", id(record))
}

async fn account(who: &Person, body: Value) -> Value {
    who.post("/api/accounts/", &body).await.expect(201)
}

#[actix_web::test]
async fn an_account_is_created_read_changed_and_deleted() {
    let ann = TestApp::new().await.founder().await;
    let person = json!({"first_name": "Grace", "last_name": "Hopper"});
    let person = ann.post("/api/contacts/", &person).await.expect(201);
    let made = account(
        &ann,
        json!({
            "name": "  Acme Chairs ", "email": "Info@Acme.example", "phone": "+1 (555) 010-0100", "website": "www.acme.example",
            "industry": "SOFTWARE", "number_of_employees": 12, "annual_revenue": "1234567890123.45", "city": "", "country": "DE",
            "contacts": [person["id"]], "assigned_to": [ann.member_id()],
        }),
    )
    .await;
    assert_eq!(made["name"], "Acme Chairs");
    assert_eq!(
        (&made["annual_revenue"], &made["currency"]),
        (&json!("1234567890123.45"), &json!("USD")),
        "a revenue without a currency is in the organization's own"
    );
    assert_eq!((&made["contacts"], &made["city"]), (&json!([person["id"]]), &Value::Null));
    for hidden in ["name_normalized", "email_normalized", "phone_normalized", "domain"] {
        assert!(made.get(hidden).is_none(), "{hidden}");
    }
    assert_eq!(ann.get(&path(&made)).await.expect(200), made);
    let expanded = ann.get(&format!("{}?expand=contacts", path(&made))).await.expect(200);
    assert_eq!(expanded["contacts"], json!([{"id": person["id"], "name": "Grace Hopper"}]));

    let at = path(&made);
    let stale = ann.with(Method::PATCH, &at, ("if-match", "\"7\""), Some(&json!({"city": "Berlin"}))).await;
    assert_eq!(stale.problem(412).0, "stale_version");
    let patched = ann.patch(&at, &json!({"city": "Berlin", "phone": null})).await.expect(200);
    assert_eq!(
        (&patched["city"], &patched["phone"], &patched["version"]),
        (&json!("Berlin"), &Value::Null, &json!(2))
    );
    assert_eq!(patched["email"], made["email"], "absent is not null");
    let replaced = ann.put(&at, &json!({"name": "Acme"})).await.expect(200);
    assert_eq!(
        (&replaced["city"], &replaced["contacts"], &replaced["assigned_to"]),
        (&Value::Null, &json!([]), &json!([]))
    );
    assert_eq!(replaced["is_active"], true, "an omitted flag has its default");
    assert_eq!(ann.delete(&at).await.status, 204);
    assert_eq!(ann.get(&at).await.problem(404).0, "not_found");
}

#[actix_web::test]
async fn bad_values_are_refused_by_field_and_nothing_is_written() {
    let ann = TestApp::new().await.founder().await;
    for (body, status, code, field) in [
        (json!({}), 422, "validation_failed", "name"),
        (json!({"name": " "}), 422, "validation_failed", "name"),
        (json!({"name": "x".repeat(256)}), 422, "validation_failed", "name"),
        (json!({"name": "A", "email": "nope"}), 422, "validation_failed", "email"),
        (json!({"name": "A", "phone": "12"}), 422, "validation_failed", "phone"),
        (json!({"name": "A", "website": "javascript:alert(1)"}), 422, "validation_failed", "website"),
        (json!({"name": "A", "industry": "MAGIC"}), 422, "validation_failed", "industry"),
        (json!({"name": "A", "number_of_employees": -1}), 422, "validation_failed", "number_of_employees"),
        (json!({"name": "A", "annual_revenue": "-1"}), 422, "validation_failed", "annual_revenue"),
        (
            json!({"name": "A", "annual_revenue": "10000000000000"}),
            422,
            "validation_failed",
            "annual_revenue",
        ),
        (json!({"name": "A", "currency": "XXY"}), 422, "validation_failed", "currency"),
        (json!({"name": "A", "country": "Germany"}), 422, "validation_failed", "country"),
        (json!({"name": "A", "contacts": [UNKNOWN]}), 422, "validation_failed", "contacts"),
        (json!({"name": "A", "tags": [UNKNOWN]}), 422, "validation_failed", "tags"),
        (json!({"name": "A", "tags": ["vip"]}), 422, "validation_failed", "tags[0]"),
        (json!({"name": "A", "teams": ["east"]}), 422, "validation_failed", "teams[0]"),
        (json!({"name": "A", "assigned_to": ["bob"]}), 422, "validation_failed", "assigned_to[0]"),
        (json!({"name": "A", "contacts": ["grace"]}), 422, "validation_failed", "contacts[0]"),
        (json!({"name": "A", "contacts": "x"}), 400, "malformed_request", "contacts"),
        (json!({"name": "A", "assigned_to": [UNKNOWN]}), 422, "validation_failed", "assigned_to"),
        (json!({"name": "A", "is_sample": true}), 400, "malformed_request", "is_sample"),
        (json!({"name": "A", "nmae": "x"}), 400, "malformed_request", "nmae"),
    ] {
        let (got, fields) = ann.post("/api/accounts/", &body).await.problem(status);
        assert_eq!((got.as_str(), fields), (code, vec![field.to_owned()]), "{body}");
    }
    assert_eq!(ann.get("/api/accounts/?count=true").await.expect(200)["count"], 0);
}

#[actix_web::test]
async fn a_name_is_unique_ignoring_case_and_may_change_its_case() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.founder().await, app.founder().await);
    let acme = account(&ann, json!({"name": "Acme Chairs"})).await;
    for (name, query) in [("ACME  chairs", ""), ("acme chairs", "?allow_duplicate=true")] {
        let reply = ann.post(&format!("/api/accounts/{query}"), &json!({"name": name})).await;
        assert_eq!(reply.problem(409), ("duplicate".into(), vec!["name".into()]), "{name}{query}");
    }
    let renamed = ann.patch(&path(&acme), &json!({"name": "ACME Chairs"})).await.expect(200);
    assert_eq!(renamed["name"], "ACME Chairs");
    let other = account(&ann, json!({"name": "Other"})).await;
    assert_eq!(ann.patch(&path(&other), &json!({"name": "acme chairs"})).await.problem(409).1, ["name"]);
    account(&eve, json!({"name": "Acme Chairs"})).await;
}

#[actix_web::test]
async fn what_looks_like_another_account_is_said_and_named_only_to_whoever_may_see_it() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    let body = json!({"name": "Acme", "email": "info@acme.example", "phone": "+49 (0)30 901820", "website": "https://www.acme.example/"});
    let acme = account(&ann, body).await;
    for (twin, field) in [
        (json!({"name": "B", "email": "INFO@acme.example", "website": "b.example"}), "email"),
        (json!({"name": "C", "phone": "0049 30-901820"}), "phone"),
        (json!({"name": "D", "website": "acme.example/contact"}), "website"),
        (json!({"name": "E", "email": "sales@acme.example"}), "email"),
    ] {
        let told = ann.post("/api/accounts/", &twin).await.expect(409);
        assert_eq!(
            (&told["code"], &told["errors"][0]["field"]),
            (&json!("possible_duplicate"), &json!(field)),
            "{told}"
        );
        let message = told["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains("Acme") && message.contains(&path(&acme)), "{message}");
        let told = bob.post("/api/accounts/", &twin).await.expect(409);
        let message = told["errors"][0]["message"].as_str().unwrap();
        assert!(!message.contains("Acme") && !message.contains(id(&acme)), "{message}");
        assert!(message.contains("that you may not see"), "{message}");
    }
    let twin =
        json!({"name": "B", "email": "INFO@acme.example", "phone": "+4930901820", "website": "acme.example"});
    let (code, fields) = ann.post("/api/accounts/?allow_duplicate=false", &twin).await.problem(409);
    assert_eq!(
        (code.as_str(), fields),
        ("possible_duplicate", ["email", "phone", "website"].map(str::to_owned).to_vec())
    );
    bob.post("/api/accounts/?allow_duplicate=true", &twin).await.expect(201);
    for unlike in [
        json!({"name": "F", "phone": "+1 30 901820"}),
        json!({"name": "G", "phone": "030 901820"}),
        json!({"name": "H", "email": "acme@gmail.com"}),
        json!({"name": "I", "email": "other@gmail.com"}),
    ] {
        account(&ann, unlike).await;
    }
    assert_eq!(
        ann.post("/api/accounts/?allow_duplicate=yes", &json!({"name": "Z"})).await.problem(400).1,
        ["allow_duplicate"]
    );
}

#[actix_web::test]
async fn two_who_add_the_same_name_at_once_are_told_apart_by_the_constraint() {
    let ann = TestApp::new().await.founder().await;
    let body = json!({"name": "Raced"});
    let (one, other) =
        futures_util::future::join(ann.post("/api/accounts/", &body), ann.post("/api/accounts/", &body))
            .await;
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
}

#[actix_web::test]
async fn an_own_scope_reaches_what_was_created_or_assigned_and_only_the_creator_deletes() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    let hers = account(&ann, json!({"name": "Hers"})).await;
    let shared = account(&ann, json!({"name": "Shared", "assigned_to": [bob.member_id()]})).await;
    let his = account(&bob, json!({"name": "His"})).await;
    let list = bob.get("/api/accounts/?ordering=name&fields=name").await.expect(200);
    assert_eq!(list["results"], json!([{"name": "His"}, {"name": "Shared"}]));
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(bob.request(method, &path(&hers), None).await.problem(404).0, "not_found");
    }
    assert_eq!(bob.patch(&path(&hers), &json!({"city": "x"})).await.problem(404).0, "not_found");
    bob.patch(&path(&shared), &json!({"city": "Berlin"})).await.expect(200);
    assert_eq!(bob.delete(&path(&shared)).await.problem(403).0, "forbidden");
    assert_eq!(bob.delete(&path(&his)).await.status, 204);
    let courier = ann.colleague("COURIER").await;
    assert_eq!(courier.get("/api/accounts/").await.problem(403).0, "forbidden");
    assert_eq!(courier.post("/api/accounts/", &json!({"name": "x"})).await.problem(403).0, "forbidden");
}

#[actix_web::test]
async fn accounts_are_filtered_and_searched() {
    let ann = TestApp::new().await.founder().await;
    let tag = ann.post("/api/tags/", &json!({"name": "Vip"})).await.expect(201);
    account(&ann, json!({"name": "Acme", "city": "Berlin", "industry": "SOFTWARE", "tags": [tag["id"]]}))
        .await;
    account(
        &ann,
        json!({"name": "Zenith", "city": "Wien", "is_active": false, "assigned_to": [ann.member_id()]}),
    )
    .await;
    for (query, want) in [
        ("name__icontains=cme".to_owned(), "Acme"),
        ("city__icontains=wie".to_owned(), "Zenith"),
        ("industry=SOFTWARE".to_owned(), "Acme"),
        ("is_active=false".to_owned(), "Zenith"),
        (format!("tags={}", tag["id"].as_str().unwrap()), "Acme"),
        (format!("assigned_to={}", ann.member_id()), "Zenith"),
        ("search=zen%20wien".to_owned(), "Zenith"),
        ("ordering=-name&limit=1".to_owned(), "Zenith"),
    ] {
        let list = ann.get(&format!("/api/accounts/?{query}&fields=name")).await.expect(200);
        assert_eq!(list["results"], json!([{"name": want}]), "{query}");
    }
    let (_, fields) = ann.get("/api/accounts/?industri=x").await.problem(400);
    assert_eq!(fields, ["industri"]);
    let found = ann.get("/api/search/?q=acme").await.expect(200);
    assert_eq!(found["results"][0]["kind"], "account", "{found}");
}

#[actix_web::test]
async fn an_account_that_goes_leaves_its_people() {
    let ann = TestApp::new().await.founder().await;
    let acme = account(&ann, json!({"name": "Acme"})).await;
    let grace = json!({"first_name": "Grace", "last_name": "Hopper", "account_id": acme["id"]});
    let grace = ann.post("/api/contacts/", &grace).await.expect(201);
    assert_eq!(ann.delete(&path(&acme)).await.status, 204);
    let grace = ann.get(&format!("/api/contacts/{}/", id(&grace))).await.expect(200);
    assert_eq!((&grace["account_id"], &grace["accounts"]), (&Value::Null, &json!([])));
}
