use actix_web::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::app::{Person, Reply, TestApp};

fn id(record: &Value) -> &str {
    record["id"].as_str().unwrap()
}

fn ids(conversion: &Value) -> [Value; 3] {
    ["account_id", "contact_id", "opportunity_id"].map(|key| conversion[key].clone())
}

impl Person {
    async fn convert_lead(&self, lead: &Value, body: Value) -> Reply {
        self.post(&format!("/api/leads/{}/convert/", id(lead)), &body).await
    }

    async fn unconvert(&self, lead: &Value) -> Reply {
        self.request(Method::POST, &format!("/api/leads/{}/unconvert/", id(lead)), None).await
    }

    async fn conversion(&self, lead: &Value) -> Reply {
        self.get(&format!("/api/leads/{}/conversion/", id(lead))).await
    }

    async fn record(&self, module: &str, id: &Value) -> Value {
        self.get(&format!("/api/{module}/{}/", id.as_str().unwrap())).await.expect(200)
    }

    async fn count(&self, module: &str) -> i64 {
        self.get(&format!("/api/{module}/?count=true")).await.expect(200)["count"].as_i64().unwrap()
    }

    /// How many accounts, contacts and opportunities there are.
    async fn counts(&self) -> [i64; 3] {
        [self.count("accounts").await, self.count("contacts").await, self.count("opportunities").await]
    }
}

fn grace() -> Value {
    json!({
        "title": "Two hundred chairs", "first_name": "Grace", "last_name": "Hopper", "email": "Grace@Example.com",
        "company_name": "Navy Ltd", "job_title": "Admiral", "phone": "+1 555 010 0100", "website": "navy.example",
        "industry": "EDUCATION", "status": "in process", "source": "existing customer", "rating": "HOT",
        "opportunity_amount": "1250.50", "currency": "CHF", "probability": 60, "close_date": "2027-01-31",
        "city": "Arlington", "country": "US", "description": "met at a fair",
    })
}

#[actix_web::test]
async fn a_lead_becomes_an_account_a_contact_and_an_opportunity() {
    let ann = TestApp::new().await.founder().await;
    let tag = ann.post("/api/tags/", &json!({"name": "Fair"})).await.expect(201);
    let team = ann.post("/api/teams/", &json!({"name": "Sales"})).await.expect(201);
    for target in ["leads", "accounts", "opportunities"] {
        let field = json!({"target": target, "key": "floor", "label": "Floor", "field_type": "number"});
        ann.post("/api/custom-fields/", &field).await.expect(201);
    }
    let field = json!({"target": "contacts", "key": "floor", "label": "Floor", "field_type": "text"});
    ann.post("/api/custom-fields/", &field).await.expect(201);
    let mut body = grace();
    for (key, value) in [
        ("tags", json!([tag["id"]])),
        ("teams", json!([team["id"]])),
        ("assigned_to", json!([ann.member["id"]])),
        ("custom_fields", json!({"floor": 7})),
    ] {
        body[key] = value;
    }
    let lead = ann.lead(body).await;
    assert_eq!(ann.conversion(&lead).await.problem(404).0, "not_found");
    let conversion = ann.convert_lead(&lead, json!({})).await.expect(200);
    assert_eq!(ann.conversion(&lead).await.expect(200), conversion);
    assert_eq!((&conversion["lead_id"], &conversion["converted_by"]), (&lead["id"], &ann.member["id"]));

    let account = ann.record("accounts", &conversion["account_id"]).await;
    let shown =
        |record: &Value, keys: &[&str]| keys.iter().map(|key| record[key].clone()).collect::<Vec<_>>();
    assert_eq!(
        shown(
            &account,
            &["name", "email", "website", "industry", "currency", "city", "country", "description"]
        ),
        [
            "Navy Ltd",
            "Grace@Example.com",
            "navy.example",
            "EDUCATION",
            "CHF",
            "Arlington",
            "US",
            "met at a fair"
        ]
    );
    assert_eq!(
        (&account["custom_fields"], &account["contacts"]),
        (&json!({"floor": 7}), &json!([conversion["contact_id"]]))
    );
    let contact = ann.record("contacts", &conversion["contact_id"]).await;
    assert_eq!(
        shown(&contact, &["first_name", "last_name", "email", "title", "organization"]),
        ["Grace", "Hopper", "Grace@Example.com", "Admiral", "Navy Ltd"]
    );
    assert_eq!(
        (&contact["account_id"], &contact["custom_fields"]),
        (&account["id"], &json!({})),
        "another type"
    );
    let deal = ann.record("opportunities", &conversion["opportunity_id"]).await;
    assert_eq!(
        shown(&deal, &["name", "stage", "amount", "currency", "lead_source", "closed_on"]),
        ["Navy Ltd - Grace Hopper", "QUALIFICATION", "1250.50", "CHF", "EXISTING CUSTOMER", "2027-01-31"]
    );
    assert_eq!((&deal["probability"], &deal["account_id"]), (&json!(60), &account["id"]));
    assert_eq!((&deal["contacts"], &deal["custom_fields"]), (&json!([contact["id"]]), &json!({"floor": 7})));
    for record in [&account, &contact, &deal] {
        assert_eq!(
            shown(record, &["assigned_to", "teams", "tags"]),
            [json!([ann.member["id"]]), json!([team["id"]]), json!([tag["id"]])]
        );
    }
    let now = ann.record("leads", &lead["id"]).await;
    assert_eq!(now["status"], "converted");
    let history = ann.get(&format!("/api/leads/{}/history/", id(&lead))).await.expect(200);
    assert_eq!(history["results"][0]["action"], "converted");
    assert_eq!(history["results"][0]["fields"]["account_id"], json!([null, account["id"]]));
    assert_eq!(history["results"][0]["fields"]["status"], json!(["in process", "converted"]));
    assert_eq!(ann.count("leads").await, 0, "it left the working list");
    assert_eq!(
        ann.patch(&format!("/api/leads/{}/", id(&lead)), &json!({"status": "closed"})).await.status,
        409
    );
    let again = ann.convert_lead(&lead, json!({"opportunity": false})).await.expect(200);
    assert_eq!(again, conversion, "a repeated call answers the same");
    assert_eq!(ann.counts().await, [1, 1, 1]);
}

