use actix_web::{HttpResponse, web};
use crm_core::body;
use crm_leads::{BOARD_PARAMETERS, LEAD_FILTERS, LEADS, Lead, LeadBoard, LeadMove};
use crm_sales::Leads;

use super::records::module_routes;
use crate::extract::{Change, Ctx, Pk, Query, View};
use crate::operation::Permit::Permission;
use crate::operation::{Op, Routes};
use crate::problem::Problem;

pub(super) fn routes(r: &mut Routes) {
    module_routes!(
        r,
        Leads,
        "leads",
        "lead",
        list: "List leads, without converted ones unless status is given",
        filters: &LEAD_FILTERS,
        // A file converts nothing: neither a new lead nor one that it changes.
        imported: crm_leads::Leads
    );
    r.add(
        Op::get(
            "/api/leads/kanban/",
            "get_lead_board",
            Permission(LEADS.view),
            "The board of statuses, or of a pipeline",
        )
        .boards::<Lead>(LEADS.resource)
        .takes_query(BOARD_PARAMETERS)
        .answers::<LeadBoard>(200)
        .refuses(&[404]),
        board,
    )
    .add(
        Op::patch(
            "/api/leads/{id}/move/",
            "move_lead",
            Permission(LEADS.change),
            "Move a lead's card on a board",
        )
        .takes::<LeadMove>()
        .answers::<Lead>(200)
        .refuses(&[409, 410]),
        move_card,
    );
}

async fn board(ctx: Ctx, query: Query) -> Result<web::Json<LeadBoard>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| crm_leads::kanban(t, &query.0).await).await?))
}

async fn move_card(ctx: Ctx, id: Pk, change: Change, view: View) -> Result<HttpResponse, Problem> {
    let crm_records::Edit { body, precondition, .. } = change.0;
    let lead = ctx
        .tenant(async |t| {
            // Whether the lead is there goes before what the body says.
            LEADS.check_view(t, id.0).await?;
            crm_sales::move_card(t, id.0, body::parse(body)?, &precondition).await
        })
        .await?;
    Ok(view.of::<Leads>(&lead))
}
