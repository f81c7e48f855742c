use lettre::transport::smtp;

/// Why a mail was not sent.
///
/// A server's reply, which the source holds, may quote the recipient's address: keep it out of the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The sender's address, the SMTP URL or the mail directory cannot be used.
    #[error("mail is not set up: {0}")]
    Setup(String),
    /// The message has no valid recipient, or lacks a value that its template needs.
    #[error("the mail cannot be composed: {0}")]
    Compose(String),
    /// The server refused the message for good.
    #[error("the mail server refused the mail{}", code(.0))]
    Refused(#[source] smtp::Error),
    /// The server has not taken the message and may do so later.
    #[error("the mail cannot be sent now")]
    Temporary(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The conversation with the server broke off: it may have taken the message or not.
    #[error("whether the mail was sent is uncertain")]
    Uncertain(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<minijinja::Error> for Error {
    fn from(error: minijinja::Error) -> Self {
        Self::Compose(error.to_string())
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Temporary(error.into())
    }
}

/// Of what the server said, the number alone.
fn code(error: &smtp::Error) -> String {
    error.status().map(|code| format!(" ({code})")).unwrap_or_default()
}

impl Error {
    /// Of a connection that was tried before the message: whatever is wrong, the server knows neither it nor its recipient.
    pub(crate) fn before_handover(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let error = error.into();
        tracing::warn!(%error, "the mail server can't be used");
        Self::Temporary(error)
    }

    /// Of handing the message over. Only what the server answered, or what was never written to it, is certain.
    pub(crate) fn of_handover(error: smtp::Error) -> Self {
        // Refused credentials are a fault of the settings, not of the message.
        let is_about_login =
            error.status().is_some_and(|code| matches!(u16::from(code), 530 | 534 | 535 | 538));
        if error.is_transient() || is_about_login {
            Self::Temporary(error.into())
        } else if error.is_permanent() || error.is_client() {
            Self::Refused(error)
        } else {
            Self::Uncertain(error.into())
        }
    }
}
