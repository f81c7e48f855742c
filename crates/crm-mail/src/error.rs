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
    #[error("the mail server refused the mail")]
    Refused(#[source] smtp::Error),
    /// The message may go through later.
    #[error("the mail cannot be sent now")]
    Temporary(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// Whether sending the same message again is pointless.
    pub fn is_permanent(&self) -> bool {
        !matches!(self, Self::Temporary(_))
    }
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

impl From<smtp::Error> for Error {
    fn from(error: smtp::Error) -> Self {
        // Refused credentials are a fault of the settings, not of the message.
        let is_about_login =
            error.status().is_some_and(|code| matches!(u16::from(code), 530 | 534 | 535 | 538));
        if error.is_permanent() && !is_about_login {
            Self::Refused(error)
        } else {
            Self::Temporary(error.into())
        }
    }
}
