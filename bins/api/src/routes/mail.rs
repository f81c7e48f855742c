use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, web};
use crm_core::{Error, FieldCode, body};
use crm_mail::messages::{self, MAILS, Mail};
use crm_mail::senders::{self, NewSender, SENDERS, Sender, SenderCode};
use crm_mail::suppressions::{self, NewSuppression, SUPPRESSIONS, Suppression};
use crm_records::list::{Page, Shaped};

use crate::extract::{Ctx, Json, Pk, Query, created};
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
    )
    .add(
        Op::get(
            "/api/mail/senders/",
            "list_mail_senders",
            Permission("mail.view_sender"),
            "List the addresses that the organization sends from",
        )
        .lists(SENDERS)
        .answers_page::<Sender>(),
        list_senders,
    )
    .add(
        Op::post(
            "/api/mail/senders/",
            "create_mail_sender",
            Permission("mail.add_sender"),
            "Add an address to send from; a code is mailed to it",
        )
        .takes::<NewSender>()
        .answers::<Sender>(201)
        .refuses(&[409, 429]),
        create_sender,
    )
    .add(
        Op::post(
            "/api/mail/senders/{id}/verify/",
            "verify_mail_sender",
            Permission("mail.change_sender"),
            "Prove the address by the code that was mailed to it",
        )
        .takes::<SenderCode>()
        .answers::<Sender>(200),
        verify_sender,
    )
    .add(
        Op::delete(
            "/api/mail/senders/{id}/",
            "delete_mail_sender",
            Permission("mail.delete_sender"),
            "Take an address away: nothing is sent from it any more",
        )
        .unversioned(),
        delete_sender,
    );
}

async fn list_senders(ctx: Ctx, query: Query) -> Result<web::Json<Page<Shaped<Sender>>>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| senders::list(t, &query.0).await).await?))
}

async fn create_sender(ctx: Ctx, json: Json) -> Result<HttpResponse, Problem> {
    let made = ctx.tenant(async |t| senders::create(t, body::parse(json.0)?).await).await?;
    Ok(created("mail/senders", &made.base, &made))
}

/// A wrong code is counted, so the refusal comes after the commit.
async fn verify_sender(ctx: Ctx, id: Pk, json: Json) -> Result<web::Json<Sender>, Problem> {
    let found = ctx.tenant(async |t| senders::verify(t, id.0, json.0).await).await?;
    let wrong = || Error::field("code", FieldCode::InvalidValue, "is not the code that was mailed");
    Ok(web::Json(found.ok_or_else(wrong)?))
}

async fn delete_sender(ctx: Ctx, id: Pk) -> Result<HttpResponse, Problem> {
    ctx.tenant(async |t| senders::delete(t, id.0).await).await?;
    Ok(HttpResponse::NoContent().finish())
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
