//! Jobs against a real server: what is put in, whose turn it is, and what becomes of a job when its worker or the database goes away.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod bench;
mod crashes;
mod failures;
mod puts;
mod schedules;
mod support;
mod turns;
