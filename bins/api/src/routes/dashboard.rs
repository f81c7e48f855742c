use actix_web::web;
use crm_dashboard::{ACTIVITY_PARAMETERS, Activity, Dashboard, TODAY_PARAMETERS, Today};
use crm_records::list::Page;

use super::TARGETS;
use crate::extract::{Ctx, Query};
use crate::operation::Permit::Member;
use crate::operation::{Op, Routes};
use crate::problem::Problem;

pub(super) fn routes(r: &mut Routes) {
    r.add(
        Op::get(
            "/api/dashboard/",
            "get_dashboard",
            Member,
            "Figures about what the caller may see, each with the list that it summarises",
        )
        .answers::<Dashboard>(200),
        overview,
    )
    .add(
        Op::get("/api/dashboard/today/", "get_today", Member, "What to do today, the most pressing first")
            .takes_query(TODAY_PARAMETERS)
            .answers::<Today>(200)
            .refuses(&[400]),
        today,
    )
    .add(
        Op::get(
            "/api/activities/",
            "list_activities",
            Member,
            "What happened lately to the records that the caller may see, newest first",
        )
        .takes_query(ACTIVITY_PARAMETERS)
        .answers_page::<Activity>()
        .refuses(&[400]),
        activities,
    );
}

async fn overview(ctx: Ctx) -> Result<web::Json<Dashboard>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| crm_dashboard::overview(t, TARGETS).await).await?))
}

async fn today(ctx: Ctx, query: Query) -> Result<web::Json<Today>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| crm_dashboard::today(t, TARGETS, &query.0).await).await?))
}

async fn activities(ctx: Ctx, query: Query) -> Result<web::Json<Page<Activity>>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| crm_dashboard::activities(t, TARGETS, &query.0).await).await?))
}