#[actix_web::test]
async fn every_way_to_the_status_converts() {
    let ann = TestApp::new().await.founder().await;
    let pipeline = ann.post("/api/leads/pipelines/", &json!({"name": "Sales"})).await.expect(201);
    let won = &pipeline["stages"][4]["id"];
    let person =
        |n: usize| json!({"company_name": format!("Company {n}"), "email": format!("p{n}@example.com")});
    let mut leads = Vec::new();
    for n in 0..5 {
        leads.push(ann.lead(person(n)).await);
    }
    let at = |lead: &Value| format!("/api/leads/{}/", id(lead));
    let converted = json!({"status": "converted"});
    let patched =
        ann.patch(&at(&leads[0]), &json!({"status": "converted", "city": "Bonn"})).await.expect(200);
    assert_eq!((&patched["status"], &patched["city"]), (&json!("converted"), &json!("Bonn")));
    let account = ann.conversion(&leads[0]).await.expect(200)["account_id"].clone();
    assert_eq!(ann.record("accounts", &account).await["city"], "Bonn", "what came with the status counts");
    let mut whole = person(1);
    whole["status"] = json!("converted");
    ann.put(&at(&leads[1]), &whole).await.expect(200);
    let moved = ann.patch(&format!("{}move/", at(&leads[2])), &json!({"stage_id": won})).await.expect(200);
    assert_eq!(
        (&moved["status"], &moved["stage_id"], &moved["probability"]),
        (&json!("converted"), won, &json!(0))
    );
    ann.patch(&format!("{}move/", at(&leads[3])), &converted).await.expect(200);
    let mut born = person(5);
    born["status"] = json!("converted");
    leads.push(ann.lead(born).await);
    ann.convert_lead(&leads[4], json!({})).await.expect(200);
    for lead in &leads {
        assert!(ids(&ann.conversion(lead).await.expect(200)).iter().all(Value::is_string));
        assert_eq!(ann.record("leads", &lead["id"]).await["status"], "converted");
    }
    assert_eq!(ann.counts().await, [6, 6, 6]);
    let path = format!("{}move/", at(&leads[2]));
    ann.patch(&path, &json!({"stage_id": won})).await.expect(200);
    let new = &pipeline["stages"][0]["id"];
    for out in [json!({"stage_id": new}), json!({"status": "closed"}), json!({"stage_id": null})] {
        assert_eq!(ann.patch(&path, &out).await.problem(409).0, "conflict", "{out}");
    }
    assert_eq!(
        ann.patch(&at(&leads[2]), &json!({"is_converted": "false"})).await.problem(400).1,
        ["is_converted"]
    );
}

