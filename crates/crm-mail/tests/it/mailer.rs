//! How a mail is composed and handed over.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use crm_mail::{Error, Mailer, Message, Template, Transport};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::smtp::{HANG_UP, SLOWLY, SmtpServer, mailer as smtp};

const LINK: &str = "https://crm.example.com/invitations/accept?org=0190d5a6-7b1c-7c3e-9f00-3d2b1a000001&token=\
                    q8Zt5yQm2VbN7xWcR4kLpT1sJ9hGfD6aE3uI0oYvKwMzXnBrPdHjCgFlSeAtUiOq";

fn invitation() -> Message {
    let data = json!({
        "org_name": "Acme", "inviter_name": "Ann", "role": "member", "link": LINK, "valid_days": 7,
    });
    Message::new("bob@example.org", Template::Invitation, data)
}

/// The invitation with one value replaced.
fn invitation_with(name: &str, value: &str) -> Message {
    let mut message = invitation();
    message.data[name] = Value::from(value);
    message
}

/// A mail directory.
struct Desk {
    dir: TempDir,
    mailer: Mailer,
}

impl Desk {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let transport = Transport::Files { dir: dir.path().join("state/mail") };
        Self { mailer: Mailer::new(&transport, "Amphora <crm@example.com>").unwrap(), dir }
    }

    fn mail_dir(&self) -> PathBuf {
        self.dir.path().join("state/mail")
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> =
            fs::read_dir(self.mail_dir()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// Sends a message and reads its file.
    async fn send(&self, message: &Message) -> Mail {
        let before = self.files();
        self.mailer.send(message).await.unwrap();
        let new = self.files().into_iter().find(|file| !before.contains(file)).unwrap();
        Mail::parse(&fs::read_to_string(new).unwrap())
    }
}

/// A mail with a text and an HTML part.
struct Mail {
    headers: Vec<String>,
    text: String,
    html: String,
}

impl Mail {
    fn parse(source: &str) -> Self {
        let (headers, body) = source.split_once("\n\n").unwrap();
        let headers: Vec<_> = headers.replace("\n ", " ").lines().map(str::to_owned).collect();
        let boundary = source.split_once("boundary=\"").unwrap().1.split_once('"').unwrap().0;
        let parts: Vec<_> = body.split(&format!("--{boundary}")).collect();
        let [_, text, html, end] = parts[..] else { panic!("{parts:?}") };
        assert_eq!(end.trim_end(), "--");
        let content = |part: &str, kind: &str| {
            let (headers, content) = part.split_once("\n\n").unwrap();
            assert!(headers.contains(&format!("Content-Type: {kind}; charset=utf-8")), "{headers}");
            content.to_owned()
        };
        Self { headers, text: content(text, "text/plain"), html: content(html, "text/html") }
    }

    fn header(&self, name: &str) -> &str {
        let prefix = format!("{name}: ");
        let mut found = self.headers.iter().filter_map(|line| line.strip_prefix(&prefix));
        let value = found.next().unwrap();
        assert_eq!(found.next(), None);
        value
    }
}

#[tokio::test]
async fn a_mail_becomes_a_readable_file() {
    let desk = Desk::new();
    let message = invitation();
    let mail = desk.send(&message).await;
    assert_eq!(mail.header("From"), "Amphora <crm@example.com>");
    assert_eq!(mail.header("To"), "bob@example.org");
    assert_eq!(mail.header("Subject"), "Ann invites you to Acme");
    assert_eq!(mail.header("Message-ID"), format!("<{}@example.com>", message.id));
    assert!(mail.text.lines().any(|line| line == LINK), "{}", mail.text);
    assert!(mail.text.contains("The link is valid for 7 days."));
    assert!(mail.html.contains("<strong>Acme</strong>"));
    assert!(mail.html.contains(">See the invitation</a>"));
    assert!(mail.html.contains("sent automatically by Amphora"));
}

#[tokio::test]
async fn a_text_beyond_ascii_stays_readable() {
    let mail = Desk::new().send(&invitation_with("org_name", "Čajovna 茶")).await;
    assert!(mail.text.contains("Čajovna 茶"));
    assert!(mail.text.lines().any(|line| line == LINK));
    assert!(mail.header("Subject").is_ascii());
}

#[tokio::test]
async fn file_names_sort_by_time_and_tell_no_recipient() {
    let desk = Desk::new();
    let message = invitation();
    desk.send(&message).await;
    let [file] = &desk.files()[..] else { panic!("one file") };
    let name = file.file_name().unwrap().to_str().unwrap();
    let (time, rest) = name.split_once('-').unwrap();
    assert!(chrono::NaiveDateTime::parse_from_str(time, "%Y%m%dT%H%M%S%.3fZ").is_ok(), "{time}");
    assert_eq!(time.len(), "20261121T184500.123Z".len());
    let id = message.id.simple().to_string();
    assert_eq!(rest, format!("invitation-{}.eml", &id[24..]));
}

#[tokio::test]
async fn files_are_private_and_the_directory_is_made_again() {
    let desk = Desk::new();
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&desk.mail_dir()), 0o700);
    fs::remove_dir(desk.mail_dir()).unwrap();
    desk.mailer.send(&invitation()).await.unwrap();
    assert_eq!(mode(&desk.mail_dir()), 0o700);
    assert_eq!(mode(&desk.files()[0]), 0o600);
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_a_temporary_fault() {
    let desk = Desk::new();
    fs::remove_dir(desk.mail_dir()).unwrap();
    fs::write(desk.mail_dir(), "in the way").unwrap();
    let error = desk.mailer.send(&invitation()).await.unwrap_err();
    assert!(matches!(error, Error::Temporary(_)), "{error:?}");
}

