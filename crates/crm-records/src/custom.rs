//! The fields that an organization adds to its records: what a value must be, where it is kept, how lists are filtered by it.
//!
//! A module joins with its word in [`CustomTarget::records`], a column `custom_fields jsonb NOT NULL DEFAULT '{}'`, and three calls:
//! [`CustomValues::of`] to select it, [`CustomChange::settle`] for what a body says, [`Filtered::store`] once the row is written.

mod change;
mod definition;
mod index;
mod number;
mod target;
mod values;

pub use change::{CustomChange, Definitions, Filtered};
pub use definition::{Choice, Choices, FieldType};
pub use index::{fill, forget};
pub use target::{CustomTarget, lock};
pub use values::{CustomBody, CustomValues};

pub(crate) use definition::{Definition, filters};
pub(crate) use number::rank_of;
pub(crate) use values::by_key;

/// The field of a record that holds them all, and the column.
pub(crate) const CUSTOM_FIELDS: &str = "custom_fields";

/// What the name of a filter by one of them begins with.
pub(crate) const PREFIX: &str = "cf_";

/// How many active ones a module may have.
pub const MAX_ACTIVE: usize = 100;
