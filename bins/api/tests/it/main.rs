//! The API as its users meet it, refusals as much as successes.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected fails"
)]

mod account_mail;
mod accounts;
mod app;
mod audit;
mod bulk;
mod changes;
mod contacts;
mod conversion;
mod custom_fields;
mod dashboard;
mod deal_board;
mod deal_goals;
mod deal_lines;
mod documents;
mod exports;
mod files;
mod import_jobs;
mod import_rules;
mod import_undo;
mod imports;
mod isolation;
mod leads;
mod limits;
mod lists;
mod mail;
mod merges;
mod notifications;
mod opportunities;
mod people;
mod permissions;
mod pipelines;
mod products;
mod retries;
mod sales;
mod search;
mod shared_documents;
mod sign_in;
mod tags;
mod teams;
mod tokens;
mod web_forms;
mod webhooks;
mod wire;
