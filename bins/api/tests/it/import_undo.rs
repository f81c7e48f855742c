//! Imports taken back: what is left is what somebody has changed or used since.

use std::time::Duration;

use crm_transfer::Progress;
use serde_json::{Value, json};

use crate::app::Person;
use crate::import_jobs::Work;
use crate::imports::{alone, begin, count, counts, import, now, undo};

fn id(record: &Value) -> String {
    record["id"].as_str().unwrap().to_owned()
}

/// The records of a module by what one of their fields says.
async fn by(ann: &Person, module: &str, field: &str, value: &str) -> Value {
    let page = ann.get(&format!("/api/{module}/?limit=200")).await.expect(200);
    let all = page["results"].as_array().unwrap();
    all.iter().find(|record| record[field] == value).unwrap().clone()
}

#[actix_web::test]
async fn accounts_that_somebody_uses_stay_when_their_import_is_taken_back() {
    let (ann, _database) = alone().await;
    let person =
        ann.post("/api/contacts/", &json!({"first_name": "Of", "last_name": "File"})).await.expect(201);
    let text = format!(
        "name,contacts\nuntouched,\nwith its people,{0}\ncommented,\nfiled,\nemployer,\nbuyer,\nlisted,{0}\nmailed,{0}\n",
        id(&person)
    );
    let done = import(&ann, "/api/accounts/import/", &text).await;
    assert_eq!((&done["state"], counts(&done)), (&json!("done"), [8, 0, 0, 0]), "{done}");
    let account = async |name: &str| id(&by(&ann, "accounts", "name", name).await);
    let commented = format!("/api/accounts/comment/{}/", account("commented").await);
    ann.post(&commented, &json!({"comment": "call them"})).await.expect(201);
    let filed = format!("/api/accounts/attachment/{}/", account("filed").await);
    ann.upload(&filed, "offer.pdf", b"%PDF-1.7").await.expect(201);
    let contact = json!({"first_name": "New", "last_name": "Hand", "account_id": account("employer").await});
    ann.post("/api/contacts/", &contact).await.expect(201);
    ann.deal(json!({"name": "Chairs", "account_id": account("buyer").await})).await;
    let other = json!({"first_name": "An", "last_name": "Other"});
    let other = ann.post("/api/contacts/", &other).await.expect(201);
    let listed = format!("/api/contacts/{}/", id(&other));
    ann.patch(&listed, &json!({"account_id": account("listed").await})).await.expect(200);
    let mail = json!({"from_email": ann.sender().await, "message_subject": "Hello", "message_body": "Hello",
        "recipients": [person["id"]]});
    ann.post(&format!("/api/accounts/{}/create_mail/", account("mailed").await), &mail).await.expect(201);
    ann.app.work().await;
    assert_eq!(undo(&ann, &done).await, (2, 6));
    let left = ann.get("/api/accounts/?ordering=name").await.expect(200);
    let left: Vec<_> =
        left["results"].as_array().unwrap().iter().map(|a| a["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(left, ["buyer", "commented", "employer", "filed", "listed", "mailed"]);
    assert_eq!(ann.get(&commented).await.expect(200)["results"][0]["comment"], "call them");
}

#[actix_web::test]
async fn contacts_and_deals_that_somebody_uses_stay_too() {
    let (ann, _database) = alone().await;
    let account = ann.post("/api/accounts/", &json!({"name": "Acme"})).await.expect(201);
    let text = "first_name,last_name,account\nA,untouched,Acme\nB,deal,Acme\nC,account,\nD,untouched too,\n";
    let people = import(&ann, "/api/contacts/import/", text).await;
    assert_eq!(counts(&people), [4, 0, 0, 0], "{people}");
    let person = async |name: &str| id(&by(&ann, "contacts", "last_name", name).await);
    ann.deal(json!({"name": "Of B", "contacts": [person("deal").await]})).await;
    let mut of_account =
        ann.get(&format!("/api/accounts/{}/", id(&account))).await.expect(200)["contacts"].clone();
    of_account.as_array_mut().unwrap().push(json!(person("account").await));
    ann.patch(&format!("/api/accounts/{}/", id(&account)), &json!({"contacts": of_account}))
        .await
        .expect(200);
    assert_eq!(undo(&ann, &people).await, (2, 2));
    let deals = import(&ann, "/api/opportunities/import/", "name,amount\none,10\ntwo,20\n").await;
    let two = id(&by(&ann, "opportunities", "name", "two").await);
    ann.post(&format!("/api/opportunities/comment/{two}/"), &json!({"comment": "soon"})).await.expect(201);
    assert_eq!(undo(&ann, &deals).await, (1, 1));
    assert_eq!(count(&ann, "opportunities").await, 2);
}

#[actix_web::test]
async fn an_own_field_that_had_no_value_has_none_again() {
    let (ann, _database) = alone().await;
    for (key, kind) in [("size", "number"), ("note", "text")] {
        let field = json!({"target": "leads", "key": key, "label": key, "field_type": kind});
        ann.post("/api/custom-fields/", &field).await.expect(201);
    }
    let body = json!({"title": "x", "email": "x@example.com", "custom_fields": {"note": "old"}});
    let lead = ann.lead(body).await;
    let at = format!("/api/leads/{}/", id(&lead));
    let text = "email,cf_size,cf_note,city\nx@example.com,12,new,Bonn\nx@example.com,13,newer,\nX@example.com,,,Kiel\n";
    let done = import(&ann, "/api/leads/import/?duplicates=update", text).await;
    assert_eq!(counts(&done), [0, 3, 0, 0], "{done}");
    let changed = ann.get(&at).await.expect(200);
    assert_eq!((&changed["custom_fields"]["size"], &changed["city"]), (&json!(13), &json!("Kiel")));
    assert_eq!(undo(&ann, &done).await, (3, 0));
    let back = ann.get(&at).await.expect(200);
    assert_eq!((&back["custom_fields"], &back["city"]), (&lead["custom_fields"], &Value::Null));
}

#[actix_web::test]
async fn a_deal_is_what_it_was_also_in_what_the_server_keeps_of_it() {
    let (ann, _database) = alone().await;
    let bob = ann.colleague("ADMIN").await;
    ann.app.work().await;
    let followed = ann.deal(json!({"name": "Followed", "stage": "PROPOSAL"})).await;
    let chosen = ann.deal(json!({"name": "Chosen", "probability": 33})).await;
    let same = ann.deal(json!({"name": "Same", "stage": "PROPOSAL"})).await;
    let won = ann.deal(json!({"name": "Won", "amount": "10", "closed_on": "2026-01-31"})).await;
    let at = |deal: &Value| format!("/api/opportunities/{}/", id(deal));
    let won = bob.patch(&at(&won), &json!({"stage": "CLOSED_WON"})).await.expect(200);
    let mut were = Vec::new();
    for deal in [followed, chosen, same, won] {
        were.push(ann.get(&at(&deal)).await.expect(200));
    }
    let text = "name,stage,probability\nFollowed,NEGOTIATION,60\nChosen,QUALIFICATION,\nSame,,50\nWon,PROPOSAL,\nWon,CLOSED_LOST,\n";
    let done = import(&ann, "/api/opportunities/import/?duplicates=update", text).await;
    assert_eq!((&done["state"], counts(&done)), (&json!("done"), [0, 5, 0, 0]), "{done}");
    assert_eq!(undo(&ann, &done).await, (5, 0));
    let kept = [
        "stage",
        "probability",
        "probability_is_manual",
        "closed_by",
        "closed_on",
        "stage_changed_at",
        "amount",
    ];
    for deal in were {
        let back = ann.get(&at(&deal)).await.expect(200);
        for field in kept {
            assert_eq!(back[field], deal[field], "{field} of {}", deal["name"]);
        }
    }
}

#[actix_web::test]
async fn what_somebody_wrote_between_two_rows_stays() {
    let (ann, _database) = alone().await;
    let lead = ann.lead(json!({"title": "old", "email": "a@example.com"})).await;
    let at = format!("/api/leads/{}/", id(&lead));
    let mut text = String::from("title,email\nfirst,a@example.com\n");
    for n in 0..600 {
        text.push_str(&format!("other {n},other{n}@example.com\n"));
    }
    text.push_str("last,a@example.com\n");
    let begun = begin(&ann, "/api/leads/import/?duplicates=update&mode=skip_bad", &text).await;
    let work = Work::of(&ann, &begun);
    assert_eq!(work.run_for(Duration::ZERO).await.unwrap(), Progress::More);
    ann.patch(&at, &json!({"title": "by hand", "city": "Bonn"})).await.expect(200);
    ann.app.work().await;
    let done = now(&ann, &begun).await;
    assert_eq!((&done["state"], counts(&done)), (&json!("done"), [600, 2, 0, 0]), "{done}");
    assert_eq!(undo(&ann, &done).await, (600, 2));
    let left = ann.get(&at).await.expect(200);
    assert_eq!((&left["title"], &left["city"]), (&json!("last"), &json!("Bonn")));
}
