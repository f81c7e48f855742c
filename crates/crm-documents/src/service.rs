use crm_access::Require;
use crm_core::{Error, MemberId, Result, Scope, TeamId, TenantTx};
use crm_records::list::{Page, Params, Shaped, SortValues, Where};
use crm_records::{
    Base, Described, Edit, Precondition, TEAMS, attachments as files, base_changes, base_columns,
    base_values, created, deleted, diff, tell_assignees, updated,
};
use crm_schema::{attachments, documents};
use crm_storage::Stored;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::model::{
    DOCUMENTS, Document, DocumentFields, DocumentFile, DocumentStatus, SHARED_TO, SHARES, described,
};

/// The kind of record and its module.
const DOCUMENT: (&str, &str) = (DOCUMENTS.resource.kind, "documents");
const ADD: &str = "documents.add_document";
const DELETE: &str = "documents.delete_document";

type Row = (Base, String, DocumentStatus, Vec<MemberId>, Vec<TeamId>, DocumentFile);
type ListRow = (Base, String, DocumentStatus, Vec<MemberId>, Vec<TeamId>, DocumentFile, SortValues);

fn document((base, title, status, shared_to, teams, file): Row) -> Document {
    Document { base, fields: DocumentFields { title, status, shared_to, teams }, file }
}

/// The documents, each with its file.
macro_rules! with_files {
    () => {
        documents::table.inner_join(
            attachments::table
                .on(attachments::org_id.eq(documents::org_id).and(attachments::id.eq(documents::file_id))),
        )
    };
}

/// What makes a document, to select into a [`Row`], and what is wanted beside it.
macro_rules! columns {
    ($($beside:expr)?) => {
        (
            base_columns!(documents),
            documents::title,
            documents::status,
            SHARES.0,
            SHARES.1,
            DocumentFile::as_select(),
            $($beside,)?
        )
    };
}

/// Lists the documents that the caller may read: those they made, and those that are shared with them or with a team of theirs.
///
/// # Errors
/// `Forbidden` without `documents.view_document`; 400 for parameters.
pub async fn list(t: &mut TenantTx, params: &Params) -> Result<Page<Shaped<Document>>> {
    let scope = t.require(DOCUMENTS.view)?;
    let selection = DOCUMENTS.resource.select(params, t.caller(), scope)?;
    let page = selection
        .run(t, async |t, f| {
            let rows: Vec<ListRow> = with_files!()
                .filter(f.filter)
                .order_by(f.slice)
                .select(columns!(selection.keys()))
                .load(t.conn()?)
                .await?;
            Ok(rows
                .into_iter()
                .map(|(base, title, status, shared_to, teams, file, keys)| {
                    (document((base, title, status, shared_to, teams, file)), keys)
                })
                .collect())
        })
        .await?;
    selection.shape.page(t, page).await
}

/// One document that the caller may read.
///
/// # Errors
/// `Forbidden` without `documents.view_document`; `NotFound`.
pub async fn find(t: &mut TenantTx, id: Uuid) -> Result<Document> {
    let scope = t.require(DOCUMENTS.view)?;
    let filter = DOCUMENTS.one(t, scope, id);
    load(t, filter).await
}

/// Adds a document whose file's bytes are stored already, under the id `file`.
///
/// # Errors
/// `Forbidden` without `documents.add_document`; `Duplicate` for a title that is there; `QuotaExceeded`; 422 for shares.
pub async fn create(
    t: &mut TenantTx,
    fields: DocumentFields,
    (file, stored): (Uuid, Stored),
    quota_bytes: Option<i64>,
) -> Result<Document> {
    t.require(ADD)?;
    let fields = fields.settled();
    let base = Base::new(t);
    created(t, DOCUMENT.0, &base, Some(&described(&fields.title, &stored.file_name))).await?;
    diesel::insert_into(documents::table)
        .values((
            base_values!(documents, base),
            documents::title.eq(&fields.title),
            documents::title_normalized.eq(fields.title.to_lowercase()),
            documents::status.eq(fields.status),
            documents::file_id.eq(file),
        ))
        .execute(t.conn()?)
        .await
        .map_err(title_taken)?;
    share(t, base.id, None, &fields).await?;
    let file = added(t, base.id, (file, stored), quota_bytes).await?;
    Ok(Document { base, fields, file })
}

/// Changes a document, all but its file. What the edit leaves as it is makes no new version.
///
/// # Errors
/// `NotFound`; `Forbidden` for whoever may only read it; `Stale`; `Duplicate`; 400 and 422 for the body.
pub async fn update(t: &mut TenantTx, id: Uuid, edit: Edit) -> Result<Document> {
    let old = locked(t, DOCUMENTS.change, id).await?;
    let fields = edit.fields::<DocumentFields, _>(&old, &old.base, Document::READ_ONLY)?.settled();
    if fields == old.fields {
        return Ok(old);
    }
    let new = Document { base: old.base.next(t), fields, file: old.file.clone() };
    diesel::update(documents::table.filter(documents::org_id.eq(t.org()).and(documents::id.eq(id))))
        .set((
            base_changes!(documents, new.base),
            documents::title.eq(&new.fields.title),
            documents::title_normalized.eq(new.fields.title.to_lowercase()),
            documents::status.eq(new.fields.status),
        ))
        .execute(t.conn()?)
        .await
        .map_err(title_taken)?;
    share(t, id, Some(&old.fields), &new.fields).await?;
    tell(t, &old, &new).await?;
    Ok(new)
}

