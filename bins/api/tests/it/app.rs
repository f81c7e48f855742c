//! The application under test: every request goes through the whole stack, on a real database as the application role.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::dev::ServiceResponse;
use actix_web::http::Method;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::test;
use crm_api::extract::State;
use crm_api::jobs::Handlers;
use crm_api::limits::{Limits, Rates};
use crm_api::routes::TARGETS;
use crm_api::server;
use crm_core::{Db, Sealer};
use crm_identity::{Identity, IdentitySettings, TokenSettings};
use crm_jobs::{Failure, Job, Worker};
use crm_mail::{Message, SEND, SEND_OUTSIDE, Sent};
use crm_notifications::{Live, Notifier};
use crm_storage::Storage;
use crm_transfer::{IMPORT, UNDO_IMPORT};
use crm_webhooks::{WebhookSettings, Webhooks};
use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};
use uuid::Uuid;

/// Webhooks that may lead to this machine.
fn webhooks(db: &Db) -> Webhooks {
    Webhooks::new(db.clone(), WebhookSettings::new(SECRET, true).unwrap(), crm_api::routes::TARGETS).unwrap()
}

type Call = dyn Fn(test::TestRequest) -> LocalBoxFuture<'static, ServiceResponse<BoxBody>>;

/// The application, with a database that other tests of this process share: each test makes its own organizations.
#[derive(Clone)]
pub(crate) struct TestApp {
    call: Rc<Call>,
    pub(crate) db: Db,
    pub(crate) identity: Identity,
    pub(crate) state: State,
    /// The organizations that were made through it: their files lie where it looks.
    orgs: Rc<RefCell<HashSet<String>>>,
    _files: Rc<tempfile::TempDir>,
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body, once the status is the expected one.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.bytes));
        self.json()
    }

    /// `code` of the problem document and the fields at fault, once the status is the expected one.
    #[track_caller]
    pub(crate) fn problem(self, status: u16) -> (String, Vec<String>) {
        let text = String::from_utf8_lossy(&self.bytes).into_owned();
        assert_eq!(self.header("content-type"), "application/problem+json", "{text:.300}");
        let body = self.expect(status);
        assert_eq!(body["status"], status);
        let fields = body["errors"].as_array().into_iter().flatten();
        let fields = fields.map(|e| e["field"].as_str().unwrap().to_owned()).collect();
        (body["code"].as_str().unwrap().to_owned(), fields)
    }
}

/// Somebody signed in.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) app: TestApp,
    pub(crate) email: String,
    pub(crate) token: String,
    /// The token of the registration, which names no organization.
    pub(crate) first_token: String,
    pub(crate) refresh: String,
    /// The membership, in an organization.
    pub(crate) member: Value,
    pub(crate) org: Value,
}

/// Where links in mails lead.
const FRONTEND: &str = "https://crm.example.com";

const SECRET: &str = "a secret of more than thirty-two bytes";

/// How many bytes of files an organization may keep.
pub(crate) const QUOTA: i64 = 60 * 1024 * 1024;

pub(crate) const PASSWORD: &str = "correct horse battery";

static MAILBOX: Mutex<Vec<Message>> = Mutex::new(Vec::new());

impl TestApp {
    pub(crate) async fn new() -> Self {
        Self::on(crm_testkit::shared_db().await).await
    }

    pub(crate) async fn on(db: Db) -> Self {
        Self::limited(db, crate::limits::NONE).await
    }

