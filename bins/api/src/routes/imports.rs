//! Files as records: what importing one would do, the import itself, what came of it, and how it is taken back.

use std::fs::File;

use actix_multipart::Multipart;
use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, LOCATION};
use actix_web::{HttpResponse, web};
use bytes::Bytes;
use crm_core::{Error, OrgId, Result};
use crm_records::Module;
use crm_records::list::{Page, Shaped};
use crm_storage::{Key, Storage};
use crm_transfer::{
    Cell, Duplicates, Examined, Format, IMPORT, IMPORTS, Import, ImportOptions, Preview, Refused, Source,
    UNDO_IMPORT, Work, csv_chunk, may_import,
};
use futures_util::stream;
use uuid::Uuid;

use super::TRANSFERABLE;
use super::uploads::{self, disposition};
use crate::extract::{Ctx, Pk, Query, View};
use crate::operation::Permit::Permission;
use crate::operation::{Op, Routes};
use crate::problem::Problem;

const DELIMITER: (&str, &str) =
    ("delimiter", "What separates cells: one character, or `tab`; found out otherwise.");
const MAPPING: (&str, &str) = (
    "mapping",
    "Headers and fields as a JSON object such as `{\"Mail\": \"email\", \"Fax\": null}`; what it leaves out goes by its header.",
);
const DATE_FORMAT: (&str, &str) = (
    "date_format",
    "How days are written: `yyyy-mm-dd`, `dd.mm.yyyy`, `dd/mm/yyyy` or `mm/dd/yyyy`; what could be either is refused otherwise.",
);
const DECIMAL: (&str, &str) =
    ("decimal", "What stands before the cents: `.` or `,`; what could be either is refused otherwise.");
const DUPLICATES: (&str, &str) = (
    "duplicates",
    "What becomes of a row whose record is there already: `error`, `skip` or `update`; `error` unless told.",
);

/// What a preview is told beside the file.
pub(super) const PREVIEW_QUERY: &[(&str, &str)] = &[
    DELIMITER,
    MAPPING,
    DATE_FORMAT,
    DECIMAL,
    DUPLICATES,
    ("limit", "How many rows are shown, up to 200; 20 unless told."),
];

/// What an import is told beside the file.
pub(super) const IMPORT_QUERY: &[(&str, &str)] = &[
    DELIMITER,
    MAPPING,
    DATE_FORMAT,
    DECIMAL,
    DUPLICATES,
    (
        "mode",
        "What a bad row means for the others: `all_or_nothing`, which it is unless told, or `skip_bad`.",
    ),
];

pub(super) fn routes(r: &mut Routes) {
    let view = Permission(IMPORTS.view);
    r.add(
        Op::get("/api/imports/", "list_imports", view, "List imports")
            .lists(IMPORTS.resource)
            .answers_page::<Import>(),
        list,
    )
    .add(
        Op::get("/api/imports/{id}/", "get_import", view, "One import, and how far it has come")
            .shaped(IMPORTS.resource)
            .answers::<Import>(200),
        find,
    )
    .add(
        Op::get(
            "/api/imports/{id}/errors/",
            "list_import_errors",
            view,
            "The rows that were refused, with why, as CSV",
        )
        .answers_bytes("text/csv"),
        errors,
    )
    .add(
        Op::post(
            "/api/imports/{id}/undo/",
            "undo_import",
            Permission(IMPORTS.change),
            "Take an import back, but for what somebody has changed since; the work goes on after the answer",
        )
        .answers::<Import>(202),
        undo,
    );
}

async fn list(ctx: Ctx, query: Query) -> Result<web::Json<Page<Shaped<Import>>>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| crm_transfer::list(t, &query.0).await).await?))
}

async fn find(ctx: Ctx, id: Pk, view: View) -> Result<HttpResponse, Problem> {
    let (base, import) = ctx
        .tenant(async |t| {
            let import = crm_transfer::find(t, id.0).await?;
            Ok((import.base.clone(), view.shape(t, &IMPORTS.resource, import).await?))
        })
        .await?;
    Ok(view.ok(&base, &import))
}

/// An upload, judged before a byte of it is taken.
async fn allowed<M: Module>(ctx: &Ctx, options: &ImportOptions) -> Result<OrgId, Problem> {
    let duplicates = options.duplicates.unwrap_or(Duplicates::Error);
    ctx.look(async |t| {
        may_import::<M>(t, duplicates)?;
        Ok(t.org())
    })
    .await
}