fn stale_deals() -> Value {
    let item = json!({"name": "Big deal", "stage": "PROPOSAL", "days": 16, "expected": 10, "link": LINK});
    json!({"org_name": "Acme", "name": "Bob", "count": 1, "items": [item], "link": LINK})
}

#[tokio::test]
async fn every_template_says_what_it_is_told() {
    let desk = Desk::new();
    let cases = [
        (Template::VerifyEmail, json!({ "name": "Bob", "link": LINK, "valid_hours": 1 }), "1 hour."),
        (Template::Invitation, invitation().data, "Your role will be: member."),
        (
            Template::PasswordReset,
            json!({ "name": "Bob", "link": LINK, "valid_minutes": 30 }),
            "30 minutes and",
        ),
        (
            Template::PasswordChanged,
            json!({ "name": "Bob", "at": "2026-11-21 18:45 UTC" }),
            "2026-11-21 18:45 UTC",
        ),
        (Template::MembershipRemoved, json!({ "org_name": "Acme", "name": "Bob" }), "Acme"),
        (
            Template::Assigned,
            json!({ "org_name": "Acme", "assigned_by": "Ann", "kind": "lead", "title": "Big deal", "link": LINK }),
            "Ann assigned you a lead of Acme: ",
        ),
        (Template::Welcome, json!({ "name": "Bob", "link": LINK }), "your Amphora account is ready."),
        (Template::SignInLink, json!({ "link": LINK, "valid_minutes": 10 }), "10 minutes and works once"),
        (Template::SignInCode, json!({ "code": "482913", "valid_minutes": 10 }), "482913"),
        (Template::Mentioned, comment(), "Ann mentioned you in a comment on a lead of Acme: "),
        (Template::Commented, comment(), "They like oak."),
        (Template::Digest, digest(), "2026-11-21 18:45"),
        (
            Template::TokenCreated,
            json!({ "name": "Bob", "org_name": "Acme", "token_name": "Import", "at": "2026-11-21 18:45 UTC" }),
            "Import",
        ),
        (
            Template::TwoFactorChanged,
            json!({ "name": "Bob", "what": "it was turned off", "at": "2026-11-21 18:45 UTC" }),
            "it was turned off",
        ),
        (Template::StaleDeals, stale_deals(), "Big deal"),
        (
            Template::GoalMilestone,
            json!({
                "org_name": "Acme", "name": "Bob", "goal": "November", "milestone": 50, "percent": 57, "reached": "57 EUR",
                "target": "100 EUR", "period_start": "2026-11-01", "period_end": "2026-11-30", "link": LINK,
            }),
            "57 EUR of 100 EUR (57 %), for 2026-11-01 to 2026-11-30.",
        ),
        (
            Template::AccountMessage,
            json!({ "subject": "Chairs", "lines": ["Dear Bob,", "", "hello."], "from": "sales@example.com" }),
            "Dear Bob,",
        ),
        (
            Template::SenderCode,
            json!({ "org_name": "Acme", "code": "482913", "valid_minutes": 30 }),
            "valid for 30 minutes",
        ),
    ];
    assert_eq!(cases.len(), Template::WORDS.len());
    for (template, data, expected) in cases {
        let mail = desk.send(&Message::new("bob@example.org", template, data.clone())).await;
        assert!(mail.text.contains(expected), "{template:?}: {}", mail.text);
        assert!(mail.html.contains(expected), "{template:?}: {}", mail.html);
        if data["link"].is_string() {
            assert!(mail.text.lines().any(|line| line == LINK), "{template:?}");
            assert!(!mail.header("Subject").contains("http"), "{template:?}");
        }
        for name in data.as_object().unwrap().keys() {
            for wrong in [None, Some(Value::Null)] {
                let mut data = data.clone();
                data.as_object_mut().unwrap().remove(name);
                data.as_object_mut().unwrap().extend(wrong.map(|value| (name.clone(), value)));
                let error =
                    desk.mailer.send(&Message::new("bob@example.org", template, data)).await.unwrap_err();
                assert!(matches!(error, Error::Compose(_)), "{template:?} without {name}: {error:?}");
            }
        }
    }
}

