//! What every module has: its records, and under them comments, files, history. And the download of any file.

use actix_multipart::Multipart;
use actix_web::http::header::ETAG;
use actix_web::{HttpResponse, web};
use crm_core::{Result, TenantTx};
use crm_records::attachments::{self, Attachment};
use crm_records::comments::{self, Comment};
use crm_records::followers::{self, Following};
use crm_records::history::{self, Change as HistoryEntry};
use crm_records::list::{Page, Shaped};
use crm_records::merge::{self, Merge, Mergeable};
use crm_records::{Module, RecordInput, Target, allow_duplicate};
use uuid::Uuid;

use super::{TARGETS, uploads};
use crate::extract::{Change, Ctx, IfMatch, Json, Pk, Query, View, created, created_of, tag_of};
use crate::operation::{Op, Permit, Routes};
use crate::problem::Problem;

/// Declares the usual routes of a [`Module`]: list, create, read, replace, change, delete, and what [`record_routes`] and
/// [`transfer_routes`](super::transfer::transfer_routes) add. Its list may take filters of its own, and what is imported may go through another module of the same
/// records.
macro_rules! module_routes {
    ($r:expr, $module:ty, $name:literal, $word:literal, list: $list:literal) => {
        $crate::routes::records::module_routes!($r, $module, $name, $word, list: $list, filters: &[])
    };
    ($r:expr, $module:ty, $name:literal, $word:literal, list: $list:literal, filters: $filters:expr) => {
        $crate::routes::records::module_routes!($r, $module, $name, $word, list: $list, filters: $filters, imported: $module)
    };
    ($r:expr, $module:ty, $name:literal, $word:literal, list: $list:literal, filters: $filters:expr, imported: $imported:ty) => {{
        use crm_records::Module;
        use $crate::extract::{Change, Ctx, IfMatch, Json, Pk, Query, View};
        use $crate::operation::{Op, Permit::Permission};
        use $crate::routes::records as shared;
        type Fields = <$module as Module>::Fields;
        type Record = <$module as Module>::Record;
        const TARGET: crm_records::Target = <$module as Module>::TARGET;
        let (view, change) = (Permission(TARGET.view), Permission(TARGET.change));
        let (all, one) = (concat!("/api/", $name, "/"), concat!("/api/", $name, "/{id}/"));
        $r.add(
            Op::get(all, concat!("list_", $name), view, $list)
                .lists(TARGET.resource)
                .takes_query($filters)
                .answers_page::<Record>(),
            async |ctx: Ctx, query: Query| shared::list::<$module>(ctx, query).await,
        )
        .add(
            Op::post(all, concat!("create_", $word), Permission(<$module as Module>::ADD), "Add one")
                .takes_record::<Fields>()
                .takes_query(&[crm_records::ALLOW_DUPLICATE])
                .answers::<Record>(201)
                .refuses(&[409]),
            async |ctx: Ctx, query: Query, body: Json| shared::create::<$module>(ctx, query, body).await,
        )
        .add(
            Op::get(one, concat!("get_", $word), view, "One of them")
                .shaped(TARGET.resource)
                .answers::<Record>(200)
                .refuses(&[410]),
            async |ctx: Ctx, id: Pk, view: View| shared::find::<$module>(ctx, id, view).await,
        )
        .add(
            Op::put(one, concat!("replace_", $word), change, "Replace one: what is left out is cleared")
                .takes_record::<Fields>()
                .answers::<Record>(200)
                .refuses(&[409, 410]),
            async |ctx: Ctx, id: Pk, change: Change, view: View| {
                shared::update::<$module>(ctx, id, change, view).await
            },
        )
        .add(
            Op::patch(one, concat!("change_", $word), change, "Change one: what is left out stays")
                .takes_record::<Fields>()
                .answers::<Record>(200)
                .refuses(&[409, 410]),
            async |ctx: Ctx, id: Pk, change: Change, view: View| {
                shared::update::<$module>(ctx, id, change, view).await
            },
        )
        .add(
            Op::delete(one, concat!("delete_", $word), Permission(<$module as Module>::DELETE), "Delete one")
                .refuses(&[409, 410]),
            async |ctx: Ctx, id: Pk, condition: IfMatch| shared::delete::<$module>(ctx, id, condition).await,
        );
        $crate::routes::records::record_routes!($r, $name, $word, TARGET);
        $crate::routes::transfer::transfer_routes!($r, $module, $imported, $name, $filters);
    }};
}
pub(super) use module_routes;

