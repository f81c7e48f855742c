//! Leads: people or companies who may buy, before they are an account.
//!
//! A lead is worked by the members it is assigned to, carries comments, files, tags and a history like every record, and
//! leaves the working list when it is converted.

mod model;
mod service;

pub use crm_core::Industry;
pub use model::{LEADS, Lead, LeadFields, LeadRating, LeadSource, LeadStatus};
pub use service::{Leads, create, delete, describe, find, list, update};

#[cfg(doctest)]
#[doc = include_str!("../../../docs/embedding.md")]
struct Embedding;
