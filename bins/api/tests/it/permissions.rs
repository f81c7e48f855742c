use actix_web::http::Method;
use crm_api::operation::Permit;
use serde_json::{Value, json};

use crate::app::TestApp;

const UNKNOWN: &str = "0190b5a0-0000-7000-8000-00000000dead";

/// What anybody may call. A route that is open by mistake does not pass for one of these.
const PUBLIC: &[&str] = &[
    "health",
    "readiness",
    "metrics",
    "schema",
    "register",
    "login",
    "refresh_token",
    "logout",
    "forgot_password",
    "reset_password",
    "verify_email",
    "join_by_invitation",
    "verify_second_factor",
    "list_oidc_providers",
    "begin_oidc",
    "finish_oidc",
    "request_sign_in_mail",
    "verify_sign_in_link",
    "verify_sign_in_code",
    "create_lead_from_site",
];

#[actix_web::test]
async fn every_route_asks_for_the_permission_it_declares() {
    let app = TestApp::new().await;
    let ann = app.founder().await;
    let nothing = json!({"name": "Nothing at all", "grants": {}});
    ann.post("/api/roles/", &nothing).await.expect(201);
    let bob = ann.colleague("Nothing at all").await;
    let routes = crm_api::routes::all();
    // Leaving is every member's right, and would end this test; a stream would not let it end.
    for op in routes.operations().iter().filter(|op| !matches!(op.id, "leave_org" | "stream_notifications")) {
        let path = op.path.replace("{id}", UNKNOWN).replace("{line}", UNKNOWN);
        let body = op.body.as_ref().map(|_| json!({}));
        let anonymous = app.request(op.method.clone(), &path, None, body.as_ref()).await;
        assert_eq!(op.permit == Permit::Public, PUBLIC.contains(&op.id), "{}", op.id);
        if op.permit != Permit::Public {
            assert_eq!(anonymous.problem(401).0, "unauthenticated", "{}", op.id);
        }
        let reply = bob.request(op.method.clone(), &path, body.as_ref()).await;
        match op.permit {
            Permit::Permission(_) | Permit::Platform(_) => {
                assert_eq!(reply.problem(403).0, "forbidden", "{}", op.id);
            }
            _ => assert_ne!(reply.status, 500, "{}", op.id),
        }
    }
}

#[actix_web::test]
async fn a_user_sees_what_is_theirs_or_their_teams() {
    let ann = TestApp::new().await.founder().await;
    let (bob, eve) = (ann.colleague("USER").await, ann.colleague("USER").await);
    let team =
        ann.post("/api/teams/", &json!({"name": "East", "users": [bob.member_id()]})).await.expect(201);
    ann.lead(json!({"title": "nobody's", "email": "nobody@example.com"})).await;
    ann.lead(json!({"title": "assigned", "email": "some@example.com", "assigned_to": [bob.member_id()]}))
        .await;
    ann.lead(json!({"title": "team's", "email": "team@example.com", "teams": [team["id"]]})).await;
    bob.lead(json!({"title": "created"})).await;
    let all = ann.get("/api/leads/?count=true").await.expect(200);
    assert_eq!(all["count"], 4);
    let visible = |page: Value| -> Vec<String> {
        page["results"].as_array().unwrap().iter().map(|l| l["title"].as_str().unwrap().to_owned()).collect()
    };
    let bobs = bob.get("/api/leads/?count=true").await.expect(200);
    assert_eq!(bobs["count"], 3);
    assert_eq!(visible(bobs), ["created", "team's", "assigned"]);
    assert_eq!(
        visible(bob.get("/api/leads/?search=example.com&ordering=title").await.expect(200)),
        ["assigned", "team's"]
    );
    assert_eq!(visible(eve.get("/api/leads/").await.expect(200)), Vec::<String>::new());
    for lead in all["results"].as_array().unwrap() {
        let at = format!("/api/leads/{}/", lead["id"].as_str().unwrap());
        let mine = lead["title"] != "nobody's";
        assert_eq!(bob.get(&at).await.status, if mine { 200 } else { 404 }, "{lead}");
        assert_eq!(
            bob.patch(&at, &json!({"city": "X"})).await.status,
            if mine { 200 } else { 404 },
            "{lead}"
        );
        assert_eq!(bob.get(&format!("{at}history/")).await.status, if mine { 200 } else { 404 }, "{lead}");
        assert_eq!(eve.get(&at).await.status, 404, "{lead}");
        assert_eq!(eve.delete(&at).await.status, 404, "{lead}");
        let deletes = match lead["title"].as_str().unwrap() {
            "created" => 204,
            "nobody's" => 404,
            _ => 403,
        };
        assert_eq!(bob.delete(&at).await.status, deletes, "only its creator deletes: {lead}");
    }
    let team_at = format!("/api/teams/{}/", team["id"].as_str().unwrap());
    assert_eq!(ann.delete(&team_at).await.problem(409).0, "in_use");
    ann.patch(&team_at, &json!({"users": []})).await.expect(200);
    assert_eq!(visible(bob.get("/api/leads/").await.expect(200)), ["assigned"], "off the team, out of sight");
}