/// Puts another file, whose bytes are stored already, in the place of the present one, which stays among the record's attachments.
///
/// # Errors
/// As [`check_change`]; `Stale`; `QuotaExceeded`.
pub async fn replace_file(
    t: &mut TenantTx,
    id: Uuid,
    (file, stored): (Uuid, Stored),
    quota_bytes: Option<i64>,
    precondition: &Precondition,
) -> Result<Document> {
    let old = locked(t, DOCUMENTS.change, id).await?;
    precondition.check(&old.base)?;
    let file = added(t, id, (file, stored), quota_bytes).await?;
    let new = Document { base: old.base.next(t), file, ..old.clone() };
    diesel::update(documents::table.filter(documents::org_id.eq(t.org()).and(documents::id.eq(id))))
        .set((base_changes!(documents, new.base), documents::file_id.eq(new.file.file_id)))
        .execute(t.conn()?)
        .await?;
    tell(t, &old, &new).await?;
    Ok(new)
}

/// Deletes a document with its files.
///
/// # Errors
/// `NotFound`; `Forbidden` for whoever may only read it; `Stale`.
pub async fn delete(t: &mut TenantTx, id: Uuid, precondition: &Precondition) -> Result<()> {
    let old = locked(t, DELETE, id).await?;
    precondition.check(&old.base)?;
    deleted(t, DOCUMENT.0, id).await
}

/// Makes sure that the caller may change a document or add a file to it: sharing gives reading, and commenting, only.
///
/// # Errors
/// `NotFound` for one that the caller can't see; `Forbidden` for one that is another's.
pub async fn check_change(t: &mut TenantTx, id: Uuid) -> Result<()> {
    let old = find(t, id).await?;
    check_writer(t, DOCUMENTS.change, &old).await
}

/// At most `limit` documents behind an id, by id, with how each is found; locked against changes until the transaction ends.
///
/// # Errors
/// Those of the database.
pub async fn describe(t: &mut TenantTx, after: Option<Uuid>, limit: i64) -> Result<Vec<(Uuid, Described)>> {
    let locked: Vec<Uuid> = documents::table
        .filter(documents::org_id.eq(t.org()).and(documents::id.gt(after.unwrap_or_default())))
        .order_by(documents::id)
        .limit(limit)
        .select(documents::id)
        .for_share()
        .load(t.conn()?)
        .await?;
    // A file never changes: its row needs no lock, and allows none.
    let rows: Vec<(Uuid, String, String)> = with_files!()
        .filter(documents::org_id.eq(t.org()).and(documents::id.eq_any(locked)))
        .order_by(documents::id)
        .select((documents::id, documents::title, attachments::file_name))
        .load(t.conn()?)
        .await?;
    Ok(rows.into_iter().map(|(id, title, file_name)| (id, described(&title, &file_name))).collect())
}

async fn load(t: &mut TenantTx, filter: Where) -> Result<Document> {
    Ok(document(with_files!().filter(filter).select(columns!()).first::<Row>(t.conn()?).await?))
}

/// The document with its row locked before the permission for it is judged, so that what is judged is what is changed.
async fn locked(t: &mut TenantTx, permission: &'static str, id: Uuid) -> Result<Document> {
    let row = documents::table.filter(documents::org_id.eq(t.org()).and(documents::id.eq(id)));
    row.select(documents::id).for_update().first::<Uuid>(t.conn()?).await?;
    let old = find(t, id).await?;
    check_writer(t, permission, &old).await?;
    Ok(old)
}

async fn check_writer(t: &mut TenantTx, permission: &'static str, old: &Document) -> Result<()> {
    DOCUMENTS.check(t, permission, old.base.id).await?;
    if t.require(permission)? == Scope::Own && old.base.created_by != t.actor() {
        return Err(Error::Forbidden("this document is shared with you for reading".into()));
    }
    Ok(())
}

async fn added(
    t: &mut TenantTx,
    document: Uuid,
    (file, stored): (Uuid, Stored),
    quota_bytes: Option<i64>,
) -> Result<DocumentFile> {
    let file = files::add(t, DOCUMENT.0, document, file, stored, quota_bytes).await?;
    let files::Attachment { id: file_id, file_name, content_type, size_bytes, sha256, .. } = file;
    Ok(DocumentFile { file_id, file_name, content_type, size_bytes, sha256 })
}

/// Puts the shares in place of the old ones, and has those told with whom it is shared now.
async fn share(
    t: &mut TenantTx,
    document: Uuid,
    old: Option<&DocumentFields>,
    new: &DocumentFields,
) -> Result<()> {
    let links = old.map(DocumentFields::links).unwrap_or_default();
    SHARED_TO.store(t, document, &links.assigned_to, &new.shared_to).await?;
    TEAMS.store(t, document, &links.teams, &new.teams).await?;
    tell_assignees(t, DOCUMENT, document, new.title.clone(), (&links, &new.links())).await
}

async fn tell(t: &mut TenantTx, old: &Document, new: &Document) -> Result<()> {
    let described = new.described();
    let described = (described != old.described()).then_some(described);
    updated(t, DOCUMENT.0, &new.base, diff(old, new)?, described.as_ref()).await
}

fn title_taken(error: diesel::result::Error) -> Error {
    let message = "there is a document of this title already";
    Error::unique(error, "documents_org_id_title_normalized_key", "title", message)
}
