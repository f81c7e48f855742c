use actix_web::web;
use crm_webhooks::feed::{self, ChangeFeed};

use super::TARGETS;
use crate::extract::{Ctx, Query};
use crate::operation::{Op, Permit, Routes};
use crate::problem::Problem;

pub(super) fn routes(r: &mut Routes) {
    r.add(
        Op::get(
            "/api/changes/",
            "read_changes",
            Permit::Member,
            "Every change of the records that one may see all of, each once, in the order in which it became certain",
        )
        .takes_query(feed::PARAMETERS)
        .answers::<ChangeFeed>(200)
        .refuses(&[400, 403]),
        read,
    );
}

async fn read(ctx: Ctx, query: Query) -> Result<web::Json<ChangeFeed>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| feed::read(t, TARGETS, &query.0).await).await?))
}
