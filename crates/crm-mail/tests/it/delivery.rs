//! From the row to the server, once.

use std::time::Duration;

use chrono::{DateTime, Utc};
use crm_core::{Caller, Code, OrgId, OrgInfo};
use crm_jobs::{Job, Worker};
use crm_mail::{Error, MailState, Mailer, Message, SEND, SEND_OUTSIDE, Template, Transport, deliver, outbox};
use crm_schema::{account_mails, mails, organizations};
use crm_testkit::{Database, fresh_database};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::smtp::{HANG_UP, SLOWLY, SmtpServer};

/// An organization that mails, and the server that it mails to.
pub(crate) struct Post {
    pub(crate) database: Database,
    pub(crate) org: Caller,
    pub(crate) server: SmtpServer,
    mailer: Mailer,
}

/// How far a mail has come.
#[derive(Debug, Clone, PartialEq, Queryable)]
pub(crate) struct Row {
    pub(crate) state: MailState,
    pub(crate) attempts: i32,
    pub(crate) data: Value,
    pub(crate) last_error: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) message_id: Option<String>,
    pub(crate) sent_at: Option<DateTime<Utc>>,
}

macro_rules! columns {
    ($mails:ident) => {
        (
            $mails::state,
            $mails::attempts,
            $mails::data,
            $mails::last_error,
            $mails::subject,
            $mails::message_id,
            $mails::sent_at,
        )
    };
}

pub(crate) fn assigned(to: &str) -> Message {
    let link = "https://crm.example.com/leads/1";
    let data =
        json!({"org_name": "Acme", "assigned_by": "Ann", "kind": "lead", "title": "Big deal", "link": link});
    Message::new(to, Template::Assigned, data)
}

impl Post {
    /// With a server that answers by a script.
    pub(crate) async fn new(replies: impl IntoIterator<Item = (&'static str, &'static str)>) -> Self {
        let (database, server) = (fresh_database().await, SmtpServer::start(replies).await);
        let mut post = Self { org: somewhere(), mailer: server.mailer(), database, server };
        post.move_on().await;
        post
    }

    /// Founds another organization, and goes on there.
    pub(crate) async fn move_on(&mut self) {
        self.org = somewhere();
        let row = (organizations::id.eq(self.org.org.id), organizations::name.eq("Acme"));
        let founded = self.database.db.platform(async |p| {
            diesel::insert_into(organizations::table)
                .values(row)
                .execute(p.conn()?)
                .await
                .map_err(crm_core::Error::from)
        });
        founded.await.unwrap();
    }

    pub(crate) async fn enqueue(&self, message: Message) -> Message {
        let put = self.database.db.tenant(&self.org, async |t| crm_mail::enqueue(t, &message).await);
        put.await.unwrap();
        message
    }

    pub(crate) async fn enqueue_outside(&self, message: Message) -> Message {
        self.database.db.platform(async |p| crm_mail::enqueue(p, &message).await).await.unwrap();
        message
    }

    /// A worker that tries again at once.
    fn worker(&self) -> Worker {
        Worker::new(self.database.db.clone()).attempts(12, Duration::ZERO)
    }

    /// Does one job, and answers how many that were.
    async fn work(&self) -> usize {
        let handle = async |job: &Job| {
            let send = async |message: &Message| self.mailer.send(message).await;
            deliver(&self.database.db, job, send).await
        };
        self.worker().work_off(&handle).await.unwrap()
    }

    /// Does jobs until none is due, and answers how many that were.
    pub(crate) async fn work_off(&self) -> usize {
        let mut jobs = 0;
        while self.work().await > 0 {
            jobs += 1;
        }
        jobs
    }

    pub(crate) async fn row(&self, message: &Message) -> Row {
        let this = mails::org_id.eq(self.org.org.id).and(mails::id.eq(message.id));
        let row = mails::table.filter(this).select(columns!(mails));
        let read = self
            .database
            .db
            .tenant(&self.org, async |t| row.first(t.conn()?).await.map_err(crm_core::Error::from));
        read.await.unwrap()
    }