fn comment() -> Value {
    json!({
        "org_name": "Acme", "by": "Ann", "kind": "lead", "title": "Big deal", "excerpt": "They like oak.", "link": LINK,
    })
}

fn digest() -> Value {
    let item = |text: &str| json!({ "text": text, "link": LINK, "at": "2026-11-21 18:45" });
    json!({ "org_name": "Acme", "name": "Bob", "count": 2, "items": [item("Ann mentioned you"), item("Big deal is due")] })
}

#[tokio::test]
async fn a_digest_lists_its_items_and_says_how_many_it_leaves_out() {
    let desk = Desk::new();
    let mail = desk.send(&Message::new("bob@example.org", Template::Digest, digest())).await;
    assert_eq!(mail.header("Subject"), "2 notifications from Acme");
    assert_eq!(mail.text.lines().filter(|line| *line == LINK).count(), 2, "{}", mail.text);
    assert_eq!(mail.html.matches("<li ").count(), 2, "{}", mail.html);
    assert!(!mail.text.contains("more in Amphora"), "{}", mail.text);
    let mut data = digest();
    data["count"] = json!(30);
    let mail = desk.send(&Message::new("bob@example.org", Template::Digest, data)).await;
    for part in [mail.text, mail.html] {
        assert!(part.contains("There are 28 more in Amphora."), "{part}");
    }
}

#[tokio::test]
async fn a_message_to_people_of_an_account_comes_from_its_sender_and_is_text_only() {
    let lines = json!(["Dear <b>Bob</b>,", "hello."]);
    let data = json!({ "subject": "Chairs", "lines": lines, "from": "\"Sales\" <sales@acme.example>" });
    let mail = Desk::new().send(&Message::new("bob@example.org", Template::AccountMessage, data)).await;
    assert!(mail.header("From").contains("sales@acme.example"), "{:?}", mail.headers);
    assert!(
        mail.text.contains("Dear <b>Bob</b>,") && !mail.html.contains("<b>"),
        "{} {}",
        mail.text,
        mail.html
    );
}

#[tokio::test]
async fn a_code_stands_in_no_subject() {
    let data = json!({ "code": "482913", "valid_minutes": 10 });
    let mail = Desk::new().send(&Message::new("bob@example.org", Template::SignInCode, data)).await;
    assert!(!mail.headers.iter().any(|line| line.contains("482913")), "{:?}", mail.headers);
    assert!(mail.text.lines().any(|line| line == "482913"), "{}", mail.text);
}