/// Declares the merges of a module whose records can be made one.
macro_rules! merge_routes {
    ($r:expr, $module:ty, $name:literal, $word:literal) => {{
        use crm_records::Module;
        use crm_records::merge::{MERGES, Merge, MergeFields};
        use $crate::extract::{Ctx, Json, Pk, Query};
        use $crate::operation::{Op, Permit::Permission};
        use $crate::routes::records as shared;
        type Record = <$module as Module>::Record;
        const TARGET: crm_records::Target = <$module as Module>::TARGET;
        $r.add(
            Op::post(
                concat!("/api/", $name, "/{id}/merge/"),
                concat!("merge_", $name),
                Permission(TARGET.change),
                "Merge another one into this one, whose id stays; the other's leads here from then on",
            )
            .takes::<MergeFields>()
            .answers::<Record>(200)
            .refuses(&[409, 410]),
            async |ctx: Ctx, id: Pk, body: Json| shared::merge::<$module>(ctx, id, body).await,
        )
        .add(
            Op::get(
                concat!("/api/", $name, "/{id}/merges/"),
                concat!("list_", $word, "_merges"),
                Permission(TARGET.view),
                "What was merged into a record",
            )
            .lists(MERGES)
            .answers_page::<Merge>()
            .refuses(&[410]),
            async |ctx: Ctx, id: Pk, query: Query| shared::list_merges(ctx, &TARGET, id, query).await,
        )
        .add(
            Op::post(
                concat!("/api/", $name, "/merges/{id}/undo/"),
                concat!("undo_", $word, "_merge"),
                Permission(TARGET.change),
                "Undo a merge within 30 days; the id is the merge's. Answers the record that is back",
            )
            .answers::<Record>(200)
            .refuses(&[409]),
            async |ctx: Ctx, id: Pk| shared::undo_merge::<$module>(ctx, id).await,
        );
    }};
}
pub(super) use merge_routes;

