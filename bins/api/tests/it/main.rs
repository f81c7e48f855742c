//! The API as its users meet it, refusals as much as successes.

mod app;
mod documents;
mod files;
mod isolation;
mod leads;
mod lists;
mod permissions;
mod wire;
