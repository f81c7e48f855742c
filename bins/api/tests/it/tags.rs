use serde_json::{Value, json};

use crate::app::{Person, TestApp};

async fn tag(person: &Person, name: &str) -> String {
    let tag = person.post("/api/tags/", &json!({"name": name})).await.expect(201);
    tag["id"].as_str().unwrap().to_owned()
}

fn tags_of(record: &Value) -> Vec<String> {
    record["tags"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

#[actix_web::test]
async fn an_archived_tag_is_restored_rather_than_made_again() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    let id = tag(&ann, "Big Deal").await;
    let at = format!("/api/tags/{id}/");
    let lead = ann.lead(json!({"tags": [id]})).await;
    assert_eq!(ann.delete(&at).await.status, 204);
    let kept = ann.get(&format!("/api/leads/{}/", lead["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(tags_of(&kept), tags_of(&lead), "archived, it stays on its records");
    assert_eq!(ann.post("/api/leads/", &json!({"tags": [id]})).await.problem(422).1, ["tags"]);

    let again = ann.post("/api/tags/", &json!({"name": "big  deal!"})).await;
    assert!(
        String::from_utf8_lossy(&again.bytes).contains(&format!("POST {at}restore/")),
        "it says the way out"
    );
    assert_eq!(again.problem(409), ("duplicate".to_owned(), vec!["name".to_owned()]));
    assert_eq!(bob.post(&format!("{at}restore/"), &json!({})).await.problem(403).0, "forbidden");
    let restored = ann.post(&format!("{at}restore/"), &json!({})).await.expect(200);
    assert_eq!((&restored["is_active"], &restored["version"]), (&json!(true), &json!(3)));
    let same = ann.post(&format!("{at}restore/"), &json!({})).await.expect(200);
    assert_eq!(same["version"], 3, "restored twice, it is the same");
    ann.lead(json!({"tags": [id]})).await;
    let active = ann.post("/api/tags/", &json!({"name": "Big Deal"})).await;
    assert!(!String::from_utf8_lossy(&active.bytes).contains("restore"));
    active.problem(409);
}

#[actix_web::test]
async fn a_tag_says_on_how_many_records_of_each_kind_it_is() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    let (used, unused) = (tag(&ann, "Used").await, tag(&ann, "Unused").await);
    for _ in 0..2 {
        ann.lead(json!({"tags": [used]})).await;
    }
    let usage =
        async |person: &Person, id: &str| person.get(&format!("/api/tags/{id}/usage/")).await.expect(200);
    assert_eq!(usage(&ann, &used).await, json!({"total": 2, "kinds": {"lead": 2}}));
    assert_eq!(usage(&ann, &unused).await, json!({"total": 0, "kinds": {}}));
    assert_eq!(
        usage(&bob, &used).await,
        json!({"total": 0, "kinds": {}}),
        "no number of what one may not all see"
    );
    let list = ann.get("/api/tags/?usage=true&ordering=name&fields=name,usage").await.expect(200);
    assert_eq!(
        list["results"],
        json!([
            {"name": "Unused", "usage": {"total": 0, "kinds": {}}},
            {"name": "Used", "usage": {"total": 2, "kinds": {"lead": 2}}},
        ])
    );
    let plain = ann.get("/api/tags/?limit=1").await.expect(200);
    assert!(plain["results"][0].get("usage").is_none());
    assert_eq!(ann.get("/api/tags/?usage=maybe").await.problem(400).1, ["usage"]);
}

#[actix_web::test]
async fn a_merged_tag_is_replaced_on_every_record_once_and_archived() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.founder().await, app.founder().await);
    let (old, new, other) = (tag(&ann, "Old").await, tag(&ann, "New").await, tag(&ann, "Other").await);
    let one = ann.lead(json!({"title": "one", "tags": [old, other]})).await;
    let both = ann.lead(json!({"title": "both", "tags": [old, new]})).await;
    let none = ann.lead(json!({"title": "none", "tags": [other]})).await;
    let merge = format!("/api/tags/{old}/merge/");
    let merged = ann.post(&merge, &json!({"into": new})).await.expect(200);
    assert_eq!((&merged["tag"]["id"], &merged["moved"]), (&json!(new), &json!(2)));
    let at = |lead: &Value| format!("/api/leads/{}/", lead["id"].as_str().unwrap());
    let mut want = vec![new.clone(), other.clone()];
    want.sort();
    for (lead, tags, version) in
        [(&one, want.clone(), 2), (&both, vec![new.clone()], 2), (&none, vec![other], 1)]
    {
        let now = ann.get(&at(lead)).await.expect(200);
        assert_eq!((tags_of(&now), &now["version"]), (tags, &json!(version)), "{lead}");
    }
    let history = ann.get(&format!("{}history/", at(&one))).await.expect(200);
    let mut before = tags_of(&one);
    before.sort();
    assert_eq!(history["results"][0]["fields"], json!({"tags": [before, want]}), "history knows of it");
    assert_eq!(history["results"][0]["created_by"], ann.member["id"]);
    let source = ann.get(&format!("/api/tags/{old}/")).await.expect(200);
    assert_eq!(source["is_active"], false, "archived, not gone");
    let usage = ann.get(&format!("/api/tags/{new}/usage/")).await.expect(200);
    assert_eq!(usage["total"], 2, "a record that had both counts once");
    let again = ann.post(&merge, &json!({"into": new})).await.expect(200);
    assert_eq!(again["moved"], 0, "an archived tag may be merged, which does nothing here");
    let changes = ann.get("/api/changes/?limit=200").await.expect(200);
    let leads = changes["results"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|c| c["kind"] == "lead" && c["action"] == "updated");
    assert_eq!(leads.count(), 2, "whoever follows the records is told: {changes}");
    eve.lead(json!({"title": "elsewhere"})).await;
}

#[actix_web::test]
async fn a_merge_that_makes_no_sense_is_refused() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.founder().await, app.founder().await);
    let bob = ann.colleague("USER").await;
    let (old, archived, theirs) =
        (tag(&ann, "Old").await, tag(&ann, "Archived").await, tag(&eve, "Theirs").await);
    ann.delete(&format!("/api/tags/{archived}/")).await;
    let merge = format!("/api/tags/{old}/merge/");
    assert_eq!(ann.post(&merge, &json!({"into": old})).await.problem(422).1, ["into"]);
    assert_eq!(ann.post(&merge, &json!({"into": theirs})).await.problem(422).1, ["into"]);
    assert_eq!(ann.post(&merge, &json!({})).await.problem(422).1, ["into"]);
    assert_eq!(ann.post(&merge, &json!({"into": "x"})).await.problem(422).1, ["into"]);
    assert_eq!(ann.post(&merge, &json!({"into": archived})).await.problem(409).0, "conflict");
    assert_eq!(bob.post(&merge, &json!({"into": archived})).await.problem(403).0, "forbidden");
    assert_eq!(eve.post(&merge, &json!({"into": theirs})).await.problem(404).0, "not_found");
    assert_eq!(ann.get(&format!("/api/tags/{old}/")).await.expect(200)["is_active"], true);
}