/// Declares the comments, files and history of a module whose records are a `Target`. Where it takes more than looking at a record to add
/// a file to it, `files` judges that.
macro_rules! record_routes {
    ($r:expr, $module:literal, $word:literal, $target:expr $(, files: $check:path)?) => {{
        use actix_web::HttpResponse;
        use $crate::extract::{Change, Ctx, IfMatch, Json, Pk, Query, View};
        use $crate::operation::{Op, Permit::Permission};
        use $crate::problem::Problem;
        use $crate::routes::records as shared;
        let view = Permission($target.view);
        let comments = concat!("/api/", $module, "/comment/{id}/");
        let files = concat!("/api/", $module, "/attachment/{id}/");
        $r.add(
            Op::get(
                comments,
                concat!("list_", $word, "_comments"),
                view,
                "The comments of a record; the id is the record's",
            )
            .lists(crm_records::comments::COMMENTS)
            .answers_page::<crm_records::comments::Comment>(),
            async |ctx: Ctx, id: Pk, query: Query| shared::list_comments(ctx, &$target, id, query).await,
        )
        .add(
            Op::post(
                comments,
                concat!("add_", $word, "_comment"),
                view,
                "Comment on a record; the id is the record's",
            )
            .takes::<crm_records::comments::CommentFields>()
            .answers::<crm_records::comments::Comment>(201),
            async |ctx: Ctx, id: Pk, body: Json| shared::add_comment(ctx, $module, &$target, id, body).await,
        )
        .add(
            Op::put(
                comments,
                concat!("replace_", $word, "_comment"),
                view,
                "Replace a comment; the id is the comment's",
            )
            .takes::<crm_records::comments::CommentFields>()
            .answers::<crm_records::comments::Comment>(200),
            async |ctx: Ctx, id: Pk, change: Change, view: View| {
                shared::edit_comment(ctx, &$target, id, change, view).await
            },
        )
        .add(
            Op::patch(
                comments,
                concat!("change_", $word, "_comment"),
                view,
                "Change a comment; the id is the comment's",
            )
            .takes::<crm_records::comments::CommentFields>()
            .answers::<crm_records::comments::Comment>(200),
            async |ctx: Ctx, id: Pk, change: Change, view: View| {
                shared::edit_comment(ctx, &$target, id, change, view).await
            },
        )
        .add(
            Op::delete(
                comments,
                concat!("delete_", $word, "_comment"),
                view,
                "Delete a comment; the id is the comment's",
            ),
            async |ctx: Ctx, id: Pk, condition: IfMatch| {
                shared::delete_comment(ctx, &$target, id, condition).await
            },
        )
        .add(
            Op::get(
                files,
                concat!("list_", $word, "_attachments"),
                view,
                "The files of a record; the id is the record's",
            )
            .lists(crm_records::attachments::ATTACHMENTS)
            .answers_page::<crm_records::attachments::Attachment>(),
            async |ctx: Ctx, id: Pk, query: Query| shared::list_files(ctx, &$target, id, query).await,
        )
        .add(
            Op::post(
                files,
                concat!("add_", $word, "_attachment"),
                view,
                "Add a file of up to 25 MiB; the id is the record's",
            )
            .takes_file()
            .answers::<crm_records::attachments::Attachment>(201),
            async |ctx: Ctx, id: Pk, form: actix_multipart::Multipart| {
                shared::add_file(ctx, &$target, id, form, async |_t| {
                    $($check(_t, id.0).await?;)?
                    Ok(())
                })
                .await
            },
        )
        .add(
            Op::delete(
                files,
                concat!("delete_", $word, "_attachment"),
                view,
                "Delete a file; the id is the file's",
            )
            .unversioned(),
            async |ctx: Ctx, id: Pk| -> Result<HttpResponse, Problem> {
                shared::delete_file(ctx, &$target, id).await
            },
        )
        .add(
            Op::get(
                concat!("/api/", $module, "/{id}/history/"),
                concat!("list_", $word, "_history"),
                view,
                "Who changed what of a record, field by field",
            )
            .lists(crm_records::history::HISTORY)
            .answers_page::<crm_records::history::Change>(),
            async |ctx: Ctx, id: Pk, query: Query| shared::list_history(ctx, &$target, id, query).await,
        )
        .add(
            Op::get(
                concat!("/api/", $module, "/{id}/follow/"),
                concat!("get_", $word, "_followers"),
                view,
                "Who follows a record",
            )
            .answers::<crm_records::followers::Following>(200),
            async |ctx: Ctx, id: Pk| shared::followers(ctx, &$target, id).await,
        )
        .add(
            Op::put(
                concat!("/api/", $module, "/{id}/follow/"),
                concat!("follow_", $word),
                view,
                "Follow a record: be told of its comments",
            )
            .unversioned(),
            async |ctx: Ctx, id: Pk| shared::follow(ctx, &$target, id, true).await,
        )
        .add(
            Op::delete(
                concat!("/api/", $module, "/{id}/follow/"),
                concat!("unfollow_", $word),
                view,
                "Follow a record no more, whatever one has to do with it",
            )
            .unversioned(),
            async |ctx: Ctx, id: Pk| shared::follow(ctx, &$target, id, false).await,
        );
    }};
}
pub(super) use record_routes;

