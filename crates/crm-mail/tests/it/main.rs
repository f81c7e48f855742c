//! Mail from the row to the server, against a real database and in a real SMTP conversation.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected fails"
)]

mod delivery;
mod mailer;
mod smtp;
mod suppressions;
mod tls;
