use std::time::Duration;

use serde_json::{Value, json};

use crate::app::{Person, TestApp};

/// Reads on until so many changes are there: other tests write in the same cluster and hold the feed up for a moment.
async fn follow(person: &Person, query: &str, count: usize) -> (Vec<Value>, String) {
    let mut seen: Vec<Value> = Vec::new();
    let mut after = String::new();
    let reading = async {
        while seen.len() < count {
            let part = person.get(&format!("/api/changes/?{query}{after}")).await.expect(200);
            seen.extend(part["results"].as_array().unwrap().iter().cloned());
            after = format!("&after={}", part["next"].as_str().unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reading).await.expect("changes");
    assert_eq!(seen.len(), count);
    (seen, after)
}

#[actix_web::test]
async fn a_lead_is_followed_from_its_beginning_to_its_end() {
    let ann = TestApp::new().await.founder().await;
    let lead = ann.lead(json!({"title": "Chairs", "status": "assigned"})).await;
    let at = format!("/api/leads/{}/", lead["id"].as_str().unwrap());
    ann.patch(&at, &json!({"status": "closed"})).await.expect(200);
    let said = format!("/api/leads/comment/{}/", lead["id"].as_str().unwrap());
    ann.post(&said, &json!({"comment": "Sold."})).await.expect(201);
    let (seen, after) = follow(&ann, "limit=2", 3).await;
    let told: Vec<_> =
        seen.iter().map(|c| json!([c["kind"], c["action"], c["version"], c["fields"]])).collect();
    assert_eq!(
        told,
        [
            json!(["lead", "created", 1, {}]),
            json!(["lead", "updated", 2, {"status": ["assigned", "closed"]}]),
            json!(["lead", "commented", null, {"comment": [null, "Sold."]}]),
        ]
    );
    assert!(seen.iter().all(|c| c["record_id"] == lead["id"] && c["created_by"] == ann.member["id"]));
    assert_eq!(ann.delete(&at).await.status, 204);
    let deleted = async {
        loop {
            let part = ann.get(&format!("/api/changes/?limit=100{after}")).await.expect(200);
            assert_eq!(part["more"], false);
            if let Some(change) = part["results"].get(0) {
                return change.clone();
            }
        }
    };
    let deleted = tokio::time::timeout(Duration::from_secs(30), deleted).await.unwrap();
    assert_eq!((&deleted["action"], &deleted["record_id"]), (&json!("deleted"), &lead["id"]));
    let whole = follow(&ann, "kinds=lead", 1).await.0;
    assert_eq!(whole[0]["action"], "deleted", "it has taken the rest with it");
}

#[actix_web::test]
async fn whoever_sees_only_their_own_can_t_follow() {
    let ann = TestApp::new().await.founder().await;
    ann.lead(json!({"title": "Secret"})).await;
    let bob = ann.colleague("USER").await;
    for query in ["?kinds=lead", "?kinds=lead&after=now", "?kinds=account", "?kinds=product,contact"] {
        let reply = bob.get(&format!("/api/changes/{query}")).await;
        assert!(reply.json()["detail"].as_str().unwrap().contains("with the scope all"), "{query}");
        assert_eq!(reply.problem(403).0, "forbidden", "{query}");
    }
    let all = bob.get("/api/changes/").await.expect(200);
    assert_eq!(all["results"], json!([]), "of what everybody sees, nothing has changed");
    let grants = json!({"leads": {"actions": ["view"], "scope": "all"}});
    ann.post("/api/roles/", &json!({"name": "Follower", "grants": grants})).await.expect(201);
    let eve = ann.colleague("Follower").await;
    assert_eq!(follow(&eve, "", 1).await.0.len(), 1);
    let stranger = ann.app.founder().await;
    assert_eq!(stranger.get("/api/changes/").await.expect(200)["results"], json!([]));
}

#[actix_web::test]
async fn what_is_not_understood_is_named() {
    let ann = TestApp::new().await.founder().await;
    for (query, field) in [("kinds=led", "kinds"), ("limit=2000", "limit"), ("ordering=id", "ordering")] {
        let (code, fields) = ann.get(&format!("/api/changes/?{query}")).await.problem(400);
        assert_eq!((code.as_str(), fields), ("invalid_parameter", vec![field.to_owned()]));
    }
    assert_eq!(ann.get("/api/changes/?after=x").await.problem(400).0, "invalid_cursor");
}
