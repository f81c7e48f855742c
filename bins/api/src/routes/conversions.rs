//! The conversion of leads.

use actix_web::{HttpResponse, web};
use crm_core::body;
use crm_leads::{LEADS, Lead};
use crm_sales::{Conversion, ConversionRequest, Leads};

use crate::extract::{Ctx, Json, Pk, View};
use crate::operation::Permit::Permission;
use crate::operation::{Op, Routes};
use crate::problem::Problem;

pub(super) fn routes(r: &mut Routes) {
    let change = Permission(LEADS.change);
    r.add(
        Op::post(
            "/api/leads/{id}/convert/",
            "convert_lead",
            change,
            "Make an account, a contact and an opportunity of a lead; answered the same again when it is converted already",
        )
        .takes::<ConversionRequest>()
        .answers::<Conversion>(200)
        .refuses(&[410]),
        convert,
    )
    .add(
        Op::post(
            "/api/leads/{id}/unconvert/",
            "unconvert_lead",
            change,
            "Undo a conversion while nobody has used what it made",
        )
        .answers::<Lead>(200)
        .refuses(&[410]),
        unconvert,
    )
    .add(
        Op::get(
            "/api/leads/{id}/conversion/",
            "get_lead_conversion",
            Permission(LEADS.view),
            "What became of a lead",
        )
        .answers::<Conversion>(200)
        .refuses(&[410]),
        find,
    );
}

async fn convert(ctx: Ctx, id: Pk, json: Json) -> Result<web::Json<Conversion>, Problem> {
    let conversion = ctx
        .tenant(async |t| {
            // Whether the lead is there goes before what the body says.
            LEADS.check_view(t, id.0).await?;
            let request: ConversionRequest = body::parse(json.0)?;
            crm_sales::convert(t, id.0, request).await
        })
        .await?;
    Ok(web::Json(conversion))
}

async fn unconvert(ctx: Ctx, id: Pk, view: View) -> Result<HttpResponse, Problem> {
    let lead = ctx.tenant(async |t| crm_sales::unconvert(t, id.0).await).await?;
    Ok(view.of::<Leads>(&lead))
}

async fn find(ctx: Ctx, id: Pk) -> Result<web::Json<Conversion>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| crm_sales::find_conversion(t, id.0).await).await?))
}
