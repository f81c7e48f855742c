//! Identity against a real database, as the application role.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod access_tokens;
mod accounts;
mod audit;
mod callers;
mod invitations;
mod members;
mod oidc;
mod orgs;
mod platform;
mod profiles;
mod roles;
mod sessions;
mod sign_in_mail;
mod support;
mod throttles;
mod two_factor;
