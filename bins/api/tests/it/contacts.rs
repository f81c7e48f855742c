use actix_web::http::Method;
use serde_json::{Value, json};

use crate::accounts::id;
use crate::app::{Person, TestApp};

const UNKNOWN: &str = "0190b5a0-0000-7000-8000-00000000dead";

fn path(record: &Value) -> String {
    format!("/api/contacts/{}/", id(record))
}

async fn contact(who: &Person, name: &str, more: Value) -> Value {
    let mut body = json!({"first_name": name, "last_name": "Person"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    who.post("/api/contacts/", &body).await.expect(201)
}

async fn account(who: &Person, body: Value) -> Value {
    who.post("/api/accounts/", &body).await.expect(201)
}

#[actix_web::test]
async fn a_contact_is_created_read_changed_and_deleted() {
    let ann = TestApp::new().await.founder().await;
    let made = contact(
        &ann,
        "Grace",
        json!({"email": "Grace@Example.com", "title": "Admiral", "do_not_call": true}),
    )
    .await;
    assert_eq!((&made["account_id"], &made["accounts"]), (&Value::Null, &json!([])));
    let at = path(&made);
    assert_eq!(ann.get(&at).await.expect(200), made);
    let patched = ann.patch(&at, &json!({"title": null})).await.expect(200);
    assert_eq!(
        (&patched["title"], &patched["email"], &patched["version"]),
        (&Value::Null, &json!("Grace@Example.com"), &json!(2))
    );
    assert_eq!(ann.put(&at, &patched).await.expect(200), patched, "what is read can be written back");
    let replaced = ann.put(&at, &json!({"first_name": "Grace", "last_name": "Hopper"})).await.expect(200);
    assert_eq!(
        (&replaced["email"], &replaced["do_not_call"], &replaced["is_active"]),
        (&Value::Null, &json!(false), &json!(true))
    );
    let stale = ann.with(Method::DELETE, &at, ("if-match", "\"1\""), None).await;
    assert_eq!(stale.problem(412).0, "stale_version");
    let found = ann.get("/api/search/?q=hopper").await.expect(200);
    assert_eq!(found["results"][0]["title"], "Grace Hopper", "a contact is called by its name: {found}");
    assert_eq!(ann.delete(&at).await.status, 204);
    assert_eq!(ann.get(&at).await.problem(404).0, "not_found");
}

#[actix_web::test]
async fn bad_values_are_refused_by_field_and_nothing_is_written() {
    let ann = TestApp::new().await.founder().await;
    for (body, status, fields) in [
        (json!({}), 422, vec!["first_name", "last_name"]),
        (json!({"first_name": "A", "last_name": " "}), 422, vec!["last_name"]),
        (json!({"first_name": "A", "last_name": "B", "email": "x"}), 422, vec!["email"]),
        (
            json!({"first_name": "A", "last_name": "B", "linkedin_url": "javascript:x"}),
            422,
            vec!["linkedin_url"],
        ),
        (json!({"first_name": "A", "last_name": "B", "account_id": UNKNOWN}), 422, vec!["account_id"]),
        (json!({"first_name": "A", "last_name": "B", "account_id": "x"}), 422, vec!["account_id"]),
        (json!({"first_name": "A", "last_name": "B", "accounts": []}), 400, vec!["accounts"]),
        (json!({"first_name": "A", "last_name": "B", "auto_created": true}), 400, vec!["auto_created"]),
        (json!({"first_name": null, "last_name": "B"}), 400, vec!["first_name"]),
    ] {
        assert_eq!(ann.post("/api/contacts/", &body).await.problem(status).1, fields, "{body}");
    }
    assert_eq!(ann.get("/api/contacts/?count=true").await.expect(200)["count"], 0);
}

#[actix_web::test]
async fn an_address_is_unique_and_a_likeness_is_said() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.founder().await, app.founder().await);
    let bob = ann.colleague("USER").await;
    let body = json!({"first_name": "Grace", "last_name": "Hopper", "email": "grace@example.com", "phone": "+1 555 010 0100"});
    let grace = ann.post("/api/contacts/", &body).await.expect(201);
    for query in ["", "?allow_duplicate=true"] {
        let twin = json!({"first_name": "G", "last_name": "H", "email": "GRACE@example.com"});
        let (code, fields) = ann.post(&format!("/api/contacts/{query}"), &twin).await.problem(409);
        assert_eq!((code.as_str(), fields), ("duplicate", vec!["email".to_owned()]), "{query}");
    }
    for (twin, field) in [
        (json!({"first_name": "grace", "last_name": "HOPPER"}), "last_name"),
        (json!({"first_name": "G", "last_name": "H", "phone": "001 555 0100100"}), "phone"),
    ] {
        for (who, sees) in [(&ann, true), (&bob, false)] {
            let told = who.post("/api/contacts/", &twin).await.expect(409);
            assert_eq!(
                (&told["code"], &told["errors"][0]["field"]),
                (&json!("possible_duplicate"), &json!(field))
            );
            let message = told["errors"][0]["message"].as_str().unwrap();
            assert_eq!(message.contains(id(&grace)), sees, "{message}");
            assert_eq!(message.contains("Grace"), sees, "{message}");
        }
    }
    bob.post("/api/contacts/?allow_duplicate=true", &json!({"first_name": "Grace", "last_name": "Hopper"}))
        .await
        .expect(201);
    eve.post("/api/contacts/", &body).await.expect(201);
    contact(&ann, "No", json!({"email": ""})).await;
    contact(&ann, "Nor", json!({"email": null})).await;
}

