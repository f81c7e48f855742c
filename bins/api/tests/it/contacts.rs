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
    let found = ann.get("/api/search/?q=admiral").await.expect(200);
    assert_eq!(found["results"][0]["title"], "Grace Person", "called by the name, title or not: {found}");
    let told = ann.get("/api/activities/?kind=contact").await.expect(200);
    assert_eq!(told["results"][0]["title"], "Grace Person", "{told}");
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
        (json!({"first_name": "A", "last_name": "B", "teams": ["east"]}), 422, vec!["teams[0]"]),
        (json!({"first_name": "A", "last_name": "B", "assigned_to": ["bob"]}), 422, vec!["assigned_to[0]"]),
        (json!({"first_name": "A", "last_name": "B", "tags": ["vip"]}), 422, vec!["tags[0]"]),
        (json!({"first_name": "A", "last_name": "B", "teams": UNKNOWN}), 400, vec!["teams"]),
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
async fn two_who_add_the_same_address_at_once_are_told_apart_by_the_constraint() {
    let ann = TestApp::new().await.founder().await;
    let body = json!({"first_name": "Grace", "last_name": "Hopper", "email": "raced@example.com"});
    let path = "/api/contacts/?allow_duplicate=true";
    let (one, other) = futures_util::future::join(ann.post(path, &body), ann.post(path, &body)).await;
    let refused = if one.status == 201 { other } else { one };
    assert_eq!(refused.problem(409), ("duplicate".into(), vec!["email".into()]));
    assert_eq!(ann.get("/api/contacts/?count=true").await.expect(200)["count"], 1);
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
    let (bobs, none) = (json!([bob.member_id()]), json!([]));
    let told = async || {
        app.work().await;
        let told = bob.get("/api/notifications/?limit=200").await.expect(200);
        told["results"].as_array().unwrap().iter().filter(|n| n["kind"] == "contact").count()
    };
    let ada = contact(&ann, "Ada", json!({})).await;
    assert_eq!(told().await, 0, "nobody is told of nothing");
    contact(&ann, "Grace", json!({"assigned_to": bobs})).await;
    assert_eq!(told().await, 1, "POST");
    let at = path(&ada);
    let whole =
        |assigned: &Value| json!({"first_name": "Ada", "last_name": "Person", "assigned_to": assigned});
    for (method, body, want) in [
        (Method::PUT, whole(&bobs), 2),
        (Method::PUT, whole(&bobs), 2),
        (Method::PATCH, json!({"city": "Berlin"}), 2),
        (Method::PATCH, json!({"assigned_to": none}), 2),
        (Method::PATCH, json!({"assigned_to": bobs}), 3),
        (Method::PUT, whole(&none), 3),
        (Method::PUT, whole(&bobs), 4),
    ] {
        ann.request(method.clone(), &at, Some(&body)).await.expect(200);
        assert_eq!(told().await, want, "{method} {body}");
    }
    let merge = json!({"operations": [{"op": "update", "id": ada["id"], "fields": {"assigned_to": none}},
        {"op": "update", "id": ada["id"], "fields": {"assigned_to": bobs}}]});
    ann.post("/api/contacts/bulk/", &merge).await.expect(200);
    assert_eq!(told().await, 5, "bulk");
}

#[actix_web::test]
async fn a_change_by_another_leaves_a_record_its_creator() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    for (module, body) in [
        ("accounts", json!({"name": "x"})),
        ("contacts", json!({"first_name": "x", "last_name": "x"})),
        ("leads", json!({"title": "x"})),
        ("opportunities", json!({"name": "x"})),
        ("products", json!({"name": "x"})),
    ] {
        let maker = if module == "products" { &ann } else { &bob };
        let made = maker.post(&format!("/api/{module}/"), &body).await.expect(201);
        let at = format!("/api/{module}/{}/", id(&made));
        let mut changed = ann.patch(&at, &json!({"description": "y"})).await.expect(200);
        changed["description"] = json!("z");
        let changed = ann.put(&at, &changed).await.expect(200);
        assert_eq!(
            (&changed["created_by"], &changed["updated_by"], &changed["created_at"]),
            (&maker.member["id"], &ann.member["id"], &made["created_at"]),
            "{module}"
        );
        assert_eq!(ann.get(&at).await.expect(200)["created_by"], maker.member["id"], "{module}");
    }
}

