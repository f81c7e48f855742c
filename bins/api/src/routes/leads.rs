use actix_web::{HttpResponse, web};
use crm_leads::{LEADS, Lead, LeadFields};
use crm_records::RecordInput;
use crm_records::list::{Page, Shaped};

use super::records::record_routes;
use crate::extract::{Change, Ctx, IfMatch, Json, Pk, Query, View, created};
use crate::operation::Permit::Permission;
use crate::operation::{Op, Routes};
use crate::problem::Problem;

pub(super) fn routes(r: &mut Routes) {
    let view = Permission(LEADS.view);
    let change = Permission(LEADS.change);
    r.add(
        Op::get(
            "/api/leads/",
            "list_leads",
            view,
            "List leads, without converted ones unless status is given",
        )
        .lists(LEADS.resource)
        .answers_page::<Lead>(),
        list,
    )
    .add(
        Op::post("/api/leads/", "create_lead", Permission("leads.add_lead"), "Add a lead")
            .takes_record::<LeadFields>()
            .answers::<Lead>(201)
            .refuses(&[409]),
        create,
    )
    .add(
        Op::get("/api/leads/{id}/", "get_lead", view, "One lead").shaped(LEADS.resource).answers::<Lead>(200),
        find,
    )
    .add(
        Op::put("/api/leads/{id}/", "replace_lead", change, "Replace a lead: what is left out is cleared")
            .takes_record::<LeadFields>()
            .answers::<Lead>(200)
            .refuses(&[409]),
        update,
    )
    .add(
        Op::patch("/api/leads/{id}/", "change_lead", change, "Change a lead: what is left out stays")
            .takes_record::<LeadFields>()
            .answers::<Lead>(200)
            .refuses(&[409]),
        update,
    )
    .add(
        Op::delete("/api/leads/{id}/", "delete_lead", Permission("leads.delete_lead"), "Delete a lead"),
        delete,
    );
    record_routes!(r, "leads", "lead", LEADS);
}

async fn list(ctx: Ctx, query: Query) -> Result<web::Json<Page<Shaped<Lead>>>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| crm_leads::list(t, &query.0).await).await?))
}

async fn create(ctx: Ctx, body: Json) -> Result<HttpResponse, Problem> {
    let lead = ctx.tenant(async |t| crm_leads::create(t, RecordInput::parse(body.0)?).await).await?;
    Ok(created("leads", &lead.base, &lead))
}

async fn find(ctx: Ctx, id: Pk, view: View) -> Result<HttpResponse, Problem> {
    let (base, lead) = ctx
        .tenant(async |t| {
            let lead = crm_leads::find(t, id.0).await?;
            Ok((lead.base.clone(), view.shape(t, &LEADS.resource, lead).await?))
        })
        .await?;
    Ok(view.ok(&base, &lead))
}

async fn update(ctx: Ctx, id: Pk, change: Change, view: View) -> Result<HttpResponse, Problem> {
    let lead = ctx.tenant(async |t| crm_leads::update(t, id.0, change.0).await).await?;
    Ok(view.ok(&lead.base, &lead))
}

async fn delete(ctx: Ctx, id: Pk, condition: IfMatch) -> Result<HttpResponse, Problem> {
    ctx.tenant(async |t| crm_leads::delete(t, id.0, &condition.0).await).await?;
    Ok(HttpResponse::NoContent().finish())
}
