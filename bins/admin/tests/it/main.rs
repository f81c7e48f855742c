//! The commands as an operator runs them: by their output, their exit status and what they leave in the database.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod audit;
mod createsuperuser;
mod doctor;
mod jobs;
mod mail;
mod manage_rls;
mod migrate;
mod schema;
mod search;
mod seed;
mod seeded;
mod support;
mod transfer;
