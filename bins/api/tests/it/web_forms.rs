use std::num::NonZeroU32;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use crm_api::limits::Rates;
use serde_json::{Value, json};

use crate::app::{Person, Reply, TestApp, unique_email};
use crate::limits::NONE;

const FORMS: &str = "/api/api-settings/";
const SUBMIT: &str = "/api/leads/create-from-site/";

async fn form(person: &Person, more: Value) -> (String, String) {
    let mut body = json!({"title": "Contact page"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let form = person.post(FORMS, &body).await.expect(201);
    (format!("{FORMS}{}/", form["id"].as_str().unwrap()), form["apikey"].as_str().unwrap().to_owned())
}

/// A submission from a page of `origin`, as a script sends it.
async fn submit(app: &TestApp, origin: Option<&str>, body: &Value) -> Reply {
    let mut request = TestRequest::post().uri(SUBMIT).set_json(body);
    if let Some(origin) = origin {
        request = request.insert_header(("origin", origin));
    }
    app.send(request).await
}

async fn leads(person: &Person) -> Vec<Value> {
    let page = person.get("/api/leads/?limit=200").await.expect(200);
    page["results"].as_array().unwrap().clone()
}

#[actix_web::test]
async fn a_key_is_shown_once_and_rotated_by_administrators_alone() {
    let app = TestApp::new().await;
    let ann = app.founder().await;
    let bob = ann.colleague("USER").await;
    let created = ann.post(FORMS, &json!({"title": "Contact page", "website": "https://example.com"})).await;
    let location = created.header("location").to_owned();
    let created = created.expect(201);
    let key = created["apikey"].as_str().unwrap().to_owned();
    assert!(key.starts_with("amp_web_") && key.starts_with(created["key_prefix"].as_str().unwrap()));
    for reply in
        [ann.get(&location).await, ann.get(FORMS).await, ann.get(&format!("{FORMS}?expand=tags")).await]
    {
        assert_eq!(reply.status, 200);
        let text = String::from_utf8(reply.bytes).unwrap();
        assert!(text.contains(created["id"].as_str().unwrap()), "the list has ids");
        assert!(!text.contains(&key) && !text.contains("apikey") && !text.contains("digest"));
    }
    for (method, path) in [
        (Method::GET, FORMS.to_owned()),
        (Method::POST, FORMS.to_owned()),
        (Method::GET, location.clone()),
        (Method::PATCH, location.clone()),
        (Method::DELETE, location.clone()),
        (Method::POST, format!("{location}rotate/")),
    ] {
        let body = (method != Method::GET && method != Method::DELETE).then(|| json!({"title": "Bob's"}));
        assert_eq!(bob.request(method, &path, body.as_ref()).await.problem(403).0, "forbidden", "{path}");
    }
    let rotated = ann.post(&format!("{location}rotate/"), &json!({})).await.expect(200);
    assert_eq!(rotated["version"], 2);
    let lead = json!({"apikey": key, "email": unique_email()});
    assert_eq!(submit(&app, None, &lead).await.problem(403).0, "forbidden", "the old key opens nothing");
    let lead = json!({"apikey": rotated["apikey"], "email": unique_email()});
    assert_eq!(submit(&app, None, &lead).await.expect(202), json!({"accepted": true}));
    let changed = ann.patch(&location, &json!({"website": null})).await.expect(200);
    assert_eq!((&changed["website"], &changed["key_prefix"]), (&Value::Null, &rotated["key_prefix"]));
    ann.delete(&location).await;
    assert_eq!(submit(&app, None, &lead).await.status, 403);
    assert_eq!(leads(&ann).await.len(), 1, "the leads that it brought stay");
}

#[actix_web::test]
async fn a_submission_becomes_a_lead_as_the_form_says() {
    let app = TestApp::new().await;
    let ann = app.founder().await;
    let (bob, gone) = (ann.colleague("USER").await, ann.colleague("USER").await);
    let tag = ann.post("/api/tags/", &json!({"name": "Web"})).await.expect(201);
    let old = ann.post("/api/tags/", &json!({"name": "Old"})).await.expect(201);
    let team = ann.post("/api/teams/", &json!({"name": "East"})).await.expect(201);
    let (_, key) = form(
        &ann,
        json!({
            "lead_source": "campaign", "lead_assigned_to": [bob.member_id(), gone.member_id()],
            "tags": [tag["id"], old["id"]], "teams": [team["id"]],
        }),
    )
    .await;
    ann.post(&format!("/api/user/{}/status/", gone.member_id()), &json!({"status": "inactive"}))
        .await
        .expect(200);
    ann.delete(&format!("/api/tags/{}/", old["id"].as_str().unwrap())).await;
    let field = json!({"target": "leads", "key": "budget", "label": "Budget", "field_type": "text", "is_required": true});
    ann.post("/api/custom-fields/", &field).await.expect(201);
    // As an HTML form sends it.
    let sent = format!(
        "apikey={key}&title=Chairs%2C+please&first_name=Grace&last_name=&email=Grace%40Example.com&phone=%2B1+555+010+0100\
         &company_name=Navy&message=Two%0D%0Ahundred&website_url="
    );
    let request = TestRequest::post()
        .uri(SUBMIT)
        .insert_header(("content-type", "application/x-www-form-urlencoded"))
        .set_payload(sent);
    assert_eq!(app.send(request).await.expect(202), json!({"accepted": true}));
    let all = leads(&ann).await;
    let lead = &all[0];
    assert_eq!(all.len(), 1);
    for (field, want) in [
        ("title", json!("Chairs, please")),
        ("first_name", json!("Grace")),
        ("last_name", Value::Null),
        ("email", json!("Grace@Example.com")),
        ("company_name", json!("Navy")),
        ("description", json!("Two\r\nhundred")),
        ("status", json!("assigned")),
        ("source", json!("campaign")),
        ("is_active", json!(true)),
        ("created_by", Value::Null),
        ("assigned_to", json!([bob.member_id()])),
        ("tags", json!([tag["id"]])),
        ("teams", json!([team["id"]])),
    ] {
        assert_eq!(lead[field], want, "{field}");
    }
    let mail = app.mail_of(&bob.email, "assigned").await;
    assert_eq!(mail.data["title"], "Chairs, please");
    let forms = ann.get(FORMS).await.expect(200);
    assert!(forms["results"][0]["last_used_at"].is_string());
    assert_eq!(forms["results"][0]["version"], 1, "to be used is no change");
}

#[actix_web::test]
async fn every_accepted_submission_is_answered_alike() {
    let app = TestApp::new().await;
    let ann = app.founder().await;
    let bob = ann.colleague("USER").await;
    let (_, key) = form(&ann, json!({"lead_assigned_to": [bob.member_id()]})).await;
    let email = unique_email();
    let known = ann.lead(json!({"title": "Known", "email": email.to_uppercase()})).await;
    let sent = |more: Value| {
        let mut body = json!({"apikey": key, "email": email, "message": format!("again, @{} and (@{})", bob.email, bob.email)});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let plain = |reply: &Reply| {
        let mut headers: Vec<_> =
            reply.headers.iter().map(|(k, v)| (k.to_string(), v.to_str().unwrap().to_owned())).collect();
        headers.retain(|(name, _)| name != "x-request-id");
        headers.sort();
        (reply.status, headers, reply.bytes.clone())
    };
    let new = submit(&app, None, &json!({"apikey": key, "email": unique_email()})).await;
    let again =
        submit(&app, None, &sent(json!({"title": "More", "first_name": "Grace", "phone": "+1 555 0100"})))
            .await;
    let caught =
        submit(&app, None, &sent(json!({"email": unique_email(), "website_url": "https://spam.example"})))
            .await;
    assert_eq!(new.status, 202);
    assert_eq!(plain(&new), plain(&again), "of an address that is known");
    assert_eq!(plain(&new), plain(&caught), "of a program that filled the hidden field");
    assert_eq!(leads(&ann).await.len(), 2, "neither a second lead of one address nor one of a program");
    let comments =
        ann.get(&format!("/api/leads/comment/{}/", known["id"].as_str().unwrap())).await.expect(200);
    let comment = &comments["results"][0];
    let text = comment["comment"].as_str().unwrap();
    assert!(
        text.contains("Contact page") && text.contains("Subject: More") && text.contains("again"),
        "{text}"
    );
    assert_eq!(
        (&comment["mentions"], &comment["created_by"]),
        (&json!([]), &Value::Null),
        "nobody out there mentions"
    );
}

#[actix_web::test]
async fn a_key_works_on_pages_of_its_origins_alone() {
    let app = TestApp::new().await;
    let ann = app.founder().await;
    let (at, key) =
        form(&ann, json!({"allowed_origins": ["https://WWW.example.com:443/", "http://localhost:8080"]}))
            .await;
    let stored = ann.get(&at).await.expect(200);
    assert_eq!(stored["allowed_origins"], json!(["http://localhost:8080", "https://www.example.com"]));
    let body = || json!({"apikey": key, "email": unique_email()});
    for origin in ["https://www.example.com", "http://localhost:8080"] {
        submit(&app, Some(origin), &body()).await.expect(202);
    }
    for origin in [
        None,
        Some("null"),
        Some("https://example.com"),
        Some("http://www.example.com"),
        Some("https://www.example.com.evil.example"),
    ] {
        assert_eq!(submit(&app, origin, &body()).await.problem(403).0, "forbidden", "{origin:?}");
    }
    let referred = |page: &'static str| {
        TestRequest::post().uri(SUBMIT).insert_header(("referer", page)).set_json(body())
    };
    app.send(referred("https://www.example.com/contact?x=1")).await.expect(202);
    assert_eq!(app.send(referred("https://evil.example/https://www.example.com")).await.status, 403);
    for wrong in [
        json!(["https://example.com/contact"]),
        json!(["*"]),
        json!(["example.com"]),
        json!(["ftp://example.com"]),
    ] {
        let refused = ann.patch(&at, &json!({"allowed_origins": wrong})).await.problem(422);
        assert_eq!(refused.1, ["allowed_origins"], "{wrong}");
    }
}

#[actix_web::test]
async fn a_browser_may_send_a_form_from_any_origin_and_nothing_else() {
    let app = TestApp::new().await;
    let preflight = |path: &str| {
        TestRequest::default()
            .method(Method::OPTIONS)
            .uri(path)
            .insert_header(("origin", "https://www.example.com"))
            .insert_header(("access-control-request-method", "POST"))
            .insert_header(("access-control-request-headers", "content-type,x-api-key"))
    };
    let allowed = app.send(preflight(SUBMIT)).await;
    assert_eq!(
        (allowed.status, allowed.header("access-control-allow-origin")),
        (200, "https://www.example.com")
    );
    assert_eq!(allowed.header("access-control-allow-credentials"), "");
    let refused = app.send(preflight("/api/leads/")).await;
    assert_eq!(refused.header("access-control-allow-origin"), "");
    assert_ne!(refused.status, 200);
    let answered = submit(&app, Some("https://www.example.com"), &json!({"email": "a@example.com"})).await;
    assert_eq!(
        answered.header("access-control-allow-origin"),
        "https://www.example.com",
        "also a refusal can be read"
    );
}

#[actix_web::test]
async fn a_submission_is_refused_with_one_answer_or_with_the_field() {
    let app = TestApp::new().await;
    let ann = app.founder().await;
    let (at, key) = form(&ann, json!({})).await;
    let nowhere = format!("amp_web_{}", &key[8..].chars().rev().collect::<String>());
    let mut answers = Vec::new();
    for key in
        [json!(null), json!(""), json!("x"), json!(nowhere), json!(format!("{}x", &key[..71])), json!(7)]
    {
        let reply = submit(&app, None, &json!({"apikey": key, "email": "a@example.com"})).await;
        answers.push((reply.status, reply.json()["detail"].clone()));
    }
    ann.patch(&at, &json!({"is_active": false})).await.expect(200);
    let reply = submit(&app, None, &json!({"apikey": key, "email": "a@example.com"})).await;
    answers.push((reply.status, reply.json()["detail"].clone()));
    answers.dedup();
    assert_eq!((answers.len(), answers[0].0), (1, 403), "{answers:?}");
    ann.patch(&at, &json!({"is_active": true})).await.expect(200);

    let long = "x".repeat(256);
    for (body, status, field) in [
        (json!({}), 422, "email"),
        (json!({"email": ""}), 422, "email"),
        (json!({"email": "nobody"}), 422, "email"),
        (json!({"email": "a@example.com", "phone": "call me"}), 422, "phone"),
        (json!({"email": "a@example.com", "title": long}), 422, "title"),
        (json!({"email": "a@example.com", "first_name": "a\nb"}), 422, "first_name"),
        (json!({"email": "a@example.com", "message": "x".repeat(10_001)}), 422, "message"),
        (json!({"email": "a@example.com", "status": "closed"}), 400, "status"),
        (json!({"email": "a@example.com", "redirect": "https://evil.example/"}), 422, "redirect"),
        (json!({"email": ["a@example.com"]}), 400, "email"),
    ] {
        let request = TestRequest::post().uri(SUBMIT).insert_header(("x-api-key", &*key)).set_json(&body);
        let fields = app.send(request).await.problem(status).1;
        assert!(fields.iter().any(|name| name.starts_with(field)), "{body}: {fields:?}");
    }
    let raw = |media_type: &'static str, body: &'static str| {
        TestRequest::post().uri(SUBMIT).insert_header(("content-type", media_type)).set_payload(body)
    };
    assert_eq!(app.send(raw("application/json", "[]")).await.problem(400).0, "malformed_request");
    assert_eq!(app.send(raw("text/plain", "x")).await.problem(415).0, "unsupported_media_type");
    let twice = raw("application/x-www-form-urlencoded", "email=a%40example.com&email=b%40example.com");
    assert_eq!(app.send(twice).await.problem(400).0, "malformed_request");
    assert_eq!(leads(&ann).await, Vec::<Value>::new());
}

#[actix_web::test]
async fn a_redirect_leads_to_an_allowed_origin_only() {
    let app = TestApp::new().await;
    let ann = app.founder().await;
    let (_, key) = form(&ann, json!({"allowed_origins": ["https://www.example.com"]})).await;
    let to = |page: &str| json!({"apikey": key, "email": unique_email(), "redirect": page});
    let origin = Some("https://www.example.com");
    let led = submit(&app, origin, &to("https://www.example.com/thanks?x=1")).await;
    assert_eq!((led.status, led.header("location")), (303, "https://www.example.com/thanks?x=1"));
    for page in
        ["https://evil.example/", "https://www.example.com@evil.example/", "//evil.example", "/thanks"]
    {
        assert_eq!(submit(&app, origin, &to(page)).await.problem(422).1, ["redirect"], "{page}");
    }
    assert_eq!(leads(&ann).await.len(), 1);
}

#[actix_web::test]
async fn a_key_and_an_address_may_send_so_much_a_minute() {
    let rates = Rates { web_form: NonZeroU32::new(3), web_form_address: NonZeroU32::new(2), ..NONE };
    let app = TestApp::limited(crm_testkit::shared_db().await, rates).await;
    let ann = app.founder().await;
    let ((_, key), (_, other)) = (form(&ann, json!({})).await, form(&ann, json!({})).await);
    let send = async |key: &str, address: &str| {
        let body = json!({"apikey": key, "email": unique_email()});
        let request =
            TestRequest::post().uri(SUBMIT).insert_header(("x-forwarded-for", address)).set_json(body);
        app.send(request).await
    };
    for address in ["10.1.0.1", "10.1.0.1", "10.1.0.2"] {
        send(&key, address).await.expect(202);
    }
    let refused = send(&key, "10.1.0.3").await;
    assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);
    assert_eq!(refused.problem(429).0, "too_many_requests", "the key has sent enough");
    send(&other, "10.1.0.3").await.expect(202);
    assert_eq!(send(&other, "10.1.0.1").await.problem(429).0, "too_many_requests", "the address has");
    assert_eq!(send("guessed", "10.1.0.1").await.status, 429, "whatever it sends");
    assert_eq!(leads(&ann).await.len(), 4);
}

#[actix_web::test]
async fn leads_go_to_members_of_the_organization_alone() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.founder().await, app.founder().await);
    let tag = eve.post("/api/tags/", &json!({"name": "Theirs"})).await.expect(201);
    for (field, id) in [("lead_assigned_to", &eve.member["id"]), ("tags", &tag["id"])] {
        let refused = ann.post(FORMS, &json!({"title": "X", field: [id]})).await.problem(422);
        assert_eq!(refused.1, [field]);
    }
    assert_eq!(ann.post(FORMS, &json!({"title": " "})).await.problem(422).1, ["title"]);
    assert_eq!(ann.post(FORMS, &json!({"title": "X", "apikey": "mine"})).await.problem(400).1, ["apikey"]);
    assert_eq!(ann.post(FORMS, &json!({"title": "X", "website": "x"})).await.problem(422).1, ["website"]);
    // The tag of a form is a tag like any other: it counts, and a merge takes it along.
    let (old, new) = (
        ann.post("/api/tags/", &json!({"name": "Old"})).await.expect(201),
        ann.post("/api/tags/", &json!({"name": "New"})).await.expect(201),
    );
    let (at, _) = form(&ann, json!({"tags": [old["id"]]})).await;
    let usage = ann.get(&format!("/api/tags/{}/usage/", old["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(usage["kinds"], json!({"web_form": 1}));
    ann.post(&format!("/api/tags/{}/merge/", old["id"].as_str().unwrap()), &json!({"into": new["id"]}))
        .await
        .expect(200);
    let form = ann.get(&at).await.expect(200);
    assert_eq!((&form["tags"], &form["version"]), (&json!([new["id"]]), &json!(2)));
}