    /// The application with limits.
    pub(crate) async fn limited(db: Db, rates: Rates) -> Self {
        let files = tempfile::tempdir().unwrap();
        let storage = Storage::local(files.path()).unwrap();
        let settings = IdentitySettings {
            tokens: TokenSettings::new(SECRET, "amphora"),
            frontend_url: FRONTEND.into(),
            platform_admin_domains: vec!["platform.example".into()],
        };
        let identity = Identity::new(db.clone(), settings).unwrap();
        let state = State {
            db: db.clone(),
            identity: identity.clone(),
            storage,
            storage_quota_bytes: Some(QUOTA),
            sealer: Sealer::new(SECRET, "idempotency").unwrap(),
            limits: Arc::new(Limits::new(rates)),
            live: Live::new(&db),
            webhooks: webhooks(&db),
            trusted_proxies: 1,
        };
        let service = Rc::new(test::init_service(server::app(state.clone(), &[])).await);
        let call: Rc<Call> = Rc::new(move |request: test::TestRequest| {
            let service = service.clone();
            Box::pin(async move {
                test::call_service(&*service, request.to_request()).await.map_into_boxed_body()
            })
        });
        Self { call, db, identity, state, orgs: Rc::default(), _files: Rc::new(files) }
    }

    pub(crate) async fn send(&self, request: test::TestRequest) -> Reply {
        let response = (self.call)(request).await;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Reply { status, headers, bytes: test::read_body(response).await.to_vec() }
    }

    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Reply {
        let mut request = test::TestRequest::default()
            .method(method)
            .uri(path)
            .insert_header(("x-request-id", "test-request"))
            // Each test is an address of its own, so that no throttle is shared.
            .insert_header(("x-forwarded-for", format!("10.0.0.{}", rand_byte())));
        if let Some(token) = token {
            request = request.insert_header(("authorization", format!("Bearer {token}")));
        }
        if let Some(body) = body {
            request = request.set_json(body);
        }
        self.send(request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.request(Method::GET, path, None, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.request(Method::POST, path, None, Some(body)).await
    }

    /// Opens an account, without an organization.
    pub(crate) async fn register(&self, email: &str) -> Person {
        let body = json!({"email": email, "password": PASSWORD, "confirm_password": PASSWORD, "name": "Test Person"});
        let answer = self.post("/api/auth/register/", &body).await.expect(201);
        Person {
            app: self.clone(),
            email: email.to_owned(),
            token: answer["access_token"].as_str().unwrap().to_owned(),
            first_token: answer["access_token"].as_str().unwrap().to_owned(),
            refresh: answer["refresh_token"].as_str().unwrap().to_owned(),
            member: Value::Null,
            org: Value::Null,
        }
    }

    /// Somebody with an organization of their own, of which they are the administrator.
    pub(crate) async fn founder(&self) -> Person {
        let person = self.register(&unique_email()).await;
        let org = person.post("/api/org/", &json!({"name": "Test organization"})).await.expect(201);
        self.orgs.borrow_mut().insert(org["id"].as_str().unwrap().to_owned());
        person.switch(org["id"].as_str().unwrap()).await
    }

    /// What does the jobs, all but the sending of mail.
    pub(crate) fn handlers(&self) -> Handlers {
        Handlers {
            db: self.db.clone(),
            identity: self.identity.clone(),
            storage: self.state.storage.clone(),
            webhooks: self.state.webhooks.clone(),
            notifier: Notifier::new(TARGETS, FRONTEND),
            frontend_url: FRONTEND.into(),
        }
    }

    /// The newest mail to an address. Another test's worker may have taken it from the outbox they share, so it is waited for.
    pub(crate) async fn mail_to(&self, email: &str) -> Message {
        self.mail_when(|message| message.to == email).await
    }

    /// The newest mail to an address from a template.
    pub(crate) async fn mail_of(&self, email: &str, template: &str) -> Message {
        self.mail_when(|message| message.to == email && message.template.as_str() == template).await
    }

    async fn mail_when(&self, is_wanted: impl Fn(&Message) -> bool) -> Message {
        let found = || MAILBOX.lock().unwrap().iter().rev().find(|message| is_wanted(message)).cloned();
        let waiting = async {
            loop {
                self.work_off(&MAILBOX).await;
                match found() {
                    Some(message) => return message,
                    None => tokio::task::yield_now().await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("a mail")
    }
}

impl TestApp {
    /// The mails from a template, once the outbox of a database of its own is worked off.
    pub(crate) async fn mails(&self, template: &str) -> Vec<Message> {
        let mails = Mutex::default();
        self.work_off(&mails).await;
        mails
            .into_inner()
            .unwrap()
            .into_iter()
            .filter(|mail: &Message| mail.template.as_str() == template)
            .collect()
    }

    /// Does every job of a database of its own; the mails are lost.
    pub(crate) async fn work(&self) {
        self.work_off(&Mutex::default()).await;
    }

    async fn work_off(&self, mailbox: &Mutex<Vec<Message>>) {
        let handlers = self.handlers();
        let deliver = async |job: &Job| -> Result<(), Failure> {
            match job.kind.as_str() {
                SEND | SEND_OUTSIDE => {
                    let post = async |message: &Message| {
                        mailbox.lock().unwrap().push(message.clone());
                        Ok(Sent::default())
                    };
                    crm_mail::deliver(&self.db, job, post).await
                }
                // Where other tests' webhooks lead is nobody's business here.
                kind if kind.starts_with("webhooks.") => Ok(()),
                _ => {
                    let handled = handlers.handle(job).await;
                    if !matches!(job.kind.as_str(), IMPORT | UNDO_IMPORT) {
                        return handled;
                    }
                    // Another test's file lies where this application does not look.
                    let org = job.org_id.map(|org| org.to_string()).unwrap_or_default();
                    assert!(handled.is_ok() || !self.orgs.borrow().contains(&org), "{job:?}: {handled:?}");
                    Ok(())
                }
            }
        };
        while Worker::new(self.db.clone()).work_off(&deliver).await.unwrap() > 0 {}
    }
}

impl TestApp {
    /// Puts in a job of somebody's organization, as its schedule does.
    pub(crate) async fn put_job(&self, kind: &'static str, person: &Person) {
        let system = self.system(person);
        let put = self.db.tenant(&system, async |t| crm_jobs::enqueue(t, kind, &json!({})).await);
        put.await.unwrap();
    }

    /// The program itself in somebody's organization.
    pub(crate) fn system(&self, person: &Person) -> crm_core::Caller {
        let id = crm_core::OrgId(person.org["id"].as_str().unwrap().parse().unwrap());
        let (name, currency) = (String::new(), "USD".into());
        crm_core::Caller::system(crm_core::OrgInfo { id, name, currency, timezone: Default::default() })
    }
}

impl Person {
    pub(crate) async fn switch(&self, org: &str) -> Self {
        let answer = self.post("/api/auth/switch-org/", &json!({"org_id": org})).await.expect(200);
        let token = answer["access_token"].as_str().unwrap().to_owned();
        Self { token, member: answer["profile"].clone(), org: answer["current_org"].clone(), ..self.clone() }
    }

    /// Somebody else, invited into this person's organization with a role.
    pub(crate) async fn colleague(&self, role: &str) -> Self {
        let email = unique_email();
        self.post("/api/users/", &json!({"email": email, "role": role})).await.expect(201);
        let mail = self.app.mail_to(&email).await;
        let link = mail.data["link"].as_str().unwrap();
        let token = link.split("token=").nth(1).unwrap();
        let other = self.app.register(&email).await;
        other.post("/api/auth/invitation/accept/", &json!({"token": token})).await.expect(200);
        other.switch(self.org["id"].as_str().unwrap()).await
    }

    pub(crate) fn member_id(&self) -> String {
        self.member["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Reply {
        self.app.request(method, path, Some(&self.token), body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.request(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.request(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Reply {
        self.request(Method::PUT, path, Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Reply {
        self.request(Method::PATCH, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.request(Method::DELETE, path, None).await
    }

    /// The same with a header.
    pub(crate) async fn with(
        &self,
        method: Method,
        path: &str,
        header: (&str, &str),
        body: Option<&Value>,
    ) -> Reply {
        let name: HeaderName = header.0.parse().unwrap();
        let value = HeaderValue::from_str(header.1).unwrap();
        let mut request = test::TestRequest::default()
            .method(method)
            .uri(path)
            .insert_header(("x-request-id", "test-request"))
            .insert_header(("authorization", format!("Bearer {}", self.token)))
            .insert_header((name, value));
        if let Some(body) = body {
            request = request.set_json(body);
        }
        self.app.send(request).await
    }

    /// The same person with a new access token.
    pub(crate) async fn sign_in_again(&self) -> Self {
        let body = json!({"email": self.email, "password": PASSWORD});
        let answer = self.app.post("/api/auth/login/", &body).await.expect(200);
        let token = answer["access_token"].as_str().unwrap().to_owned();
        Self { token, ..self.clone() }.switch(self.org["id"].as_str().unwrap()).await
    }

    /// Uploads a file as a multipart form.
    pub(crate) async fn upload(&self, path: &str, name: &str, bytes: &[u8]) -> Reply {
        self.upload_keyed(path, name, bytes, None).await
    }

    /// The same with an idempotency key.
    pub(crate) async fn upload_keyed(
        &self,
        path: &str,
        name: &str,
        bytes: &[u8],
        key: Option<&str>,
    ) -> Reply {
        let boundary = "a-boundary-between-parts";
        let mut body = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: text/html\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(bytes);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let mut request = test::TestRequest::post()
            .uri(path)
            .insert_header(("authorization", format!("Bearer {}", self.token)))
            .insert_header(("content-type", format!("multipart/form-data; boundary={boundary}")))
            .set_payload(body);
        if let Some(key) = key {
            request = request.insert_header(("idempotency-key", key));
        }
        self.app.send(request).await
    }

    /// Sends a multipart form: texts, then a file where there is one.
    pub(crate) async fn send_form(
        &self,
        path: &str,
        texts: &[(&str, &str)],
        file: Option<(&str, &[u8])>,
    ) -> Reply {
        let boundary = "a-boundary-between-parts";
        let mut body = Vec::new();
        for (name, text) in texts {
            let part =
                format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n");
            body.extend_from_slice(part.as_bytes());
        }
        if let Some((name, bytes)) = file {
            let head = format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n"
            );
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(bytes);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        let request = test::TestRequest::post()
            .uri(path)
            .insert_header(("authorization", format!("Bearer {}", self.token)))
            .insert_header(("content-type", format!("multipart/form-data; boundary={boundary}")))
            .set_payload(body);
        self.app.send(request).await
    }

    /// Adds a document with a small file.
    pub(crate) async fn document(&self, texts: &[(&str, &str)]) -> Value {
        self.send_form("/api/documents/", texts, Some(("paper.pdf", b"%PDF-1.7 hello"))).await.expect(201)
    }

    /// Adds an address that the organization may send from, proved by its code.
    pub(crate) async fn sender(&self) -> String {
        let email = unique_email();
        let sender =
            self.post("/api/mail/senders/", &json!({"email": email, "name": "Sales"})).await.expect(201);
        let code = self.app.mail_of(&email, "sender_code").await.data["code"].clone();
        let at = format!("/api/mail/senders/{}/verify/", sender["id"].as_str().unwrap());
        assert!(self.post(&at, &json!({"code": code})).await.expect(200)["verified_at"].is_string());
        email
    }

    /// Adds a lead and answers it.
    pub(crate) async fn lead(&self, body: Value) -> Value {
        self.post("/api/leads/", &body).await.expect(201)
    }
}

pub(crate) fn unique_email() -> String {
    format!("person-{}@example.com", Uuid::now_v7().simple())
}

fn rand_byte() -> u8 {
    Uuid::new_v4().as_bytes()[0]
}
