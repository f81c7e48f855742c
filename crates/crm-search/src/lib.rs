//! One search over every kind of record.
//!
//! What a record is called and the words that find it are kept by the change log, in the transaction of the change. [`search`] ranks
//! what contains every word of a question, kind by kind, and answers what the caller may see of it and nothing else: the condition is
//! that of each kind's list. [`rebuild`] makes the texts anew from the records.

mod question;
mod ranked;
mod rebuild;
mod searchable;

pub use question::{Found, Hit, Question, search};
pub use rebuild::{BATCH, Rebuilt, rebuild};
pub use searchable::{Describe, Searchable};
