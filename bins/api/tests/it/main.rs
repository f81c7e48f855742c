//! The API as its users meet it, refusals as much as successes.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected fails"
)]

mod app;
mod documents;
mod files;
mod isolation;
mod leads;
mod lists;
mod permissions;
mod wire;
