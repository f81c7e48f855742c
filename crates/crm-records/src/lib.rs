//! What every record has, once for all kinds: its base, comments, attachments, tags, assignees, change log and lists.

mod assigned;
pub mod attachments;
mod base;
pub mod comments;
pub mod custom;
mod edit;
pub mod followers;
pub mod history;
mod links;
pub mod list;
mod log;
pub mod orphans;
pub mod tags;
mod target;
pub mod usage;

pub use assigned::{ASSIGNED, Assigned, tell_assignees};
pub use base::Base;
pub use edit::{Edit, Precondition, RecordInput};
pub use links::{LinkIds, LinkTable, Links, link_fields};
pub use log::{Described, created, deleted, diff, updated};
pub use target::Target;
