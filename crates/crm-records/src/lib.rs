//! What every record has, once for all kinds: its base, comments, attachments, tags, assignees, change log and lists.

mod assigned;
pub mod attachments;
mod base;
pub mod comments;
mod edit;
pub mod history;
mod links;
pub mod list;
mod log;
pub mod tags;
mod target;

pub use assigned::{ASSIGNED, Assigned, tell_assignees};
pub use base::Base;
pub use edit::{Edit, Precondition, RecordInput};
pub use links::{LinkIds, LinkTable, Links, link_fields};
pub use log::{created, deleted, diff, updated};
pub use target::Target;
