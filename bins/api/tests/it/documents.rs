use std::collections::BTreeSet;

use actix_web::http::Method;
use serde_json::{Value, json};

use crate::app::TestApp;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

fn example(path: &str) -> String {
    let id = "0190b5a0-0000-7000-8000-000000000000";
    path.replace("{id}", id).replace("{line}", id)
}

fn method(word: &str) -> Method {
    word.to_uppercase().parse().unwrap()
}

#[actix_web::test]
async fn router_and_document_agree_on_every_path_and_method() {
    let app = TestApp::new().await;
    let document = app.get("/api/schema/").await.expect(200);
    assert_eq!(document["openapi"].as_str().unwrap().split('.').take(2).collect::<Vec<_>>(), ["3", "1"]);
    let paths = document["paths"].as_object().unwrap();
    for (path, item) in paths {
        assert!(path.ends_with('/'), "{path}");
        let documented: BTreeSet<_> = METHODS.iter().copied().filter(|m| item.get(m).is_some()).collect();
        for word in METHODS {
            let reply = app.request(method(word), &example(path), None, None).await;
            if documented.contains(word) {
                assert!(
                    reply.status != 405 && !(reply.status == 404 && word == "get" && !path.contains("{id}")),
                    "{word} {path}: {}",
                    reply.status
                );
                let protected = item[word].get("security").is_some();
                assert_eq!(
                    protected,
                    reply.status == 401 && reply.header("www-authenticate") == "Bearer",
                    "{word} {path}: {}",
                    reply.status
                );
            } else {
                assert_eq!(reply.status, 405, "{word} {path}");
                let allow: BTreeSet<_> = reply
                    .header("allow")
                    .split(", ")
                    .map(str::to_lowercase)
                    .filter(|m| m != "head")
                    .collect();
                assert_eq!(allow, documented.iter().map(|m| (*m).to_owned()).collect(), "{word} {path}");
                assert_eq!(reply.problem(405).0, "method_not_allowed");
            }
        }
    }
    let declared: BTreeSet<_> =
        crm_api::routes::all().operations().iter().map(|op| op.path.to_owned()).collect();
    assert_eq!(declared, paths.keys().cloned().collect());
}

#[actix_web::test]
async fn every_operation_is_described_whole() {
    let app = TestApp::new().await;
    let document = app.get("/api/schema/").await.expect(200);
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (word, op) in
            item.as_object().unwrap().iter().filter(|(word, _)| METHODS.contains(&word.as_str()))
        {
            let id = op["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} twice");
            assert!(op["tags"].as_array().is_some_and(|tags| tags.len() == 1), "{id}");
            assert!(op["summary"].as_str().is_some_and(|text| text.len() > 5), "{id}");
            // To follow takes no more than saying so.
            if matches!(word.as_str(), "put" | "patch") && !path.ends_with("/follow/") {
                assert!(op.get("requestBody").is_some(), "{id} takes no body");
            }
            let responses = op["responses"].as_object().unwrap();
            let success: Vec<_> = responses.keys().filter(|status| status.starts_with('2')).collect();
            assert_eq!(success.len(), 1, "{id}");
            let content = responses[success[0]].get("content").is_some();
            assert!(content || matches!(success[0].as_str(), "204" | "202"), "{id} answers nothing");
            for (status, response) in responses.iter().filter(|(status, _)| status.starts_with(['4', '5'])) {
                let schema = &response["content"]["application/problem+json"]["schema"]["$ref"];
                assert_eq!(schema, "#/components/schemas/ProblemDocument", "{id} {status}");
            }
            // A board may be that of a pipeline which is not there.
            let may_lack = path.contains("{id}") || path == "/api/leads/kanban/";
            assert_eq!(may_lack, responses.contains_key("404"), "{id}");
        }
    }
}

#[actix_web::test]
async fn every_reference_leads_somewhere() {
    fn references<'a>(value: &'a Value, into: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(object) => {
                if let Some(Value::String(reference)) = object.get("$ref") {
                    into.insert(reference);
                }
                object.values().for_each(|inner| references(inner, into));
            }
            Value::Array(items) => items.iter().for_each(|inner| references(inner, into)),
            _ => {}
        }
    }
    let document = serde_json::to_value(crm_api::openapi::document()).unwrap();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 10);
    for reference in found {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
    for (module, schema) in [("leads", "Lead"), ("tags", "Tag"), ("users", "Member")] {
        let page =
            format!("/paths/~1api~1{module}~1/get/responses/200/content/application~1json/schema/$ref");
        let page = document.pointer(&page).and_then(Value::as_str).unwrap();
        let rows = document.pointer(page.trim_start_matches('#')).unwrap()["properties"]["results"]["items"]
            ["$ref"]
            .clone();
        assert_eq!(rows, format!("#/components/schemas/{schema}"), "each list has a page of its own");
    }
    let codes = &document["components"]["schemas"]["Code"]["enum"];
    assert_eq!(
        codes.as_array().unwrap().len(),
        crm_core::Code::WORDS.len(),
        "the closed list of codes is shown"
    );
}

