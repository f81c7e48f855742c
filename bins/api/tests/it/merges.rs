//! Two records made one, and parted again.

use actix_web::http::Method;
use crm_schema::{record_merges, record_tags};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};

use crate::accounts::id;
use crate::app::{Person, TestApp};

const UNKNOWN: &str = "0190b5a0-0000-7000-8000-00000000dead";

async fn account(who: &Person, body: Value) -> Value {
    who.post("/api/accounts/?allow_duplicate=true", &body).await.expect(201)
}

async fn contact(who: &Person, body: Value) -> Value {
    who.post("/api/contacts/?allow_duplicate=true", &body).await.expect(201)
}

async fn get(who: &Person, module: &str, record: &Value) -> Value {
    who.get(&format!("/api/{module}/{}/", id(record))).await.expect(200)
}

async fn merge(who: &Person, module: &str, winner: &Value, loser: &Value) -> Value {
    let at = format!("/api/{module}/{}/merge/", id(winner));
    who.post(&at, &json!({"loser_id": loser["id"]})).await.expect(200)
}

/// The id of the newest merge into a record.
async fn newest(who: &Person, module: &str, winner: &Value) -> String {
    let merges = who.get(&format!("/api/{module}/{}/merges/", id(winner))).await.expect(200);
    id(&merges["results"][0]).to_owned()
}

/// A record without what a change of version changes.
fn unversioned(mut record: Value) -> Value {
    for key in ["version", "updated_at", "updated_by"] {
        record.as_object_mut().unwrap().remove(key);
    }
    record
}

