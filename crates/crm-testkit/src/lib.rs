//! A PostgreSQL server and databases for tests, with nothing to set up.
//!
//! Every test process has a private server of its own, kept between runs so that it starts in a tenth of a second. Most tests
//! share one database of the process, [`shared_db`], and are kept apart by an organization each; one that looks at the whole
//! database, changes its schema or moves the clock takes a [`fresh_database`].
//!
//! ```text
//! <target>/crm-test/pg-0/        the server of the first test process, pg-1/ of a second one at the same time
//! <target>/crm-test/pg-0.lock    held by the process that uses it
//! ```

#![expect(clippy::expect_used, clippy::panic, reason = "a test without its database fails, with the cause")]

mod database;
mod server;
mod slot;
mod tenants;

pub use database::{Database, fresh_database, shared_db};
pub use tenants::{member, org};