#[actix_web::test]
async fn a_tag_of_very_many_records_is_replaced_in_batches_that_all_are_told_of() {
    let database = crm_testkit::fresh_database().await;
    let app = TestApp::on(database.db.clone()).await;
    let ann = app.founder().await;
    let (old, new, newest) = (tag(&ann, "Old").await, tag(&ann, "New").await, tag(&ann, "Newest").await);
    let lead = |n| json!({"op": "create", "fields": {"title": format!("lead {n}"), "tags": [old]}});
    let operations: Vec<_> = (0..510).map(lead).collect();
    ann.post("/api/leads/bulk/", &json!({"operations": operations})).await.expect(200);
    let on = async |tag: &str| ann.get(&format!("/api/tags/{tag}/usage/")).await.expect(200)["total"].clone();
    let merged = ann.post(&format!("/api/tags/{old}/merge/"), &json!({"into": new})).await.expect(200);
    assert_eq!(merged["moved"], 510);
    assert_eq!((on(&old).await, on(&new).await), (json!(10), json!(500)), "the rest is left to a job");
    let source = ann.get(&format!("/api/tags/{old}/")).await.expect(200);
    assert_eq!((&source["is_active"], &source["merged_into"]), (&json!(false), &json!(new)));
    // What is on its way follows where its goal went.
    ann.post(&format!("/api/tags/{new}/merge/"), &json!({"into": newest})).await.expect(200);
    app.work().await;
    assert_eq!((on(&old).await, on(&new).await, on(&newest).await), (json!(0), json!(0), json!(510)));
    let first = ann.get("/api/leads/?ordering=created_at&limit=1").await.expect(200)["results"][0].clone();
    let history = format!("/api/leads/{}/history/", first["id"].as_str().unwrap());
    let change = ann.get(&history).await.expect(200)["results"][0].clone();
    assert_eq!(change["fields"], json!({"tags": [[new], [newest]]}));
    let last = ann.get("/api/leads/?ordering=-created_at&limit=1").await.expect(200)["results"][0].clone();
    let history = format!("/api/leads/{}/history/", last["id"].as_str().unwrap());
    let change = ann.get(&history).await.expect(200)["results"][0].clone();
    assert_eq!(change["fields"], json!({"tags": [[old], [newest]]}));
    assert_eq!(change["created_by"], ann.member["id"], "whoever wanted it did it");
    let restored = ann.post(&format!("/api/tags/{old}/restore/"), &json!({})).await.expect(200);
    assert_eq!(restored["merged_into"], Value::Null);
}
