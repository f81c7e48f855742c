//! What a member is told of what happens in the organization: assignments, mentions, comments on what they follow.
//!
//! A job tells it: [`Notifier`] finds who may still read the record, asks their [`Preferences`], and writes notifications and mails in
//! the transaction that finishes the job. [`feed`] is what a member reads of it, [`Live`] wakes whoever waits for more, and a digest sums
//! up what stayed unread.

mod delivery;
mod digest;
pub mod feed;
mod live;
mod model;
mod notifier;
pub mod preferences;
mod purge;

pub use digest::DIGEST;
pub use live::{Live, Waiting};
pub use model::{NOTIFICATIONS, Notification, Verb};
pub use notifier::{Notifier, SCHEDULES};
pub use preferences::{Channels, Digest, Preferences};
pub use purge::PURGE;

#[cfg(test)]
mod tests;