#[actix_web::test]
async fn a_merge_moves_all_that_hangs_on_an_account_and_undoing_it_puts_it_back() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    let field = json!({"target": "accounts", "key": "tier", "label": "Tier", "field_type": "text", "is_filterable": true});
    ann.post("/api/custom-fields/", &field).await.expect(201);
    let tag = ann.post("/api/tags/", &json!({"name": "Vip"})).await.expect(201);
    let (one, two) = (
        contact(&ann, json!({"first_name": "One", "last_name": "Person"})).await,
        contact(&ann, json!({"first_name": "Two", "last_name": "Person"})).await,
    );
    let winner = account(&ann, json!({"name": "Acme", "city": "Berlin", "contacts": [one["id"]]})).await;
    let loser = account(
        &ann,
        json!({
            "name": "Acme Inc", "email": "info@acme.example", "phone": "+1 555 010 0100", "city": "Wien", "postcode": "1010",
            "annual_revenue": "12.50", "currency": "EUR", "tags": [tag["id"]], "assigned_to": [bob.member_id()],
            "contacts": [one["id"], two["id"]], "custom_fields": {"tier": "gold"},
        }),
    )
    .await;
    ann.patch(&format!("/api/contacts/{}/", id(&two)), &json!({"account_id": loser["id"]})).await.expect(200);
    let comments = |record: &Value| format!("/api/accounts/comment/{}/", id(record));
    let files = |record: &Value| format!("/api/accounts/attachment/{}/", id(record));
    let comment = ann.post(&comments(&loser), &json!({"comment": "hello"})).await.expect(201);
    let file = ann.upload(&files(&loser), "a.txt", b"bytes").await.expect(201);
    let (winner_before, loser_before) =
        (get(&ann, "accounts", &winner).await, get(&ann, "accounts", &loser).await);
    let two_before = get(&ann, "contacts", &two).await;

    let merged = merge(&ann, "accounts", &winner, &loser).await;
    assert_eq!(merged["version"], 2);
    for (field, want) in [
        ("name", json!("Acme")),
        ("email", json!("info@acme.example")),
        ("phone", json!("+1 555 010 0100")),
        ("city", json!("Berlin")),
        ("postcode", Value::Null),
        ("annual_revenue", json!("12.50")),
        ("currency", json!("EUR")),
        ("tags", json!([tag["id"]])),
        ("assigned_to", json!([bob.member["id"]])),
        ("contacts", json!([one["id"], two["id"]])),
        ("custom_fields", json!({"tier": "gold"})),
    ] {
        assert_eq!(merged[field], want, "{field}");
    }
    assert_eq!(get(&ann, "accounts", &winner).await, merged);
    let two_now = get(&ann, "contacts", &two).await;
    assert_eq!((&two_now["account_id"], &two_now["accounts"]), (&winner["id"], &json!([winner["id"]])));
    assert_eq!(
        two_now["version"],
        json!(two_before["version"].as_i64().unwrap() + 1),
        "its account is another one"
    );
    assert_eq!(ann.get(&comments(&winner)).await.expect(200)["results"][0]["id"], comment["id"]);
    assert_eq!(ann.get(&files(&winner)).await.expect(200)["results"][0]["id"], file["id"]);
    let bytes = ann.get(&format!("/api/attachments/{}/download/", id(&file))).await;
    assert_eq!(bytes.bytes, b"bytes");
    for query in ["cf_tier=gold", "search=acme"] {
        let list = ann.get(&format!("/api/accounts/?{query}&fields=id")).await.expect(200);
        assert_eq!(list["results"], json!([{"id": winner["id"]}]), "{query}");
    }
    let found = ann.get("/api/search/?q=acme").await.expect(200);
    assert_eq!(found["results"].as_array().unwrap().len(), 1, "{found}");
    let history = ann.get(&format!("/api/accounts/{}/history/?limit=1", id(&winner))).await.expect(200);
    let entry = &history["results"][0];
    assert_eq!(
        (&entry["action"], &entry["fields"]["merged"]),
        (&json!("merged"), &json!([null, loser["id"]]))
    );

    // The old id leads to the winner.
    let gone = format!("/api/accounts/{}/", id(&loser));
    for (method, path, body) in [
        (Method::GET, gone.clone(), None),
        (Method::PATCH, gone.clone(), Some(json!({"city": "x"}))),
        (Method::PUT, gone.clone(), Some(json!({"name": "x"}))),
        (Method::DELETE, gone.clone(), None),
        (Method::GET, comments(&loser), None),
        (Method::POST, comments(&loser), Some(json!({"comment": "x"}))),
        (Method::GET, files(&loser), None),
        (Method::GET, format!("{gone}history/"), None),
        (Method::GET, format!("{gone}rollups/"), None),
        (Method::POST, format!("{gone}merge/"), Some(json!({"loser_id": winner["id"]}))),
    ] {
        let answer = ann.request(method.clone(), &path, body.as_ref()).await.expect(410);
        assert_eq!(
            (&answer["code"], &answer["merged_into"]),
            (&json!("merged"), &winner["id"]),
            "{method} {path}"
        );
    }

    let merges = ann.get(&format!("/api/accounts/{}/merges/", id(&winner))).await.expect(200);
    let listed = &merges["results"][0];
    assert_eq!(
        (&listed["loser_id"], &listed["loser_name"], &listed["undone_at"]),
        (&loser["id"], &json!("Acme Inc"), &Value::Null)
    );
    let undo = format!("/api/accounts/merges/{}/undo/", id(listed));
    let back = ann.post(&undo, &json!({})).await.expect(200);
    assert_eq!(unversioned(back.clone()), unversioned(loser_before.clone()));
    assert_eq!(back["version"], json!(loser_before["version"].as_i64().unwrap() + 1));
    assert_eq!(get(&ann, "accounts", &loser).await, back);
    assert_eq!(unversioned(get(&ann, "accounts", &winner).await), unversioned(winner_before));
    assert_eq!(unversioned(get(&ann, "contacts", &two).await), unversioned(two_before));
    assert_eq!(ann.get(&comments(&winner)).await.expect(200)["results"], json!([]));
    assert_eq!(ann.get(&comments(&loser)).await.expect(200)["results"][0]["id"], comment["id"]);
    assert_eq!(ann.get(&files(&loser)).await.expect(200)["results"][0]["id"], file["id"]);
    let list = ann.get("/api/accounts/?cf_tier=gold&fields=id").await.expect(200);
    assert_eq!(list["results"], json!([{"id": loser["id"]}]));
    let found = ann.get("/api/search/?q=acme").await.expect(200);
    assert_eq!(found["results"].as_array().unwrap().len(), 2, "{found}");
    assert_eq!(ann.post(&undo, &json!({})).await.problem(409).0, "conflict", "once is enough");
    merge(&ann, "accounts", &loser, &winner).await;
}

