use crm_core::{Result, TenantTx};
use crm_records::{Described, Target};
use futures_util::future::LocalBoxFuture;
use uuid::Uuid;

/// At most so many records of a kind behind an id, by id, each with how it is found; locked against changes until the transaction ends.
pub type Describe = for<'t> fn(
    t: &'t mut TenantTx,
    after: Option<Uuid>,
    limit: i64,
) -> LocalBoxFuture<'t, Result<Vec<(Uuid, Described)>>>;

/// A kind of record that is found by searching: what its module contributes.
#[derive(Debug, Clone, Copy)]
pub struct Searchable {
    /// How it is listed, and who may see it.
    pub target: Target,
    /// How its records are found.
    pub describe: Describe,
}

impl Searchable {
    /// The word for it.
    pub const fn kind(&self) -> &'static str {
        self.target.resource.kind
    }
}