    pub(crate) async fn row_outside(&self, message: &Message) -> Row {
        let row = account_mails::table.find(message.id).select(columns!(account_mails));
        let read =
            self.database.db.platform(async |p| row.first(p.conn()?).await.map_err(crm_core::Error::from));
        read.await.unwrap()
    }

    async fn listed(&self, state: MailState) -> Vec<Uuid> {
        let found = outbox::in_state(&self.database.db, Some(self.org.org.id), state, 10).await.unwrap();
        found.into_iter().map(|entry| entry.id).collect()
    }

    async fn resend(&self, message: &Message) -> crm_core::Result<()> {
        outbox::resend(&self.database.db, Some(self.org.org.id), message.id).await
    }
}

fn somewhere() -> Caller {
    let id = OrgId::generate();
    Caller::system(OrgInfo { id, name: "Acme".into(), currency: "EUR".into(), timezone: Default::default() })
}

#[tokio::test]
async fn a_mail_is_sent_and_what_it_said_is_forgotten() {
    let mut post = Post::new([]).await;
    let message = post.enqueue(assigned("bob@example.org")).await;
    let queued = post.row(&message).await;
    assert_eq!((queued.state, queued.attempts, &queued.data), (MailState::Queued, 0, &message.data));
    assert_eq!(post.work_off().await, 1);
    let sent = post.row(&message).await;
    assert!(sent.sent_at.is_some());
    let expected = Row {
        state: MailState::Sent,
        attempts: 1,
        data: json!({}),
        last_error: None,
        subject: Some("Assigned to you: Big deal".into()),
        message_id: Some(format!("<{}@example.com>", message.id)),
        sent_at: sent.sent_at,
    };
    assert_eq!(sent, expected);
    let received = post.server.received.recv().await.unwrap();
    assert!(received.content.contains(&format!("Message-ID: <{}@example.com>", message.id)));
    assert_eq!(post.work_off().await, 0);
}

#[tokio::test]
async fn a_mail_outside_every_organization_has_a_row_of_its_own_kind() {
    let mut post = Post::new([(".", HANG_UP)]).await;
    let data = json!({"link": "https://crm.example.com/?token=abc", "valid_minutes": 10});
    let message = post.enqueue_outside(Message::new("bob@example.org", Template::SignInLink, data)).await;
    assert_eq!(post.work_off().await, 1);
    assert_eq!(post.row_outside(&message).await.state, MailState::Uncertain);
    assert_eq!(post.listed(MailState::Uncertain).await, Vec::<Uuid>::new());
    let db = &post.database.db;
    let [entry] = &outbox::in_state(db, None, MailState::Uncertain, 10).await.unwrap()[..] else { panic!() };
    assert_eq!((entry.id, entry.template), (message.id, Template::SignInLink));
    outbox::resend(db, None, message.id).await.unwrap();
    assert_eq!(post.work_off().await, 1);
    let row = post.row_outside(&message).await;
    assert_eq!((row.state, row.attempts, row.data), (MailState::Sent, 2, json!({})));
    assert_eq!(post.server.count(), 2);
}

#[tokio::test]
async fn a_mail_that_is_rolled_back_is_never_sent() {
    let mut post = Post::new([]).await;
    let undone = post.database.db.tenant(&post.org, async |t| {
        crm_mail::enqueue(t, &assigned("bob@example.org")).await?;
        Err::<(), _>(crm_core::Error::NotFound)
    });
    undone.await.unwrap_err();
    assert_eq!((post.work_off().await, post.server.count()), (0, 0));
    assert_eq!(post.listed(MailState::Queued).await, Vec::<Uuid>::new());
}

