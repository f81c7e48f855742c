use serde_json::{Value, json};

use crate::app::{Person, TestApp, unique_email};

struct Office {
    ann: Person,
    from: String,
    account: String,
    /// With an address, and without.
    contacts: [String; 2],
    to: String,
}

async fn office(app: &TestApp) -> Office {
    let ann = app.founder().await;
    let account = ann.post("/api/accounts/", &json!({"name": "Oak & Sons"})).await.expect(201);
    let id = |value: &Value| value["id"].as_str().unwrap().to_owned();
    let to = unique_email();
    let mut contacts = [String::new(), String::new()];
    for (place, email) in contacts.iter_mut().zip([json!(to), Value::Null]) {
        let body =
            json!({"first_name": "Bea", "last_name": "<Oak>", "email": email, "account_id": account["id"]});
        *place = id(&ann.post("/api/contacts/?allow_duplicate=true", &body).await.expect(201));
    }
    Office { from: ann.sender().await, account: id(&account), contacts, to, ann }
}

impl Office {
    fn body(&self) -> Value {
        json!({"from_email": self.from, "message_subject": "For {{ account }}",
            "message_body": "Dear {{ name }},\n\nhello.", "recipients": self.contacts})
    }

    async fn write(&self, change: Value) -> crate::app::Reply {
        let mut body = self.body();
        for (key, value) in change.as_object().unwrap() {
            body[key] = value.clone();
        }
        self.ann.post(&format!("/api/accounts/{}/create_mail/", self.account), &body).await
    }
}

#[actix_web::test]
async fn a_message_goes_once_to_each_from_a_proved_sender_and_is_logged() {
    let app = TestApp::new().await;
    let office = office(&app).await;
    let made = office.write(json!({})).await;
    assert!(made.header("location").starts_with("/api/accounts/mails/"));
    let at = made.header("location").to_owned();
    made.expect(201);
    let mail = app.mail_of(&office.to, "account_message").await;
    assert_eq!(mail.data["subject"], "For Oak & Sons");
    assert_eq!(mail.data["lines"], json!(["Dear Bea <Oak>,", "", "hello."]));
    assert_eq!(mail.data["from"], format!("\"Sales\" <{}>", office.from));
    let sent = office.ann.get(&at).await.expect(200);
    assert_eq!(sent["state"], "sent");
    let recipients = sent["recipients"].as_array().unwrap();
    let of = |id: &String| recipients.iter().find(|r| r["contact_id"] == json!(id)).unwrap();
    assert_eq!(
        (&of(&office.contacts[0])["email"], of(&office.contacts[0])["mail_id"].is_string()),
        (&json!(office.to), true)
    );
    assert_eq!(of(&office.contacts[1])["skipped_reason"], "the contact has no e-mail address");
    assert_eq!(office.ann.post(&format!("{at}cancel/"), &json!({})).await.problem(409).0, "conflict");
    let list =
        office.ann.get(&format!("/api/accounts/{}/mails/?state=sent&count=true", office.account)).await;
    assert_eq!(list.expect(200)["count"], 1);
}

#[actix_web::test]
async fn a_scheduled_message_is_taken_back_before_it_leaves() {
    let app = TestApp::new().await;
    let office = office(&app).await;
    let later = (chrono::Utc::now() + chrono::TimeDelta::days(30)).format("%Y-%m-%dT09:00").to_string();
    let made =
        office.write(json!({"scheduled_for": later, "timezone": "Pacific/Auckland"})).await.expect(201);
    assert_eq!((&made["state"], &made["timezone"]), (&json!("scheduled"), &json!("Pacific/Auckland")));
    let at = format!("/api/accounts/mails/{}/", made["id"].as_str().unwrap());
    let cancelled = office.ann.post(&format!("{at}cancel/"), &json!({})).await.expect(200);
    assert_eq!(cancelled["state"], "cancelled");
    assert_eq!(office.ann.post(&format!("{at}cancel/"), &json!({})).await.problem(409).0, "conflict");
}

/// A message for later, written by somebody.
async fn later(office: &Office, by: &Person) -> Value {
    let day = (chrono::Utc::now() + chrono::TimeDelta::days(30)).format("%Y-%m-%dT09:00").to_string();
    let mut body = office.body();
    body["scheduled_for"] = json!(day);
    let made = by.post(&format!("/api/accounts/{}/create_mail/", office.account), &body).await.expect(201);
    assert_eq!(made["state"], "scheduled");
    made
}

