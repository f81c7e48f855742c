use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use chrono::Utc;
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor,
    message::{Body, Mailbox, MultiPart, SinglePart, header::ContentTransferEncoding},
    transport::smtp,
};
use minijinja::Environment;
use tokio::time::timeout;

use crate::{
    Error, Message, Template, files,
    template::{self, Rendered},
};

/// How long reaching the server may take, and then handing a message over: together less than a job may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(25);
const HANDOVER_LIMIT: Duration = Duration::from_secs(50);

/// Where mail goes.
#[derive(Clone)]
pub enum Transport {
    /// Each mail becomes an `.eml` file in a directory.
    Files {
        /// The directory, created if it is missing.
        dir: PathBuf,
    },
    /// A mail server.
    Smtp {
        /// `smtp://` or `smtps://` with user and password if needed; `?tls=required` asks for STARTTLS.
        url: String,
    },
}

/// Composes and sends messages. Make and drop it inside a Tokio runtime: its SMTP connections live there.
#[derive(Clone)]
pub struct Mailer {
    from: Mailbox,
    templates: Arc<Environment<'static>>,
    sink: Sink,
}

/// What a mail that was sent is known by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sent {
    /// Its subject.
    pub subject: String,
    /// Its Message-ID, which stays the same however often it is sent.
    pub message_id: String,
}

#[derive(Clone)]
enum Sink {
    Files(PathBuf),
    Smtp { transport: AsyncSmtpTransport<Tokio1Executor>, address: String },
}

impl Mailer {
    /// Sends over `transport` in the name of `from`, an address or `Name <address>`.
    ///
    /// # Errors
    /// [`Error::Setup`] if the address, the URL or the directory cannot be used.
    pub fn new(transport: &Transport, from: &str) -> Result<Self, Error> {
        let from = from.parse().map_err(|error| Error::Setup(format!("sender {from:?}: {error}")))?;
        let sink = match transport {
            Transport::Files { dir } => {
                files::create_dir(dir)
                    .map_err(|error| Error::Setup(format!("{}: {error}", dir.display())))?;
                Sink::Files(dir.clone())
            }
            Transport::Smtp { url } => {
                let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url)
                    .map_err(|error| Error::Setup(format!("SMTP URL: {error}")))?;
                Sink::Smtp { transport: builder.build(), address: without_secrets(url).to_owned() }
            }
        };
        Ok(Self { from, templates: Arc::new(template::environment()?), sink })
    }

    /// Where mail goes, fit to be shown.
    pub fn describe(&self) -> String {
        match &self.sink {
            Sink::Files(dir) => format!("files under {}", dir.display()),
            Sink::Smtp { address, .. } => format!("smtp {address}"),
        }
    }

    /// Composes and sends one message.
    ///
    /// # Errors
    /// Tells whether the server has taken it: no for [`Error::Temporary`] and [`Error::Refused`], perhaps for
    /// [`Error::Uncertain`].
    pub async fn send(&self, message: &Message) -> Result<Sent, Error> {
        let (mail, sent) = self.compose(message)?;
        let (id, template) = (message.id, message.template.as_str());
        match &self.sink {
            Sink::Files(dir) => {
                let name = file_name(message);
                // Bare line feeds, so that tools that search by line find links without a final `\r`.
                let text = String::from_utf8_lossy(&mail.formatted()).replace("\r\n", "\n");
                let dir = dir.clone();
                let written = tokio::task::spawn_blocking(move || files::write(&dir, &name, text.as_bytes()));
                let path = written.await.map_err(std::io::Error::from)??;
                tracing::info!(message_id = %id, template, path = %path.display(), "mail written");
            }
            Sink::Smtp { transport, .. } => {
                hand_over(transport, mail).await?;
                tracing::info!(message_id = %id, template, "mail sent");
            }
        }
        Ok(sent)
    }

    fn compose(&self, message: &Message) -> Result<(lettre::Message, Sent), Error> {
        let to: Address = message.to.parse().map_err(not_composed)?;
        let Rendered { subject, text, html } =
            template::render(&self.templates, message.template, &message.data)?;
        let encode: fn(String) -> Body = match self.sink {
            // As it is, however long the lines are: the file is there to be read.
            Sink::Files(_) => {
                |text| Body::dangerous_pre_encoded(text.into(), ContentTransferEncoding::EightBit)
            }
            Sink::Smtp { .. } => Body::new,
        };
        let message_id = format!("<{}@{}>", message.id, self.from.email.domain());
        // A sender that the organization has proved to be its own; everything else comes from this installation.
        let from = match message.template {
            Template::AccountMessage => {
                let from = message.data.get("from").and_then(serde_json::Value::as_str);
                from.ok_or_else(|| not_composed("no sender"))?.parse().map_err(not_composed)?
            }
            _ => self.from.clone(),
        };
        let mail = lettre::Message::builder()
            .message_id(Some(message_id.clone()))
            .from(from)
            .to(Mailbox::new(None, to))
            .subject(subject.clone())
            .multipart(
                MultiPart::alternative()
                    .singlepart(SinglePart::plain(encode(text)))
                    .singlepart(SinglePart::html(encode(html))),
            )
            .map_err(not_composed)?;
        Ok((mail, Sent { subject, message_id }))
    }
}

/// Tries the connection before the message is risked on it: what fails until then has certainly not sent it.
async fn hand_over(
    transport: &AsyncSmtpTransport<Tokio1Executor>,
    mail: lettre::Message,
) -> Result<(), Error> {
    let tried = transport.clone();
    match to_its_end(CONNECT_LIMIT, async move { tried.test_connection().await }).await {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => return Err(Error::before_handover("the mail server does not answer")),
        Ok(Err(error)) => return Err(Error::before_handover(error)),
        Err(late) => return Err(Error::before_handover(late)),
    }
    // Lets that connection go back to the pool, where sending finds it.
    tokio::task::yield_now().await;
    let transport = transport.clone();
    match to_its_end(HANDOVER_LIMIT, async move { transport.send(mail).await }).await {
        Ok(answered) => answered.map(drop).map_err(Error::of_handover),
        Err(late) => Err(Error::Uncertain(late.into())),
    }
}

/// Waits for a conversation with the server no longer than `limit`. It goes on by itself: the pool would lend a connection that was
/// left in the middle of one to the next mail, which would take the old answers for its own.
async fn to_its_end<T: Send + 'static>(
    limit: Duration,
    conversation: impl Future<Output = Result<T, smtp::Error>> + Send + 'static,
) -> Result<Result<T, smtp::Error>, std::io::Error> {
    Ok(timeout(limit, tokio::spawn(conversation)).await??)
}

fn not_composed(error: impl fmt::Display) -> Error {
    Error::Compose(error.to_string())
}

/// A name that sorts by time and tells nothing of the recipient.
fn file_name(message: &Message) -> String {
    let time = Utc::now().format("%Y%m%dT%H%M%S%.3fZ");
    let short_id = message.id.as_u128() as u32; // the random end of a version 7 UUID
    format!("{time}-{}-{short_id:08x}.eml", message.template.as_str())
}

/// The host and port of an URL.
fn without_secrets(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default()
}
