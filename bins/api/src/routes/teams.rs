use actix_web::{HttpResponse, web};
use crm_core::body;
use crm_records::list::{Page, Shaped};
use crm_teams::{self as teams, TEAMS, Team, TeamFields};

use super::records::history_route;
use crate::extract::{Change, Ctx, IfMatch, Json, Pk, Query, View, created};
use crate::operation::Permit::Permission;
use crate::operation::{Op, Routes};
use crate::problem::Problem;

pub(super) fn routes(r: &mut Routes) {
    let (view, change) = (Permission("teams.view_team"), Permission("teams.change_team"));
    r.add(Op::get("/api/teams/", "list_teams", view, "List teams").lists(TEAMS).answers_page::<Team>(), list)
        .add(
            Op::post("/api/teams/", "create_team", Permission("teams.add_team"), "Make a team")
                .takes::<TeamFields>()
                .answers::<Team>(201)
                .refuses(&[409]),
            create,
        )
        .add(
            Op::get("/api/teams/{id}/", "get_team", view, "One team").shaped(TEAMS).answers::<Team>(200),
            find,
        )
        .add(
            Op::put("/api/teams/{id}/", "replace_team", change, "Replace a team")
                .takes::<TeamFields>()
                .answers::<Team>(200)
                .refuses(&[409]),
            update,
        )
        .add(
            Op::patch("/api/teams/{id}/", "change_team", change, "Change a team")
                .takes::<TeamFields>()
                .answers::<Team>(200)
                .refuses(&[409]),
            update,
        )
        .add(
            Op::delete(
                "/api/teams/{id}/",
                "delete_team",
                Permission("teams.delete_team"),
                "Delete a team to which no record is assigned",
            ),
            delete,
        );
    history_route!(r, "/api/teams/", "team", view, teams::find);
}

async fn list(ctx: Ctx, query: Query) -> Result<web::Json<Page<Shaped<Team>>>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| teams::list(t, &query.0).await).await?))
}

async fn create(ctx: Ctx, json: Json) -> Result<HttpResponse, Problem> {
    let team = ctx.tenant(async |t| teams::create(t, body::parse(json.0)?).await).await?;
    Ok(created("teams", &team.base, &team))
}

async fn find(ctx: Ctx, id: Pk, view: View) -> Result<HttpResponse, Problem> {
    let (base, team) = ctx
        .tenant(async |t| {
            let team = teams::find(t, id.0).await?;
            Ok((team.base.clone(), view.shape(t, &TEAMS, team).await?))
        })
        .await?;
    Ok(view.ok(&base, &team))
}

async fn update(ctx: Ctx, id: Pk, change: Change, view: View) -> Result<HttpResponse, Problem> {
    let team = ctx.tenant(async |t| teams::update(t, id.0, change.0).await).await?;
    Ok(view.ok(&team.base, &team))
}

async fn delete(ctx: Ctx, id: Pk, condition: IfMatch) -> Result<HttpResponse, Problem> {
    ctx.tenant(async |t| teams::delete(t, id.0, &condition.0).await).await?;
    Ok(HttpResponse::NoContent().finish())
}
