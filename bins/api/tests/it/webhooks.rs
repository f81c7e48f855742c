use actix_web::http::Method;
use crm_core::OrgId;
use crm_jobs::System;
use crm_schema::webhook_deliveries as deliveries;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{Person, TestApp};

const URL: &str = "https://example.com/hook";

async fn webhook(person: &Person) -> Value {
    person.post("/api/webhooks/", &json!({"url": URL, "events": ["lead.*"]})).await.expect(201)
}

fn at(webhook: &Value) -> String {
    format!("/api/webhooks/{}/", webhook["id"].as_str().unwrap())
}

#[actix_web::test]
async fn a_webhook_is_made_changed_and_deleted() {
    let ann = TestApp::new().await.founder().await;
    let reply = ann.post("/api/webhooks/", &json!({"url": URL, "events": ["lead.*"]})).await;
    assert_eq!(reply.header("etag"), "\"1\"");
    let location = reply.header("location").to_owned();
    let mut made = reply.expect(201);
    let secret = made["secret"].take();
    assert!(secret.as_str().unwrap().starts_with("whsec_"));
    assert_eq!(location, at(&made));
    made.as_object_mut().unwrap().remove("secret");
    assert_eq!(ann.get(&location).await.expect(200), made, "without the secret");
    assert_eq!(ann.get("/api/webhooks/").await.expect(200)["results"], json!([made]));
    let changed = ann.patch(&location, &json!({"is_active": false, "description": "Off"})).await.expect(200);
    assert_eq!(json!([changed["version"], changed["is_active"], changed["url"]]), json!([2, false, URL]));
    let stale =
        ann.with(Method::PATCH, &location, ("if-match", "\"1\""), Some(&json!({"is_active": true}))).await;
    assert_eq!(stale.problem(412).0, "stale_version");
    let rotated = ann.post(&format!("{location}rotate-secret/"), &json!({})).await.expect(200);
    assert_ne!(rotated["secret"], secret);
    assert_eq!(
        ann.get(&location).await.expect(200)["previous_secret_until"],
        rotated["previous_secret_until"]
    );
    assert_eq!(ann.delete(&location).await.status, 204);
    assert_eq!(ann.get(&location).await.status, 404);
}

#[actix_web::test]
async fn what_a_webhook_can_t_be_is_named() {
    let ann = TestApp::new().await.founder().await;
    for (body, status, field) in [
        (json!({"events": ["*"]}), 422, "url"),
        (json!({"url": URL}), 422, "events"),
        (json!({"url": URL, "events": []}), 422, "events"),
        (json!({"url": URL, "events": ["lead.exploded"]}), 422, "events.0"),
        (json!({"url": "ftp://example.com", "events": ["*"]}), 422, "url"),
        (json!({"url": "https://a:b@example.com", "events": ["*"]}), 422, "url"),
        (json!({"url": URL, "events": ["*"], "secret": "mine"}), 400, "secret"),
    ] {
        assert_eq!(ann.post("/api/webhooks/", &body).await.problem(status).1, [field], "{body}");
    }
}

#[actix_web::test]
async fn a_test_is_listed_and_can_be_sent_again() {
    let ann = TestApp::new().await.founder().await;
    let made = webhook(&ann).await;
    let sent = ann.post(&format!("{}test/", at(&made)), &json!({})).await.expect(202);
    assert_eq!(
        json!([sent["event"], sent["state"], sent["attempts"]]),
        json!(["webhook.test", "pending", []])
    );
    let list = format!("{}deliveries/", at(&made));
    let pending =
        ann.get(&format!("{list}?state=pending&event=webhook.test&created_at__gte=2020-01-01")).await;
    assert_eq!(pending.expect(200)["results"], json!([sent]));
    assert_eq!(ann.get(&format!("{list}?state=failed")).await.expect(200)["results"], json!([]));
    let again = format!("/api/webhooks/deliveries/{}/redeliver/", sent["id"].as_str().unwrap());
    assert_eq!(ann.post(&again, &json!({})).await.expect(202)["id"], sent["id"]);
    ann.patch(&at(&made), &json!({"is_active": false})).await.expect(200);
    assert_eq!(ann.post(&again, &json!({})).await.problem(409).0, "conflict");
    let eve = ann.app.founder().await;
    for path in [again, list.clone()] {
        let method = if path == list { Method::GET } else { Method::POST };
        assert_eq!(eve.request(method, &path, None).await.status, 404, "{path}");
    }
}

