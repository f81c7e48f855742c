use actix_web::{HttpResponse, web};
use crm_opportunities::aging::{self, StageAging};
use crm_opportunities::board::{self, Board, Move};
use crm_opportunities::goals::{self, GOALS, Goal, GoalFields, Leaderboard};
use crm_opportunities::lines::{self, LINES, Line, LineFields};
use crm_opportunities::sums::{self, Forecast, Totals};
use crm_opportunities::{FILTERS, OPPORTUNITIES, Opportunities, Opportunity};
use crm_records::list::{Page, Shaped};

use super::records::{history_route, module_routes};
use crate::extract::{AnyJson, Change, Ctx, IfMatch, Json, LinePk, Pk, Query, View, created};
use crate::operation::Permit::Permission;
use crate::operation::{Op, Routes};
use crate::problem::Problem;

const VIEW: crate::operation::Permit = Permission(OPPORTUNITIES.view);
const CHANGE: crate::operation::Permit = Permission(OPPORTUNITIES.change);

pub(super) fn routes(r: &mut Routes) {
    module_routes!(
        r,
        Opportunities,
        "opportunities",
        "opportunity",
        list: "List opportunities",
        filters: &FILTERS
    );
    line_routes(r);
    board_routes(r);
    goal_routes(r);
}

fn line_routes(r: &mut Routes) {
    let (all, one) = ("/api/opportunities/{id}/line-items/", "/api/opportunities/{id}/line-items/{line}/");
    r.add(
        Op::get(all, "list_opportunity_lines", VIEW, "The line items of one, in their order")
            .lists(LINES)
            .answers_page::<Line>(),
        async |ctx: Ctx, id: Pk, query: Query| -> Result<web::Json<Page<Shaped<Line>>>, Problem> {
            Ok(web::Json(ctx.tenant(async |t| lines::list(t, id.0, &query.0).await).await?))
        },
    )
    .add(
        Op::post(
            all,
            "add_opportunity_line",
            CHANGE,
            "Add a line item: the sum of them is the amount from then on",
        )
        .takes::<LineFields>()
        .answers::<Line>(201),
        async |ctx: Ctx, id: Pk, body: Json| -> Result<HttpResponse, Problem> {
            let line = ctx.tenant(async |t| lines::create(t, id.0, body.0).await).await?;
            Ok(created(&format!("opportunities/{}/line-items", id.0), &line.base, &line))
        },
    )
    .add(
        Op::get(one, "get_opportunity_line", VIEW, "One line item").shaped(LINES).answers::<Line>(200),
        async |ctx: Ctx, id: Pk, line: LinePk, view: View| -> Result<HttpResponse, Problem> {
            let found = ctx.tenant(async |t| {
                let line = lines::find(t, id.0, line.0).await?;
                Ok((line.base.clone(), view.shape(t, &LINES, line).await?))
            });
            let (base, line) = found.await?;
            Ok(view.ok(&base, &line))
        },
    )
    .add(
        Op::put(one, "replace_opportunity_line", CHANGE, "Replace a line item")
            .takes::<LineFields>()
            .answers::<Line>(200),
        change_line,
    )
    .add(
        Op::patch(one, "change_opportunity_line", CHANGE, "Change a line item")
            .takes::<LineFields>()
            .answers::<Line>(200),
        change_line,
    )
    .add(
        Op::delete(one, "delete_opportunity_line", CHANGE, "Delete a line item").refuses(&[422]),
        async |ctx: Ctx, id: Pk, line: LinePk, condition: IfMatch| -> Result<HttpResponse, Problem> {
            ctx.tenant(async |t| lines::delete(t, id.0, line.0, &condition.0).await).await?;
            Ok(HttpResponse::NoContent().finish())
        },
    );
}

async fn change_line(
    ctx: Ctx,
    id: Pk,
    line: LinePk,
    change: Change,
    view: View,
) -> Result<HttpResponse, Problem> {
    let line = ctx.tenant(async |t| lines::update(t, id.0, line.0, change.0).await).await?;
    Ok(view.ok(&line.base, &line))
}

