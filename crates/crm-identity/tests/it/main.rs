//! Identity against a real database, as the application role.

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