#[actix_web::test]
async fn a_conversion_needs_an_address_unless_nobody_is_wanted() {
    let ann = TestApp::new().await.founder().await;
    let lead = ann.lead(json!({"first_name": "Grace"})).await;
    let at = format!("/api/leads/{}/", id(&lead));
    assert_eq!(ann.convert_lead(&lead, json!({})).await.problem(422).1, ["email"]);
    assert_eq!(
        ann.patch(&at, &json!({"status": "converted", "city": "Bonn"})).await.problem(422).1,
        ["email"]
    );
    assert_eq!(ann.post("/api/leads/", &json!({"status": "converted"})).await.problem(422).1, ["email"]);
    assert_eq!(ann.record("leads", &lead["id"]).await, lead, "nothing of it was stored");
    assert_eq!(ann.counts().await, [0, 0, 0]);
    let conversion =
        ann.convert_lead(&lead, json!({"contact": false, "opportunity": false})).await.expect(200);
    assert_eq!(ids(&conversion)[1..], [Value::Null, Value::Null]);
    assert_eq!(ann.record("accounts", &conversion["account_id"]).await["name"], "Grace");

    // An address alone is enough for the rest.
    let lead = ann.lead(json!({"email": "solo@example.com"})).await;
    let conversion = ann.convert_lead(&lead, json!({})).await.expect(200);
    assert_eq!(conversion["opportunity_id"], Value::Null, "neither amount nor name nor company");
    assert_eq!(ann.record("accounts", &conversion["account_id"]).await["name"], "solo@example.com");
    let contact = ann.record("contacts", &conversion["contact_id"]).await;
    assert_eq!((&contact["first_name"], &contact["last_name"]), (&json!("solo"), &json!("-")));
}

#[actix_web::test]
async fn what_is_there_is_used_again_and_left_alone() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    let account = ann.post("/api/accounts/", &json!({"name": "NAVY  ltd", "city": "Here"})).await.expect(201);
    let contact = json!({"first_name": "G", "last_name": "H", "email": "grace@EXAMPLE.com"});
    let contact = ann.post("/api/contacts/", &contact).await.expect(201);
    ann.post("/api/opportunities/", &json!({"name": "navy ltd - grace hopper"})).await.expect(201);
    let mut body = grace();
    body["assigned_to"] = json!([bob.member["id"]]);
    let lead = ann.lead(body).await;
    let conversion = ann.convert_lead(&lead, json!({})).await.expect(200);
    assert_eq!(ids(&conversion)[..2], [account["id"].clone(), contact["id"].clone()]);
    let now = ann.record("accounts", &account["id"]).await;
    assert_eq!((&now["city"], &now["name"]), (&json!("Here"), &json!("NAVY  ltd")));
    assert_eq!(
        (&now["assigned_to"], &now["contacts"]),
        (&json!([bob.member["id"]]), &json!([contact["id"]]))
    );
    let now = ann.record("contacts", &contact["id"]).await;
    assert_eq!(
        (&now["first_name"], &now["account_id"], &now["assigned_to"]),
        (&json!("G"), &account["id"], &json!([]))
    );
    let deal = ann.record("opportunities", &conversion["opportunity_id"]).await;
    assert_eq!(deal["name"], "Navy Ltd - Grace Hopper (2)");

    let undone = ann.unconvert(&lead).await.expect(200);
    assert_eq!(undone["status"], "in process");
    let now = ann.record("accounts", &account["id"]).await;
    assert_eq!(
        (&now["assigned_to"], &now["contacts"]),
        (&json!([]), &json!([])),
        "what was added is taken back"
    );
    assert_eq!(ann.record("contacts", &contact["id"]).await["account_id"], Value::Null);
    assert_eq!(ann.counts().await, [1, 1, 1], "what was made is gone");
}