#[tokio::test]
async fn whatever_people_write_is_escaped_in_a_comment_and_a_digest() {
    let hostile = "</blockquote><img src=x onerror=\"alert(1)\">\r\nBcc: eve@example.net";
    let mut said = comment();
    for name in ["by", "title", "excerpt"] {
        said[name] = json!(hostile);
    }
    let mut summed = digest();
    summed["items"][0]["text"] = json!(hostile);
    let cases = [(Template::Mentioned, &said), (Template::Commented, &said), (Template::Digest, &summed)];
    for (template, data) in cases {
        let mail = Desk::new().send(&Message::new("bob@example.org", template, data.clone())).await;
        assert!(!mail.html.contains("<img"), "{template}: {}", mail.html);
        assert!(!mail.text.lines().any(|line| line.starts_with("Bcc")), "{template}: {}", mail.text);
        assert!(!mail.headers.iter().any(|line| line.starts_with("Bcc")), "{template}: {:?}", mail.headers);
    }
}

#[tokio::test]
async fn values_are_escaped_in_html_only() {
    let mail = Desk::new().send(&invitation_with("org_name", "<script>alert('&')</script>")).await;
    assert!(
        mail.html.contains("&lt;script&gt;alert(&#x27;&amp;&#x27;)&lt;&#x2f;script&gt;"),
        "{}",
        mail.html
    );
    assert!(!mail.html.contains("<script"));
    assert!(mail.text.contains("<script>alert('&')</script>"));
    let mail = Desk::new().send(&invitation_with("link", "https://x.example/\" onclick=\"alert(1)")).await;
    assert!(!mail.html.contains("onclick=\""), "{}", mail.html);
}

#[tokio::test]
async fn values_start_neither_headers_nor_lines() {
    for line_break in ["\r\n", "\n", "\r"] {
        let name = format!("Acme{line_break}Bcc: eve@example.net{line_break}{line_break}Click here");
        let mail = Desk::new().send(&invitation_with("org_name", &name)).await;
        let words: Vec<_> = mail.header("Subject").split_whitespace().collect();
        assert_eq!(words.join(" "), "Ann invites you to Acme Bcc: eve@example.net Click here");
        assert!(!mail.headers.iter().any(|line| line.starts_with("Bcc")), "{:?}", mail.headers);
        assert!(
            !mail.text.lines().any(|line| line.starts_with("Bcc") || line.starts_with("Click")),
            "{}",
            mail.text
        );
    }
}

#[tokio::test]
async fn a_recipient_is_one_bare_address() {
    let desk = Desk::new();
    for to in [
        "",
        "bob",
        "bob@",
        "a@example.org, b@example.org",
        "Bob <bob@example.org>",
        "bob@example.org\nBcc: eve@x.net",
    ] {
        let error = desk.mailer.send(&Message { to: to.to_owned(), ..invitation() }).await.unwrap_err();
        assert!(matches!(error, Error::Compose(_)), "{to:?}: {error:?}");
    }
    assert!(desk.files().is_empty());
}

#[tokio::test]
async fn a_server_receives_the_mail() {
    let mut server = SmtpServer::accepting().await;
    let mailer = smtp(format!("smtp://{}", server.address));
    let message = invitation_with("org_name", "Čajovna");
    for _ in 0..2 {
        let sent = mailer.send(&message).await.unwrap();
        assert_eq!(sent.subject, "Ann invites you to Čajovna");
        assert_eq!(sent.message_id, format!("<{}@example.com>", message.id));
        let received = server.received.recv().await.unwrap();
        assert_eq!(received.envelope, ["MAIL FROM:<crm@example.com>", "RCPT TO:<bob@example.org>"]);
        assert!(received.content.is_ascii());
        let mail = Mail::parse(&received.content.replace("\r\n", "\n"));
        assert_eq!(mail.header("Message-ID"), format!("<{}@example.com>", message.id));
        let text = mail.text.replace("=\n", "").replace("=3D", "=");
        assert!(text.lines().any(|line| line == LINK), "{text}");
        assert!(text.contains("=C4=8Cajovna"), "{text}");
    }
}

