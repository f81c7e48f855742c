use actix_web::{HttpResponse, web};
use crm_core::body;
use crm_identity::roles::{self, ROLES, Role, RoleFields};
use crm_records::list::{Page, Shaped};

use crate::extract::{Change, Ctx, IfMatch, Json, Pk, Query, View, created};
use crate::operation::Permit::Permission;
use crate::operation::{Op, Routes};
use crate::problem::Problem;

pub(super) fn routes(r: &mut Routes) {
    let (view, change) = (Permission("roles.view_role"), Permission("roles.change_role"));
    r.add(
        Op::get("/api/roles/", "list_roles", view, "List roles, built-in ones among them")
            .lists(ROLES)
            .answers_page::<Role>(),
        list,
    )
    .add(
        Op::post("/api/roles/", "create_role", Permission("roles.add_role"), "Define a role")
            .takes::<RoleFields>()
            .answers::<Role>(201)
            .refuses(&[409]),
        create,
    )
    .add(Op::get("/api/roles/{id}/", "get_role", view, "One role").shaped(ROLES).answers::<Role>(200), find)
    .add(
        Op::put("/api/roles/{id}/", "replace_role", change, "Replace a role; built-in ones stay as they are")
            .takes::<RoleFields>()
            .answers::<Role>(200)
            .refuses(&[409]),
        update,
    )
    .add(
        Op::patch("/api/roles/{id}/", "change_role", change, "Change a role; built-in ones stay as they are")
            .takes::<RoleFields>()
            .answers::<Role>(200)
            .refuses(&[409]),
        update,
    )
    .add(
        Op::delete(
            "/api/roles/{id}/",
            "delete_role",
            Permission("roles.delete_role"),
            "Delete a role that nobody has",
        )
        .refuses(&[409]),
        delete,
    );
}

async fn list(ctx: Ctx, query: Query) -> Result<web::Json<Page<Shaped<Role>>>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| roles::list(t, &query.0).await).await?))
}

async fn create(ctx: Ctx, json: Json) -> Result<HttpResponse, Problem> {
    let role = ctx.tenant(async |t| roles::create(t, &ctx.client, body::parse(json.0)?).await).await?;
    Ok(created("roles", &role.base, &role))
}

async fn find(ctx: Ctx, id: Pk, view: View) -> Result<HttpResponse, Problem> {
    let (base, role) = ctx
        .tenant(async |t| {
            let role = roles::find(t, id.0).await?;
            Ok((role.base.clone(), view.shape(t, &ROLES, role).await?))
        })
        .await?;
    Ok(view.ok(&base, &role))
}

async fn update(ctx: Ctx, id: Pk, change: Change, view: View) -> Result<HttpResponse, Problem> {
    let role = ctx.tenant(async |t| roles::update(t, &ctx.client, id.0, change.0).await).await?;
    Ok(view.ok(&role.base, &role))
}

async fn delete(ctx: Ctx, id: Pk, condition: IfMatch) -> Result<HttpResponse, Problem> {
    ctx.tenant(async |t| roles::delete(t, &ctx.client, id.0, &condition.0).await).await?;
    Ok(HttpResponse::NoContent().finish())
}