#[actix_web::test]
async fn nobody_comes_to_an_account_by_somebody_elses_lead() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    let account = ann.post("/api/accounts/", &json!({"name": "Navy Ltd"})).await.expect(201);
    let lead = bob.lead(grace()).await;
    let (code, fields) = bob.convert_lead(&lead, json!({})).await.problem(409);
    assert_eq!((code.as_str(), fields), ("conflict", vec!["account.name".to_owned()]));
    assert_eq!(
        bob.convert_lead(&lead, json!({"account": {"id": account["id"]}})).await.problem(422).1,
        ["account"]
    );
    assert_eq!(bob.get(&format!("/api/accounts/{}/", id(&account))).await.status, 404);
    let other = bob.convert_lead(&lead, json!({"account": {"name": "Navy of Bob"}})).await.expect(200);
    assert_ne!(other["account_id"], account["id"]);
    bob.record("accounts", &other["account_id"]).await;
    bob.record("opportunities", &other["opportunity_id"]).await;

    // A hidden contact is none to be found by its address either.
    let person = json!({"first_name": "X", "last_name": "Y", "email": "x@example.com"});
    ann.post("/api/contacts/", &person).await.expect(201);
    let lead = bob.lead(json!({"company_name": "X Ltd", "email": "x@example.com"})).await;
    assert_eq!(bob.convert_lead(&lead, json!({})).await.problem(409).1, ["contact.email"]);
    assert_eq!(bob.count("accounts").await, 1, "the account of the refused conversion is not there");
    let hidden = ann.lead(json!({"email": "z@example.com"})).await;
    assert_eq!(bob.convert_lead(&hidden, json!({})).await.problem(404).0, "not_found");
    assert_eq!(bob.unconvert(&hidden).await.problem(404).0, "not_found");
    assert_eq!(bob.conversion(&hidden).await.problem(404).0, "not_found");
}

#[actix_web::test]
async fn fields_go_before_those_of_the_lead_and_a_bad_one_leaves_nothing() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.founder().await, app.founder().await);
    let theirs = eve.post("/api/accounts/", &json!({"name": "Theirs"})).await.expect(201);
    let person = json!({"first_name": "E", "last_name": "V", "email": "e@example.com"});
    let person = eve.post("/api/contacts/", &person).await.expect(201);
    let deal = eve.post("/api/opportunities/", &json!({"name": "Theirs"})).await.expect(201);
    let lead = ann.lead(grace()).await;
    for (body, status, field) in [
        (json!({"opportunity": {"amount": "-5"}}), 422, "opportunity.amount"),
        (json!({"opportunity": {"stage": "LOST"}}), 422, "opportunity.stage"),
        (json!({"opportunity": {"nmae": "x"}}), 400, "opportunity.nmae"),
        (json!({"opportunity": {"account_id": theirs["id"]}}), 422, "opportunity.account_id"),
        (json!({"opportunity": {"assigned_to": [eve.member["id"]]}}), 422, "opportunity.assigned_to"),
        (json!({"contact": {"email": "nonsense"}}), 422, "contact.email"),
        (json!({"contact": {"account_id": theirs["id"]}}), 422, "contact.account_id"),
        (json!({"account": {"name": ""}}), 422, "account.name"),
        (json!({"account": {"custom_fields": {"x": 1}}}), 422, "account.custom_fields.x"),
        (json!({"account": {"id": theirs["id"]}}), 422, "account"),
        (json!({"contact": {"id": person["id"]}}), 422, "contact"),
        (json!({"opportunity": {"id": deal["id"]}}), 422, "opportunity"),
        (json!({"account": {"id": theirs["id"], "name": "x"}}), 422, "account"),
        (json!({"account": false}), 422, "account"),
        (json!({"account": "x"}), 422, "account"),
        (json!({"deal": {}}), 400, "deal"),
    ] {
        let (_, fields) = ann.convert_lead(&lead, body.clone()).await.problem(status);
        assert_eq!(fields, [field], "{body}");
    }
    assert_eq!(ann.counts().await, [0, 0, 0]);
    assert_eq!(ann.record("leads", &lead["id"]).await, lead);
    let body = json!({
        "account": {"name": "Other Ltd", "city": null}, "contact": {"last_name": "H"},
        "opportunity": {"name": "The deal", "stage": "PROPOSAL", "probability": null},
    });
    let conversion = ann.convert_lead(&lead, body).await.expect(200);
    let account = ann.record("accounts", &conversion["account_id"]).await;
    assert_eq!(
        (&account["name"], &account["city"], &account["country"]),
        (&json!("Other Ltd"), &Value::Null, &json!("US"))
    );
    let deal = ann.record("opportunities", &conversion["opportunity_id"]).await;
    assert_eq!(
        (&deal["name"], &deal["stage"], &deal["probability"]),
        (&json!("The deal"), &json!("PROPOSAL"), &json!(50))
    );
    assert_eq!(ann.record("contacts", &conversion["contact_id"]).await["last_name"], "H");

    let second = ann.lead(json!({"company_name": "Second", "email": "second@example.com"})).await;
    let three = json!({
        "account": {"id": conversion["account_id"]}, "contact": {"id": conversion["contact_id"]},
        "opportunity": {"id": conversion["opportunity_id"]},
    });
    let same = ann.convert_lead(&second, three).await.expect(200);
    assert_eq!(ids(&same), ids(&conversion));
    let third = ann.lead(json!({"company_name": "Other Ltd", "email": "third@example.com"})).await;
    let more = ann.convert_lead(&third, json!({"account": {"name": "other ltd", "city": "Bonn"}})).await;
    assert_eq!(more.problem(409).1, ["account.name"], "an account that is there keeps its fields");
}

