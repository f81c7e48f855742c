//! Records by the thousand: many operations in one request, a list as a file, a file as records.
//!
//! Everything goes through [`crm_records::Module`], so a module that is declared has all of it.

mod bulk;
mod cell;
mod columns;
mod convert;
mod export;
mod jobs;
mod judge;
mod mapping;
mod model;
mod names;
mod preview;
mod rows;
mod run;
mod sheet;
mod source;
mod table;
mod transferable;
mod undo;
mod write;

pub use bulk::{Bulk, BulkAnswer, BulkItem, BulkOperation, BulkProblem, BulkVerb, MAX_OPERATIONS, bulk};
pub use cell::{Cell, guard, join, split, unguard};
pub use columns::{Column, Holds, columns_of, field_names};
pub use convert::{DateFormat, DecimalMark, Habits};
pub use export::{Export, Format, csv_chunk};
pub use jobs::{END_STUCK, IMPORT, SCHEDULES, UNDO_IMPORT, Work, end_stuck};
pub use mapping::{MappedColumn, map_columns};
pub use model::{
    ADD_IMPORT, Duplicates, Examined, IMPORTS, Import, ImportFields, ImportMode, ImportOptions, ImportState,
    ask_to_undo, check_file, find, list, may_import, start,
};
pub use preview::{Preview, PreviewSummary, RowVerdict, examine, preview, understand};
pub use rows::Refused;
pub use run::{Progress, fetch, run};
pub use sheet::Sheet;
pub use source::{MAX_ROWS, Source};
pub use transferable::{Sink, Transferable};
pub use undo::undo;