#[actix_web::test]
async fn only_whom_the_organization_trusts_with_it_has_webhooks() {
    let ann = TestApp::new().await.founder().await;
    let made = webhook(&ann).await;
    let bob = ann.colleague("USER").await;
    for (method, path) in [
        (Method::GET, "/api/webhooks/".to_owned()),
        (Method::GET, at(&made)),
        (Method::DELETE, at(&made)),
        (Method::POST, format!("{}rotate-secret/", at(&made))),
        (Method::POST, format!("{}test/", at(&made))),
        (Method::GET, format!("{}deliveries/", at(&made))),
    ] {
        assert_eq!(bob.request(method, &path, None).await.problem(403).0, "forbidden", "{path}");
    }
    let grants = json!({"webhooks": {"actions": ["view", "add"], "scope": "all"}, "leads": {"actions": ["view"], "scope": "own"}});
    ann.post("/api/roles/", &json!({"name": "Plumber", "grants": grants})).await.expect(201);
    let eve = ann.colleague("Plumber").await;
    assert_eq!(eve.get(&at(&made)).await.status, 200);
    let reply = eve.post("/api/webhooks/", &json!({"url": URL, "events": ["lead.*"]})).await;
    assert_eq!(reply.problem(403).0, "forbidden", "it would tell what she can't read");
    assert_eq!(eve.patch(&at(&made), &json!({"url": URL})).await.problem(403).0, "forbidden");
}

/// A delivery of a webhook of leads, as a change of one leaves it.
async fn delivered(person: &Person, webhook: &Value) -> Uuid {
    let id = Uuid::now_v7();
    let caller = System(person.org["id"].as_str().unwrap().parse::<OrgId>().unwrap());
    let of: Uuid = webhook["id"].as_str().unwrap().parse().unwrap();
    let row = (
        deliveries::org_id.eq(caller.0),
        deliveries::id.eq(id),
        deliveries::webhook_id.eq(of),
        deliveries::created_at.eq(person.app.db.clock().now()),
        deliveries::event.eq("lead.created"),
        deliveries::body.eq("{\"title\": \"Chairs\"}"),
        deliveries::state.eq("delivered"),
        deliveries::ticket.eq(Uuid::now_v7()),
        deliveries::attempts.eq(json!([{"status": 200, "response": "Chairs"}])),
    );
    let inserted = person.app.db.tenant(&caller, async |t| -> crm_core::Result<usize> {
        Ok(diesel::insert_into(deliveries::table).values(row).execute(t.conn()?).await?)
    });
    inserted.await.unwrap();
    id
}

#[actix_web::test]
async fn who_sees_to_webhooks_need_not_see_what_they_tell() {
    let ann = TestApp::new().await.founder().await;
    let made = webhook(&ann).await;
    let id = delivered(&ann, &made).await;
    let grants = json!({"webhooks": {"actions": ["view", "change"], "scope": "all"}});
    ann.post("/api/roles/", &json!({"name": "Plumber", "grants": grants})).await.expect(201);
    let bob = ann.colleague("Plumber").await;
    let list = format!("{}deliveries/", at(&made));
    let seen = async |person: &Person| {
        let page = person.get(&list).await.expect(200);
        let row = &page["results"][0];
        json!([row["id"], row["body"], row["attempts"][0]["response"], row["attempts"][0]["status"]])
    };
    assert_eq!(seen(&ann).await, json!([id, "{\"title\": \"Chairs\"}", "Chairs", 200]));
    assert_eq!(seen(&bob).await, json!([id, null, null, 200]));
    let again = format!("/api/webhooks/deliveries/{id}/redeliver/");
    assert_eq!(bob.post(&again, &json!({})).await.problem(403).0, "forbidden");
    ann.post(&again, &json!({})).await.expect(202);
    bob.post(&format!("{}test/", at(&made)), &json!({})).await.expect(202);
}