#[actix_web::test]
async fn shop_roles_do_what_their_lists_say() {
    let ann = TestApp::new().await.founder().await;
    let roles = ann.get("/api/roles/?limit=200").await.expect(200);
    let role = |name: &str| {
        let found = roles["results"].as_array().unwrap().iter().find(|r| r["name"] == name).cloned();
        found.unwrap_or_else(|| panic!("no role {name}"))
    };
    assert_eq!(role("COURIER")["grants"], json!({"orders": {"actions": ["view", "change"], "scope": "all"}}));
    assert_eq!(role("FLORIST")["grants"]["products"]["actions"], json!(["view"]));
    let courier = ann.colleague("COURIER").await;
    assert_eq!(courier.get("/api/leads/").await.problem(403).0, "forbidden");
    for name in ["ADMIN", "USER", "OWNER", "MANAGER", "FLORIST", "COURIER"] {
        let at = format!("/api/roles/{}/", role(name)["id"].as_str().unwrap());
        assert_eq!(ann.patch(&at, &json!({"description": "x"})).await.problem(403).0, "forbidden", "{name}");
        assert_eq!(ann.delete(&at).await.problem(403).0, "forbidden", "{name}");
    }
}

#[actix_web::test]
async fn a_role_of_ones_own_grants_what_it_lists() {
    let ann = TestApp::new().await.founder().await;
    let grants = json!({"leads": {"actions": ["view"], "scope": "all"}});
    let role = ann.post("/api/roles/", &json!({"name": "Auditor", "grants": grants})).await.expect(201);
    let bob = ann.colleague("Auditor").await;
    let lead = ann.lead(json!({"title": "Seen"})).await;
    let at = format!("/api/leads/{}/", lead["id"].as_str().unwrap());
    assert_eq!(bob.get(&at).await.status, 200);
    assert_eq!(bob.patch(&at, &json!({"title": "x"})).await.problem(403).0, "forbidden");
    assert_eq!(bob.post("/api/leads/", &json!({"title": "x"})).await.problem(403).0, "forbidden");
    let change = json!({"grants": {"leads": {"actions": ["view", "add", "change"], "scope": "own"}}});
    let role_at = format!("/api/roles/{}/", role["id"].as_str().unwrap());
    ann.patch(&role_at, &change).await.expect(200);
    assert_eq!(bob.get(&at).await.status, 404, "a role's change counts at the next request");
    bob.lead(json!({"title": "Bob's"})).await;
    assert_eq!(ann.delete(&role_at).await.problem(409).0, "in_use");
    for (grants, field) in [
        (json!({"leds": {"actions": ["view"], "scope": "all"}}), "grants.leds"),
        (json!({"leads": {"actions": ["fly"], "scope": "all"}}), "grants.leads.actions.0"),
        (json!({"leads": {"actions": [], "scope": "all"}}), "grants.leads.actions"),
        (json!({"teams": {"actions": ["change"], "scope": "own"}}), "grants.teams.scope"),
    ] {
        let (_, fields) =
            ann.post("/api/roles/", &json!({"name": "Wrong", "grants": grants})).await.problem(422);
        assert_eq!(fields, [field]);
    }
}

#[actix_web::test]
async fn a_profile_shows_what_its_role_allows_now() {
    let ann = TestApp::new().await.founder().await;
    let grants = json!({"leads": {"actions": ["view", "add"], "scope": "all"}, "tags": {"actions": ["view"], "scope": "all"}});
    let role = ann.post("/api/roles/", &json!({"name": "Helper", "grants": grants})).await.expect(201);
    let bob = ann.colleague("Helper").await;
    let before = bob.get("/api/profile/").await;
    let tag = before.header("etag").to_owned();
    assert_eq!(before.expect(200)["permissions"]["leads"]["actions"], json!(["view", "add"]));
    let at = format!("/api/roles/{}/", role["id"].as_str().unwrap());
    let narrowed =
        ann.patch(&at, &json!({"grants": {"leads": {"actions": ["view"]}, "tags": null}})).await.expect(200);
    assert_eq!(
        narrowed["grants"],
        json!({"leads": {"actions": ["view"], "scope": "all"}}),
        "null takes a module away"
    );
    let after = bob.with(Method::GET, "/api/profile/", ("if-none-match", &tag), None).await.expect(200);
    assert_eq!(after["permissions"], narrowed["grants"]);
}