#[actix_web::test]
async fn eight_who_convert_at_once_are_answered_the_same() {
    let ann = TestApp::new().await.founder().await;
    let lead = ann.lead(grace()).await;
    let replies = join_all((0..8).map(|_| ann.convert_lead(&lead, json!({})))).await;
    let answers: Vec<Value> = replies.into_iter().map(|reply| reply.expect(200)).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(ann.counts().await, [1, 1, 1]);
}

#[actix_web::test]
async fn comments_and_files_are_read_from_both_sides() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    let lead = ann.lead(grace()).await;
    let comments = format!("/api/leads/comment/{}/", id(&lead));
    ann.post(&comments, &json!({"comment": "called twice"})).await.expect(201);
    let file =
        ann.upload(&format!("/api/leads/attachment/{}/", id(&lead)), "offer.txt", b"offer").await.expect(201);
    let conversion = ann.convert_lead(&lead, json!({})).await.expect(200);
    let account = conversion["account_id"].as_str().unwrap();
    ann.patch(&format!("/api/accounts/{account}/"), &json!({"assigned_to": [bob.member["id"]]}))
        .await
        .expect(200);
    assert_eq!(bob.get(&comments).await.status, 404, "the lead is not Bob's");
    for who in [&ann, &bob] {
        let seen = who.get(&format!("/api/accounts/comment/{account}/")).await.expect(200);
        assert_eq!(seen["results"][0]["comment"], "called twice");
        let seen = who.get(&format!("/api/accounts/attachment/{account}/")).await.expect(200);
        assert_eq!(seen["results"][0]["id"], file["id"]);
        let bytes = who.get(&format!("/api/attachments/{}/download/", id(&file))).await;
        assert_eq!((bytes.status, bytes.bytes.as_slice()), (200, &b"offer"[..]));
    }
    assert_eq!(
        ann.get(&comments).await.expect(200)["results"][0]["comment"],
        "called twice",
        "and at the lead"
    );
    let deal = conversion["opportunity_id"].as_str().unwrap();
    let seen = ann.get(&format!("/api/opportunities/comment/{deal}/")).await.expect(200);
    assert_eq!(seen["results"].as_array().unwrap().len(), 1);
}