#[tokio::test]
async fn an_error_tells_whether_the_server_has_the_mail() {
    type Judge = fn(&Error) -> bool;
    let refused = |error: &Error| matches!(error, Error::Refused(_));
    let temporary = |error: &Error| matches!(error, Error::Temporary(_));
    let uncertain = |error: &Error| matches!(error, Error::Uncertain(_));
    let cases: [(_, _, Judge); 13] = [
        ("RCPT", "550 no such user", refused),
        ("MAIL", "553 not from you", refused),
        ("DATA", "554 spam", refused),
        (".", "554 spam", refused),
        ("RCPT", "450 try later", temporary),
        ("DATA", "421 shutting down", temporary),
        (".", "452 disk full", temporary),
        ("MAIL", "530 log in first", temporary),
        // Of the connection that is tried first.
        ("AUTH", "535 wrong password", temporary),
        ("EHLO", "554 not to you", temporary),
        ("EHLO", HANG_UP, temporary),
        ("NOOP", HANG_UP, temporary),
        // The server had it all and said nothing more.
        (".", HANG_UP, uncertain),
    ];
    for (command, reply, is_expected) in cases {
        let server = SmtpServer::start([(command, reply)]).await;
        let error =
            smtp(format!("smtp://ann:secret@{}", server.address)).send(&invitation()).await.unwrap_err();
        assert!(is_expected(&error), "{command} {reply}: {error:?}");
        assert!(reply == HANG_UP || !error.to_string().contains(reply), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_is_away_has_nothing() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let error = smtp(format!("smtp://{address}")).send(&invitation()).await.unwrap_err();
    assert!(matches!(error, Error::Temporary(_)), "{error:?}");
}

#[tokio::test]
async fn a_conversation_that_nobody_waits_for_does_not_mix_with_the_next() {
    let mut server = SmtpServer::start([(".", SLOWLY), (".", "554 spam")]).await;
    let mailer = server.mailer();
    let given_up = invitation();
    tokio::select! {
        biased;
        sent = mailer.send(&given_up) => panic!("{sent:?}"),
        _ = server.received.recv() => {}
    }
    // The answer to the first mail, which is good, comes while the second is under way.
    let error = mailer.send(&invitation()).await.unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error:?}");
}

#[tokio::test]
async fn a_server_without_tls_gets_nothing_if_tls_is_required() {
    let mut server = SmtpServer::accepting().await;
    let error =
        smtp(format!("smtp://{}?tls=required", server.address)).send(&invitation()).await.unwrap_err();
    assert!(matches!(error, Error::Temporary(_)), "{error:?}");
    assert!(server.received.try_recv().is_err());
}

#[tokio::test]
async fn descriptions_hold_no_password() {
    for (url, expected) in [
        ("smtp://localhost:2525", "smtp localhost:2525"),
        ("smtp://ann:p%40ss@mail.example.com:587?tls=required", "smtp mail.example.com:587"),
        ("smtps://ann:p@ss@mail.example.com/crm.example.com", "smtp mail.example.com"),
    ] {
        assert_eq!(smtp(url.to_owned()).describe(), expected);
    }
    let desk = Desk::new();
    assert_eq!(desk.mailer.describe(), format!("files under {}", desk.mail_dir().display()));
}

#[tokio::test]
async fn wrong_settings_are_told_at_the_start_without_the_password() {
    let setup_error = |transport: &Transport, from: &str| match Mailer::new(transport, from) {
        Err(Error::Setup(reason)) => reason,
        other => panic!("{:?}", other.map(|mailer| mailer.describe())),
    };
    for url in [
        "",
        "localhost:25",
        "http://ann:secret@localhost",
        "smtp://ann:secret@localhost?tls=maybe",
        "smtp://",
    ] {
        let reason = setup_error(&Transport::Smtp { url: url.to_owned() }, "crm@example.com");
        assert!(!reason.contains("secret"), "{reason}");
    }
    let files = Transport::Files { dir: TempDir::new().unwrap().path().join("mail") };
    assert!(setup_error(&files, "not an address").contains("not an address"));
    let blocked = Transport::Files { dir: PathBuf::from("/dev/null/mail") };
    assert!(setup_error(&blocked, "crm@example.com").contains("/dev/null/mail"));
}
