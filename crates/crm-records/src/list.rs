//! Lists, once for all modules: filters, ordering, cursors and search by a table of fields that each module declares.
//!
//! A module says which columns may be filtered and ordered by ([`Resource`]); [`Resource::select`] judges the query
//! string and [`Selection::run`] pages through whatever diesel query the module writes.

mod clause;
mod cursor;
mod field;
mod filter;
mod order;
mod own;
mod params;
mod related;
mod run;
mod select;
mod shape;

pub(crate) use clause::expression;
pub use clause::{Clause, Value, Where};
pub use field::{Field, Kind, Resource};
pub(crate) use filter::day;
pub use filter::start_of_day;
pub use order::{Slice, SortKeys};
pub use own::{Neighbours, OwnRecords};
pub use params::Params;
pub use related::{Rel, check_related, visible};
pub(crate) use run::Count;
pub use run::{Fetch, Page, SortValues};
pub(crate) use select::PAGE_WORDS;
pub use select::{More, Selection};
pub use shape::{Shape, Shaped};