#[tokio::test]
async fn a_server_that_asks_to_wait_gets_the_mail_later() {
    for step in ["MAIL", "RCPT", "DATA", "."] {
        let mut post = Post::new([(step, "450 try later"), (step, "451 and later")]).await;
        let message = post.enqueue(assigned("bob@example.org")).await;
        assert_eq!(post.work().await, 1);
        let row = post.row(&message).await;
        assert_eq!((row.state, row.attempts, &row.data), (MailState::Queued, 1, &message.data), "{step}");
        assert_eq!(row.last_error.as_deref(), Some("the mail cannot be sent now"));
        assert_eq!(post.work_off().await, 2);
        let row = post.row(&message).await;
        assert_eq!((row.state, row.attempts, row.last_error), (MailState::Sent, 3, None), "{step}");
        let heard = if step == "." { 3 } else { 1 };
        assert_eq!(post.server.count(), heard, "{step}");
    }
}

#[tokio::test]
async fn a_mail_that_the_server_refuses_is_not_tried_again() {
    let mut post = Post::new([("RCPT", "550 no bob@example.org here")]).await;
    let message = post.enqueue(assigned("bob@example.org")).await;
    assert_eq!(post.work_off().await, 1);
    let row = post.row(&message).await;
    assert_eq!((row.state, row.attempts, row.data), (MailState::Failed, 1, json!({})));
    assert_eq!(row.last_error.as_deref(), Some("the mail server refused the mail (550)"), "nobody's address");
    assert_eq!(post.resend(&message).await.unwrap_err().code(), Code::Conflict);
    assert_eq!((post.work_off().await, post.server.count()), (0, 0));
}

#[tokio::test]
async fn a_mail_that_cannot_be_composed_fails() {
    let mut post = Post::new([]).await;
    for message in [
        assigned("bob@example.org\r\nRCPT TO:<eve@example.net>"),
        assigned("bob@example.org, eve@example.net"),
        Message::new("bob@example.org", Template::Assigned, json!({})),
    ] {
        let message = post.enqueue(message).await;
        assert_eq!(post.work_off().await, 1);
        let row = post.row(&message).await;
        assert_eq!(row.state, MailState::Failed);
        assert!(!row.last_error.unwrap().contains("eve"));
    }
    assert_eq!(post.server.count(), 0);
}

#[tokio::test]
async fn while_no_server_answers_the_mail_waits() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let mut post = Post::new([]).await;
    let there = std::mem::replace(&mut post.mailer, crate::smtp::mailer(format!("smtp://{address}")));
    let message = post.enqueue(assigned("bob@example.org")).await;
    assert_eq!(post.work_off().await, 12, "until the job is given up");
    let row = post.row(&message).await;
    assert_eq!((row.state, row.attempts, &row.data), (MailState::Queued, 12, &message.data));
    assert_eq!(post.listed(MailState::Queued).await, [message.id]);
    post.mailer = there;
    post.resend(&message).await.unwrap();
    assert_eq!(post.work_off().await, 1);
    assert_eq!((post.row(&message).await.state, post.server.count()), (MailState::Sent, 1));
}

#[tokio::test]
async fn after_a_broken_conversation_only_an_operator_sends_again() {
    let mut post = Post::new([(".", HANG_UP)]).await;
    let message = post.enqueue(assigned("bob@example.org")).await;
    assert_eq!(post.work_off().await, 1);
    let row = post.row(&message).await;
    assert_eq!((row.state, row.attempts, &row.data), (MailState::Uncertain, 1, &message.data));
    assert_eq!(row.last_error.as_deref(), Some("whether the mail was sent is uncertain"));
    assert_eq!((post.work_off().await, post.server.count()), (0, 1), "not by itself");
    assert_eq!(post.listed(MailState::Uncertain).await, [message.id]);
    post.resend(&message).await.unwrap();
    assert_eq!(post.work_off().await, 1);
    assert_eq!(post.row(&message).await.state, MailState::Sent);
    let again = post.server.received.recv().await.unwrap();
    assert!(again.content.contains(&format!("<{}@example.com>", message.id)), "the same Message-ID");
}