#[actix_web::test]
async fn every_documented_parameter_is_understood() {
    let ann = TestApp::new().await.founder().await;
    let lead = ann.lead(json!({"title": "x"})).await;
    let document = ann.get("/api/schema/").await.expect(200);
    for (path, item) in document["paths"].as_object().unwrap() {
        let at = example(&path.replace("{id}", lead["id"].as_str().unwrap()));
        if path.starts_with("/api/platform/") {
            continue;
        }
        for parameter in
            item["get"]["parameters"].as_array().into_iter().flatten().filter(|p| p["in"] == "query")
        {
            let name = parameter["name"].as_str().unwrap();
            let schema = &parameter["schema"];
            let value = match (name, schema["type"].as_str(), schema["format"].as_str()) {
                ("cursor", ..) => continue,
                ("after", ..) if path == "/api/changes/" => "now".into(),
                ("kinds", ..) => "lead".into(),
                ("follow_up", ..) => "overdue".into(),
                ("kind", ..) if path == "/api/activities/" => "lead".into(),
                ("action", ..) if path == "/api/activities/" => "updated".into(),
                ("actor", ..) => "0190b5a0-0000-7000-8000-000000000000".into(),
                ("event", ..) if path == "/api/audit/" => "login_success,login_failure".into(),
                ("ip_address", ..) if path == "/api/audit/" => "192.0.2.1".into(),
                ("user_id", ..) => "0190b5a0-0000-7000-8000-000000000000".into(),
                ("created_at__gte" | "created_at__lt", ..) => "2026-01-31".into(),
                ("ordering", ..) => "-created_at".into(),
                ("expand", ..) => {
                    let list = parameter["description"].as_str().unwrap().split(": ").nth(1).unwrap();
                    list.trim_end_matches('.').replace(", ", ",")
                }
                ("format", ..) if path.ends_with("/export/") => "csv".into(),
                ("period_type", ..) => "MONTHLY".into(),
                ("format", ..) => "yaml".into(),
                ("fields", ..) => "id".into(),
                (_, Some("boolean"), _) => "true".into(),
                (_, Some("integer"), _) => "1".into(),
                (_, Some("array"), _) | (_, _, Some("uuid")) => "0190b5a0-0000-7000-8000-000000000000".into(),
                (_, _, Some("date")) => "2026-01-31".into(),
                (_, _, Some("date-time")) => "2026-01-31T00:00:00Z".into(),
                (name, ..) => match schema["enum"][0].as_str() {
                    Some(word) => word.replace(' ', "+").replace('&', "%26"),
                    None => sample_in(name, item),
                },
            };
            let reply = ann.get(&format!("{at}?{name}={value}")).await;
            assert!(
                matches!(reply.status, 200 | 404),
                "{path}?{name}={value}: {} {}",
                reply.status,
                reply.json()
            );
        }
    }
}

/// A value for a free-text parameter: what its plain field takes, where it is the `in` of something typed.
fn sample_in(name: &str, item: &Value) -> String {
    let Some(field) = name.strip_suffix("__in") else { return "1".into() };
    let plain = item["get"]["parameters"].as_array().unwrap().iter().find(|p| p["name"] == field).unwrap();
    let schema = &plain["schema"];
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("array"), _) | (_, Some("uuid")) => "0190b5a0-0000-7000-8000-000000000000".into(),
        (_, Some("date")) => "2026-01-31".into(),
        (_, Some("date-time")) => "2026-01-31T00:00:00Z".into(),
        _ => schema["enum"][0].as_str().unwrap_or("1").replace(' ', "+").replace('&', "%26"),
    }
}

#[actix_web::test]
async fn the_pages_come_from_this_server_alone() {
    let app = TestApp::new().await;
    for page in ["/swagger-ui/", "/api/schema/redoc/"] {
        let reply = app.get(page).await;
        let html = String::from_utf8(reply.bytes.clone()).unwrap();
        assert_eq!(reply.status, 200, "{page}");
        assert!(reply.header("content-security-policy").starts_with("default-src 'self'"), "{page}");
        assert!(!html.contains("https://") && !html.contains("src=\"//"), "{page}: {html}");
        let script = html.split("src=\"").nth(1).unwrap().split('"').next().unwrap();
        let script = if script.starts_with('/') {
            script.to_owned()
        } else {
            format!("{page}{}", script.trim_start_matches("./"))
        };
        assert_eq!(app.get(&script).await.status, 200, "{script}");
    }
    let yaml = app.get("/api/schema/?format=yaml").await;
    assert!(String::from_utf8_lossy(&yaml.bytes).starts_with("openapi: 3.1"));
}