/// Does the job of a message before its time, and answers the message.
async fn due(office: &Office, message: &Value) -> Value {
    let app = &office.ann.app;
    let due = serde_json::from_value(json!({"message_id": message["id"]})).unwrap();
    let author = async |t: &mut crm_core::TenantTx, member| {
        use crm_core::CallerSource as _;
        crm_identity::InTheNameOf { org: t.org(), member }.caller(t.shared()?).await
    };
    let system = app.system(&office.ann);
    let sent = app.db.tenant(&system, async |t| crm_accounts::messages::send(t, due, author).await).await;
    sent.unwrap();
    office.ann.get(&format!("/api/accounts/mails/{}/", message["id"].as_str().unwrap())).await.expect(200)
}

async fn mails(office: &Office) -> i64 {
    let all = office.ann.get("/api/mail/messages/?template=account_message&count=true").await;
    all.expect(200)["count"].as_i64().unwrap()
}

#[actix_web::test]
async fn a_scheduled_message_leaves_once_at_its_time() {
    let office = office(&TestApp::new().await).await;
    let message = later(&office, &office.ann).await;
    assert_eq!(mails(&office).await, 0);
    for _ in 0..2 {
        let sent = due(&office, &message).await;
        assert_eq!((&sent["state"], &sent["version"]), (&json!("sent"), &json!(2)), "{sent}");
        assert_eq!(mails(&office).await, 1, "whoever does it twice sends it once");
    }
    let cancelled = later(&office, &office.ann).await;
    let at = format!("/api/accounts/mails/{}/cancel/", cancelled["id"].as_str().unwrap());
    office.ann.post(&at, &json!({})).await.expect(200);
    assert_eq!(due(&office, &cancelled).await["state"], "cancelled");
    assert_eq!(mails(&office).await, 1);
}

#[actix_web::test]
async fn nothing_leaves_in_the_name_of_who_could_not_write_it_any_more() {
    let office = office(&TestApp::new().await).await;
    let bob = office.ann.colleague("ADMIN").await;
    let eve = office.ann.colleague("ADMIN").await;
    let (of_bob, of_eve) = (later(&office, &bob).await, later(&office, &eve).await);
    let without_sender = later(&office, &office.ann).await;
    office.ann.delete(&format!("/api/user/{}/", bob.member_id())).await.expect(204);
    let unsent = due(&office, &of_bob).await;
    assert_eq!(unsent["state"], "failed");
    assert!(unsent["error"].as_str().unwrap().contains("no longer an active member"), "{unsent}");
    // A user sees only accounts of their own.
    office.ann.patch(&format!("/api/user/{}/", eve.member_id()), &json!({"role": "USER"})).await.expect(200);
    let unsent = due(&office, &of_eve).await;
    assert_eq!(unsent["state"], "failed");
    assert!(unsent["error"].as_str().unwrap().contains("may no longer change"), "{unsent}");
    let senders = office.ann.get("/api/mail/senders/").await.expect(200);
    let sender = senders["results"][0]["id"].as_str().unwrap().to_owned();
    office.ann.delete(&format!("/api/mail/senders/{sender}/")).await.expect(204);
    let unsent = due(&office, &without_sender).await;
    assert_eq!(
        (&unsent["state"], unsent["error"].as_str().unwrap()),
        (&json!("failed"), "the sender is no longer verified")
    );
    assert_eq!(mails(&office).await, 0);
}

#[actix_web::test]
async fn a_thousand_people_an_hour_may_be_written_to() {
    let office = office(&TestApp::new().await).await;
    let operations: Vec<Value> = (0..200)
        .map(|n| {
            let fields = json!({"first_name": "A", "last_name": n.to_string(), "account_id": office.account});
            json!({"op": "create", "fields": fields})
        })
        .collect();
    let made = office.ann.post("/api/contacts/bulk/", &json!({"operations": operations})).await.expect(200);
    let ids: Vec<Value> = made["results"].as_array().unwrap().iter().map(|one| one["id"].clone()).collect();
    for _ in 0..5 {
        office.write(json!({"recipients": ids})).await.expect(201);
    }
    assert_eq!(office.write(json!({})).await.problem(429).0, "too_many_requests");
    let list = office.ann.get(&format!("/api/accounts/{}/mails/?count=true", office.account)).await;
    assert_eq!(list.expect(200)["count"], 5);
}