#[tokio::test]
async fn a_mail_whose_worker_was_lost_is_uncertain() {
    let mut post = Post::new([]).await;
    let message = post.enqueue(assigned("bob@example.org")).await;
    let sending = Notify::new();
    let lost = post.worker().lease(Duration::from_millis(400));
    let handle = async |job: &Job| {
        let never = async |_: &Message| {
            sending.notify_one();
            std::future::pending().await
        };
        deliver(&post.database.db, job, never).await
    };
    tokio::select! {
        done = lost.work_off(&handle) => panic!("{done:?}"),
        () = sending.notified() => {}
    }
    assert_eq!(post.row(&message).await.state, MailState::Sending);
    assert_eq!(post.resend(&message).await.unwrap_err().code(), Code::Conflict);
    while post.work().await == 0 {
        tokio::task::yield_now().await;
    }
    let row = post.row(&message).await;
    assert_eq!((row.state, &row.data), (MailState::Uncertain, &message.data));
    assert_eq!(row.last_error.as_deref(), Some("the worker was lost while it sent the mail"));
    assert_eq!((post.work_off().await, post.server.count()), (0, 0));
}

#[tokio::test]
async fn of_many_workers_one_sends() {
    let mut post = Post::new([(".", SLOWLY)]).await;
    let message = post.enqueue(assigned("bob@example.org")).await;
    for _ in 0..3 {
        post.resend(&message).await.unwrap();
    }
    let jobs = tokio::join!(post.work(), post.work(), post.work(), post.work());
    assert_eq!(jobs, (1, 1, 1, 1));
    let row = post.row(&message).await;
    assert_eq!((row.state, row.attempts), (MailState::Sent, 1), "the one that sent it knows best");
    assert_eq!((post.work_off().await, post.server.count()), (0, 1));
}

#[tokio::test]
async fn a_mail_that_was_declared_uncertain_is_not_queued_behind_the_operators_back() {
    let post = Post::new([]).await;
    let message = post.enqueue(assigned("bob@example.org")).await;
    post.resend(&message).await.unwrap();
    let slow = async |job: &Job| {
        let refused_for_now = async |_: &Message| {
            assert_eq!(post.work().await, 1, "another worker meets it");
            Err(Error::Temporary("busy".into()))
        };
        deliver(&post.database.db, job, refused_for_now).await
    };
    assert_eq!(post.worker().work_off(&slow).await.unwrap(), 1);
    let row = post.row(&message).await;
    assert_eq!((row.state, row.attempts), (MailState::Uncertain, 1));
}

#[tokio::test]
async fn mail_without_a_server_becomes_files() {
    let mut post = Post::new([]).await;
    let dir = tempfile::tempdir().unwrap();
    let transport = Transport::Files { dir: dir.path().join("mail") };
    post.mailer = Mailer::new(&transport, "crm@example.com").unwrap();
    let message = post.enqueue(assigned("bob@example.org")).await;
    assert_eq!(post.work_off().await, 1);
    assert_eq!(post.row(&message).await.state, MailState::Sent);
    assert_eq!(std::fs::read_dir(dir.path().join("mail")).unwrap().count(), 1);
}

#[tokio::test]
async fn an_operator_reaches_a_mail_only_where_it_is() {
    let mut post = Post::new([(".", HANG_UP)]).await;
    let message = post.enqueue(assigned("bob@example.org")).await;
    post.work_off().await;
    let outside = outbox::resend(&post.database.db, None, message.id).await;
    assert_eq!(outside.unwrap_err().code(), Code::NotFound);
    post.move_on().await;
    assert_eq!(post.resend(&message).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(post.listed(MailState::Uncertain).await, Vec::<Uuid>::new());
}

#[test]
fn jobs_outside_every_organization_are_of_the_platform() {
    assert!(SEND_OUTSIDE.starts_with("platform.") && !SEND.starts_with("platform."));
}
