//! What the log tells of a mail. In a process of its own: a log subscriber of one thread is not seen
//! reliably while other threads log too.

use std::{fs, sync::Arc};

use crm_mail::{Mailer, Message, Template, Transport};
use serde_json::json;
use tempfile::{NamedTempFile, TempDir};

#[tokio::test]
async fn the_log_names_the_message_and_not_the_person() {
    let log = NamedTempFile::new().unwrap();
    let writer = Arc::new(log.reopen().unwrap());
    let _guard = tracing::subscriber::set_default(
        tracing_subscriber::fmt().with_ansi(false).with_writer(writer).finish(),
    );

    let dir = TempDir::new().unwrap();
    let transport = Transport::Files { dir: dir.path().to_owned() };
    let data = json!({ "name": "Robert", "link": "https://crm.example.com/?token=abc", "valid_minutes": 30 });
    let message = Message::new("robert@example.org", Template::PasswordReset, data);
    Mailer::new(&transport, "crm@example.com").unwrap().send(&message).await.unwrap();

    let log = fs::read_to_string(log.path()).unwrap();
    let file = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    for told in [message.id.to_string(), "password_reset".to_owned(), file.display().to_string()] {
        assert!(log.contains(&told), "{log}");
    }
    for secret in ["robert", "Robert", "example.", "token="] {
        assert!(!log.contains(secret), "{log}");
    }
}
