//! Files on any kind of record. Their bytes lie in the storage, written before the row and removed after the row's commit.

use chrono::{DateTime, Utc};
use crm_access::Require;
use crm_core::{Code, Error, MemberId, OrgId, Result, Scope, TenantTx};
use crm_schema::{attachments, documents, records};
use crm_storage::{Key, Stored};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::Target;
use crate::list::{Field, Kind, Page, Params, Resource, Shaped};
use crate::log::logged;
use crate::{sources, usage};

/// The kind of the job that removes files from the storage; its payload is [`DeletedFiles`].
pub const DELETE_FILES: &str = "delete_files";

/// Files whose rows are gone.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeletedFiles {
    /// The attachments' ids.
    pub ids: Vec<Uuid>,
}

/// Attachments as a list.
pub const ATTACHMENTS: Resource = Resource {
    kind: "attachment",
    table: "attachments",
    fields: &[
        Field::new("file_name", Kind::Text).ordered().required(),
        Field::new("content_type", Kind::Text).required(),
        Field::new("size_bytes", Kind::BigInt).ordered().required(),
    ],
    searchable: false,
    mutable: false,
    neighbours: None,
};

/// A file on a record.
#[derive(Debug, Clone, Queryable, Selectable, Insertable, Serialize, utoipa::ToSchema)]
#[diesel(table_name = attachments)]
pub struct Attachment {
    /// The organization it belongs to.
    pub org_id: OrgId,
    /// Its id.
    pub id: Uuid,
    /// The record it hangs on.
    pub record_id: Uuid,
    /// When it was added.
    pub created_at: DateTime<Utc>,
    /// Who added it.
    pub created_by: Option<MemberId>,
    /// Its name, without any path.
    pub file_name: String,
    /// Its media type, found from its bytes or its name.
    pub content_type: String,
    /// Its size in bytes.
    pub size_bytes: i64,
    /// The SHA-256 digest of its bytes, in hexadecimal.
    pub sha256: String,
}

impl Attachment {
    /// Where its bytes lie.
    pub fn key(&self) -> Key {
        Key::new(self.org_id.0, self.id)
    }
}

/// Lists the files of a record, newest first.
///
/// # Errors
/// `NotFound` for a record that the caller can't see; 400 for parameters.
pub async fn list(
    t: &mut TenantTx,
    target: &Target,
    record: Uuid,
    params: &Params,
) -> Result<Page<Shaped<Attachment>>> {
    target.check_view(t, record).await?;
    let mut selection = ATTACHMENTS.select(params, t.caller(), Scope::All)?;
    selection.and(ATTACHMENTS.among("record_id", sources::of(t, record).await?));
    let page = selection
        .run(t, async |t, f| {
            let query = attachments::table
                .filter(f.filter)
                .order_by(f.slice)
                .select((Attachment::as_select(), selection.keys()));
            Ok(query.load(t.conn()?).await?)
        })
        .await?;
    selection.shape.page(t, page).await
}

/// Adds a file, whose bytes are stored already, to a record that the caller may look at.
///
/// # Errors
/// `NotFound` for a record that the caller can't see; `QuotaExceeded`.
pub async fn create(
    t: &mut TenantTx,
    target: &Target,
    record: Uuid,
    id: Uuid,
    stored: Stored,
    quota_bytes: Option<i64>,
) -> Result<Attachment> {
    target.hold(t, record).await?;
    add(t, target.resource.kind, record, id, stored, quota_bytes).await
}

/// The same for a module that judges by itself who may add a file to a record of its kind.
///
/// # Errors
/// `QuotaExceeded`.
pub async fn add(
    t: &mut TenantTx,
    kind: &str,
    record: Uuid,
    id: Uuid,
    stored: Stored,
    quota_bytes: Option<i64>,
) -> Result<Attachment> {
    let attachment = Attachment {
        org_id: t.org(),
        id,
        record_id: record,
        created_at: t.now(),
        created_by: t.actor(),
        file_name: stored.file_name,
        content_type: stored.content_type,
        size_bytes: stored.size_bytes,
        sha256: stored.sha256,
    };
    usage::count_in(t, attachment.size_bytes, quota_bytes).await?;
    diesel::insert_into(attachments::table).values(&attachment).execute(t.conn()?).await?;
    log(t, kind, record, "file_added", json!([null, attachment.file_name])).await?;
    Ok(attachment)
}

