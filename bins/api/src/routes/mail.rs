use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, web};
use crm_core::body;
use crm_mail::messages::{self, MAILS, Mail};
use crm_mail::suppressions::{self, NewSuppression, SUPPRESSIONS, Suppression};
use crm_records::list::{Page, Shaped};

use crate::extract::{Ctx, Json, Pk, Query};
use crate::operation::Permit::Permission;
use crate::operation::{Op, Routes};
use crate::problem::Problem;

pub(super) fn routes(r: &mut Routes) {
    r.add(
        Op::get(
            "/api/mail/messages/",
            "list_mails",
            Permission("mail.view_message"),
            "List what the organization has mailed, and how far it has come",
        )
        .lists(MAILS)
        .answers_page::<Mail>(),
        list_messages,
    )
    .add(
        Op::get(
            "/api/mail/suppressions/",
            "list_mail_suppressions",
            Permission("mail.view_suppression"),
            "List the addresses and domains that the organization does not mail to",
        )
        .lists(SUPPRESSIONS)
        .answers_page::<Suppression>(),
        list,
    )
    .add(
        Op::post(
            "/api/mail/suppressions/",
            "create_mail_suppression",
            Permission("mail.add_suppression"),
            "Stop mail to an address, or to a domain with its subdomains",
        )
        .takes::<NewSuppression>()
        .answers::<Suppression>(201)
        .refuses(&[409]),
        create,
    )
    .add(
        Op::delete(
            "/api/mail/suppressions/{id}/",
            "delete_mail_suppression",
            Permission("mail.delete_suppression"),
            "Allow mail there again",
        )
        .unversioned(),
        delete,
    );
}

async fn list_messages(ctx: Ctx, query: Query) -> Result<web::Json<Page<Shaped<Mail>>>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| messages::list(t, &query.0).await).await?))
}

async fn list(ctx: Ctx, query: Query) -> Result<web::Json<Page<Shaped<Suppression>>>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| suppressions::list(t, &query.0).await).await?))
}

async fn create(ctx: Ctx, json: Json) -> Result<HttpResponse, Problem> {
    let made = ctx.tenant(async |t| suppressions::create(t, body::parse(json.0)?).await).await?;
    let at = format!("/api/mail/suppressions/{}/", made.id);
    Ok(HttpResponse::Created().insert_header((LOCATION, at)).json(made))
}

async fn delete(ctx: Ctx, id: Pk) -> Result<HttpResponse, Problem> {
    ctx.tenant(async |t| suppressions::delete(t, id.0).await).await?;
    Ok(HttpResponse::NoContent().finish())
}