fn board_routes(r: &mut Routes) {
    r.add(
        Op::get(
            "/api/opportunities/kanban/",
            "opportunity_board",
            VIEW,
            "A column for each stage, with the first of its deals",
        )
        .boards::<Opportunity>(OPPORTUNITIES.resource)
        .takes_query(&BOARD)
        .answers::<Board>(200),
        async |ctx: Ctx, query: Query| -> Result<web::Json<Board>, Problem> {
            Ok(web::Json(ctx.tenant(async |t| board::board(t, &query.0).await).await?))
        },
    )
    .add(
        Op::patch("/api/opportunities/{id}/move/", "move_opportunity", CHANGE, "Move one on the board")
            .takes::<Move>()
            .answers::<Opportunity>(200),
        async |ctx: Ctx, id: Pk, change: Change, view: View| -> Result<HttpResponse, Problem> {
            let deal = ctx.tenant(async |t| board::move_card(t, id.0, change.0).await).await?;
            Ok(view.of::<Opportunities>(&deal))
        },
    )
    .add(
        Op::get(
            "/api/opportunities/totals/",
            "opportunity_totals",
            VIEW,
            "What all the deals of a list come to, for each currency",
        )
        .narrows(OPPORTUNITIES.resource)
        .takes_query(&FILTERS)
        .answers::<Totals>(200),
        async |ctx: Ctx, query: Query| -> Result<web::Json<Totals>, Problem> {
            Ok(web::Json(ctx.tenant(async |t| sums::totals(t, &query.0).await).await?))
        },
    )
    .add(
        Op::get(
            "/api/opportunities/forecast/",
            "opportunity_forecast",
            VIEW,
            "What is hoped for: open deals by the month in which they are to close, for each currency",
        )
        .narrows(OPPORTUNITIES.resource)
        .takes_query(&AHEAD)
        .answers::<Forecast>(200),
        async |ctx: Ctx, query: Query| -> Result<web::Json<Forecast>, Problem> {
            Ok(web::Json(ctx.tenant(async |t| sums::forecast(t, &query.0).await).await?))
        },
    )
    .add(
        Op::get(
            "/api/opportunities/aging-config/",
            "get_stage_aging",
            Permission("pipelines.view_pipeline"),
            "In how many days deals are expected to leave each open stage",
        )
        .answers::<Vec<StageAging>>(200),
        async |ctx: Ctx| -> Result<web::Json<Vec<StageAging>>, Problem> {
            Ok(web::Json(ctx.tenant(aging::find).await?))
        },
    )
    .add(
        Op::put(
            "/api/opportunities/aging-config/",
            "set_stage_aging",
            Permission("pipelines.change_pipeline"),
            "Set that for the stages that are named; the others stay as they are",
        )
        .unversioned()
        .takes::<Vec<StageAging>>()
        .answers::<Vec<StageAging>>(200),
        async |ctx: Ctx, body: AnyJson| -> Result<web::Json<Vec<StageAging>>, Problem> {
            Ok(web::Json(ctx.tenant(async |t| aging::replace(t, body.0).await).await?))
        },
    );
}

const BOARD: [(&str, &str); 4] = {
    let [a, b] = board::PARAMETERS;
    let [c, d] = FILTERS;
    [a, b, c, d]
};

const AHEAD: [(&str, &str); 3] = {
    let [a] = sums::FORECAST;
    let [b, c] = FILTERS;
    [a, b, c]
};

fn goal_routes(r: &mut Routes) {
    let (all, one) = ("/api/opportunities/goals/", "/api/opportunities/goals/{id}/");
    let view = Permission("goals.view_goal");
    let change = Permission("goals.change_goal");
    history_route!(r, "/api/opportunities/goals/", "goal", view, goals::find);
    r.add(
        Op::get(all, "list_goals", view, "List sales goals")
            .lists(GOALS)
            .takes_query(goals::FILTERS)
            .answers_page::<Goal>(),
        async |ctx: Ctx, query: Query| -> Result<web::Json<Page<Shaped<Goal>>>, Problem> {
            Ok(web::Json(ctx.tenant(async |t| goals::list(t, &query.0).await).await?))
        },
    )
    .add(
        Op::post(all, "create_goal", Permission("goals.add_goal"), "Set a sales goal")
            .takes::<GoalFields>()
            .answers::<Goal>(201),
        async |ctx: Ctx, body: Json| -> Result<HttpResponse, Problem> {
            let goal = ctx.tenant(async |t| goals::create(t, body.0).await).await?;
            Ok(created("opportunities/goals", &goal.base, &goal))
        },
    )
    .add(
        Op::get(one, "get_goal", view, "One sales goal, with how far it has come")
            .shaped(GOALS)
            .answers::<Goal>(200),
        async |ctx: Ctx, id: Pk, view: View| -> Result<HttpResponse, Problem> {
            let found = ctx.tenant(async |t| {
                let goal = goals::find(t, id.0).await?;
                Ok((goal.base.clone(), view.shape(t, &GOALS, goal).await?))
            });
            let (base, goal) = found.await?;
            // Its progress moves with the deals.
            Ok(view.composed(&base, &goal))
        },
    )
    .add(
        Op::put(one, "replace_goal", change, "Replace a sales goal")
            .takes::<GoalFields>()
            .answers::<Goal>(200),
        change_goal,
    )
    .add(
        Op::patch(one, "change_goal", change, "Change a sales goal")
            .takes::<GoalFields>()
            .answers::<Goal>(200),
        change_goal,
    )
    .add(
        Op::delete(one, "delete_goal", Permission("goals.delete_goal"), "Delete a sales goal"),
        async |ctx: Ctx, id: Pk, condition: IfMatch| -> Result<HttpResponse, Problem> {
            ctx.tenant(async |t| goals::delete(t, id.0, &condition.0).await).await?;
            Ok(HttpResponse::NoContent().finish())
        },
    )
    .add(
        Op::get(
            "/api/opportunities/goals/leaderboard/",
            "goal_leaderboard",
            view,
            "The members whose goals are running, the one who has come farthest first",
        )
        .takes_query(goals::LEADERBOARD)
        .answers::<Leaderboard>(200),
        async |ctx: Ctx, query: Query| -> Result<web::Json<Leaderboard>, Problem> {
            Ok(web::Json(ctx.tenant(async |t| goals::leaderboard(t, &query.0).await).await?))
        },
    );
}

async fn change_goal(ctx: Ctx, id: Pk, change: Change, view: View) -> Result<HttpResponse, Problem> {
    let goal = ctx.tenant(async |t| goals::update(t, id.0, change.0).await).await?;
    Ok(view.composed(&goal.base, &goal))
}
