//! Rules that hold for leads, accounts, contacts and opportunities alike.

use std::cell::Cell;

use crm_jobs::{Failure, Job, Worker};
use crm_testkit::fresh_database;
use diesel::connection::{Instrumentation, InstrumentationEvent, set_default_instrumentation};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::app::TestApp;

fn id(record: &Value) -> &str {
    record["id"].as_str().unwrap()
}

/// What makes a record of each kind, under a number.
fn bodies(number: usize) -> [(&'static str, Value); 4] {
    [
        ("leads", json!({"title": format!("Lead {number}"), "email": format!("l{number}@example.com")})),
        ("accounts", json!({"name": format!("Account {number}")})),
        ("contacts", json!({"first_name": "Person", "last_name": format!("Number {number}")})),
        ("opportunities", json!({"name": format!("Deal {number}")})),
    ]
}

thread_local! {
    static STATEMENTS: Cell<usize> = const { Cell::new(0) };
}

/// Counts the statements of this thread, on connections that are made from now on.
fn count_statements() {
    fn counter() -> Option<Box<dyn Instrumentation>> {
        Some(Box::new(|event: InstrumentationEvent<'_>| {
            if matches!(event, InstrumentationEvent::StartQuery { .. }) {
                STATEMENTS.set(STATEMENTS.get() + 1);
            }
        }))
    }
    set_default_instrumentation(counter).unwrap();
}

#[actix_web::test]
async fn a_list_asks_the_database_as_often_for_many_rows_as_for_few() {
    count_statements();
    let database = fresh_database().await;
    let app = TestApp::on(database.db.clone()).await;
    let ann = app.founder().await;
    let tag = ann.post("/api/tags/", &json!({"name": "Fair"})).await.expect(201);
    let team = ann.post("/api/teams/", &json!({"name": "East"})).await.expect(201);
    let account = ann.post("/api/accounts/", &json!({"name": "Acme"})).await.expect(201);
    let person = json!({"first_name": "G", "last_name": "H", "account_id": account["id"]});
    let person = ann.post("/api/contacts/", &person).await.expect(201);
    let mut seen = Vec::new();
    for number in 0..12 {
        for (module, mut body) in bodies(number) {
            body["assigned_to"] = json!([ann.member["id"]]);
            body["teams"] = json!([team["id"]]);
            body["tags"] = json!([tag["id"]]);
            match module {
                "contacts" => body["account_id"] = account["id"].clone(),
                _ => body["contacts"] = json!([person["id"]]),
            }
            if module == "opportunities" {
                body["account_id"] = account["id"].clone();
            }
            ann.post(&format!("/api/{module}/"), &body).await.expect(201);
        }
        if number != 0 && number != 11 {
            continue;
        }
        let mut asked = Vec::new();
        for (module, expand) in [
            ("leads", "contacts"),
            ("accounts", "contacts"),
            ("contacts", "account,accounts"),
            ("opportunities", "account,contacts"),
        ] {
            let path = format!("/api/{module}/?count=true&expand=assigned_to,teams,tags,{expand}");
            // Once before, so that whatever is looked up once is known.
            ann.get(&path).await.expect(200);
            let before = STATEMENTS.get();
            let page = ann.get(&path).await.expect(200);
            asked.push((module, STATEMENTS.get() - before));
            assert!(page["results"].as_array().unwrap().len() > number, "{module}");
        }
        assert!(asked.iter().all(|(_, statements)| (1..=20).contains(statements)), "{asked:?}");
        seen.push(asked);
    }
    assert_eq!(seen[0], seen[1]);
}

#[actix_web::test]
async fn whoever_added_a_file_deletes_it() {
    let ann = TestApp::new().await.founder().await;
    let (bob, eve) = (ann.colleague("USER").await, ann.colleague("USER").await);
    for (module, mut body) in bodies(1) {
        body["assigned_to"] = json!([bob.member["id"], eve.member["id"]]);
        let record = ann.post(&format!("/api/{module}/"), &body).await.expect(201);
        let files = format!("/api/{module}/attachment/{}/", id(&record));
        let file = bob.upload(&files, "a.txt", b"a").await.expect(201);
        let file = format!("/api/{module}/attachment/{}/", id(&file));
        assert_eq!(eve.delete(&file).await.problem(403).0, "forbidden", "{module}");
        assert_eq!(bob.delete(&file).await.status, 204, "{module}");
    }
}

