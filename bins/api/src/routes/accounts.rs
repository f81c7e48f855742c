use actix_web::{HttpResponse, web};
use crm_accounts::messages::{self, AccountMessage, AccountMessageDetail, MESSAGES, NewAccountMessage};
use crm_accounts::{ACCOUNTS, Accounts, Rollups};
use crm_records::list::{Page, Shaped};

use super::records::{merge_routes, module_routes};
use crate::extract::{Ctx, Json, Pk, Query, created};
use crate::operation::{Op, Permit::Permission, Routes};
use crate::problem::Problem;

pub(super) fn routes(r: &mut Routes) {
    module_routes!(r, Accounts, "accounts", "account", list: "List accounts");
    merge_routes!(r, Accounts, "accounts", "account");
    r.add(
        Op::get(
            "/api/accounts/{id}/rollups/",
            "get_account_rollups",
            Permission(ACCOUNTS.view),
            "What the deals of an account come to: of those that the caller may look at",
        )
        .answers::<Rollups>(200)
        .refuses(&[410]),
        rollups,
    )
    .add(
        Op::post(
            "/api/accounts/{id}/create_mail/",
            "write_to_account",
            Permission(ACCOUNTS.change),
            "Write to people of an account, at once or later; the id is the account's",
        )
        .takes::<NewAccountMessage>()
        .answers::<AccountMessageDetail>(201)
        .refuses(&[410, 429]),
        write,
    )
    .add(
        Op::get(
            "/api/accounts/{id}/mails/",
            "list_account_mails",
            Permission(ACCOUNTS.view),
            "What was written to people of an account; the id is the account's",
        )
        .lists(MESSAGES)
        .answers_page::<AccountMessage>(),
        list_messages,
    )
    .add(
        Op::get(
            "/api/accounts/mails/{id}/",
            "get_account_mail",
            Permission(ACCOUNTS.view),
            "One message to people of an account, with how far each copy has come",
        )
        .answers::<AccountMessageDetail>(200),
        find_message,
    )
    .add(
        Op::post(
            "/api/accounts/mails/{id}/cancel/",
            "cancel_account_mail",
            Permission(ACCOUNTS.change),
            "Take a message back before it leaves",
        )
        .answers::<AccountMessageDetail>(200)
        .refuses(&[409]),
        cancel_message,
    );
}

async fn write(ctx: Ctx, id: Pk, body: Json) -> Result<HttpResponse, Problem> {
    let made = ctx.tenant(async |t| messages::write(t, id.0, body.0).await).await?;
    Ok(created("accounts/mails", &made.message.base, &made))
}

async fn list_messages(
    ctx: Ctx,
    id: Pk,
    query: Query,
) -> Result<web::Json<Page<Shaped<AccountMessage>>>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| messages::list(t, id.0, &query.0).await).await?))
}

async fn find_message(ctx: Ctx, id: Pk) -> Result<web::Json<AccountMessageDetail>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| messages::find(t, id.0).await).await?))
}

async fn cancel_message(ctx: Ctx, id: Pk) -> Result<web::Json<AccountMessageDetail>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| messages::cancel(t, id.0).await).await?))
}

async fn rollups(ctx: Ctx, id: Pk) -> Result<web::Json<Rollups>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| crm_accounts::rollups(t, id.0).await).await?))
}
