//! Who changed what of a record, when.

use chrono::{DateTime, Utc};
use crm_core::{MemberId, Result, TenantTx};
use crm_schema::changes;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Serialize;
use uuid::Uuid;

use crate::Target;
use crate::list::{Field, Kind, Page, Params, Resource, Shaped};

/// What was done to a record.
const ACTIONS: &[&str] = &[
    "created",
    "updated",
    "commented",
    "comment_edited",
    "comment_deleted",
    "file_added",
    "file_deleted",
    "converted",
    "unconverted",
    "merged",
    "unmerged",
    "reopened",
    "escalated",
    "closed_with_parent",
    "time_logged",
    "solution_linked",
    "solution_unlinked",
    "invited",
    "replied",
];

/// The history of a record as a list.
pub const HISTORY: Resource = Resource {
    kind: "change",
    table: "changes",
    fields: &[Field::new("action", Kind::Choice(ACTIONS)).required()],
    searchable: false,
    mutable: false,
    neighbours: None,
};

/// One entry of a record's history.
#[derive(Debug, Clone, Queryable, Selectable, Serialize, utoipa::ToSchema)]
#[diesel(table_name = changes)]
pub struct Change {
    /// The entry.
    pub id: Uuid,
    /// The record.
    pub record_id: Uuid,
    /// The record's version afterwards; null when the record itself did not change.
    pub version: Option<i64>,
    /// `created`, `updated`, `commented`, …
    pub action: String,
    /// Who did it; null for the program itself.
    pub created_by: Option<MemberId>,
    /// When.
    pub created_at: DateTime<Utc>,
    /// Field -> [old, new].
    #[schema(value_type = Object)]
    pub fields: serde_json::Value,
}

/// Lists the history of a record, newest first.
///
/// # Errors
/// `NotFound` for a record that the caller can't see; 400 for parameters.
pub async fn list(
    t: &mut TenantTx,
    target: &Target,
    record: Uuid,
    params: &Params,
) -> Result<Page<Shaped<Change>>> {
    target.check_view(t, record).await?;
    of(t, record, params).await
}

/// The same for what is no [`Target`], once it is found.
///
/// # Errors
/// 400 for parameters.
pub async fn of(t: &mut TenantTx, record: Uuid, params: &Params) -> Result<Page<Shaped<Change>>> {
    let mut selection = HISTORY.select(params, t.caller(), crm_core::Scope::All)?;
    selection.and(HISTORY.compare("record_id", "=", crate::list::Value::Uuid(record)));
    let page = selection
        .run(t, async |t, f| {
            let query = changes::table
                .filter(f.filter)
                .order_by(f.slice)
                .select((Change::as_select(), selection.keys()));
            Ok(query.load(t.conn()?).await?)
        })
        .await?;
    selection.shape.page(t, page).await
}
