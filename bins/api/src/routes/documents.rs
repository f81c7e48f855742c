use actix_multipart::{Field, Multipart};
use actix_web::{HttpResponse, web};
use crm_access::Require;
use crm_core::body::{self, Object};
use crm_core::{Code, Error, FieldCode, FieldError, OrgId, Result};
use crm_documents::{self as documents, DOCUMENTS, Document, DocumentFields};
use crm_records::list::{Page, Shaped};
use crm_storage::{Key, Storage, Stored};
use futures_util::StreamExt;
use serde_json::Value;
use uuid::Uuid;

use super::records::record_routes;
use super::uploads::{self, malformed};
use crate::extract::{Change, Ctx, IfMatch, Pk, Query, TIME_LIMIT, View, created};
use crate::operation::Permit::Permission;
use crate::operation::{Op, Routes};
use crate::problem::Problem;

const ADD: &str = "documents.add_document";

/// How much text a form may carry beside its file.
const MAX_TEXT_BYTES: usize = 64 * 1024;

pub(super) fn routes(r: &mut Routes) {
    let (view, change) = (Permission(DOCUMENTS.view), Permission(DOCUMENTS.change));
    r.add(
        Op::get(
            "/api/documents/",
            "list_documents",
            view,
            "List the documents that one made, or that are shared with one or with a team of one's own",
        )
        .lists(DOCUMENTS.resource)
        .answers_page::<Document>(),
        list,
    )
    .add(
        Op::post(
            "/api/documents/",
            "create_document",
            Permission(ADD),
            "Add a document: its file of up to 25 MiB, and its fields as parts of the form, shares repeated, or as JSON in one named document",
        )
        .takes_upload::<DocumentFields>()
        .answers::<Document>(201)
        .refuses(&[409]),
        create,
    )
    .add(
        Op::get("/api/documents/{id}/", "get_document", view, "One document")
            .shaped(DOCUMENTS.resource)
            .answers::<Document>(200),
        find,
    )
    .add(
        Op::put("/api/documents/{id}/", "replace_document", change, "Replace what is said of a document; its file stays")
            .takes::<DocumentFields>()
            .answers::<Document>(200)
            .refuses(&[409]),
        update,
    )
    .add(
        Op::patch("/api/documents/{id}/", "change_document", change, "Change what is said of a document")
            .takes::<DocumentFields>()
            .answers::<Document>(200)
            .refuses(&[409]),
        update,
    )
    .add(
        Op::delete(
            "/api/documents/{id}/",
            "delete_document",
            Permission("documents.delete_document"),
            "Delete a document with its files",
        ),
        delete,
    )
    .add(
        Op::post(
            "/api/documents/{id}/file/",
            "replace_document_file",
            change,
            "Put another file in place of a document's; the earlier one stays among its attachments",
        )
        .takes_file()
        .honours_if_match()
        .answers::<Document>(200),
        replace_file,
    )
    .add(
        Op::get(
            "/api/documents/{id}/download/",
            "download_document",
            view,
            "The bytes of a document, named by its title",
        )
        .answers_bytes("application/octet-stream"),
        download,
    );
    record_routes!(r, "documents", "document", DOCUMENTS, files: documents::check_change);
}

async fn list(ctx: Ctx, query: Query) -> Result<web::Json<Page<Shaped<Document>>>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| documents::list(t, &query.0).await).await?))
}

async fn find(ctx: Ctx, id: Pk, view: View) -> Result<HttpResponse, Problem> {
    let (base, document) = ctx
        .tenant(async |t| {
            let document = documents::find(t, id.0).await?;
            Ok((document.base.clone(), view.shape(t, &DOCUMENTS.resource, document).await?))
        })
        .await?;
    Ok(view.ok(&base, &document))
}

async fn create(ctx: Ctx, form: Multipart) -> Result<HttpResponse, Problem> {
    let org = uploads::room(&ctx, async |t| t.require(ADD).map(drop)).await?;
    let (storage, quota) = (&ctx.state.storage, ctx.state.storage_quota_bytes);
    let file = Uuid::now_v7();
    let (texts, stored) = uploads::in_time(read_form(storage, org, file, form)).await?;
    for (name, text) in &texts {
        ctx.absorb(format!("{name}\n{text}\n").as_bytes());
    }
    ctx.absorb(format!("{} {}", stored.sha256, stored.file_name).as_bytes());
    let done = ctx.tenant(async |t| {
        let fields = body::parse(fields(texts.clone())?)?;
        documents::create(t, fields, (file, stored.clone()), quota).await
    });
    let document = uploads::kept(storage, org, file, done.await).await?;
    Ok(created("documents", &document.base, &document))
}

async fn update(ctx: Ctx, id: Pk, change: Change, view: View) -> Result<HttpResponse, Problem> {
    let document = ctx.tenant(async |t| documents::update(t, id.0, change.0).await).await?;
    Ok(view.ok(&document.base, &document))
}