#[actix_web::test]
async fn nobody_who_has_left_is_assigned_anew_and_whoever_is_may_stay() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    let bobs = json!([bob.member_id()]);
    let modules = [
        ("accounts", json!({"name": "x"})),
        ("contacts", json!({"first_name": "x", "last_name": "x"})),
        ("leads", json!({"title": "x"})),
        ("opportunities", json!({"name": "x"})),
    ];
    let mut his = Vec::new();
    for (module, body) in &modules {
        let mut body = body.clone();
        body["assigned_to"] = bobs.clone();
        his.push(ann.post(&format!("/api/{module}/"), &body).await.expect(201));
    }
    let status = format!("/api/user/{}/status/", bob.member_id());
    ann.post(&status, &json!({"status": "inactive"})).await.expect(200);
    for ((module, body), had) in modules.iter().zip(&his) {
        let at = format!("/api/{module}/{}/", id(had));
        let kept = ann.patch(&at, &json!({"description": "y", "assigned_to": bobs})).await.expect(200);
        assert_eq!(kept["assigned_to"], bobs, "{module}");
        let mut body = body.clone();
        body["assigned_to"] = bobs.clone();
        for (field, value) in body.as_object_mut().unwrap() {
            if value == "x" {
                *value = json!(format!("another {field}"));
            }
        }
        let all = format!("/api/{module}/");
        assert_eq!(ann.post(&all, &body).await.problem(422).1, ["assigned_to"], "{module}");
        ann.patch(&at, &json!({"assigned_to": []})).await.expect(200);
        for method in [Method::PATCH, Method::PUT] {
            let refused = ann.request(method, &at, Some(&body)).await;
            assert_eq!(refused.problem(422).1, ["assigned_to"], "{module}");
        }
    }
}

#[actix_web::test]
async fn a_comment_or_file_is_reached_by_its_own_kind_of_record_alone_and_by_who_sees_it_now() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    let grace = contact(&ann, "Grace", json!({"assigned_to": [bob.member_id()]})).await;
    let own = |what: &str, record: &Value| format!("/api/contacts/{what}/{}/", id(record));
    let comment = bob.post(&own("comment", &grace), &json!({"comment": "his"})).await.expect(201);
    let file = bob.upload(&own("attachment", &grace), "his.txt", b"his").await.expect(201);
    for module in ["leads", "accounts", "opportunities", "documents"] {
        let path = format!("/api/{module}/comment/{}/", id(&comment));
        for method in [Method::PATCH, Method::PUT, Method::DELETE] {
            let body = (method != Method::DELETE).then(|| json!({"comment": "other"}));
            for who in [&ann, &bob] {
                let refused = who.request(method.clone(), &path, body.as_ref()).await;
                assert_eq!(refused.problem(404).0, "not_found", "{method} {path}");
            }
        }
        let path = format!("/api/{module}/attachment/{}/", id(&file));
        assert_eq!(ann.delete(&path).await.problem(404).0, "not_found", "{path}");
    }
    ann.patch(&path(&grace), &json!({"assigned_to": []})).await.expect(200);
    let (said, kept) = (own("comment", &comment), own("attachment", &file));
    assert_eq!(bob.patch(&said, &json!({"comment": "x"})).await.problem(404).0, "not_found");
    assert_eq!(bob.delete(&said).await.problem(404).0, "not_found", "who sees the record no more");
    assert_eq!(bob.delete(&kept).await.problem(404).0, "not_found");
    let still = ann.get(&own("comment", &grace)).await.expect(200);
    assert_eq!(still["results"][0]["comment"], "his");
    assert_eq!(ann.delete(&kept).await.status, 204);
}