#[actix_web::test]
async fn what_was_changed_after_a_merge_stays_as_it_is_when_that_is_undone() {
    let ann = TestApp::new().await.founder().await;
    let winner = account(&ann, json!({"name": "Acme"})).await;
    let loser = account(&ann, json!({"name": "Acme Inc", "phone": "+1 555 010 0100", "city": "Wien"})).await;
    let other = account(&ann, json!({"name": "Other"})).await;
    let grace =
        contact(&ann, json!({"first_name": "Grace", "last_name": "H", "account_id": loser["id"]})).await;
    let ada = contact(&ann, json!({"first_name": "Ada", "last_name": "L"})).await;
    let people = json!({"contacts": [grace["id"], ada["id"]]});
    ann.patch(&format!("/api/accounts/{}/", id(&loser)), &people).await.expect(200);
    merge(&ann, "accounts", &winner, &loser).await;
    let at = format!("/api/accounts/{}/", id(&winner));
    ann.patch(&at, &json!({"city": "Graz"})).await.expect(200);
    let adas = format!("/api/contacts/{}/", id(&ada));
    ann.patch(&adas, &json!({"account_id": winner["id"]})).await.expect(200);
    ann.patch(&format!("/api/contacts/{}/", id(&grace)), &json!({"account_id": other["id"]}))
        .await
        .expect(200);
    let undo = format!("/api/accounts/merges/{}/undo/", newest(&ann, "accounts", &winner).await);
    let back = ann.post(&undo, &json!({})).await.expect(200);
    assert_eq!(back["city"], "Wien");
    let winner = get(&ann, "accounts", &winner).await;
    assert_eq!((&winner["city"], &winner["phone"]), (&json!("Graz"), &Value::Null));
    assert_eq!(get(&ann, "contacts", &grace).await["account_id"], other["id"]);
    assert_eq!(winner["contacts"], json!([ada["id"]]), "whose primary account it is since");
}

#[actix_web::test]
async fn a_name_that_is_taken_meanwhile_keeps_a_merge_from_being_undone() {
    let ann = TestApp::new().await.founder().await;
    let (winner, loser) =
        (account(&ann, json!({"name": "Acme"})).await, account(&ann, json!({"name": "Acme Inc"})).await);
    merge(&ann, "accounts", &winner, &loser).await;
    let twin = account(&ann, json!({"name": "ACME inc"})).await;
    let before = get(&ann, "accounts", &winner).await;
    let undo = format!("/api/accounts/merges/{}/undo/", newest(&ann, "accounts", &winner).await);
    assert_eq!(ann.post(&undo, &json!({})).await.problem(409), ("duplicate".into(), vec!["name".into()]));
    assert_eq!(get(&ann, "accounts", &winner).await, before, "nothing is half undone");
    assert_eq!(ann.delete(&format!("/api/accounts/{}/", id(&twin))).await.status, 204);
    ann.post(&undo, &json!({})).await.expect(200);
}

#[actix_web::test]
async fn people_are_merged_with_their_accounts_and_their_address_goes_along() {
    let ann = TestApp::new().await.founder().await;
    let (acme, zenith) =
        (account(&ann, json!({"name": "Acme"})).await, account(&ann, json!({"name": "Zenith"})).await);
    let winner =
        contact(&ann, json!({"first_name": "Grace", "last_name": "Hopper", "account_id": acme["id"]})).await;
    let loser = json!({"first_name": "G", "last_name": "Hopper", "email": "Grace@example.com", "do_not_call": true, "account_id": zenith["id"]});
    let loser = contact(&ann, loser).await;
    let lead = ann.lead(json!({"title": "x", "contacts": [loser["id"]]})).await;
    let (winner_before, loser_before) =
        (get(&ann, "contacts", &winner).await, get(&ann, "contacts", &loser).await);
    let merged = merge(&ann, "contacts", &winner, &loser).await;
    assert_eq!(merged["email"], "Grace@example.com");
    assert_eq!(merged["do_not_call"], true, "who does not want to be called is not called");
    assert_eq!(
        (&merged["account_id"], &merged["accounts"]),
        (&acme["id"], &json!([acme["id"], zenith["id"]]))
    );
    assert_eq!(get(&ann, "leads", &lead).await["contacts"], json!([winner["id"]]));
    assert_eq!(get(&ann, "accounts", &zenith).await["contacts"], json!([winner["id"]]));
    let undo = format!("/api/contacts/merges/{}/undo/", newest(&ann, "contacts", &winner).await);
    ann.post(&undo, &json!({})).await.expect(200);
    assert_eq!(unversioned(get(&ann, "contacts", &winner).await), unversioned(winner_before));
    assert_eq!(unversioned(get(&ann, "contacts", &loser).await), unversioned(loser_before));
    assert_eq!(get(&ann, "leads", &lead).await["contacts"], json!([loser["id"]]));
}

#[actix_web::test]
async fn a_merge_that_fills_nothing_leaves_the_winner_its_blanks() {
    let ann = TestApp::new().await.founder().await;
    let winner = account(&ann, json!({"name": "Acme"})).await;
    let loser = account(&ann, json!({"name": "Acme Inc", "phone": "+1 555 010 0100"})).await;
    let at = format!("/api/accounts/{}/merge/", id(&winner));
    let merged = ann.post(&at, &json!({"loser_id": loser["id"], "fill": false})).await.expect(200);
    assert_eq!(merged["phone"], Value::Null);
}