#[actix_web::test]
async fn a_conversion_is_undone_while_nobody_has_used_what_it_made() {
    let ann = TestApp::new().await.founder().await;
    let lead = ann.lead(grace()).await;
    ann.post(&format!("/api/leads/comment/{}/", id(&lead)), &json!({"comment": "x"})).await.expect(201);
    assert_eq!(ann.unconvert(&lead).await.problem(409).0, "conflict", "it was not converted");
    let first = ann.convert_lead(&lead, json!({})).await.expect(200);
    let undone = ann.unconvert(&lead).await.expect(200);
    assert_eq!((&undone["status"], &undone["version"]), (&json!("in process"), &json!(3)));
    assert_eq!(ann.counts().await, [0, 0, 0]);
    assert_eq!(ann.conversion(&lead).await.status, 404);
    let history = ann.get(&format!("/api/leads/{}/history/", id(&lead))).await.expect(200);
    assert_eq!(history["results"][0]["action"], "unconverted");
    assert_eq!(
        ann.get(&format!("/api/leads/comment/{}/", id(&lead))).await.expect(200)["results"][0]["comment"],
        "x"
    );

    let again = ann.convert_lead(&lead, json!({})).await.expect(200);
    assert_ne!(ids(&again), ids(&first));
    let [account, contact, deal] = ids(&again).map(|id| id.as_str().unwrap().to_owned());
    // Each use in its turn, and taken back where that can be.
    let refused = async |what: &str, id: &str| {
        let reply = ann.unconvert(&lead).await;
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert_eq!(reply.problem(409).0, "conflict");
        assert!(detail.contains(what) && detail.contains(id), "{what}: {detail}");
        assert_eq!(ann.counts().await[0], 1, "nothing was undone half-way");
    };
    let said =
        ann.post(&format!("/api/accounts/comment/{account}/"), &json!({"comment": "new"})).await.expect(201);
    refused("account", &account).await;
    ann.delete(&format!("/api/accounts/comment/{}/", id(&said))).await;
    let other =
        ann.post("/api/opportunities/", &json!({"name": "Other", "account_id": account})).await.expect(201);
    refused("account", &account).await;
    ann.delete(&format!("/api/opportunities/{}/", id(&other))).await;
    let file = ann.upload(&format!("/api/contacts/attachment/{contact}/"), "a.txt", b"a").await.expect(201);
    refused("contact", &contact).await;
    ann.delete(&format!("/api/contacts/attachment/{}/", id(&file))).await;
    let second = ann.lead(json!({"company_name": "navy ltd", "email": "second@example.com"})).await;
    ann.convert_lead(&second, json!({})).await.expect(200);
    refused("account", &account).await;
    ann.unconvert(&second).await.expect(200);
    ann.patch(&format!("/api/opportunities/{deal}/"), &json!({"amount": "1"})).await.expect(200);
    refused("opportunity", &deal).await;
    ann.delete(&format!("/api/opportunities/{deal}/")).await;
    refused("opportunity", &deal).await;
    assert_eq!(ann.conversion(&lead).await.expect(200)["opportunity_id"], Value::Null);
}

#[actix_web::test]
async fn what_hangs_on_a_lead_is_not_read_through_its_contact_nor_at_a_deal_that_was_there() {
    let ann = TestApp::new().await.founder().await;
    let bob = ann.colleague("USER").await;
    let person = json!({"first_name": "Grace", "last_name": "Hopper", "email": "grace@example.com"});
    let person = ann.post("/api/contacts/", &person).await.expect(201);
    let his = json!({"name": "Bob's", "assigned_to": [bob.member["id"]], "contacts": [person["id"]]});
    ann.post("/api/accounts/", &his).await.expect(201);
    let deal = json!({"name": "Bob's", "assigned_to": [bob.member["id"]]});
    let deal = ann.post("/api/opportunities/", &deal).await.expect(201);
    let lead = ann.lead(grace()).await;
    ann.post(&format!("/api/leads/comment/{}/", id(&lead)), &json!({"comment": "secret"})).await.expect(201);
    let file = ann.upload(&format!("/api/leads/attachment/{}/", id(&lead)), "a.txt", b"a").await.expect(201);
    let conversion = ann.convert_lead(&lead, json!({"opportunity": {"id": deal["id"]}})).await.expect(200);
    assert_eq!(conversion["contact_id"], person["id"]);
    let none = json!([]);
    for (module, record) in [("contacts", &person), ("opportunities", &deal)] {
        bob.record(module, &record["id"]).await;
        for what in ["comment", "attachment"] {
            let path = format!("/api/{module}/{what}/{}/", id(record));
            assert_eq!(bob.get(&path).await.expect(200)["results"], none, "{path}");
        }
    }
    let bytes = bob.get(&format!("/api/attachments/{}/download/", id(&file))).await;
    assert_eq!(bytes.status, 404, "nor by its own address");

    // A contact that was made may come to other accounts later.
    let lead = ann.lead(json!({"email": "new@example.com", "company_name": "New"})).await;
    ann.post(&format!("/api/leads/comment/{}/", id(&lead)), &json!({"comment": "secret"})).await.expect(201);
    let made = ann.convert_lead(&lead, json!({})).await.expect(200)["contact_id"].clone();
    let his = json!({"name": "Bob's too", "assigned_to": [bob.member["id"]], "contacts": [made]});
    ann.post("/api/accounts/", &his).await.expect(201);
    let path = format!("/api/contacts/comment/{}/", made.as_str().unwrap());
    assert_eq!(bob.get(&path).await.expect(200)["results"], none);
}