async fn delete(ctx: Ctx, id: Pk, condition: IfMatch) -> Result<HttpResponse, Problem> {
    ctx.tenant(async |t| documents::delete(t, id.0, &condition.0).await).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn replace_file(
    ctx: Ctx,
    id: Pk,
    condition: IfMatch,
    view: View,
    mut form: Multipart,
) -> Result<HttpResponse, Problem> {
    let org = uploads::room(&ctx, async |t| documents::check_change(t, id.0).await).await?;
    let (storage, quota) = (&ctx.state.storage, ctx.state.storage_quota_bytes);
    let file = Uuid::now_v7();
    let stored = uploads::in_time(uploads::only_file(storage, org, file, &mut form)).await?;
    ctx.absorb(format!("{} {}", stored.sha256, stored.file_name).as_bytes());
    let done = ctx.tenant(async |t| {
        documents::replace_file(t, id.0, (file, stored.clone()), quota, &condition.0).await
    });
    let document = uploads::kept(storage, org, file, done.await).await?;
    Ok(view.ok(&document.base, &document))
}

async fn download(ctx: Ctx, id: Pk) -> Result<HttpResponse, Problem> {
    let document = ctx.tenant(async |t| documents::find(t, id.0).await).await?;
    let (key, name) = (Key::new(document.base.org_id.0, document.file.file_id), document.download_name());
    let Document { file, .. } = document;
    uploads::download(&ctx.state.storage, &key, file.content_type, file.sha256, &name).await
}

/// The texts of a form, by part, and its file, which is stored.
type Form = (Vec<(String, String)>, Stored);

/// Reads a form whose parts may come in any order. Where it is refused, its file does not stay.
async fn read_form(storage: &Storage, org: OrgId, file: Uuid, mut form: Multipart) -> Result<Form> {
    let (mut texts, mut stored) = (Vec::new(), None);
    let read = async {
        while let Some(part) = uploads::next_part(&mut form).await? {
            match part.name().map(str::to_owned) {
                None => return Err(malformed("each part of the form must have a name".into())),
                Some(name) if name == "file" => {
                    if stored.is_some() {
                        return Err(once("file"));
                    }
                    stored = Some(uploads::store(storage, org, file, part).await?);
                }
                Some(name) => {
                    let used: usize =
                        texts.iter().map(|(name, text): &(String, String)| name.len() + text.len()).sum();
                    texts.push((name, text(part, MAX_TEXT_BYTES.saturating_sub(used)).await?));
                }
            }
        }
        Ok(())
    };
    if let Err(refused) = read.await {
        if stored.is_some() {
            uploads::forget(storage, org, file).await;
        }
        return Err(refused);
    }
    let stored =
        stored.ok_or_else(|| Error::field("file", FieldCode::Required, "a document needs its file"))?;
    Ok((texts, stored))
}

async fn text(mut part: Field, room: usize) -> Result<String> {
    let mut bytes = Vec::new();
    let slow = |_| malformed("nothing came for half a minute".into());
    while let Some(chunk) = tokio::time::timeout(TIME_LIMIT, part.next()).await.map_err(slow)? {
        let chunk = chunk.map_err(|e| malformed(format!("the upload broke off: {e}")))?;
        if bytes.len() + chunk.len() > room {
            let message = format!("the texts of a form may have {MAX_TEXT_BYTES} bytes at most");
            return Err(Error::Refused(Code::PayloadTooLarge, message.into()));
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).map_err(|_| malformed("the texts of a form must be UTF-8".into()))
}

fn once(part: &str) -> Error {
    let message = format!("{part} may be given once");
    Error::Fields(Code::MalformedRequest, vec![FieldError::new(part, FieldCode::InvalidValue, message)])
}

/// The fields of a document as one JSON object: of the part `document`, or of parts of their own, of which the shares may be repeated.
fn fields(texts: Vec<(String, String)>) -> Result<Object> {
    let mut fields = Object::new();
    let is_json = texts.iter().any(|(name, _)| name == "document");
    if is_json && texts.len() > 1 {
        return Err(malformed(
            "give the fields in the part document or in parts of their own, not in both".into(),
        ));
    }
    for (name, text) in texts {
        match name.as_str() {
            "document" => match serde_json::from_str(&text) {
                Ok(Value::Object(object)) => return Ok(object),
                _ => return Err(malformed("the part document must be a JSON object".into())),
            },
            // A form sends an empty part for a list without a choice.
            "shared_to" | "teams" if text.trim().is_empty() => {}
            "shared_to" | "teams" => {
                let list = fields.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(list) = list {
                    list.push(Value::String(text.trim().to_owned()));
                }
            }
            _ if fields.contains_key(&name) => return Err(once(&name)),
            _ => drop(fields.insert(name, Value::String(text))),
        }
    }
    Ok(fields)
}
