use actix_web::web;
use crm_accounts::{ACCOUNTS, Accounts, Rollups};

use super::records::{merge_routes, module_routes};
use crate::extract::{Ctx, Pk};
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
    );
}

async fn rollups(ctx: Ctx, id: Pk) -> Result<web::Json<Rollups>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| crm_accounts::rollups(t, id.0).await).await?))
}
