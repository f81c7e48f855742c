//! How other programs learn of changes: a feed that they read, and webhooks that tell them.
//!
//! Both stand on the change log. [`feed`] hands out every change once, in an order in which none comes late. [`Webhooks`] sends
//! each to whoever wants it, signed as <https://www.standardwebhooks.com> says: a change puts in a job in its own transaction, the
//! job a delivery for every webhook that asks for the event, and each delivery is tried for three days.

mod addresses;
mod attempt;
mod deliveries;
mod events;
pub mod feed;
mod kinds;
mod model;
mod sender;
mod service;

pub use addresses::SystemResolver;
pub use attempt::{Delivery, SCHEDULES, WebhookAttempt};
pub use deliveries::{DELIVERIES, DeliveryState, purge};
pub use model::{
    DisabledReason, NewWebhook, RotatedSecret, WEBHOOKS, Webhook, WebhookFields, WebhookSettings, Webhooks,
};