/// Declares the history of something that is no `Target`, but found by a function of its crate.
macro_rules! history_route {
    ($r:expr, $path:literal, $word:literal, $view:expr, $find:path) => {{
        use $crate::extract::{Ctx, Pk, Query};
        use $crate::operation::Op;
        $r.add(
            Op::get(
                concat!($path, "{id}/history/"),
                concat!("list_", $word, "_history"),
                $view,
                "Who changed what of it, field by field",
            )
            .lists(crm_records::history::HISTORY)
            .answers_page::<crm_records::history::Change>(),
            async |ctx: Ctx, id: Pk, query: Query| {
                let history = ctx.tenant(async |t| {
                    $find(t, id.0).await?;
                    crm_records::history::of(t, id.0, &query.0).await
                });
                Ok::<_, $crate::problem::Problem>(actix_web::web::Json(history.await?))
            },
        );
    }};
}
pub(super) use history_route;

pub(super) fn routes(r: &mut Routes) {
    r.add(
        Op::get(
            "/api/attachments/{id}/download/",
            "download_attachment",
            Permit::Member,
            "The bytes of a file, for whoever may look at the record it hangs on",
        )
        .answers_bytes("application/octet-stream"),
        download,
    );
}

type Listed<T> = Result<web::Json<Page<Shaped<T>>>, Problem>;

pub(super) async fn list<M: Module>(ctx: Ctx, query: Query) -> Listed<M::Record> {
    Ok(web::Json(ctx.tenant(async |t| M::list(t, &query.0).await).await?))
}

pub(super) async fn create<M: Module>(ctx: Ctx, query: Query, body: Json) -> Result<HttpResponse, Problem> {
    let record = ctx.tenant(async |t| {
        let input = RecordInput::parse(body.0)?;
        M::create(t, RecordInput { allow_duplicate: allow_duplicate(&query.0)?, ..input }).await
    });
    let record = record.await?;
    Ok(created_of::<M>(&record))
}

pub(super) async fn find<M: Module>(ctx: Ctx, id: Pk, view: View) -> Result<HttpResponse, Problem> {
    let (tag, record) = ctx
        .tenant(async |t| {
            let record = M::find(t, id.0).await?;
            Ok((tag_of::<M>(&record), view.shape(t, &M::TARGET.resource, record).await?))
        })
        .await?;
    Ok(view.of_tag(tag, &record))
}

pub(super) async fn update<M: Module>(
    ctx: Ctx,
    id: Pk,
    change: Change,
    view: View,
) -> Result<HttpResponse, Problem> {
    let record = ctx.tenant(async |t| M::update(t, id.0, change.0).await).await?;
    Ok(view.of::<M>(&record))
}

pub(super) async fn delete<M: Module>(ctx: Ctx, id: Pk, condition: IfMatch) -> Result<HttpResponse, Problem> {
    ctx.tenant(async |t| M::delete(t, id.0, &condition.0).await).await?;
    Ok(HttpResponse::NoContent().finish())
}

pub(super) async fn merge<M: Mergeable>(ctx: Ctx, id: Pk, body: Json) -> Result<HttpResponse, Problem> {
    let record = ctx.tenant(async |t| merge::merge::<M>(t, id.0, body.0).await).await?;
    Ok(HttpResponse::Ok().insert_header((ETAG, tag_of::<M>(&record))).json(record))
}

pub(super) async fn undo_merge<M: Mergeable>(ctx: Ctx, id: Pk) -> Result<HttpResponse, Problem> {
    let record = ctx.tenant(async |t| merge::undo::<M>(t, id.0).await).await?;
    Ok(HttpResponse::Ok().insert_header((ETAG, tag_of::<M>(&record))).json(record))
}

pub(super) async fn list_merges(ctx: Ctx, target: &Target, id: Pk, query: Query) -> Listed<Merge> {
    Ok(web::Json(ctx.tenant(async |t| merge::list(t, target, id.0, &query.0).await).await?))
}

pub(super) async fn list_comments(ctx: Ctx, target: &Target, id: Pk, query: Query) -> Listed<Comment> {
    Ok(web::Json(ctx.tenant(async |t| comments::list(t, target, id.0, &query.0).await).await?))
}