#[actix_web::test]
async fn a_small_text_does_not_become_a_large_one() {
    let office = office(&TestApp::new().await).await;
    for (change, field) in [
        (json!({"message_body": "{{name}}".repeat(12_500)}), "message_body"),
        (json!({"message_subject": "{{name}}".repeat(30)}), "message_subject"),
    ] {
        assert_eq!(office.write(change).await.problem(422).1, [field]);
    }
    office.write(json!({"message_body": "{{name}} ".repeat(100)})).await.expect(201);
}

#[actix_web::test]
async fn what_a_message_must_not_be_is_refused_and_nothing_is_kept() {
    let app = TestApp::new().await;
    let office = office(&app).await;
    let stranger = json!({"first_name": "No", "last_name": "Body"});
    let stranger = office.ann.post("/api/contacts/", &stranger).await.expect(201);
    let eve = app.founder().await;
    let foreign = eve.post("/api/contacts/", &json!({"first_name": "E", "last_name": "F"})).await.expect(201);
    for (change, field) in [
        (json!({"from_email": "boss@example.com"}), "from_email"),
        (json!({"message_body": "{{ secret }}"}), "message_body"),
        (json!({"message_subject": "{{ name"}), "message_subject"),
        (json!({"message_body": ""}), "message_body"),
        (json!({"recipients": []}), "recipients"),
        (json!({"recipients": [stranger["id"]]}), "recipients"),
        (json!({"recipients": [foreign["id"]]}), "recipients"),
        (json!({"scheduled_for": "2020-01-01T09:00"}), "scheduled_for"),
        (json!({"scheduled_for": "tomorrow"}), "scheduled_for"),
        (json!({"timezone": "Mars/Olympus"}), "timezone"),
    ] {
        let (_, fields) = office.write(change.clone()).await.problem(422);
        assert_eq!(fields, [field], "{change}");
    }
    let list = office.ann.get(&format!("/api/accounts/{}/mails/?count=true", office.account)).await;
    assert_eq!(list.expect(200)["count"], 0);
    let bob = office.ann.colleague("USER").await;
    let path = format!("/api/accounts/{}/create_mail/", office.account);
    assert_eq!(bob.post(&path, &office.body()).await.status, 404, "an account that Bob does not see");
}

#[actix_web::test]
async fn a_sender_is_proved_by_its_code_which_can_be_guessed_five_times() {
    let app = TestApp::new().await;
    let ann = app.founder().await;
    let email = unique_email();
    let sender = ann.post("/api/mail/senders/", &json!({"email": email})).await.expect(201);
    assert_eq!(
        ann.post("/api/mail/senders/", &json!({"email": email.to_uppercase()})).await.problem(409).1,
        ["email"]
    );
    let code = app.mail_of(&email, "sender_code").await.data["code"].as_str().unwrap().to_owned();
    let wrong = if code == "000000" { "000001" } else { "000000" };
    let at = format!("/api/mail/senders/{}/", sender["id"].as_str().unwrap());
    for _ in 0..5 {
        assert_eq!(ann.post(&format!("{at}verify/"), &json!({"code": wrong})).await.problem(422).1, ["code"]);
    }
    assert_eq!(
        ann.post(&format!("{at}verify/"), &json!({"code": code})).await.problem(422).0,
        "token_unusable"
    );
    ann.delete(&at).await.expect(204);
    // Adding the address anew is no way to guess on for ever, nor to fill its owner's mailbox.
    for _ in 0..4 {
        let again = ann.post("/api/mail/senders/", &json!({"email": email})).await.expect(201);
        ann.delete(&format!("/api/mail/senders/{}/", again["id"].as_str().unwrap())).await.expect(204);
    }
    let refused = ann.post("/api/mail/senders/", &json!({"email": email.to_uppercase()})).await;
    assert_eq!(refused.problem(429).0, "too_many_requests");
    for _ in 0..15 {
        let other = ann.post("/api/mail/senders/", &json!({"email": unique_email()})).await.expect(201);
        ann.delete(&format!("/api/mail/senders/{}/", other["id"].as_str().unwrap())).await.expect(204);
    }
    assert_eq!(ann.post("/api/mail/senders/", &json!({"email": unique_email()})).await.status, 429);
    assert_eq!(ann.get("/api/mail/senders/?count=true").await.expect(200)["count"], 0);
    let bob = ann.colleague("USER").await;
    assert_eq!(bob.get("/api/mail/senders/").await.problem(403).0, "forbidden");
}