#[actix_web::test]
async fn who_may_only_look_at_an_account_and_a_contact_changes_neither_by_a_conversion() {
    let ann = TestApp::new().await.founder().await;
    let all = |actions: &[&str]| json!({"actions": actions, "scope": "all"});
    let grants = json!({
        "leads": all(&["view", "add", "change"]), "accounts": all(&["view"]), "contacts": all(&["view"]),
        "opportunities": all(&["view", "add"]),
    });
    ann.post("/api/roles/", &json!({"name": "Qualifier", "grants": grants})).await.expect(201);
    let bob = ann.colleague("Qualifier").await;
    let account = ann.post("/api/accounts/", &json!({"name": "Navy Ltd"})).await.expect(201);
    let person = json!({"first_name": "G", "last_name": "H", "email": "grace@example.com"});
    let person = ann.post("/api/contacts/", &person).await.expect(201);
    let mut body = grace();
    body["assigned_to"] = json!([bob.member["id"]]);
    let lead = bob.lead(body).await;
    let conversion = bob.convert_lead(&lead, json!({})).await.expect(200);
    assert_eq!(ids(&conversion)[..2], [account["id"].clone(), person["id"].clone()]);
    assert_eq!(ann.record("accounts", &account["id"]).await, account, "nobody was put on it");
    assert_eq!(ann.record("contacts", &person["id"]).await, person, "it came to no account");
    let deal = ann.record("opportunities", &conversion["opportunity_id"]).await;
    assert_eq!((&deal["account_id"], &deal["contacts"]), (&account["id"], &json!([person["id"]])));
}

#[actix_web::test]
async fn leads_of_one_company_that_are_converted_at_once_come_to_one_account() {
    let ann = TestApp::new().await.founder().await;
    let mut leads = Vec::new();
    for n in 0..6 {
        let body = json!({"company_name": "Navy Ltd", "email": format!("p{n}@example.com")});
        leads.push(ann.lead(body).await);
    }
    let same = json!({"contact": {"email": "one@example.com"}});
    let replies = join_all(leads.iter().map(|lead| ann.convert_lead(lead, same.clone()))).await;
    let answers: Vec<Value> = replies.into_iter().map(|reply| reply.expect(200)).collect();
    assert!(answers.iter().all(|answer| ids(answer)[..2] == ids(&answers[0])[..2]), "{answers:?}");
    assert_eq!(ann.counts().await, [1, 1, 6], "and each to a deal of its own");
}

#[actix_web::test]
async fn a_deal_that_another_conversion_uses_is_not_undone_under_it() {
    let ann = TestApp::new().await.founder().await;
    let lead = ann.lead(grace()).await;
    let first = ann.convert_lead(&lead, json!({})).await.expect(200);
    let second = ann.lead(json!({"company_name": "Other", "email": "o@example.com"})).await;
    let body = json!({"contact": false, "opportunity": {"id": first["opportunity_id"]}});
    ann.convert_lead(&second, body).await.expect(200);
    let reply = ann.unconvert(&lead).await;
    assert!(reply.json()["detail"].as_str().unwrap().contains("opportunity"), "{reply:?}");
    assert_eq!(reply.problem(409).0, "conflict");
    ann.record("opportunities", &first["opportunity_id"]).await;
    ann.unconvert(&second).await.expect(200);
    ann.unconvert(&lead).await.expect(200);
    assert_eq!(ann.counts().await, [0, 0, 0]);
}

