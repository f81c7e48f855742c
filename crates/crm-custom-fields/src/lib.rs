//! The definitions of the fields that an organization adds to its records: what they are called, what their values must be.
//!
//! The values travel with the records themselves: see `crm_records::custom`. A definition is never deleted; deactivated, it hides
//! its values, and brings them back when it is activated again.

mod backfill;
mod missing;
mod model;
mod service;

pub use backfill::{BACKFILL, Backfill, backfill};
pub use model::{CUSTOM_FIELDS, CustomField, CustomFieldFields};
pub use service::{create, deactivate, find, list, update};
