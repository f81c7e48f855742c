use actix_web::http::Method;
use serde_json::{Value, json};

use crate::app::{Person, TestApp};

const ALL: &str = "/api/custom-fields/";

fn path(field: &Value) -> String {
    format!("{ALL}{}/", field["id"].as_str().unwrap())
}

fn text(key: &str) -> Value {
    json!({"target": "leads", "key": key, "label": "Wood", "field_type": "text"})
}

fn with(mut body: Value, more: Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

impl Person {
    async fn define(&self, body: Value) -> Value {
        self.post(ALL, &body).await.expect(201)
    }
}

#[actix_web::test]
async fn a_definition_is_made_read_changed_and_deactivated() {
    let ann = TestApp::new().await.founder().await;
    let reply = ann.post(ALL, &with(text("wood"), json!({"label": "  Wood ", "display_order": 3}))).await;
    let location = reply.header("location").to_owned();
    assert_eq!(reply.header("etag"), "\"1\"");
    let wood = reply.expect(201);
    assert_eq!(location, path(&wood));
    let shown = ["label", "options", "is_required", "is_filterable", "display_order", "is_active"];
    assert_eq!(
        shown.map(|name| wood[name].clone()),
        [json!("Wood"), Value::Null, json!(false), json!(false), json!(3), json!(true)]
    );
    assert!(wood.get("records_missing_value").is_none() && wood.get("backfill_id").is_none(), "{wood}");
    assert_eq!(ann.get(&path(&wood)).await.expect(200), wood);
    let seen = ann.with(Method::GET, &path(&wood), ("if-none-match", "\"1\""), None).await;
    assert_eq!(seen.status, 304);

    let late = ("if-match", "\"7\"");
    let body = json!({"label": "Timber"});
    assert_eq!(
        ann.with(Method::PATCH, &path(&wood), late, Some(&body)).await.problem(412).0,
        "stale_version"
    );
    let changed = ann.patch(&path(&wood), &body).await.expect(200);
    assert_eq!((&changed["label"], &changed["version"]), (&json!("Timber"), &json!(2)));
    for (field, value) in [("target", "accounts"), ("key", "timber"), ("field_type", "number")] {
        let refused = ann.patch(&path(&wood), &json!({field: value})).await.problem(400);
        assert_eq!(refused, ("read_only_field".into(), vec![field.to_owned()]));
    }
    assert_eq!(
        ann.put(&path(&wood), &changed).await.expect(200),
        changed,
        "what is read can be written back"
    );
    let replaced = ann.put(&path(&wood), &text("wood")).await.expect(200);
    assert_eq!((&replaced["display_order"], &replaced["label"]), (&json!(0), &json!("Wood")));

    assert_eq!(ann.with(Method::DELETE, &path(&wood), late, None).await.problem(412).0, "stale_version");
    assert_eq!(ann.delete(&path(&wood)).await.status, 204);
    assert_eq!(ann.get(&path(&wood)).await.expect(200)["is_active"], json!(false), "it is kept");
    assert_eq!(ann.post(ALL, &text("wood")).await.problem(409).1, ["key"], "with its key");
    ann.patch(&path(&wood), &json!({"is_active": true})).await.expect(200);
}

#[actix_web::test]
async fn what_is_wrong_with_a_definition_is_named() {
    let ann = TestApp::new().await.founder().await;
    let dropdown = |options: Value| with(text("size"), json!({"field_type": "dropdown", "options": options}));
    let option = |value: &str| json!({"value": value, "label": "Label"});
    let many = |count: usize| (0..count).map(|i| option(&i.to_string())).collect::<Vec<_>>();
    for (body, status, field) in [
        (with(text("a"), json!({"target": "lead"})), 422, "target"),
        (with(text("a"), json!({"target": "tags"})), 422, "target"),
        (with(text("a"), json!({"field_type": "json"})), 422, "field_type"),
        (text(""), 422, "key"),
        (text("Wood"), 422, "key"),
        (text("1wood"), 422, "key"),
        (text("_wood"), 422, "key"),
        (text("wood-size"), 422, "key"),
        (text("größe"), 422, "key"),
        (text(&"x".repeat(65)), 422, "key"),
        (with(text("a"), json!({"label": " "})), 422, "label"),
        (with(text("a"), json!({"label": "x".repeat(129)})), 422, "label"),
        (with(text("a"), json!({"label": "two\nlines"})), 422, "label"),
        (with(text("a"), json!({"display_order": -1})), 422, "display_order"),
        (with(text("a"), json!({"display_order": 3_000_000_000_u64})), 422, "display_order"),
        (with(text("a"), json!({"is_required": "yes"})), 400, "is_required"),
        (with(text("a"), json!({"colour": "red"})), 400, "colour"),
        (with(text("a"), json!({"options": []})), 422, "options"),
        (with(text("a"), json!({"options": [option("a")]})), 422, "options"),
        (with(text("a"), json!({"field_type": "textarea", "is_filterable": true})), 422, "is_filterable"),
        (with(text("size"), json!({"field_type": "dropdown"})), 422, "options"),
        (dropdown(json!([])), 422, "options"),
        (dropdown(json!([option("a"), option("a")])), 422, "options.1.value"),
        (dropdown(json!([option("a"), option(" a ")])), 422, "options.1.value"),
        (dropdown(json!([option(" ")])), 422, "options.0.value"),
        (dropdown(json!([{"value": "a", "label": ""}])), 422, "options.0.label"),
        (dropdown(json!([{"value": "a"}])), 422, "options[0].label"),
        (dropdown(json!([{"value": "a", "label": "A", "x": 1}])), 400, "options[0].x"),
        (dropdown(json!([option(&"x".repeat(256))])), 422, "options.0.value"),
        (dropdown(json!([option("a\u{0}b")])), 422, "options"),
        (dropdown(json!(many(51))), 422, "options"),
        (dropdown(json!("a,b")), 400, "options"),
    ] {
        let (_, fields) = ann.post(ALL, &body).await.problem(status);
        assert_eq!(fields, [field], "{body}");
    }
    assert_eq!(ann.get(&format!("{ALL}?count=true")).await.expect(200)["count"], 0);
    let size = ann.define(dropdown(json!(many(50)))).await;
    assert_eq!(size["options"].as_array().unwrap().len(), 50);
    assert_eq!(ann.patch(&path(&size), &json!({"options": null})).await.problem(422).1, ["options"]);
    ann.define(text(&"x".repeat(64))).await;
    ann.define(with(text("size"), json!({"target": "invoices"}))).await;
}

#[actix_web::test]
async fn of_two_that_define_the_same_key_one_wins() {
    let ann = TestApp::new().await.founder().await;
    let body = text("wood");
    let (one, other) = tokio::join!(ann.post(ALL, &body), ann.post(ALL, &body));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
    let lost = if one.status == 409 { one } else { other };
    assert_eq!(lost.problem(409), ("duplicate".into(), vec!["key".to_owned()]));
}

#[actix_web::test]
async fn whoever_sees_a_modules_records_reads_its_definitions_and_admins_write_them() {
    let ann = TestApp::new().await.founder().await;
    let wood = ann.define(text("wood")).await;
    let grants = json!({"accounts": {"actions": ["view"], "scope": "own"}});
    ann.post("/api/roles/", &json!({"name": "Accounts only", "grants": grants})).await.expect(201);
    let (bob, eve) = (ann.colleague("USER").await, ann.colleague("Accounts only").await);
    ann.define(with(text("wood"), json!({"target": "accounts"}))).await;
    let targets = |page: Value| -> Vec<Value> {
        page["results"].as_array().unwrap().iter().map(|field| field["target"].clone()).collect()
    };
    assert_eq!(targets(bob.get(&format!("{ALL}?ordering=target")).await.expect(200)), ["accounts", "leads"]);
    assert_eq!(targets(eve.get(ALL).await.expect(200)), ["accounts"]);
    bob.get(&path(&wood)).await.expect(200);
    assert_eq!(eve.get(&path(&wood)).await.problem(404).0, "not_found");
    assert_eq!(bob.post(ALL, &text("x")).await.problem(403).0, "forbidden");
    assert_eq!(bob.patch(&path(&wood), &json!({"label": "x"})).await.problem(403).0, "forbidden");
    assert_eq!(bob.delete(&path(&wood)).await.problem(403).0, "forbidden");
    assert_eq!(bob.get(&format!("{ALL}?include_counts=true")).await.problem(403).0, "forbidden");
    bob.lead(json!({"custom_fields": {"wood": "oak"}})).await;
}

#[actix_web::test]
async fn the_records_without_a_value_are_counted_on_request() {
    let ann = TestApp::new().await.founder().await;
    let wood = ann.define(text("wood")).await;
    ann.define(with(text("wood"), json!({"target": "accounts"}))).await;
    for custom in [json!({"wood": "oak"}), json!({}), json!({"wood": null})] {
        ann.lead(json!({"custom_fields": custom})).await;
    }
    let page = ann.get(&format!("{ALL}?include_counts=true&ordering=target&limit=1")).await.expect(200);
    assert_eq!(page["results"][0]["records_missing_value"], 0, "no accounts yet");
    let page = ann.get(page["next"].as_str().unwrap()).await.expect(200);
    assert_eq!(page["results"][0]["records_missing_value"], 2, "the next page counts too");
    let one = ann.get(&format!("{}?include_counts=true", path(&wood))).await.expect(200);
    assert_eq!(one["records_missing_value"], 2);
    let without = ann.get(&format!("{ALL}?include_counts=false")).await.expect(200);
    assert!(without["results"][0].get("records_missing_value").is_none());
    for query in ["include_counts=perhaps", "include_count=true"] {
        ann.get(&format!("{ALL}?{query}")).await.problem(400);
    }
    // A number of records that one may not all see is not told.
    let some = json!({"leads": {"actions": ["view"], "scope": "own"}, "custom_fields": {"actions": ["view"], "scope": "all"}});
    ann.post("/api/roles/", &json!({"name": "Some leads", "grants": some})).await.expect(201);
    let bob = ann.colleague("Some leads").await;
    let one = bob.get(&format!("{}?include_counts=true", path(&wood))).await.expect(200);
    assert!(one.get("records_missing_value").is_none(), "{one}");
}

#[actix_web::test]
async fn values_travel_with_a_lead() {
    let ann = TestApp::new().await.founder().await;
    ann.define(with(text("wood"), json!({"is_filterable": true}))).await;
    ann.define(with(text("budget"), json!({"field_type": "number", "is_filterable": true}))).await;
    ann.define(with(text("notes"), json!({"field_type": "textarea"}))).await;
    let custom = json!({"wood": "Mooreiche", "budget": 12.50, "notes": "in the attic"});
    let lead = ann.lead(json!({"title": "Chairs", "custom_fields": custom})).await;
    assert_eq!(lead["custom_fields"], json!({"wood": "Mooreiche", "budget": 12.5, "notes": "in the attic"}));
    let at = format!("/api/leads/{}/", lead["id"].as_str().unwrap());
    assert_eq!(ann.get(&at).await.expect(200), lead);
    assert_eq!(ann.put(&at, &lead).await.expect(200), lead, "what is read can be written back");
    let only = ann.get("/api/leads/?fields=custom_fields").await.expect(200);
    assert_eq!(only["results"], json!([{"custom_fields": lead["custom_fields"]}]));

    let changed = ann.patch(&at, &json!({"custom_fields": {"wood": "Elm", "notes": ""}})).await.expect(200);
    assert_eq!(changed["version"], 2);
    let history = ann.get(&format!("{at}history/?fields=fields")).await.expect(200);
    assert_eq!(
        history["results"][0]["fields"],
        json!({"custom_fields.notes": ["in the attic", null], "custom_fields.wood": ["Mooreiche", "Elm"]})
    );

    let found = async |query: &str| -> Vec<Value> {
        let page = ann.get(&format!("/api/leads/?fields=title&{query}")).await.expect(200);
        page["results"].as_array().unwrap().clone()
    };
    let this = [json!({"title": "Chairs"})];
    assert_eq!(found("search=elm").await, this);
    assert_eq!(found("search=mooreiche").await, Vec::<Value>::new());
    assert_eq!(found("cf_budget__gte=12.5&cf_wood=Elm").await, this);
    assert_eq!(found("cf_wood__isnull=true").await, Vec::<Value>::new());
    assert_eq!(ann.get("/api/leads/?count=true&cf_wood=Elm").await.expect(200)["count"], 1);
    for query in ["cf_wod=x", "cf_notes=x", "cf_wood__like=x", "cf_budget=x", "ordering=cf_wood", "wood=Elm"]
    {
        let (code, fields) = ann.get(&format!("/api/leads/?{query}")).await.problem(400);
        assert_eq!(
            (code.as_str(), fields[0].as_str()),
            ("invalid_parameter", query.split('=').next().unwrap())
        );
    }
    assert_eq!(ann.get("/api/tags/?cf_wood=Elm").await.problem(400).1, ["cf_wood"], "tags have none");
    let query: Vec<_> = (0..31).map(|i| format!("cf_budget__ne={i}")).collect();
    ann.get(&format!("/api/leads/?{}", query[..30].join("&"))).await.expect(200);
    ann.get(&format!("/api/leads/?{}", query.join("&"))).await.problem(400);
}

#[actix_web::test]
async fn a_filter_that_is_turned_on_answers_once_the_values_are_brought_together() {
    // The jobs of others must not get in between.
    let database = crm_testkit::fresh_database().await;
    let app = TestApp::on(database.db.clone()).await;
    let ann = app.founder().await;
    let wood = ann.define(text("wood")).await;
    let lead = ann.lead(json!({"custom_fields": {"wood": "oak"}})).await;
    ann.patch(&path(&wood), &json!({"is_filterable": true})).await.expect(200);
    let reply = ann.get("/api/leads/?cf_wood=oak").await;
    assert_eq!(reply.problem(400), ("invalid_parameter".into(), vec!["cf_wood".to_owned()]));
    app.work().await;
    assert_eq!(ann.get("/api/leads/?cf_wood=oak").await.expect(200)["results"], json!([lead]));
}

#[actix_web::test]
async fn numbers_that_are_none_never_reach_the_database() {
    let ann = TestApp::new().await.founder().await;
    ann.define(with(text("budget"), json!({"field_type": "number"}))).await;
    let post = async |number: &str| {
        let request = actix_web::test::TestRequest::post()
            .uri("/api/leads/")
            .insert_header(("authorization", format!("Bearer {}", ann.token)))
            .insert_header(("content-type", "application/json"))
            .set_payload(format!("{{\"custom_fields\": {{\"budget\": {number}}}}}"));
        ann.app.send(request).await
    };
    for number in ["1e400", "-1e400", "NaN", "Infinity", "1.", "01"] {
        assert_eq!(post(number).await.problem(400).0, "malformed_request", "{number}");
    }
    for number in ["\"NaN\"", "\"1e400\"", "12345678901234567890", "0.12345678901234567", "[1]", "{}"] {
        assert_eq!(post(number).await.problem(422).1, ["custom_fields.budget"], "{number}");
    }
    for (number, want) in [
        ("-0", "0"),
        ("-0.0", "0"),
        ("1e3", "1000"),
        ("1e-7", "1e-7"),
        ("123456789012345", "123456789012345"),
    ] {
        let lead = post(number).await.expect(201);
        assert_eq!(lead["custom_fields"]["budget"].to_string(), want);
    }
}

#[actix_web::test]
async fn another_organizations_keys_are_unknown() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.founder().await, app.founder().await);
    ann.define(with(text("secret_wood"), json!({"is_filterable": true}))).await;
    let reply = eve.post("/api/leads/", &json!({"custom_fields": {"secret_wod": "x"}})).await;
    let body = String::from_utf8(reply.bytes.clone()).unwrap();
    assert_eq!(reply.problem(422).1, ["custom_fields.secret_wod"]);
    assert!(!body.contains("secret_wood"), "no hint at what others have: {body}");
    let reply = eve.get("/api/leads/?cf_secret_wod=x").await;
    assert!(!String::from_utf8(reply.bytes.clone()).unwrap().contains("cf_secret_wood"));
    reply.problem(400);
    assert_eq!(eve.get(ALL).await.expect(200)["results"], json!([]));
}

#[actix_web::test]
async fn the_document_tells_of_custom_fields() {
    let document = serde_json::to_value(crm_api::openapi::document()).unwrap();
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["CustomValues"]["type"], "object");
    assert!(schemas["CustomValues"]["description"].as_str().unwrap().contains("/api/custom-fields/"));
    assert!(schemas["CustomValues"]["additionalProperties"].is_object());
    let list = document["paths"]["/api/leads/"]["get"]["description"].as_str().unwrap();
    assert!(list.contains("cf_<key>"), "{list}");
    let tags = document["paths"]["/api/tags/"]["get"]["description"].as_str().unwrap();
    assert!(!tags.contains("cf_"), "{tags}");
    let body = document["paths"]["/api/leads/"]["post"]["requestBody"].to_string();
    assert!(body.contains("CustomBody"), "{body}");
}
