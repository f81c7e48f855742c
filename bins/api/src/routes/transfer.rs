//! Records by the thousand: many operations in one request, a list as a file.

use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use actix_web::{HttpResponse, web};
use bytes::Bytes;
use crm_core::{Error, Result};
use crm_records::Module;
use crm_transfer::{BulkAnswer, Cell, Export, Format, Sheet, csv_chunk};
use futures_util::{TryStreamExt, stream};
use tempfile::NamedTempFile;
use tokio::io::AsyncReadExt as _;

use super::uploads::disposition;
use crate::extract::{Ctx, Json, Query};
use crate::problem::Problem;

/// How much of a finished file is read at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// Declares export, import and bulk operations of a [`Module`]; what is imported may go through another one of the same records.
macro_rules! transfer_routes {
    ($r:expr, $module:ty, $imported:ty, $name:literal, $filters:expr) => {{
        use crm_records::Module;
        use $crate::extract::{Ctx, Json, Query};
        use $crate::operation::{Op, Permit::Permission};
        use $crate::routes::{imports, transfer as shared};
        const OF: crm_records::Target = <$module as Module>::TARGET;
        $r.add(
            Op::get(
                concat!("/api/", $name, "/export/"),
                concat!("export_", $name),
                Permission(OF.view),
                "The list as a file: every row that the filters let through, as CSV or as a workbook of Excel",
            )
            .exports(OF.resource)
            .takes_query($filters)
            .answers_bytes("text/csv"),
            async |ctx: Ctx, query: Query| shared::export::<$module>(ctx, query).await,
        )
        .add(
            Op::post(
                concat!("/api/", $name, "/bulk/"),
                concat!("bulk_", $name),
                Permission(OF.view),
                "Up to 1,000 operations, all or each for itself; or one patch to all that a filter finds",
            )
            .takes::<crm_transfer::Bulk>()
            .answers::<crm_transfer::BulkAnswer>(200)
            .refuses(&[412]),
            async |ctx: Ctx, body: Json| shared::bulk::<$module>(ctx, body).await,
        )
        .add(
            Op::post(
                concat!("/api/", $name, "/import/preview/"),
                concat!("preview_import_of_", $name),
                Permission(crm_transfer::ADD_IMPORT),
                "What importing a table of text would do, row by row; writes nothing",
            )
            .takes_file()
            .takes_query(imports::PREVIEW_QUERY)
            .answers::<crm_transfer::Preview>(200),
            async |ctx: Ctx, query: Query, form: actix_multipart::Multipart| {
                imports::preview::<$imported>(ctx, query, form).await
            },
        )
        .add(
            Op::post(
                concat!("/api/", $name, "/import/"),
                concat!("import_", $name),
                Permission(crm_transfer::ADD_IMPORT),
                "Import a table of text of up to 25 MiB and 200,000 rows; the work goes on after the answer",
            )
            .takes_file()
            .takes_query(imports::IMPORT_QUERY)
            .answers::<crm_transfer::Import>(202),
            async |ctx: Ctx, query: Query, form: actix_multipart::Multipart| {
                imports::import::<$imported>(ctx, query, form).await
            },
        );
        $r.transferable.push(crm_transfer::Transferable::of::<$imported>());
    }};
}
pub(super) use transfer_routes;

pub(super) async fn bulk<M: Module>(ctx: Ctx, body: Json) -> Result<web::Json<BulkAnswer>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| crm_transfer::bulk::<M>(t, body.0).await).await?))
}

/// An export with the rows that are there and not yet sent.
type Begun<M> = (Export<M>, Vec<Vec<Cell>>);

pub(super) async fn export<M: Module + 'static>(ctx: Ctx, query: Query) -> Result<HttpResponse, Problem> {
    // The first page comes before the answer begins: what is refused is answered as a problem.
    let begun: Begun<M> = ctx
        .look(async |t| {
            let mut export = Export::begin(t, &query.0).await?;
            let rows = export.page(t).await?.unwrap_or_default();
            Ok((export, rows))
        })
        .await?;
    let format = begun.0.format;
    let day = ctx.state.db.clock().now().date_naive();
    let mut answer = HttpResponse::Ok();
    answer
        .insert_header((CONTENT_TYPE, format.media_type()))
        .insert_header((CONTENT_DISPOSITION, disposition(&format!("{}-{day}.{format}", M::NAME))));
    match format {
        Format::Csv => Ok(answer.streaming(lines(ctx, begun))),
        Format::Xlsx => Ok(answer.streaming(contents(workbook(&ctx, begun).await?))),
    }
}

/// The lines of a CSV file, page by page: each page is read when the one before it has been taken.
fn lines<M: Module + 'static>(
    ctx: Ctx,
    (export, rows): Begun<M>,
) -> impl stream::Stream<Item = Result<Bytes>> {
    stream::try_unfold((ctx, export, Some(rows), true), async |(ctx, mut export, rows, first)| {
        let rows = match rows {
            Some(rows) => Some(rows),
            None => ctx.again(async |t| export.page(t).await).await?,
        };
        let Some(rows) = rows else { return Ok(None) };
        let header = export.header();
        let chunk = csv_chunk(Some(header.as_slice()).filter(|_| first), &rows)?;
        Ok(Some((Bytes::from(chunk), (ctx, export, None, false))))
    })
}

async fn workbook<M: Module>(ctx: &Ctx, (mut export, rows): Begun<M>) -> Result<NamedTempFile> {
    let mut sheet = Sheet::new(M::NAME, &export.header())?;
    let mut next = Some(rows);
    while let Some(rows) = next {
        for row in &rows {
            sheet.push(row)?;
        }
        next = ctx.again(async |t| export.page(t).await).await?;
    }
    let finished = web::block(move || sheet.finish()).await;
    finished.map_err(Error::internal)?
}

/// The bytes of a finished file, which goes when they are sent.
fn contents(file: NamedTempFile) -> impl stream::Stream<Item = std::io::Result<Bytes>> {
    let opened = async move {
        let from_start = tokio::fs::File::open(file.path()).await?;
        std::io::Result::Ok(stream::try_unfold((from_start, file), async |(mut from, file)| {
            let mut chunk = vec![0; CHUNK_BYTES];
            let read = from.read(&mut chunk).await?;
            chunk.truncate(read);
            Ok((read > 0).then_some((Bytes::from(chunk), (from, file))))
        }))
    };
    stream::once(opened).try_flatten()
}
