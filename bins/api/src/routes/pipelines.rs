//! Pipelines of leads and their stages.

use actix_web::{HttpResponse, web};
use crm_core::body;
use crm_leads::{
    self as leads, LeadStage, NewPipeline, PIPELINES, Pipeline, PipelineFields, STAGES, StageFields,
    StageOrder,
};
use crm_records::list::{Page, Shaped};

use super::records::history_route;
use crate::extract::{Change, Ctx, IfMatch, Json, Pk, Query, View, created};
use crate::operation::Permit::Permission;
use crate::operation::{Op, Routes};
use crate::problem::Problem;

const ALL: &str = "/api/leads/pipelines/";
const ONE: &str = "/api/leads/pipelines/{id}/";
const ITS_STAGES: &str = "/api/leads/pipelines/{id}/stages/";
const ORDER: &str = "/api/leads/pipelines/{id}/stages/reorder/";
const STAGE: &str = "/api/leads/stages/{id}/";

pub(super) fn routes(r: &mut Routes) {
    let view = Permission("pipelines.view_pipeline");
    let change = Permission("pipelines.change_pipeline");
    let (add, delete) = (Permission("pipelines.add_pipeline"), Permission("pipelines.delete_pipeline"));
    history_route!(r, "/api/leads/pipelines/", "lead_pipeline", view, leads::find_pipeline);
    history_route!(r, "/api/leads/stages/", "lead_stage", view, leads::find_stage);
    r.add(
        Op::get(ALL, "list_lead_pipelines", view, "List pipelines, those in use unless is_active is given")
            .lists(PIPELINES)
            .answers_page::<Pipeline>(),
        list,
    )
    .add(
        Op::post(
            ALL,
            "create_lead_pipeline",
            add,
            "Make a pipeline, with the usual stages unless told not to",
        )
        .takes::<NewPipeline>()
        .answers::<Pipeline>(201)
        .refuses(&[409]),
        create,
    )
    .add(
        Op::get(ONE, "get_lead_pipeline", view, "One pipeline with its stages, in use or not")
            .shaped(PIPELINES)
            .answers::<Pipeline>(200),
        find,
    )
    .add(
        Op::put(ONE, "replace_lead_pipeline", change, "Replace a pipeline; its stages stay")
            .takes::<PipelineFields>()
            .answers::<Pipeline>(200)
            .refuses(&[409]),
        update,
    )
    .add(
        Op::patch(ONE, "change_lead_pipeline", change, "Change a pipeline")
            .takes::<PipelineFields>()
            .answers::<Pipeline>(200)
            .refuses(&[409]),
        update,
    )
    .add(
        Op::delete(ONE, "delete_lead_pipeline", delete, "Take a pipeline out of use that holds no leads")
            .refuses(&[409]),
        remove,
    )
    .add(
        Op::get(ITS_STAGES, "list_lead_stages", view, "The stages of a pipeline in their order")
            .lists(STAGES)
            .answers_page::<LeadStage>(),
        list_stages,
    )
    .add(
        Op::post(ITS_STAGES, "create_lead_stage", change, "Add a stage to a pipeline")
            .takes::<StageFields>()
            .answers::<LeadStage>(201)
            .refuses(&[409]),
        create_stage,
    )
    .add(
        Op::put(ORDER, "reorder_lead_stages", change, "Put the stages of a pipeline in order: all their ids")
            .unversioned()
            .takes::<StageOrder>()
            .answers::<Pipeline>(200),
        reorder,
    )
    .add(
        Op::post(ORDER, "order_lead_stages", change, "The same for clients that post")
            .takes::<StageOrder>()
            .answers::<Pipeline>(200),
        reorder,
    )
    .add(
        Op::get(STAGE, "get_lead_stage", view, "One stage").shaped(STAGES).answers::<LeadStage>(200),
        find_stage,
    )
    .add(
        Op::put(STAGE, "replace_lead_stage", change, "Replace a stage; without order it keeps its place")
            .takes::<StageFields>()
            .answers::<LeadStage>(200)
            .refuses(&[409]),
        update_stage,
    )
    .add(
        Op::patch(STAGE, "change_lead_stage", change, "Change a stage")
            .takes::<StageFields>()
            .answers::<LeadStage>(200)
            .refuses(&[409]),
        update_stage,
    )
    .add(
        Op::delete(STAGE, "delete_lead_stage", change, "Delete a stage in which no lead is").refuses(&[409]),
        remove_stage,
    );
}

