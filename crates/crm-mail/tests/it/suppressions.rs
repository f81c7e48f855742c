//! Recipients that an organization does not mail to.

use crm_core::{Code, Error};
use crm_mail::suppressions::{self, NewSuppression, Suppression};
use crm_mail::{MailState, Message, Template};
use serde_json::{Value, json};

use crate::delivery::{Post, assigned};

fn new(value: Value) -> Result<NewSuppression, Error> {
    crm_core::body::parse(value.as_object().unwrap().clone())
}

async fn suppress(post: &Post, kind: &str, value: &str) -> Result<Suppression, Error> {
    let new = new(json!({"kind": kind, "value": value, "reason": "bounced"}))?;
    post.database.db.tenant(&post.org, async |t| suppressions::create(t, new).await).await
}

#[tokio::test]
async fn mail_to_a_suppressed_address_or_domain_is_kept_back() {
    let mut post = Post::new([]).await;
    suppress(&post, "address", "Bob@Example.org").await.unwrap();
    suppress(&post, "domain", "spam.example").await.unwrap();
    for to in ["bob@example.org", "BOB@example.ORG", "ann@spam.example", "ann@mail.SPAM.example"] {
        let message = post.enqueue(assigned(to)).await;
        post.work_off().await;
        let row = post.row(&message).await;
        assert_eq!((row.state, row.attempts, row.data), (MailState::Suppressed, 0, json!({})), "{to}");
    }
    for to in ["ann@example.org", "bob@mail.example.org", "ann@notspam.example", "ann@example"] {
        let message = post.enqueue(assigned(to)).await;
        post.work_off().await;
        assert_eq!(post.row(&message).await.state, MailState::Sent, "{to}");
    }
    assert_eq!(post.server.count(), 4);
}

#[tokio::test]
async fn what_was_queued_before_is_kept_back_too_and_flows_again_afterwards() {
    let mut post = Post::new([]).await;
    let early = post.enqueue(assigned("bob@example.org")).await;
    let suppression = suppress(&post, "domain", "example.org").await.unwrap();
    post.work_off().await;
    assert_eq!(post.row(&early).await.state, MailState::Suppressed);
    let delete = post.database.db.tenant(&post.org, async |t| suppressions::delete(t, suppression.id).await);
    delete.await.unwrap();
    let late = post.enqueue(assigned("bob@example.org")).await;
    post.work_off().await;
    assert_eq!(post.row(&late).await.state, MailState::Sent);
    assert_eq!(post.server.count(), 1, "what was kept back stays so");
}

#[tokio::test]
async fn no_organization_keeps_mail_about_an_account_or_another_organizations_mail_back() {
    let mut post = Post::new([]).await;
    suppress(&post, "domain", "example.org").await.unwrap();
    let at = json!({"name": "Bob", "at": "2026-11-21 18:45 UTC"});
    let inside = post.enqueue(Message::new("bob@example.org", Template::PasswordChanged, at)).await;
    let link = json!({"name": "Bob", "link": "https://crm.example.com/", "valid_minutes": 30});
    let outside = post.enqueue_outside(Message::new("bob@example.org", Template::PasswordReset, link)).await;
    post.work_off().await;
    assert_eq!(post.row(&inside).await.state, MailState::Sent);
    assert_eq!(post.row_outside(&outside).await.state, MailState::Sent);
    post.move_on().await;
    let elsewhere = post.enqueue(assigned("bob@example.org")).await;
    post.work_off().await;
    assert_eq!(post.row(&elsewhere).await.state, MailState::Sent);
    assert_eq!(post.server.count(), 3);
}

#[tokio::test]
async fn a_suppression_is_made_once_and_of_something_that_can_be_mailed_to() {
    let post = Post::new([]).await;
    suppress(&post, "address", "bob@example.org").await.unwrap();
    for (kind, value, code) in [
        ("address", "BOB@example.org ", Code::Duplicate),
        ("address", "example.org", Code::ValidationFailed),
        ("domain", "bob@example.org", Code::ValidationFailed),
        ("domain", "org", Code::ValidationFailed),
        ("domain", "", Code::ValidationFailed),
    ] {
        assert_eq!(suppress(&post, kind, value).await.unwrap_err().code(), code, "{kind} {value:?}");
    }
    suppress(&post, "domain", "example.org").await.unwrap();
}