#[actix_web::test]
async fn a_stranger_replaces_and_changes_nothing() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    for (module, mut body) in bodies(1) {
        let record = ann.post(&format!("/api/{module}/"), &body).await.expect(201);
        let at = format!("/api/{module}/{}/", id(&record));
        body["assigned_to"] = json!([bob.member["id"]]);
        if module == "leads" {
            body["status"] = json!("converted");
        }
        for reply in [bob.put(&at, &body).await, bob.patch(&at, &body).await, bob.delete(&at).await] {
            assert_eq!(reply.problem(404).0, "not_found", "{module}");
        }
        assert_eq!(ann.get(&at).await.expect(200), record, "{module}");
    }
}

#[actix_web::test]
async fn a_name_that_many_ask_for_at_once_goes_to_one() {
    let ann = TestApp::new().await.founder().await;
    for (module, mut body) in bodies(1) {
        if module == "contacts" {
            body["email"] = json!("p1@example.com");
        }
        let path = format!("/api/{module}/?allow_duplicate=true");
        let path =
            if module == "leads" || module == "opportunities" { format!("/api/{module}/") } else { path };
        let replies = join_all((0..6).map(|_| ann.post(&path, &body))).await;
        let made = replies.iter().filter(|reply| reply.status == 201).count();
        assert_eq!(made, 1, "{module}");
        for reply in replies.into_iter().filter(|reply| reply.status != 201) {
            assert_eq!(reply.problem(409).0, "duplicate", "{module}");
        }
    }
}

#[actix_web::test]
async fn a_currency_that_is_none_is_refused_and_an_amount_alone_has_the_organizations() {
    let ann = TestApp::new().await.founder().await;
    ann.patch(&format!("/api/org/{}/", id(&ann.org)), &json!({"currency": "CHF"})).await.expect(200);
    let ann = ann.sign_in_again().await;
    for (module, mut body) in bodies(1) {
        let amount = match module {
            "leads" => "opportunity_amount",
            "accounts" => "annual_revenue",
            "opportunities" => "amount",
            _ => continue,
        };
        let path = format!("/api/{module}/");
        body[amount] = json!("5");
        for none in ["XXQ", "EURO", "€"] {
            body["currency"] = json!(none);
            assert_eq!(ann.post(&path, &body).await.problem(422).1, ["currency"], "{module} {none}");
        }
        body["currency"] = Value::Null;
        assert_eq!(ann.post(&path, &body).await.expect(201)["currency"], "CHF", "{module}");
    }
}

/// How many jobs there were that tell somebody of what was assigned to them, all of a database of its own being done.
async fn assignments(app: &TestApp) -> usize {
    let count = Cell::new(0);
    let counted = async |job: &Job| -> Result<(), Failure> {
        if job.kind == crm_records::ASSIGNED {
            count.set(count.get() + 1);
        }
        Ok(())
    };
    while Worker::new(app.db.clone()).work_off(&counted).await.unwrap() > 0 {}
    count.get()
}

#[actix_web::test]
async fn nobody_is_told_where_nobody_is_assigned() {
    // Of its own, so that nobody else does its jobs.
    let database = fresh_database().await;
    let app = TestApp::on(database.db.clone()).await;
    let ann = app.founder().await;
    let bob = ann.colleague("USER").await;
    for (module, body) in bodies(1) {
        let path = format!("/api/{module}/");
        let record = ann.post(&path, &body).await.expect(201);
        let one = format!("/api/{module}/{}/", id(&record));
        for (change, told) in [
            (json!({"description": "x"}), 0),
            (json!({"assigned_to": [bob.member["id"]]}), 1),
            (json!({"description": "y"}), 0),
            (json!({"assigned_to": []}), 0),
        ] {
            ann.patch(&one, &change).await.expect(200);
            assert_eq!(assignments(&app).await, told, "{module}: {change}");
        }
    }
}
