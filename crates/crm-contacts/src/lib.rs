//! Contacts: the people that are dealt with, and the accounts they belong to.

mod many;
mod merge;
mod model;
mod service;

pub use merge::PRIMARY_ACCOUNT;
pub use model::{CONTACTS, Contact, ContactFields};
pub use service::{Contacts, create, delete, describe, find, list, update};