#[actix_web::test]
async fn whoever_merges_may_change_both_and_take_the_loser_away() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.founder().await, app.founder().await);
    let bob = ann.colleague("USER").await;
    let own = account(&bob, json!({"name": "Own"})).await;
    let second = account(&bob, json!({"name": "Second"})).await;
    let shared = account(&ann, json!({"name": "Shared", "assigned_to": [bob.member_id()]})).await;
    let hidden = account(&ann, json!({"name": "Hidden"})).await;
    let foreign = account(&eve, json!({"name": "Foreign"})).await;
    let at = |record: &Value| format!("/api/accounts/{}/merge/", id(record));
    for loser in [&hidden["id"], &foreign["id"], &json!(UNKNOWN)] {
        assert_eq!(bob.post(&at(&own), &json!({"loser_id": loser})).await.problem(422).1, ["loser_id"]);
    }
    assert_eq!(bob.post(&at(&own), &json!({"loser_id": own["id"]})).await.problem(422).1, ["loser_id"]);
    assert_eq!(bob.post(&at(&own), &json!({"loser_id": shared["id"]})).await.problem(403).0, "forbidden");
    assert_eq!(bob.post(&at(&hidden), &json!({"loser_id": own["id"]})).await.problem(404).0, "not_found");
    assert_eq!(ann.post(&at(&own), &json!({"loser_id": own["id"], "x": 1})).await.problem(400).1, ["x"]);
    merge(&bob, "accounts", &own, &second).await;
    let merged = newest(&bob, "accounts", &own).await;
    assert_eq!(
        eve.post(&format!("/api/accounts/merges/{merged}/undo/"), &json!({})).await.problem(404).0,
        "not_found"
    );
    assert_eq!(
        ann.post(&format!("/api/contacts/merges/{merged}/undo/"), &json!({})).await.problem(404).0,
        "not_found",
        "a merge of another kind"
    );
    // Whoever may not see the winner does not learn of the merge.
    let carl = ann.colleague("USER").await;
    let old = format!("/api/accounts/{}/", id(&second));
    assert_eq!(carl.get(&old).await.problem(404).0, "not_found");
    assert_eq!(eve.get(&old).await.problem(404).0, "not_found");
    assert_eq!(bob.get(&old).await.expect(410)["merged_into"], own["id"]);
    assert_eq!(
        carl.post(&format!("/api/accounts/merges/{merged}/undo/"), &json!({})).await.problem(404).0,
        "not_found"
    );
}

#[actix_web::test]
async fn merges_after_each_other_lead_to_the_last_and_are_undone_from_there() {
    let ann = TestApp::new().await.founder().await;
    let mut chain = Vec::new();
    for name in ["A", "B", "C"] {
        chain.push(account(&ann, json!({"name": name})).await);
    }
    let (a, b, c) = (&chain[0], &chain[1], &chain[2]);
    merge(&ann, "accounts", b, a).await;
    let first = newest(&ann, "accounts", b).await;
    merge(&ann, "accounts", c, b).await;
    let second = newest(&ann, "accounts", c).await;
    let old = format!("/api/accounts/{}/", id(a));
    assert_eq!(ann.get(&old).await.expect(410)["merged_into"], c["id"]);
    let undo = |id: &str| format!("/api/accounts/merges/{id}/undo/");
    assert_eq!(ann.post(&undo(&first), &json!({})).await.problem(409).0, "conflict");
    ann.post(&undo(&second), &json!({})).await.expect(200);
    ann.post(&undo(&first), &json!({})).await.expect(200);
    assert_eq!(get(&ann, "accounts", a).await["name"], "A");
    // What was merged into a record goes with it.
    merge(&ann, "accounts", b, a).await;
    assert_eq!(ann.delete(&format!("/api/accounts/{}/", id(b))).await.status, 204);
    assert_eq!(ann.get(&old).await.problem(404).0, "not_found");
}

