//! The audit trail: of the organization for its administrators, of everything for platform administrators.

use actix_web::web;
use crm_identity::audit::{self, AuditEvent};
use crm_records::list::Page;

use crate::extract::{Ctx, Query};
use crate::operation::Permit::{Permission, Platform};
use crate::operation::{Op, Routes};
use crate::problem::Problem;

pub(super) fn routes(r: &mut Routes) {
    r.add(
        Op::get(
            "/api/audit/",
            "list_audit",
            Permission("audit.view_audit"),
            "What happened in the organization, newest first",
        )
        .takes_query(audit::PARAMETERS)
        .answers_page::<AuditEvent>(),
        list,
    )
    .add(
        Op::get(
            "/api/platform/audit/",
            "list_platform_audit",
            Platform("platform.view_audit"),
            "What happened anywhere, newest first",
        )
        .takes_query(audit::PLATFORM_PARAMETERS)
        .answers_page::<AuditEvent>(),
        list_all,
    );
}

type Events = Result<web::Json<Page<AuditEvent>>, Problem>;

async fn list(ctx: Ctx, query: Query) -> Events {
    Ok(web::Json(ctx.tenant(async |t| audit::list(t, &query.0).await).await?))
}

async fn list_all(ctx: Ctx, query: Query) -> Events {
    let read =
        async |p: &mut crm_core::PlatformTx, admin| audit::list_all(p, &ctx.client, &admin, &query.0).await;
    Ok(web::Json(ctx.platform(read).await?))
}
