//! Identity against a real database, as the application role.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod accounts;
mod callers;
mod invitations;
mod members;
mod orgs;
mod platform;
mod profiles;
mod roles;
mod sessions;
mod support;
mod throttles;
