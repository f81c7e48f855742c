//! Opportunities: deals on their way.
//!
//! A deal stands in a stage, which says how likely it is, how long it may take, and what a closed one must have: one rule
//! (`stage.rs`) for every way in which a deal comes into a stage.

pub mod aging;
pub mod board;
pub mod goals;
mod hundredths;
pub mod lines;
mod many;
mod model;
pub mod reminders;
mod service;
mod stage;
pub mod sums;

pub use hundredths::{Hundredths, Written};
pub use model::{
    AmountSource, DealSource, Kept, OPPORTUNITIES, Opportunity, OpportunityFields, OpportunityType,
};
pub use service::{FILTERS, Opportunities, create, delete, describe, find, free_name, list, update};
pub use stage::Stage;

/// The account of opportunities: for a merge of accounts.
pub const ACCOUNT_OF_A_DEAL: crm_records::merge::Pointer = crm_records::merge::Pointer {
    table: "opportunities",
    column: "account_id",
    key: "id",
    kind: Some(OPPORTUNITIES.resource.kind),
    pairs: false,
};
