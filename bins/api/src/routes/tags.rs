use actix_web::{HttpResponse, web};
use crm_core::body;
use crm_records::Target;
use crm_records::list::{Page, Resource, Shaped};
use crm_records::tags::{self, TAGS, Tag, TagFields, TagMerge, TagMerged, TagUsage};

use super::TARGETS;
use super::records::history_route;
use crate::extract::{Change, Ctx, IfMatch, Json, Pk, Query, View, created};
use crate::operation::Permit::Permission;
use crate::operation::{Op, Routes};
use crate::problem::Problem;

pub(super) fn routes(r: &mut Routes) {
    let (view, change) = (Permission("tags.view_tag"), Permission("tags.change_tag"));
    r.add(
        Op::get("/api/tags/", "list_tags", view, "List tags")
            .lists(TAGS)
            .takes_query(&[tags::USAGE])
            .answers_page::<Tag>(),
        list,
    )
    .add(
        Op::post("/api/tags/", "create_tag", Permission("tags.add_tag"), "Make a tag")
            .takes::<TagFields>()
            .answers::<Tag>(201)
            .refuses(&[409]),
        create,
    )
    .add(Op::get("/api/tags/{id}/", "get_tag", view, "One tag").shaped(TAGS).answers::<Tag>(200), find)
    .add(
        Op::put("/api/tags/{id}/", "replace_tag", change, "Replace a tag")
            .takes::<TagFields>()
            .answers::<Tag>(200)
            .refuses(&[409]),
        update,
    )
    .add(
        Op::patch("/api/tags/{id}/", "change_tag", change, "Change a tag")
            .takes::<TagFields>()
            .answers::<Tag>(200)
            .refuses(&[409]),
        update,
    )
    .add(
        Op::delete(
            "/api/tags/{id}/",
            "delete_tag",
            Permission("tags.delete_tag"),
            "Archive a tag: it stays on the records that have it",
        ),
        delete,
    )
    .add(
        Op::get(
            "/api/tags/{id}/usage/",
            "get_tag_usage",
            view,
            "On how many records a tag is, of those kinds of which one may look at all",
        )
        .answers::<TagUsage>(200),
        usage,
    )
    .add(
        Op::post("/api/tags/{id}/restore/", "restore_tag", change, "Bring an archived tag back")
            .answers::<Tag>(200),
        restore,
    )
    .add(
        Op::post(
            "/api/tags/{id}/merge/",
            "merge_tag",
            change,
            "Put another tag in the place of this one on every record, and archive this one",
        )
        .takes::<TagMerge>()
        .answers::<TagMerged>(200)
        .refuses(&[409]),
        merge,
    );
    history_route!(r, "/api/tags/", "tag", view, tags::find);
}

/// The kinds of record that tags are on.
fn tagged() -> Vec<Target> {
    TARGETS.iter().copied().chain([crm_web_forms::WEB_FORMS]).collect()
}

/// The same as lists.
pub(crate) fn taggable() -> Vec<Resource> {
    tagged().iter().map(|target| target.resource).collect()
}

async fn list(ctx: Ctx, query: Query) -> Result<web::Json<Page<Shaped<Tag>>>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| tags::list(t, &tagged(), &query.0).await).await?))
}

async fn create(ctx: Ctx, json: Json) -> Result<HttpResponse, Problem> {
    let tag = ctx.tenant(async |t| tags::create(t, body::parse(json.0)?).await).await?;
    Ok(created("tags", &tag.base, &tag))
}

async fn find(ctx: Ctx, id: Pk, view: View) -> Result<HttpResponse, Problem> {
    let (base, tag) = ctx
        .tenant(async |t| {
            let tag = tags::find(t, id.0).await?;
            Ok((tag.base.clone(), view.shape(t, &TAGS, tag).await?))
        })
        .await?;
    Ok(view.ok(&base, &tag))
}

async fn update(ctx: Ctx, id: Pk, change: Change, view: View) -> Result<HttpResponse, Problem> {
    let tag = ctx.tenant(async |t| tags::update(t, id.0, change.0).await).await?;
    Ok(view.ok(&tag.base, &tag))
}

async fn delete(ctx: Ctx, id: Pk, condition: IfMatch) -> Result<HttpResponse, Problem> {
    ctx.tenant(async |t| tags::archive(t, id.0, &condition.0).await).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn usage(ctx: Ctx, id: Pk) -> Result<web::Json<TagUsage>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| tags::usage(t, &tagged(), id.0).await).await?))
}

async fn restore(ctx: Ctx, id: Pk, view: View) -> Result<HttpResponse, Problem> {
    let tag = ctx.tenant(async |t| tags::restore(t, id.0).await).await?;
    Ok(view.ok(&tag.base, &tag))
}

async fn merge(ctx: Ctx, id: Pk, json: Json) -> Result<web::Json<TagMerged>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| tags::merge(t, &taggable(), id.0, json.0).await).await?))
}