#[actix_web::test]
async fn two_who_merge_a_pair_both_ways_at_once_leave_one() {
    let ann = TestApp::new().await.founder().await;
    let (a, b) = (account(&ann, json!({"name": "A"})).await, account(&ann, json!({"name": "B"})).await);
    let at = |record: &Value| format!("/api/accounts/{}/merge/", id(record));
    let (into_a, into_b) = (json!({"loser_id": b["id"]}), json!({"loser_id": a["id"]}));
    let (path_a, path_b) = (at(&a), at(&b));
    let (one, other) =
        futures_util::future::join(ann.post(&path_a, &into_a), ann.post(&path_b, &into_b)).await;
    let done = [one.status, other.status].iter().filter(|status| **status == 200).count();
    assert_eq!(done, 1, "{} {}", one.json(), other.json());
    assert_eq!(ann.get("/api/accounts/?count=true").await.expect(200)["count"], 1);
}

#[actix_web::test]
async fn what_was_merged_away_counts_nowhere_until_it_is_back() {
    let ann = TestApp::new().await.founder().await;
    let tag = ann.post("/api/tags/", &json!({"name": "Vip"})).await.expect(201);
    let team = ann.post("/api/teams/", &json!({"name": "East"})).await.expect(201);
    let winner = account(&ann, json!({"name": "Acme"})).await;
    let loser = account(&ann, json!({"name": "Acme Inc", "tags": [tag["id"]], "teams": [team["id"]]})).await;
    merge(&ann, "accounts", &winner, &loser).await;
    let usage =
        async || ann.get(&format!("/api/tags/{}/usage/", id(&tag))).await.expect(200)["total"].clone();
    assert_eq!(usage().await, 1, "the winner alone has it");
    let team = format!("/api/teams/{}/", id(&team));
    assert_eq!(ann.delete(&team).await.problem(409).0, "in_use", "the winner is assigned to it");
    ann.patch(&format!("/api/accounts/{}/", id(&winner)), &json!({"teams": [], "tags": []}))
        .await
        .expect(200);
    assert_eq!(usage().await, 0);
    assert_eq!(ann.delete(&team).await.status, 204);
    let undo = format!("/api/accounts/merges/{}/undo/", newest(&ann, "accounts", &winner).await);
    let back = ann.post(&undo, &json!({})).await.expect(200);
    assert_eq!((&back["teams"], &back["tags"]), (&json!([]), &json!([tag["id"]])));
    assert_eq!(usage().await, 1);
}

#[actix_web::test]
async fn nothing_of_a_loser_is_kept_once_a_merge_can_not_be_undone() {
    let database = crm_testkit::fresh_database().await;
    let app = TestApp::on(database.db.clone()).await;
    let ann = app.founder().await;
    let tag = ann.post("/api/tags/", &json!({"name": "Vip"})).await.expect(201);
    let winner = contact(&ann, json!({"first_name": "Grace", "last_name": "Hopper"})).await;
    let loser =
        json!({"first_name": "G", "last_name": "Hopper", "email": "grace@example.com", "tags": [tag["id"]]});
    let loser = contact(&ann, loser).await;
    merge(&ann, "contacts", &winner, &loser).await;
    let merges = format!("/api/contacts/{}/merges/", id(&winner));
    let kept = async || {
        let org = crm_core::OrgId(ann.org["id"].as_str().unwrap().parse().unwrap());
        let loser: uuid::Uuid = id(&loser).parse().unwrap();
        let system = crm_jobs::System(org);
        let kept = app.db.tenant(&system, async |t| -> crm_core::Result<(Value, i64)> {
            let row =
                record_merges::table.filter(record_merges::loser_id.eq(loser)).select(record_merges::loser);
            let tags = record_tags::table.filter(record_tags::record_id.eq(loser)).count();
            Ok((row.first(t.conn()?).await?, tags.get_result(t.conn()?).await?))
        });
        kept.await.unwrap()
    };
    let settle = async || {
        app.put_job(crm_records::merge::SETTLE, &ann).await;
        app.work().await;
    };
    settle().await;
    let (row, tags) = kept().await;
    assert_eq!((&row["email"], tags), (&json!("grace@example.com"), 1), "it can be undone still");
    app.db.clock().advance(chrono::TimeDelta::days(31));
    let ann = ann.sign_in_again().await;
    settle().await;
    assert_eq!(kept().await, (json!({}), 0));
    let listed = ann.get(&merges).await.expect(200)["results"][0].clone();
    assert_eq!((&listed["loser_id"], &listed["loser_name"]), (&loser["id"], &json!("")));
    let old = ann.get(&format!("/api/contacts/{}/", id(&loser))).await.expect(410);
    assert_eq!(old["merged_into"], winner["id"], "its id leads there all the same");
    let undo = format!("/api/contacts/merges/{}/undo/", id(&listed));
    assert_eq!(ann.post(&undo, &json!({})).await.problem(409).0, "conflict");
}