/// The file, for whoever may look at the record it hangs on, one of `targets`, or at one where it is shown too.
///
/// # Errors
/// `NotFound` for a file that is not there or on a record that the caller can't see.
pub async fn find(t: &mut TenantTx, targets: &[Target], id: Uuid) -> Result<Attachment> {
    let (attachment, _) = load(t, id).await?;
    for (record, kind) in sources::shown_at(t, attachment.record_id).await? {
        let Some(target) = targets.iter().find(|target| target.resource.kind == kind) else { continue };
        match target.check_view(t, record).await {
            Ok(()) => return Ok(attachment),
            // Without any permission for the module, its files are not there either.
            Err(Error::Forbidden(_) | Error::NotFound | Error::Merged { .. }) => {}
            Err(other) => return Err(other),
        }
    }
    Err(Error::NotFound)
}

/// Deletes a file: the right of whoever added it, and of whoever may change every record of its kind.
///
/// # Errors
/// `NotFound` as for [`find`] and for a file of another kind of record; `Forbidden` for somebody else's; `InUse` for the one that a
/// document is.
pub async fn delete(t: &mut TenantTx, target: &Target, id: Uuid) -> Result<()> {
    let (attachment, kind) = load(t, id).await?;
    if kind != target.resource.kind {
        return Err(Error::NotFound);
    }
    target.check_view(t, attachment.record_id).await?;
    let own = attachment.created_by.is_some() && attachment.created_by == t.actor();
    if !own && t.require(target.change)? == Scope::Own {
        return Err(Error::Forbidden("only whoever added a file or an administrator may delete it".into()));
    }
    let of_document = documents::table
        .filter(documents::org_id.eq(attachment.org_id).and(documents::id.eq(attachment.record_id)))
        .filter(documents::file_id.eq(id));
    if of_document.select(documents::id).for_update().first::<Uuid>(t.conn()?).await.optional()?.is_some() {
        let message = "this is the document itself: replace its file or delete the document";
        return Err(Error::Refused(Code::InUse, message.into()));
    }
    usage::count_out(t, attachment.size_bytes, 1).await?;
    let this =
        attachments::table.filter(attachments::org_id.eq(attachment.org_id).and(attachments::id.eq(id)));
    if diesel::delete(this).execute(t.conn()?).await? == 0 {
        return Err(Error::NotFound);
    }
    crm_jobs::enqueue(t, DELETE_FILES, &DeletedFiles { ids: vec![id] }).await?;
    log(t, target.resource.kind, attachment.record_id, "file_deleted", json!([attachment.file_name, null]))
        .await
}

/// Has the files of a record about to be deleted removed after the commit; none can be added to it any more.
pub(crate) async fn forget_files(t: &mut TenantTx, record: Uuid) -> Result<()> {
    usage::lock(t).await?;
    let files: Vec<(Uuid, i64)> = attachments::table
        .filter(attachments::org_id.eq(t.org()).and(attachments::record_id.eq(record)))
        .select((attachments::id, attachments::size_bytes))
        .load(t.conn()?)
        .await?;
    if files.is_empty() {
        return Ok(());
    }
    let (ids, sizes): (Vec<_>, Vec<_>) = files.into_iter().unzip();
    usage::count_out(t, sizes.iter().sum(), i64::try_from(ids.len()).unwrap_or(i64::MAX)).await?;
    crm_jobs::enqueue(t, DELETE_FILES, &DeletedFiles { ids }).await
}

async fn load(t: &mut TenantTx, id: Uuid) -> Result<(Attachment, String)> {
    Ok(attachments::table
        .inner_join(
            records::table
                .on(records::org_id.eq(attachments::org_id).and(records::id.eq(attachments::record_id))),
        )
        .filter(attachments::org_id.eq(t.org()).and(attachments::id.eq(id)))
        .select((Attachment::as_select(), records::kind))
        .first(t.conn()?)
        .await?)
}

async fn log(
    t: &mut TenantTx,
    kind: &str,
    record: Uuid,
    action: &str,
    file: serde_json::Value,
) -> Result<()> {
    logged(t, kind, record, None, action, [("file".to_owned(), file)].into_iter().collect(), None).await
}
