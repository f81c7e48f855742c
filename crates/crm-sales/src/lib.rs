//! What goes across leads, accounts, contacts and opportunities: the conversion of a lead into the other three, and its undoing.
//!
//! A lead is converted by [`convert`], and by whatever makes its status `converted`: a creation, a change, a move on a board. All of them
//! come to the same function, so [`Leads`] takes the place of the module of crm-leads wherever records are written.

mod carry;
mod convert;
mod leads;
mod model;
mod parts;
mod unconvert;

pub use convert::{convert, find_conversion};
pub use leads::{Leads, create, move_card, update};
pub use model::{Conversion, ConversionRequest, Wish};
pub use unconvert::unconvert;
