//! What every part of Amphora stands on: the tenant transaction, typed ids, errors, paging and filters, money, time.
//!
//! Nothing here knows a domain. A domain crate receives a [`TenantTx`], asks its [`Caller`] what it may do, and queries
//! through [`TenantTx::conn`], the only way to a connection.

pub mod body;
mod caller;
mod choice;
mod clock;
mod db;
mod error;
mod ids;
mod industry;

pub mod migrate;
mod money;
pub mod rules;
mod seal;
mod signals;
pub mod tenancy;

pub use caller::{Caller, CallerSource, Grant, Grants, OrgInfo, Principal, Scope};
pub use clock::Clock;
pub use db::{Db, DbSettings, PlatformTx, TenantTx, Tx, tls_config};
pub use error::{Code, Error, FieldCode, FieldError, Result};
pub use ids::{MemberId, OrgId, RoleId, SessionId, TagId, TeamId, UserId, first_id_since};
pub use industry::Industry;
pub use money::{Decimal, Money};
pub use seal::Sealer;
pub use signals::Signal;

#[doc(hidden)]
pub mod export {
    //! What the macros of this crate name.
    pub use {diesel, serde, serde_json, utoipa, uuid};
}