#[actix_web::test]
async fn a_contact_that_came_to_the_account_later_keeps_it() {
    let ann = TestApp::new().await.founder().await;
    let mut second = grace();
    second["email"] = json!("second@example.com");
    for (body, account) in [(grace(), None), (second, Some("Navy Ltd"))] {
        let home = json!({"name": format!("Home of {}", body["email"])});
        let home = ann.post("/api/accounts/", &home).await.expect(201);
        if let Some(name) = account {
            ann.post("/api/accounts/", &json!({"name": name})).await.expect(201);
        }
        let person = json!({"first_name": "G", "last_name": body["email"], "email": body["email"], "account_id": home["id"]});
        let person = ann.post("/api/contacts/", &person).await.expect(201);
        let at = format!("/api/contacts/{}/", id(&person));
        let lead = ann.lead(body).await;
        let to = ann.convert_lead(&lead, json!({})).await.expect(200)["account_id"].clone();
        ann.patch(&at, &json!({"account_id": to})).await.expect(200);
        if account.is_none() {
            // It was made, and is used now.
            assert_eq!(ann.unconvert(&lead).await.problem(409).0, "conflict");
            assert_eq!(ann.record("contacts", &person["id"]).await["account_id"], to);
            ann.patch(&at, &json!({"account_id": home["id"]})).await.expect(200);
            ann.unconvert(&lead).await.expect(200);
            assert_eq!(ann.record("contacts", &person["id"]).await["accounts"], json!([home["id"]]));
        } else {
            ann.unconvert(&lead).await.expect(200);
            let now = ann.record("contacts", &person["id"]).await;
            assert_eq!(now["account_id"], to);
            assert!(now["accounts"].as_array().unwrap().contains(&to), "{now}");
        }
    }
}

#[actix_web::test]
async fn a_converted_lead_is_replaced_without_its_status_being_said() {
    let ann = TestApp::new().await.founder().await;
    let lead = ann.lead(grace()).await;
    ann.convert_lead(&lead, json!({})).await.expect(200);
    let at = format!("/api/leads/{}/", id(&lead));
    let mut body = grace();
    body.as_object_mut().unwrap().remove("status");
    body["city"] = json!("Bonn");
    let now = ann.put(&at, &body).await.expect(200);
    assert_eq!((&now["status"], &now["city"]), (&json!("converted"), &json!("Bonn")));
    for status in [json!("closed"), Value::Null] {
        body["status"] = status;
        assert_eq!(ann.put(&at, &body).await.problem(409).1, ["status"]);
    }
    let open = ann.lead(json!({"title": "Open", "status": "assigned"})).await;
    let open = ann.put(&format!("/api/leads/{}/", id(&open)), &json!({"title": "Open"})).await.expect(200);
    assert_eq!(open["status"], Value::Null, "of any other lead it is cleared, as PUT does");
}

#[actix_web::test]
async fn names_that_are_too_long_together_are_cut() {
    let ann = TestApp::new().await.founder().await;
    let long = |letter: &str| letter.repeat(255);
    for (company, first) in
        [(Some(long("c")), Some(long("f"))), (None, Some(long("f"))), (Some(long("é")), None)]
    {
        let body = json!({
            "company_name": company, "first_name": first, "last_name": long("l"),
            "email": format!("{}@example.com", uuid::Uuid::now_v7()),
        });
        let conversion = ann.convert_lead(&ann.lead(body).await, json!({})).await.expect(200);
        for (module, key) in [("accounts", "account_id"), ("opportunities", "opportunity_id")] {
            let name = ann.record(module, &conversion[key]).await["name"].as_str().unwrap().chars().count();
            assert!((200..=255).contains(&name), "{module}: {name}");
        }
    }
}
