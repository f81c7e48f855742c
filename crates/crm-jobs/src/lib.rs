//! Work after the commit: written in the transaction of the change that causes it, so it exists exactly when the change does.
//!
//! [`enqueue`] and [`NewJob`] put a [`Job`] in; [`Worker::run`] hands jobs to a handler, taking turns between organizations, and tries
//! those again that fail. A handler whose effects are in the database does them in [`Job::inside`]: exactly once. Whatever leaves the
//! database is done at least once, and the job's id stays the same, so that the other side can tell a repetition.
//!
//! A job belongs to the organization of its transaction. One whose kind begins with `platform.` belongs to none; any other is
//! refused outside an organization.

mod backlog;
mod job;
mod new_job;
mod schedule;
mod sql;
mod worker;

pub use backlog::{Backlog, backlog, watch_backlog};
pub use job::{Failure, Job, System};
pub use new_job::{NewJob, enqueue};
pub use schedule::Schedule;
pub use worker::{ATTEMPTS, Worker};

/// What is signalled when there are new jobs.
const CHANNEL: &str = "crm_jobs";

/// What the kinds of jobs outside every organization begin with.
const PLATFORM: &str = "platform.";
