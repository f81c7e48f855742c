use chrono::{DateTime, Utc};
use crm_core::{MemberId, OrgId, TenantTx};
use diesel::Queryable;
use serde::Serialize;
use uuid::Uuid;

/// What every record begins with.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Serialize, utoipa::ToSchema)]
pub struct Base {
    /// The organization it belongs to.
    pub org_id: OrgId,
    /// Its id, a UUIDv7.
    pub id: Uuid,
    /// Counts its changes; the value of its `ETag`.
    pub version: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// Who made it.
    pub created_by: Option<MemberId>,
    /// Who changed it last.
    pub updated_by: Option<MemberId>,
}

impl Base {
    /// The base of a record about to be made in this transaction.
    pub fn new(t: &TenantTx) -> Self {
        let now = t.now();
        Self {
            org_id: t.org(),
            id: Uuid::now_v7(),
            version: 1,
            created_at: now,
            updated_at: now,
            created_by: t.actor(),
            updated_by: t.actor(),
        }
    }

    /// The base after a change in this transaction.
    pub fn next(&self, t: &TenantTx) -> Self {
        Self { version: self.version + 1, updated_at: t.now(), updated_by: t.actor(), ..self.clone() }
    }
}

/// The base's columns of a table, to select into a [`Base`].
#[macro_export]
macro_rules! base_columns {
    ($table:ident) => {
        (
            $table::org_id,
            $table::id,
            $table::version,
            $table::created_at,
            $table::updated_at,
            $table::created_by,
            $table::updated_by,
        )
    };
}

/// The base's columns of a table with the values of a [`Base`], to insert.
#[macro_export]
macro_rules! base_values {
    ($table:ident, $base:expr) => {
        (
            $table::org_id.eq($base.org_id),
            $table::id.eq($base.id),
            $table::version.eq($base.version),
            $table::created_at.eq($base.created_at),
            $table::updated_at.eq($base.updated_at),
            $table::created_by.eq($base.created_by),
            $table::updated_by.eq($base.updated_by),
        )
    };
}

/// The columns of a change with the values of a [`Base`], to update.
#[macro_export]
macro_rules! base_changes {
    ($table:ident, $base:expr) => {
        (
            $table::version.eq($base.version),
            $table::updated_at.eq($base.updated_at),
            $table::updated_by.eq($base.updated_by),
        )
    };
}
