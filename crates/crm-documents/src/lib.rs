//! Documents: files with a title that members share with others and with teams.
//!
//! A document's file is an attachment of its record, so that quota, download, sweep and deletion are those of every file; whoever it is
//! shared with is an assignee of the record, so that the one rule of visibility holds for it too.

mod model;
mod service;

pub use model::{DOCUMENTS, Document, DocumentFields, DocumentFile, DocumentStatus};
pub use service::{check_change, create, delete, describe, find, list, replace_file, update};
