use serde_json::{Value, json};

use crate::app::TestApp;

#[actix_web::test]
async fn an_administrator_sees_what_was_mailed_and_never_what_it_said() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    let lead = ann.lead(json!({"title": "Big deal", "assigned_to": [bob.member_id()]})).await;
    assert_eq!(lead["title"], "Big deal");
    let told = ann.app.mail_of(&bob.email, "assigned").await;
    let link = told.data["link"].as_str().unwrap();
    let at = format!("/api/mail/messages/?to={}", bob.email.to_uppercase());
    let page = ann.get(&at).await.expect(200);
    let [assigned, invitation] = &page["results"].as_array().unwrap()[..] else { panic!("{page}") };
    assert_eq!((&assigned["template"], &assigned["to"]), (&json!("assigned"), &json!(bob.email)));
    assert_eq!(
        (&invitation["template"], &invitation["created_by"]),
        (&json!("invitation"), &ann.member["id"])
    );
    assert!(!page.to_string().contains(link) && assigned.get("data").is_none(), "{page}");
    for (filter, count) in [
        ("&template=assigned", 1),
        ("&state=failed", 0),
        ("&created_at__gte=2020-01-01", 2),
        ("&state__ne=failed", 2),
    ] {
        let page = ann.get(&format!("{at}&count=true{filter}")).await.expect(200);
        assert_eq!(page["count"], count, "{filter}");
    }
    assert_eq!(ann.get(&format!("{at}&state=lost")).await.problem(400).1, ["state"]);
    assert_eq!(bob.get("/api/mail/messages/").await.problem(403).0, "forbidden");
}

#[actix_web::test]
async fn mail_of_an_account_is_no_organizations_business() {
    let ann = TestApp::new().await.founder().await;
    ann.app.mail_of(&ann.email, "verify_email").await;
    let page = ann.get(&format!("/api/mail/messages/?to={}", ann.email)).await.expect(200);
    assert_eq!(page["results"], json!([]));
}

#[actix_web::test]
async fn suppressions_are_made_listed_and_lifted() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    let body = json!({"kind": "domain", "value": " Example.ORG ", "reason": "they asked"});
    let reply = ann.post("/api/mail/suppressions/", &body).await;
    let at = reply.header("location").to_owned();
    let made = reply.expect(201);
    assert_eq!((&made["value"], &made["created_by"]), (&json!("example.org"), &ann.member["id"]));
    assert_eq!(at, format!("/api/mail/suppressions/{}/", made["id"].as_str().unwrap()));
    assert_eq!(
        ann.post("/api/mail/suppressions/", &body).await.problem(409),
        ("duplicate".into(), vec!["value".into()])
    );
    for (body, status, field) in [
        (json!({"kind": "domain", "value": "ann@example.org"}), 422, "value"),
        (json!({"kind": "address", "value": "example.org"}), 422, "value"),
        (json!({"kind": "country", "value": "example.org"}), 422, "kind"),
        (json!({"kind": "domain"}), 422, "value"),
        (json!({"kind": "domain", "value": "example.net", "until": null}), 400, "until"),
    ] {
        assert_eq!(ann.post("/api/mail/suppressions/", &body).await.problem(status).1, [field], "{body}");
    }
    let listed = |page: Value| page["results"].as_array().unwrap().len();
    assert_eq!(listed(ann.get("/api/mail/suppressions/?kind=domain&value=example.org").await.expect(200)), 1);
    assert_eq!(listed(ann.get("/api/mail/suppressions/?kind=address").await.expect(200)), 0);
    assert_eq!(bob.delete(&at).await.problem(403).0, "forbidden");
    assert_eq!(ann.delete(&at).await.status, 204);
    assert_eq!(ann.delete(&at).await.problem(404).0, "not_found");
    assert_eq!(listed(ann.get("/api/mail/suppressions/").await.expect(200)), 0);
}
