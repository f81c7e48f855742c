//! Mail to single recipients, composed from built-in templates: sent by SMTP, or by default written into a
//! directory where a developer can read it.
//!
//! [`enqueue`] writes a row for each [`Message`] and a job that sends it, both in the caller's transaction; [`deliver`] does the job.
//! A message holds only the recipient, the template and its values, and is composed when it is sent.

mod delivery;
mod error;
mod files;
mod mailer;
mod message;
pub mod messages;
pub mod outbox;
mod rows;
pub mod senders;
pub mod suppressions;
mod template;

pub use delivery::deliver;
pub use error::Error;
pub use mailer::{Mailer, Sent, Transport};
pub use message::Message;
pub use rows::{MailState, SEND, SEND_OUTSIDE, enqueue};
pub use template::Template;
