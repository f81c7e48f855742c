use serde_json::{Value, json};

use crate::app::{Person, TestApp};

fn path(team: &Value) -> String {
    format!("/api/teams/{}/", team["id"].as_str().unwrap())
}

async fn names(person: &Person, query: &str) -> Vec<String> {
    let page = person.get(&format!("/api/teams/?ordering=name&{query}")).await.expect(200);
    page["results"].as_array().unwrap().iter().map(|team| team["name"].as_str().unwrap().to_owned()).collect()
}

#[actix_web::test]
async fn teams_are_found_by_name_founder_and_members() {
    let ann = TestApp::new().await.founder().await;
    let (bob, eve) = (ann.colleague("USER").await, ann.colleague("USER").await);
    let (bobs, eves) = (bob.member_id(), eve.member_id());
    for (name, users) in [("East", vec![&bobs]), ("West", vec![&bobs, &eves]), ("Nobody", vec![])] {
        ann.post("/api/teams/", &json!({"name": name, "users": users})).await.expect(201);
    }
    assert_eq!(names(&bob, "name__icontains=EST").await, ["West"]);
    assert_eq!(names(&bob, &format!("users={bobs}")).await, ["East", "West"]);
    assert_eq!(names(&bob, &format!("users={bobs}&users={eves}")).await, ["West"]);
    assert_eq!(names(&bob, "users__isnull=true").await, ["Nobody"]);
    assert_eq!(names(&bob, &format!("created_by={}", ann.member_id())).await, ["East", "Nobody", "West"]);
    assert_eq!(names(&bob, &format!("created_by={bobs}")).await, Vec::<String>::new());
    let east = bob.get("/api/teams/?name=East&expand=users,created_by").await.expect(200);
    assert_eq!(east["results"][0]["users"][0]["email"], json!(bob.email));
    assert_eq!(east["results"][0]["created_by"]["email"], json!(ann.email));
}

#[actix_web::test]
async fn a_member_taken_from_a_team_loses_sight_of_its_records_at_once() {
    let ann = TestApp::new().await.founder().await;
    let (bob, eve) = (ann.colleague("USER").await, ann.colleague("USER").await);
    let members = json!([bob.member_id(), eve.member_id()]);
    let team = ann.post("/api/teams/", &json!({"name": "East", "users": members})).await.expect(201);
    let id = team["id"].as_str().unwrap();
    let lead = ann.lead(json!({"title": "The team's", "teams": [id]})).await;
    let lead = format!("/api/leads/{}/", lead["id"].as_str().unwrap());
    let document = ann.document(&[("title", "The team's"), ("teams", id)]).await;
    let document = format!("/api/documents/{}/", document["id"].as_str().unwrap());
    for at in [&lead, &document, &format!("{document}download/")] {
        assert_eq!(bob.get(at).await.status, 200, "{at}");
    }
    let kept = ann.patch(&path(&team), &json!({"users": [eve.member_id()]})).await.expect(200);
    assert_eq!(kept["users"], json!([eve.member_id()]));
    for at in [&lead, &document, &format!("{document}download/")] {
        assert_eq!(bob.get(at).await.status, 404, "{at}");
        assert_eq!(eve.get(at).await.status, 200, "{at}");
    }
    for list in ["/api/leads/", "/api/documents/", "/api/search/?q=team"] {
        assert_eq!(bob.get(list).await.expect(200)["results"], json!([]), "{list}");
    }
    // And whoever joins sees at once what was there before.
    ann.patch(&path(&team), &json!({"users": [bob.member_id()]})).await.expect(200);
    assert_eq!((bob.get(&lead).await.status, eve.get(&lead).await.status), (200, 404));
}

#[actix_web::test]
async fn a_team_stays_in_its_organization_and_its_name_is_unique_there_alone() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.founder().await, app.founder().await);
    let team = ann.post("/api/teams/", &json!({"name": "East"})).await.expect(201);
    eve.post("/api/teams/", &json!({"name": "East"})).await.expect(201);
    let again = ann.post("/api/teams/", &json!({"name": " EAST "})).await.problem(409);
    assert_eq!(again, ("duplicate".to_owned(), vec!["name".to_owned()]));
    assert_eq!(ann.patch(&path(&team), &json!({"org_id": eve.org["id"]})).await.problem(400).1, ["org_id"]);
    assert_eq!(ann.patch(&path(&team), &json!({"users": [eve.member_id()]})).await.problem(422).1, ["users"]);
}

#[actix_web::test]
async fn what_is_written_of_members_teams_tags_goals_pipelines_and_stages_can_be_read() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.founder().await, app.founder().await);
    let goal = json!({
        "name": "Name", "goal_type": "DEALS_CLOSED", "target_value": 1, "period_type": "CUSTOM", "period_start": "2026-01-01",
        "period_end": "2026-12-31",
    });
    let pipeline = ann.post("/api/leads/pipelines/", &json!({"name": "Name"})).await.expect(201);
    let stage = format!("/api/leads/stages/{}/", pipeline["stages"][0]["id"].as_str().unwrap());
    let mut paths = vec![(stage, pipeline["stages"][0]["name"].clone())];
    paths.push((format!("/api/leads/pipelines/{}/", pipeline["id"].as_str().unwrap()), json!("Name")));
    for (all, body) in [
        ("/api/teams/", json!({"name": "Name"})),
        ("/api/tags/", json!({"name": "Name"})),
        ("/api/opportunities/goals/", goal),
    ] {
        let made = ann.post(all, &body).await.expect(201);
        paths.push((format!("{all}{}/", made["id"].as_str().unwrap()), json!("Name")));
    }
    let bob = ann.colleague("USER").await;
    let his = format!("/api/user/{}/", bob.member_id());
    ann.patch(&his, &json!({"phone": "+1 555 010 0100"})).await.expect(200);
    let history = ann.get(&format!("{his}history/")).await.expect(200);
    assert_eq!(history["results"][0]["fields"], json!({"phone": [null, "+1 555 010 0100"]}));
    assert_eq!(bob.get(&format!("{his}history/")).await.problem(403).0, "forbidden");
    for (path, name) in paths {
        ann.patch(&path, &json!({"name": "Other name"})).await.expect(200);
        let history = ann.get(&format!("{path}history/")).await.expect(200);
        let actions: Vec<_> =
            history["results"].as_array().unwrap().iter().map(|entry| entry["action"].clone()).collect();
        assert_eq!(actions, ["updated", "created"], "{path}");
        assert_eq!(history["results"][0]["fields"]["name"], json!([name, "Other name"]), "{path}");
        assert_eq!(eve.get(&format!("{path}history/")).await.problem(404).0, "not_found", "{path}");
    }
}