pub(super) async fn preview<M: Module>(
    ctx: Ctx,
    query: Query,
    mut form: Multipart,
) -> Result<web::Json<Preview>, Problem> {
    let options = ImportOptions::read(&query.0)?;
    let org = allowed::<M>(&ctx, &options).await?;
    // It is not kept: it goes into a folder that goes with it.
    let folder = tempfile::tempdir().map_err(Error::internal)?;
    let storage = Storage::local(folder.path()).map_err(Error::internal)?;
    let file = Uuid::now_v7();
    uploads::in_time(uploads::only_file(&storage, org, file, &mut form)).await?;
    let file = crm_transfer::fetch(&storage, &Key::new(org.0, file)).await?;
    let mut source = survey(file, &options).await?;
    let preview = ctx.look(async |t| crm_transfer::preview::<M>(t, &mut source, &options).await).await?;
    Ok(web::Json(preview))
}

/// The whole file, looked at where nobody waits for it.
async fn survey(file: File, options: &ImportOptions) -> Result<Source, Problem> {
    let delimiter = options.delimiter.clone();
    let surveyed = web::block(move || Source::survey(file, delimiter.as_deref())).await;
    Ok(surveyed.map_err(Error::internal)??)
}

pub(super) async fn import<M: Module>(
    ctx: Ctx,
    query: Query,
    mut form: Multipart,
) -> Result<HttpResponse, Problem> {
    let options = ImportOptions::read(&query.0)?;
    let duplicates = options.duplicates.unwrap_or(Duplicates::Error);
    let org = uploads::room(&ctx, async |t| may_import::<M>(t, duplicates)).await?;
    let (storage, id, quota) = (&ctx.state.storage, Uuid::now_v7(), ctx.state.storage_quota_bytes);
    let stored = uploads::in_time(uploads::only_file(storage, org, id, &mut form)).await?;
    ctx.absorb(format!("{} {}", stored.sha256, stored.file_name).as_bytes());
    let key = Key::new(org.0, id);
    let begun = async {
        let file = crm_transfer::fetch(storage, &key).await?;
        let source = survey(file, &options).await?;
        let examined: Examined =
            ctx.look(async |t| crm_transfer::understand::<M>(t, &source, &options).await).await?;
        ctx.tenant(async |t| {
            let import =
                crm_transfer::start::<M>(t, id, stored.clone(), (&examined, &options), quota).await?;
            Work::of(t, import.base.id)?.put(t, IMPORT).await?;
            Ok(import)
        })
        .await
    };
    Ok(accepted(&uploads::kept(storage, org, id, begun.await).await?))
}

fn accepted(import: &Import) -> HttpResponse {
    HttpResponse::Accepted()
        .insert_header((LOCATION, format!("/api/imports/{}/", import.base.id)))
        .json(import)
}

async fn undo(ctx: Ctx, id: Pk) -> Result<HttpResponse, Problem> {
    let import = ctx
        .tenant(async |t| {
            let delete = |name: &str| {
                let module = TRANSFERABLE.iter().find(|module| module.name == name);
                module.map(|module| module.delete)
            };
            let import = crm_transfer::ask_to_undo(t, id.0, delete).await?;
            Work::of(t, id.0)?.put(t, UNDO_IMPORT).await?;
            Ok(import)
        })
        .await?;
    Ok(accepted(&import))
}

/// Refused rows that are there and not yet sent.
type Begun = (Refused, Vec<Vec<Cell>>);

async fn errors(ctx: Ctx, id: Pk) -> Result<HttpResponse, Problem> {
    let begun: Begun = ctx
        .look(async |t| {
            let mut refused = Refused::begin(t, id.0).await?;
            let rows = refused.page(t).await?.unwrap_or_default();
            Ok((refused, rows))
        })
        .await?;
    let name = disposition(&format!("import-errors-{}.csv", id.0));
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, Format::Csv.media_type()))
        .insert_header((CONTENT_DISPOSITION, name))
        .streaming(lines(ctx, begun)))
}

fn lines(ctx: Ctx, (refused, rows): Begun) -> impl stream::Stream<Item = Result<Bytes>> {
    stream::try_unfold((ctx, refused, Some(rows), true), async |(ctx, mut refused, rows, first)| {
        let rows = match rows {
            Some(rows) => Some(rows),
            None => ctx.again(async |t| refused.page(t).await).await?,
        };
        let Some(rows) = rows else { return Ok(None) };
        let header = refused.header();
        let chunk = csv_chunk(Some(header.as_slice()).filter(|_| first), &rows)?;
        Ok(Some((Bytes::from(chunk), (ctx, refused, None, false))))
    })
}
