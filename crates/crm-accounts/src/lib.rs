//! Accounts: the companies that are dealt with, their people, and what their deals come to.

mod many;
mod merge;
pub mod messages;
mod model;
mod rollups;
mod service;

pub use model::{ACCOUNTS, Account, AccountFields};
pub use rollups::{Amount, Rollups, rollups};
pub use service::{Accounts, create, delete, describe, find, list, update};