#[actix_web::test]
async fn setting_the_primary_account_joins_it_and_clearing_it_never_parts() {
    let ann = TestApp::new().await.founder().await;
    let (acme, zenith) =
        (account(&ann, json!({"name": "Acme"})).await, account(&ann, json!({"name": "Zenith"})).await);
    let grace = contact(&ann, "Grace", json!({"account_id": acme["id"]})).await;
    assert_eq!(grace["accounts"], json!([acme["id"]]));
    let at = path(&grace);
    let moved = ann.patch(&at, &json!({"account_id": zenith["id"]})).await.expect(200);
    assert_eq!(moved["accounts"], json!([acme["id"], zenith["id"]]));
    let cleared = ann.patch(&at, &json!({"account_id": null})).await.expect(200);
    assert_eq!((&cleared["account_id"], &cleared["accounts"]), (&Value::Null, &moved["accounts"]));
    let of_acme = ann.get(&format!("/api/accounts/{}/", id(&acme))).await.expect(200);
    assert_eq!(of_acme["contacts"], json!([grace["id"]]));
    for query in
        [format!("accounts={}", id(&acme)), "accounts__isnull=false&account_id__isnull=true".to_owned()]
    {
        let list = ann.get(&format!("/api/contacts/?{query}&fields=id")).await.expect(200);
        assert_eq!(list["results"], json!([{"id": grace["id"]}]), "{query}");
    }
    ann.patch(&at, &json!({"account_id": acme["id"]})).await.expect(200);
    let expanded = ann.get(&format!("{at}?expand=account,accounts")).await.expect(200);
    assert_eq!(expanded["account"], json!({"id": acme["id"], "name": "Acme"}));
    assert_eq!(expanded["accounts"][1]["name"], "Zenith");
    let history = ann.get(&format!("{at}history/?limit=1")).await.expect(200);
    assert_eq!(history["results"][0]["fields"], json!({"account_id": [null, acme["id"]]}));
}

#[actix_web::test]
async fn a_lead_of_a_contact_is_no_account_of_it() {
    let ann = TestApp::new().await.founder().await;
    let grace = contact(&ann, "Grace", json!({})).await;
    ann.lead(json!({"title": "x", "contacts": [grace["id"]]})).await;
    assert_eq!(ann.get(&path(&grace)).await.expect(200)["accounts"], json!([]));
    assert_eq!(ann.get("/api/contacts/?accounts__isnull=false").await.expect(200)["results"], json!([]));
}

#[actix_web::test]
async fn the_people_of_ones_own_accounts_may_be_looked_at_and_not_changed() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    let acme = account(&ann, json!({"name": "Acme", "assigned_to": [bob.member_id()]})).await;
    let hidden = account(&ann, json!({"name": "Hidden"})).await;
    let grace = contact(&ann, "Grace", json!({"account_id": acme["id"]})).await;
    let other = contact(&ann, "Other", json!({"account_id": hidden["id"]})).await;
    ann.patch(&path(&grace), &json!({"account_id": hidden["id"]})).await.expect(200);

    let seen = bob.get(&path(&grace)).await.expect(200);
    assert_eq!(seen["accounts"], json!([acme["id"]]), "an account that one may not see is not shown");
    let list = bob.get("/api/contacts/?count=true&fields=id").await.expect(200);
    assert_eq!(
        (&list["count"], &list["results"]),
        (&json!(1), &json!([{"id": grace["id"]}])),
        "the list says what the detail says"
    );
    assert_eq!(
        bob.get("/api/contacts/?search=grace").await.expect(200)["results"].as_array().unwrap().len(),
        1
    );
    assert_eq!(bob.get("/api/search/?q=person").await.expect(200)["results"].as_array().unwrap().len(), 1);
    let comments = |record: &Value| format!("/api/contacts/comment/{}/", id(record));
    bob.get(&comments(&grace)).await.expect(200);
    bob.post(&comments(&grace), &json!({"comment": "hello"})).await.expect(201);
    for (method, body) in
        [(Method::PATCH, Some(json!({"city": "x"}))), (Method::PUT, Some(json!({}))), (Method::DELETE, None)]
    {
        assert_eq!(
            bob.request(method.clone(), &path(&grace), body.as_ref()).await.problem(403).0,
            "forbidden",
            "{method}"
        );
        assert_eq!(bob.request(method, &path(&other), body.as_ref()).await.problem(404).0, "not_found");
    }
    assert_eq!(bob.get(&comments(&other)).await.problem(404).0, "not_found");
    let (_, fields) = bob
        .post("/api/contacts/", &json!({"first_name": "A", "last_name": "B", "account_id": hidden["id"]}))
        .await
        .problem(422);
    assert_eq!(fields, ["account_id"], "nobody joins an account that they may not see");
}

#[actix_web::test]
async fn assigning_a_contact_tells_whom_it_is_assigned_to_once_and_by_every_verb() {
    let database = crm_testkit::fresh_database().await;
    let app = TestApp::on(database.db.clone()).await;
    let ann = app.founder().await;
    let bob = ann.colleague("USER").await;
    let grace = contact(&ann, "Grace", json!({})).await;
    let told = async || {
        app.work().await;
        let told = bob.get("/api/notifications/?limit=200").await.expect(200);
        told["results"].as_array().unwrap().iter().filter(|n| n["record_id"] == grace["id"]).count()
    };
    assert_eq!(told().await, 0, "nobody is told of nothing");
    let at = path(&grace);
    ann.patch(&at, &json!({"assigned_to": [bob.member_id()]})).await.expect(200);
    assert_eq!(told().await, 1);
    ann.patch(&at, &json!({"city": "Berlin"})).await.expect(200);
    assert_eq!(told().await, 1);
}
