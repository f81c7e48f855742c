//! Mail to single recipients, composed from built-in templates: sent by SMTP, or by default written into a
//! directory where a developer can read it.
//!
//! A [`Message`] holds only the recipient, the template and its values, so that it can wait in an outbox and
//! be composed when it is sent.

mod error;
mod files;
mod mailer;
mod message;
mod template;

#[cfg(test)]
mod tests;

pub use error::Error;
pub use mailer::{Mailer, Transport};
pub use message::Message;
pub use template::Template;
