//! Records by the thousand: many operations in one request, a list as a file, a file as records.
//!
//! Everything goes through [`crm_records::Module`], so a module that is declared has all of it.

mod bulk;
mod cell;
mod columns;
mod export;
mod sheet;

pub use bulk::{Bulk, BulkAnswer, BulkItem, BulkOperation, BulkProblem, MAX_OPERATIONS, bulk};
pub use cell::{Cell, guard, join, split, unguard};
pub use columns::{Column, Holds, columns_of, field_names};
pub use export::{Export, Format, csv_chunk};
pub use sheet::Sheet;
