use std::{fmt, path::PathBuf, sync::Arc};

use chrono::Utc;
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor,
    message::{Body, Mailbox, MultiPart, SinglePart, header::ContentTransferEncoding},
};
use minijinja::Environment;

use crate::{
    Error, Message, files,
    template::{self, Rendered},
};

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
    /// See [`Error::is_permanent`] for whether to try again.
    pub async fn send(&self, message: &Message) -> Result<(), Error> {
        let mail = self.compose(message)?;
        let (message_id, template) = (message.id, message.template.name());
        match &self.sink {
            Sink::Files(dir) => {
                let name = file_name(message);
                // Bare line feeds, so that tools that search by line find links without a final `\r`.
                let text = String::from_utf8_lossy(&mail.formatted()).replace("\r\n", "\n");
                let dir = dir.clone();
                let written = tokio::task::spawn_blocking(move || files::write(&dir, &name, text.as_bytes()));
                let path = written.await.map_err(std::io::Error::from)??;
                tracing::info!(%message_id, template, path = %path.display(), "mail written");
            }
            Sink::Smtp { transport, .. } => {
                transport.send(mail).await?;
                tracing::info!(%message_id, template, "mail sent");
            }
        }
        Ok(())
    }

    fn compose(&self, message: &Message) -> Result<lettre::Message, Error> {
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
        lettre::Message::builder()
            .message_id(Some(format!("<{}@{}>", message.id, self.from.email.domain())))
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(subject)
            .multipart(
                MultiPart::alternative()
                    .singlepart(SinglePart::plain(encode(text)))
                    .singlepart(SinglePart::html(encode(html))),
            )
            .map_err(not_composed)
    }
}

fn not_composed(error: impl fmt::Display) -> Error {
    Error::Compose(error.to_string())
}

/// A name that sorts by time and tells nothing of the recipient.
fn file_name(message: &Message) -> String {
    let time = Utc::now().format("%Y%m%dT%H%M%S%.3fZ");
    let short_id = message.id.as_u128() as u32; // the random end of a version 7 UUID
    format!("{time}-{}-{short_id:08x}.eml", message.template.name())
}

/// The host and port of an URL.
fn without_secrets(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default()
}
