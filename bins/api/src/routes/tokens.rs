//! Personal access tokens: one's own, and what the organization sees of everybody's.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, web};
use crm_core::body;
use crm_identity::access_tokens::{
    self, AccessToken, CreatedAccessToken, NewAccessToken, OrgTokens, TOKENS, resource,
};
use crm_records::list::{Page, Shaped};

use crate::extract::{Ctx, Json, Pk, Query};
use crate::operation::Permit::{Member, Permission, Platform, Public};
use crate::operation::{Op, Routes};
use crate::problem::Problem;

pub(super) fn routes(r: &mut Routes) {
    r.add(
        Op::get(
            "/api/profile/tokens/",
            "list_tokens",
            Member,
            "One's own personal access tokens, newest first",
        )
        .lists(TOKENS)
        .answers_page::<AccessToken>(),
        list,
    )
    .add(
        Op::post(
            "/api/profile/tokens/",
            "create_token",
            Member,
            "Make a personal access token, which is shown this once",
        )
        .takes::<NewAccessToken>()
        .answers::<CreatedAccessToken>(201),
        create,
    )
    .add(
        Op::delete("/api/profile/tokens/{id}/", "revoke_token", Member, "Revoke a token of one's own")
            .unversioned(),
        revoke,
    )
    .add(
        Op::get(
            "/api/org/tokens/",
            "list_org_tokens",
            Permission("audit.view_audit"),
            "Every member's personal access tokens, with their owners and figures about all of them",
        )
        .lists(TOKENS)
        .answers::<OrgTokens>(200),
        list_all,
    )
    .add(
        Op::delete(
            "/api/org/tokens/{id}/",
            "revoke_org_token",
            Permission("org.change_org"),
            "Revoke a token of any member",
        )
        .unversioned(),
        revoke_any,
    );
}

/// The parts of the API that a scope can name: those of the operations that a member calls with a credential.
fn resources() -> &'static BTreeSet<&'static str> {
    static RESOURCES: LazyLock<BTreeSet<&'static str>> = LazyLock::new(|| {
        let routes = super::all();
        let called = routes.operations().iter().filter(|op| !matches!(op.permit, Public | Platform(_)));
        called.filter_map(|op| resource(op.path)).collect()
    });
    &RESOURCES
}

async fn list(ctx: Ctx, query: Query) -> Result<web::Json<Page<Shaped<AccessToken>>>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| access_tokens::list(t, &query.0).await).await?))
}

async fn create(ctx: Ctx, json: Json) -> Result<HttpResponse, Problem> {
    let created = ctx
        .tenant(async |t| access_tokens::create(t, &ctx.client, resources(), body::parse(json.0)?).await)
        .await?;
    let at = format!("/api/profile/tokens/{}/", created.access_token.id);
    Ok(HttpResponse::Created().insert_header((LOCATION, at)).json(created))
}

async fn revoke(ctx: Ctx, id: Pk) -> Result<HttpResponse, Problem> {
    ctx.tenant(async |t| access_tokens::revoke(t, &ctx.client, id.0).await).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn list_all(ctx: Ctx, query: Query) -> Result<web::Json<OrgTokens>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| access_tokens::list_all(t, &query.0).await).await?))
}

async fn revoke_any(ctx: Ctx, id: Pk) -> Result<HttpResponse, Problem> {
    ctx.tenant(async |t| access_tokens::revoke_any(t, &ctx.client, id.0).await).await?;
    Ok(HttpResponse::NoContent().finish())
}
