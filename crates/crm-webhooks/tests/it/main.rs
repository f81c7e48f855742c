//! The feed and webhooks as another program uses them, on a real database as the application role.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that meets the unexpected fails"
)]

mod delivering;
mod feed;
mod managing;
mod network;
mod support;
