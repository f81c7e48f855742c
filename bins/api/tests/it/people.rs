//! The people of accounts, leads and deals: what changes from the other side, and what nobody may write over.

use actix_web::http::Method;
use serde_json::{Value, json};

use crate::accounts::id;
use crate::app::{Person, TestApp};

fn at(module: &str, record: &Value) -> String {
    format!("/api/{module}/{}/", id(record))
}

async fn account(who: &Person, name: &str) -> Value {
    who.post("/api/accounts/", &json!({"name": name})).await.expect(201)
}

async fn contact(who: &Person, name: &str, more: Value) -> Value {
    let mut body = json!({"first_name": name, "last_name": "Person"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    who.post("/api/contacts/", &body).await.expect(201)
}

/// What the newest entry of a record's history says.
async fn last_change(who: &Person, module: &str, record: &Value) -> Value {
    let history = who.get(&format!("{}history/?limit=1", at(module, record))).await.expect(200);
    history["results"][0]["fields"].clone()
}

#[actix_web::test]
async fn whoever_writes_over_an_account_whose_people_changed_meanwhile_is_told() {
    let ann = TestApp::new().await.founder().await;
    let acme = account(&ann, "Acme").await;
    let path = at("accounts", &acme);
    let mut read = acme.clone();
    let mut people = Vec::new();
    // Each of these changes the account from another side; the account that was read before is not written then.
    for step in ["create", "patch", "convert", "merge", "undo", "delete"] {
        let (gone, came) = match step {
            "create" => {
                let grace = contact(&ann, "Grace", json!({"account_id": acme["id"]})).await;
                people.push(grace["id"].clone());
                (json!([]), json!([grace["id"]]))
            }
            "patch" => {
                let ada = contact(&ann, "Ada", json!({})).await;
                ann.patch(&at("contacts", &ada), &json!({"account_id": acme["id"]})).await.expect(200);
                people.push(ada["id"].clone());
                (json!([]), json!([ada["id"]]))
            }
            "convert" => {
                let lead = json!({"first_name": "Covert", "last_name": "Lead", "email": "lead@example.com", "company_name": "ACME"});
                let lead = ann.lead(lead).await;
                let done = ann.post(&format!("{}convert/", at("leads", &lead)), &json!({})).await.expect(200);
                assert_eq!(done["account_id"], acme["id"]);
                people.push(done["contact_id"].clone());
                (json!([]), json!([done["contact_id"]]))
            }
            "merge" => {
                let body = json!({"loser_id": people[0]});
                let other = contact(&ann, "Other", json!({})).await;
                ann.post(&format!("{}merge/", at("contacts", &other)), &body).await.expect(200);
                let loser = std::mem::replace(&mut people[0], other["id"].clone());
                (json!([loser]), json!([other["id"]]))
            }
            "undo" => {
                let winner = people[0].clone();
                let merges = format!("/api/contacts/{}/merges/", winner.as_str().unwrap());
                let merge = ann.get(&merges).await.expect(200)["results"][0].clone();
                let undo = format!("/api/contacts/merges/{}/undo/", id(&merge));
                let back = ann.post(&undo, &json!({})).await.expect(200);
                people[0] = back["id"].clone();
                (json!([winner]), json!([back["id"]]))
            }
            _ => {
                let grace = people.remove(0);
                let path = format!("/api/contacts/{}/", grace.as_str().unwrap());
                assert_eq!(ann.delete(&path).await.status, 204);
                (json!([grace]), json!([]))
            }
        };
        let tag = format!("\"{}\"", read["version"]);
        for method in [Method::PUT, Method::PATCH, Method::DELETE] {
            let body = (method != Method::DELETE).then_some(&read);
            let stale = ann.with(method.clone(), &path, ("if-match", &tag), body).await;
            assert_eq!(stale.problem(412).0, "stale_version", "{step} {method}");
        }
        read = ann.get(&path).await.expect(200);
        let mut want: Vec<_> = people.iter().map(|id| id.as_str().unwrap().to_owned()).collect();
        want.sort();
        assert_eq!(read["contacts"], json!(want), "{step}");
        assert_eq!(last_change(&ann, "accounts", &acme).await, json!({"contacts": [gone, came]}), "{step}");
    }
    let feed = ann.get("/api/changes/?limit=200").await.expect(200);
    let told = feed["results"].as_array().unwrap().iter();
    let told = told.filter(|c| c["record_id"] == acme["id"] && c["action"] == "updated").count();
    assert_eq!(told, 6, "whoever follows the account is told: {feed}");
}

#[actix_web::test]
async fn a_lead_and_a_deal_that_lose_a_person_are_another_version() {
    let ann = TestApp::new().await.founder().await;
    let (grace, ada) = (contact(&ann, "Grace", json!({})).await, contact(&ann, "Ada", json!({})).await);
    let both = json!([grace["id"], ada["id"]]);
    let lead = ann.lead(json!({"title": "x", "contacts": both})).await;
    let deal = ann.post("/api/opportunities/", &json!({"name": "x", "contacts": both})).await.expect(201);
    assert_eq!(ann.delete(&at("contacts", &grace)).await.status, 204);
    for (module, record) in [("leads", &lead), ("opportunities", &deal)] {
        let now = ann.get(&at(module, record)).await.expect(200);
        assert_eq!((&now["contacts"], &now["version"]), (&json!([ada["id"]]), &json!(2)), "{module}");
        assert_eq!(last_change(&ann, module, record).await, json!({"contacts": [[grace["id"]], []]}));
        let stale = ann.with(Method::PUT, &at(module, record), ("if-match", "\"1\""), Some(record)).await;
        assert_eq!(stale.problem(412).0, "stale_version", "{module}");
    }
}

#[actix_web::test]
async fn many_who_come_to_an_account_at_once_are_one_change_of_it() {
    // Whoever works off the jobs of another one looks for the files in the wrong place.
    let database = crm_testkit::fresh_database().await;
    let ann = TestApp::on(database.db.clone()).await.founder().await;
    let acme = account(&ann, "Acme").await;
    let table = "first name,last name,account\nA,One,Acme\nB,Two,Acme\nC,Three,Acme\n";
    let import = ann.upload("/api/contacts/import/", "a.csv", table.as_bytes()).await.expect(202);
    ann.app.work().await;
    let done = ann.get(&format!("/api/imports/{}/", id(&import))).await.expect(200);
    let now = ann.get(&at("accounts", &acme)).await.expect(200);
    assert_eq!((now["contacts"].as_array().unwrap().len(), &now["version"]), (3, &json!(2)), "{done}");
}

#[actix_web::test]
async fn a_conversion_is_undone_although_its_contact_made_the_account_another_version() {
    let ann = TestApp::new().await.founder().await;
    let lead =
        json!({"first_name": "Grace", "last_name": "H", "email": "g@example.com", "company_name": "Acme"});
    let lead = ann.lead(lead).await;
    let done = ann.post(&format!("{}convert/", at("leads", &lead)), &json!({})).await.expect(200);
    let account = format!("/api/accounts/{}/", done["account_id"].as_str().unwrap());
    assert_eq!(ann.get(&account).await.expect(200)["contacts"], json!([done["contact_id"]]));
    ann.post(&format!("{}unconvert/", at("leads", &lead)), &json!({})).await.expect(200);
    assert_eq!(ann.get(&account).await.problem(404).0, "not_found");
}

#[actix_web::test]
async fn nobody_is_taken_from_their_primary_account_by_that_account() {
    let ann = TestApp::new().await.founder().await;
    let acme = account(&ann, "Acme").await;
    let grace = contact(&ann, "Grace", json!({"account_id": acme["id"]})).await;
    let ada = contact(&ann, "Ada", json!({})).await;
    let path = at("accounts", &acme);
    let both = ann.patch(&path, &json!({"contacts": [ada["id"]]})).await.expect(200);
    let mut want = [id(&grace), id(&ada)];
    want.sort_unstable();
    assert_eq!(both["contacts"], json!(want), "whose primary account it is stays");
    let one = ann.put(&path, &json!({"name": "Acme"})).await.expect(200);
    assert_eq!(one["contacts"], json!([grace["id"]]));
    assert_eq!(ann.get(&path).await.expect(200), one);
    assert_eq!(ann.get(&at("contacts", &grace)).await.expect(200)["accounts"], json!([acme["id"]]));
    ann.patch(&at("contacts", &grace), &json!({"account_id": null})).await.expect(200);
    let none = ann.patch(&path, &json!({"contacts": []})).await.expect(200);
    assert_eq!(none["contacts"], json!([]), "once it is so no more, it is the account's to say");
}

#[actix_web::test]
async fn a_body_adds_a_thousand_people_at_most() {
    let ann = TestApp::new().await.founder().await;
    let many: Vec<_> = (0..1_001).map(|_| uuid::Uuid::now_v7()).collect();
    for (module, name) in [("accounts", "name"), ("leads", "title"), ("opportunities", "name")] {
        let reply = ann.post(&format!("/api/{module}/"), &json!({name: "x", "contacts": many})).await;
        assert_eq!(reply.problem(422).1, ["contacts"], "one fault, not a thousand: {module}");
    }
}

#[actix_web::test]
async fn what_a_record_shows_of_others_is_never_answered_as_known() {
    let ann = TestApp::new().await.founder().await;
    let grace = contact(&ann, "Grace", json!({})).await;
    let path = at("contacts", &grace);
    let seen = ann.get(&path).await;
    let tag = seen.header("etag").to_owned();
    assert_eq!(tag, "\"1\"");
    assert_eq!(ann.with(Method::GET, &path, ("if-none-match", &tag), None).await.status, 304);
    ann.post("/api/accounts/", &json!({"name": "Acme", "contacts": [grace["id"]]})).await.expect(201);
    let other = ann.with(Method::GET, &path, ("if-none-match", &tag), None).await;
    let new_tag = other.header("etag").to_owned();
    let other = other.expect(200);
    assert_eq!((other["accounts"].as_array().unwrap().len(), &other["version"]), (1, &json!(1)));
    assert_ne!(new_tag, tag);
    assert_eq!(ann.with(Method::GET, &path, ("if-none-match", &new_tag), None).await.status, 304);
    // What tells the two apart is nothing to whoever writes.
    for (known, city) in [(&tag, "Berlin"), (&new_tag, "Graz")] {
        let version = ann.get(&path).await.expect(200)["version"].clone();
        let tag = known.replacen('1', &version.to_string(), 1);
        let done = ann.with(Method::PATCH, &path, ("if-match", &tag), Some(&json!({"city": city}))).await;
        assert_eq!(done.status, 200, "{tag}");
    }
    let stale = ann.with(Method::PATCH, &path, ("if-match", &new_tag), Some(&json!({"city": "x"}))).await;
    assert_eq!(stale.problem(412).0, "stale_version");
}

#[actix_web::test]
async fn what_follows_from_the_day_is_never_answered_as_known_on_another_day() {
    let database = crm_testkit::fresh_database().await;
    let app = TestApp::on(database.db.clone()).await;
    let ann = app.founder().await;
    let lead = ann.lead(json!({"title": "x"})).await;
    let deal = ann.post("/api/opportunities/", &json!({"name": "x"})).await.expect(201);
    let mut tags = Vec::new();
    for (module, record) in [("leads", &lead), ("opportunities", &deal)] {
        let tag = ann.get(&at(module, record)).await.header("etag").to_owned();
        assert_eq!(tag, "\"1\"", "{module}");
        let known = ann.with(Method::GET, &at(module, record), ("if-none-match", &tag), None).await;
        assert_eq!(known.status, 304, "{module}");
        tags.push(tag);
    }
    app.db.clock().advance(chrono::TimeDelta::days(40));
    let ann = ann.sign_in_again().await;
    for (module, record, field) in
        [("leads", &lead, "days_since_last_contact"), ("opportunities", &deal, "days_in_stage")]
    {
        let tag = tags.remove(0);
        let later = ann.with(Method::GET, &at(module, record), ("if-none-match", &tag), None).await;
        let new_tag = later.header("etag").to_owned();
        let later = later.expect(200);
        assert_eq!((&later[field], &later["version"]), (&json!(40), &json!(1)), "{module}");
        let known = ann.with(Method::GET, &at(module, record), ("if-none-match", &new_tag), None).await;
        assert_eq!(known.status, 304, "{module}");
        let done = ann.with(Method::PUT, &at(module, record), ("if-match", &new_tag), Some(&later)).await;
        assert_eq!(done.status, 200, "{module}");
    }
}

#[actix_web::test]
async fn what_was_read_can_be_written_back_after_its_card_was_moved() {
    let ann = TestApp::new().await.founder().await;
    let (one, two) = (ann.lead(json!({"title": "1"})).await, ann.lead(json!({"title": "2"})).await);
    let deal = async |name| ann.post("/api/opportunities/", &json!({"name": name})).await.expect(201);
    let (three, four) = (deal("3").await, deal("4").await);
    for (module, read, other) in [("leads", &two, &one), ("opportunities", &four, &three)] {
        let path = at(module, read);
        let mut to = json!({"above_id": other["id"]});
        if module == "opportunities" {
            to["stage"] = read["stage"].clone();
        }
        let moved = ann.patch(&format!("{path}move/"), &to).await.expect(200);
        if module == "opportunities" {
            assert_eq!(moved["version"], 1, "a move inside a column is no new version");
        }
        assert_ne!(moved["position"], read["position"], "{module}");
        let current = ann.get(&path).await.expect(200);
        let mut body = read.clone();
        for key in ["version", "updated_at", "updated_by"] {
            body[key] = current[key].clone();
        }
        // A probability in a PATCH is a choice.
        body.as_object_mut().unwrap().retain(|key, _| key != "probability");
        for method in [Method::PUT, Method::PATCH] {
            let same = ann.request(method.clone(), &path, Some(&body)).await.expect(200);
            assert_eq!(same, current, "{module} {method}");
        }
    }
    let grace = contact(&ann, "Grace", json!({})).await;
    ann.post("/api/accounts/", &json!({"name": "Acme", "contacts": [grace["id"]]})).await.expect(201);
    let same = ann.put(&at("contacts", &grace), &grace).await.expect(200);
    assert_eq!((&same["version"], same["accounts"].as_array().unwrap().len()), (&json!(1), 1));
}

#[actix_web::test]
async fn what_a_deleted_account_or_product_leaves_is_another_version_and_says_so() {
    let ann = TestApp::new().await.founder().await;
    let acme = account(&ann, "Acme").await;
    let grace = contact(&ann, "Grace", json!({"account_id": acme["id"]})).await;
    assert_eq!(ann.delete(&at("accounts", &acme)).await.status, 204);
    let now = ann.get(&at("contacts", &grace)).await.expect(200);
    assert_eq!((&now["account_id"], &now["version"]), (&Value::Null, &json!(2)));
    assert_eq!(last_change(&ann, "contacts", &grace).await, json!({"account_id": [acme["id"], null]}));

    let chair = json!({"name": "Chair", "price": "10", "currency": "USD"});
    let chair = ann.post("/api/products/", &chair).await.expect(201);
    let deal =
        ann.post("/api/opportunities/", &json!({"name": "Chairs", "currency": "USD"})).await.expect(201);
    let lines = format!("{}line-items/", at("opportunities", &deal));
    let line = ann.post(&lines, &json!({"product_id": chair["id"], "quantity": "2"})).await.expect(201);
    assert_eq!(ann.delete(&at("products", &chair)).await.status, 204);
    let left = ann.get(&lines).await.expect(200)["results"][0].clone();
    assert_eq!(
        (&left["product_id"], &left["version"], &left["name"]),
        (&Value::Null, &json!(2), &line["name"])
    );
    let told = last_change(&ann, "opportunities", &deal).await;
    let want = json!([{"id": line["id"], "product_id": chair["id"]}, {"id": line["id"], "product_id": null}]);
    assert_eq!(told, json!({"lines": want}));
}

#[actix_web::test]
async fn a_history_names_who_went_and_who_came_and_nobody_else() {
    let ann = TestApp::new().await.founder().await;
    let mut people = Vec::new();
    for name in ["A", "B", "C"] {
        people.push(contact(&ann, name, json!({})).await["id"].clone());
    }
    let body = json!({"name": "Acme", "contacts": &people[..2]});
    let acme = ann.post("/api/accounts/", &body).await.expect(201);
    ann.patch(&at("accounts", &acme), &json!({"contacts": &people[1..], "city": "Graz"})).await.expect(200);
    let want = json!({"contacts": [[people[0]], [people[2]]], "city": [null, "Graz"]});
    assert_eq!(last_change(&ann, "accounts", &acme).await, want);
}
