//! Platform administrators: every look they take at an organization is recorded.

use actix_web::web;
use crm_core::OrgId;
use crm_identity::platform::{self, PlatformOrg};
use crm_records::list::Page;

use crate::extract::{Ctx, Pk, Query};
use crate::operation::Permit::Platform;
use crate::operation::{Op, Routes};
use crate::problem::Problem;

pub(super) fn routes(r: &mut Routes) {
    let (view, change) = (Platform("platform.view_org"), Platform("platform.change_org"));
    r.add(
        Op::get("/api/platform/orgs/", "list_orgs", view, "Every organization, newest first")
            .takes_query(&[("limit", "Rows per page; 50 unless told."), ("cursor", "Taken from `next`.")])
            .answers_page::<PlatformOrg>(),
        list,
    )
    .add(
        Op::get("/api/platform/orgs/{id}/", "inspect_org", view, "One organization")
            .answers::<PlatformOrg>(200),
        find,
    )
    .add(
        Op::post(
            "/api/platform/orgs/{id}/suspend/",
            "suspend_org",
            change,
            "Shut everybody out of an organization",
        )
        .answers::<PlatformOrg>(200),
        suspend,
    )
    .add(
        Op::post("/api/platform/orgs/{id}/resume/", "resume_org", change, "Let everybody in again")
            .answers::<PlatformOrg>(200),
        resume,
    );
}

async fn list(ctx: Ctx, query: Query) -> Result<web::Json<Page<PlatformOrg>>, Problem> {
    Ok(web::Json(
        ctx.platform(async |p, admin| platform::list_orgs(p, &ctx.client, &admin, &query.0).await).await?,
    ))
}

async fn find(ctx: Ctx, id: Pk) -> Result<web::Json<PlatformOrg>, Problem> {
    let id = OrgId(id.0);
    Ok(web::Json(ctx.platform(async |p, admin| platform::find_org(p, &ctx.client, &admin, id).await).await?))
}

async fn suspend(ctx: Ctx, id: Pk) -> Result<web::Json<PlatformOrg>, Problem> {
    let id = OrgId(id.0);
    Ok(web::Json(
        ctx.platform(async |p, admin| platform::suspend_org(p, &ctx.client, &admin, id).await).await?,
    ))
}

async fn resume(ctx: Ctx, id: Pk) -> Result<web::Json<PlatformOrg>, Problem> {
    let id = OrgId(id.0);
    Ok(web::Json(
        ctx.platform(async |p, admin| platform::resume_org(p, &ctx.client, &admin, id).await).await?,
    ))
}
