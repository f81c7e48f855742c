//! What every record has, once for all kinds: its base, comments, attachments, tags, assignees, change log and lists.

mod assigned;
pub mod attachments;
pub mod attendees;
mod base;
pub mod board;
pub mod comments;
pub mod contacts;
pub mod counter;
pub mod custom;
pub mod duplicates;
mod edit;
pub mod followers;
pub mod history;
mod links;
pub mod list;
mod log;
mod many;
pub mod merge;
mod module;
pub mod orphans;
pub mod position;
pub mod reminders;
pub mod sources;
mod statement;
pub mod tags;
pub mod tally;
mod target;
mod told;
pub mod usage;
mod used;

pub use assigned::{ASSIGNED, Assigned, tell_assignees};
pub use base::Base;
pub use contacts::{contact_ids, contacts_field};
pub use edit::{Edit, Precondition, RecordInput};
pub use links::{ASSIGNEES, LinkIds, LinkTable, Links, TAGS, TEAMS, link_fields};
pub use log::{Described, Update, acted, created, deleted, diff, updated, updated_many};
pub use many::{Verdicts, created_many};
pub use module::{ALLOW_DUPLICATE, Module, allow_duplicate, moment};
pub use target::Target;
pub use told::{TOLD, Told, tell};
pub use used::{Kin, used};

#[doc(hidden)]
pub mod export {
    //! What the macros of this crate name.
    pub use crm_core::body::Object;
    pub use crm_core::{Result, TenantTx};
    pub use serde_json::Value;
    pub use uuid::Uuid;
}