pub(super) async fn add_comment(
    ctx: Ctx,
    module: &str,
    target: &Target,
    id: Pk,
    json: Json,
) -> Result<HttpResponse, Problem> {
    let comment = ctx.tenant(async |t| comments::create(t, target, id.0, json.0).await).await?;
    Ok(created(&format!("{module}/comment"), &comment.base, &comment))
}

pub(super) async fn edit_comment(
    ctx: Ctx,
    target: &Target,
    id: Pk,
    change: Change,
    view: View,
) -> Result<HttpResponse, Problem> {
    let comment = ctx.tenant(async |t| comments::update(t, target, id.0, change.0).await).await?;
    Ok(view.ok(&comment.base, &comment))
}

pub(super) async fn delete_comment(
    ctx: Ctx,
    target: &Target,
    id: Pk,
    condition: IfMatch,
) -> Result<HttpResponse, Problem> {
    ctx.tenant(async |t| comments::delete(t, target, id.0, &condition.0).await).await?;
    Ok(HttpResponse::NoContent().finish())
}

pub(super) async fn list_files(ctx: Ctx, target: &Target, id: Pk, query: Query) -> Listed<Attachment> {
    Ok(web::Json(ctx.tenant(async |t| attachments::list(t, target, id.0, &query.0).await).await?))
}

pub(super) async fn add_file(
    ctx: Ctx,
    target: &Target,
    id: Pk,
    mut form: Multipart,
    check: impl AsyncFn(&mut TenantTx) -> Result<()>,
) -> Result<HttpResponse, Problem> {
    let room = uploads::room(&ctx, async |t| {
        target.check_view(t, id.0).await?;
        check(t).await
    });
    let org = room.await?;
    let (storage, quota) = (&ctx.state.storage, ctx.state.storage_quota_bytes);
    let file = Uuid::now_v7();
    let stored = uploads::in_time(uploads::only_file(storage, org, file, &mut form)).await?;
    ctx.absorb(format!("{} {}", stored.sha256, stored.file_name).as_bytes());
    let added = ctx.tenant(async |t| {
        check(t).await?;
        attachments::create(t, target, id.0, file, stored.clone(), quota).await
    });
    let attachment = uploads::kept(storage, org, file, added.await).await?;
    Ok(HttpResponse::Created()
        .insert_header(("Location", format!("/api/attachments/{file}/download/")))
        .json(attachment))
}

pub(super) async fn delete_file(ctx: Ctx, target: &Target, id: Pk) -> Result<HttpResponse, Problem> {
    ctx.tenant(async |t| attachments::delete(t, target, id.0).await).await?;
    Ok(HttpResponse::NoContent().finish())
}

pub(super) async fn list_history(ctx: Ctx, target: &Target, id: Pk, query: Query) -> Listed<HistoryEntry> {
    Ok(web::Json(ctx.tenant(async |t| history::list(t, target, id.0, &query.0).await).await?))
}

pub(super) async fn followers(ctx: Ctx, target: &Target, id: Pk) -> Result<web::Json<Following>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| followers::find(t, target, id.0).await).await?))
}

pub(super) async fn follow(ctx: Ctx, target: &Target, id: Pk, follow: bool) -> Result<HttpResponse, Problem> {
    ctx.tenant(async |t| followers::follow(t, target, id.0, follow).await).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn download(ctx: Ctx, id: Pk) -> Result<HttpResponse, Problem> {
    let attachment = ctx
        .tenant(async |t| {
            let attachment = attachments::find(t, TARGETS, id.0).await?;
            crm_transfer::check_file(t, attachment.record_id).await?;
            Ok(attachment)
        })
        .await?;
    let key = attachment.key();
    let Attachment { content_type, sha256, file_name, .. } = attachment;
    uploads::download(&ctx.state.storage, &key, content_type, sha256, &file_name).await
}
