//! The HTTP face of Amphora: settings, wiring, routes and their OpenAPI document. No business rule lives here.
//!
//! [`routes`] declares every operation once, with its permission and its documentation; [`server`] serves them;
//! [`startup`] brings up what they stand on.

pub mod extract;
pub mod idempotency;
pub mod jobs;
pub mod limits;
pub mod middleware;
pub mod openapi;
pub mod operation;
pub mod problem;
pub mod routes;
pub mod server;
pub mod settings;
pub mod startup;
pub mod telemetry;

/// Gives memory back: a password hash takes 19 MiB, which the system's allocator would keep for every thread that made one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