async fn list(ctx: Ctx, query: Query) -> Result<web::Json<Page<Shaped<Pipeline>>>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| leads::list_pipelines(t, &query.0).await).await?))
}

async fn create(ctx: Ctx, json: Json) -> Result<HttpResponse, Problem> {
    let pipeline = ctx.tenant(async |t| leads::create_pipeline(t, body::parse(json.0)?).await).await?;
    Ok(created("leads/pipelines", &pipeline.base, &pipeline))
}

async fn find(ctx: Ctx, id: Pk, view: View) -> Result<HttpResponse, Problem> {
    let (base, pipeline) = ctx
        .tenant(async |t| {
            let pipeline = leads::find_pipeline(t, id.0).await?;
            Ok((pipeline.base.clone(), view.shape(t, &PIPELINES, pipeline).await?))
        })
        .await?;
    // Its stages change without it, and so do its leads.
    Ok(view.composed(&base, &pipeline))
}

async fn update(ctx: Ctx, id: Pk, change: Change, view: View) -> Result<HttpResponse, Problem> {
    let pipeline = ctx.tenant(async |t| leads::update_pipeline(t, id.0, change.0).await).await?;
    Ok(view.ok(&pipeline.base, &pipeline))
}

async fn remove(ctx: Ctx, id: Pk, condition: IfMatch) -> Result<HttpResponse, Problem> {
    ctx.tenant(async |t| leads::delete_pipeline(t, id.0, &condition.0).await).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn list_stages(ctx: Ctx, id: Pk, query: Query) -> Result<web::Json<Page<Shaped<LeadStage>>>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| leads::list_stages(t, id.0, &query.0).await).await?))
}

async fn create_stage(ctx: Ctx, id: Pk, json: Json) -> Result<HttpResponse, Problem> {
    let stage = ctx
        .tenant(async |t| {
            // Whether the pipeline is there goes before what the body says.
            leads::find_pipeline(t, id.0).await?;
            leads::create_stage(t, id.0, body::parse(json.0)?).await
        })
        .await?;
    Ok(created("leads/stages", &stage.base, &stage))
}

async fn reorder(ctx: Ctx, id: Pk, json: Json) -> Result<HttpResponse, Problem> {
    let pipeline = ctx
        .tenant(async |t| {
            leads::find_pipeline(t, id.0).await?;
            leads::reorder_stages(t, id.0, &body::parse::<StageOrder>(json.0)?).await
        })
        .await?;
    Ok(HttpResponse::Ok().json(pipeline))
}

async fn find_stage(ctx: Ctx, id: Pk, view: View) -> Result<HttpResponse, Problem> {
    let (base, stage) = ctx
        .tenant(async |t| {
            let stage = leads::find_stage(t, id.0).await?;
            Ok((stage.base.clone(), view.shape(t, &STAGES, stage).await?))
        })
        .await?;
    // Its leads come and go without it.
    Ok(view.composed(&base, &stage))
}

async fn update_stage(ctx: Ctx, id: Pk, change: Change, view: View) -> Result<HttpResponse, Problem> {
    let stage = ctx.tenant(async |t| leads::update_stage(t, id.0, change.0).await).await?;
    Ok(view.ok(&stage.base, &stage))
}

async fn remove_stage(ctx: Ctx, id: Pk, condition: IfMatch) -> Result<HttpResponse, Problem> {
    ctx.tenant(async |t| leads::delete_stage(t, id.0, &condition.0).await).await?;
    Ok(HttpResponse::NoContent().finish())
}
