//! Members of the organization ("profiles"): the id is the membership's everywhere.

use actix_web::{HttpResponse, web};
use crm_core::body;
use crm_identity::members::{self, MEMBERS, Member, MemberFields, Roster, StatusChange};
use crm_identity::profile::{self, Profile, ProfileFields};
use crm_identity::{AcceptInvitation, Invite, SignedIn};
use crm_records::list::{Page, Shaped};

use super::records::history_route;
use crate::extract::{Anonymous, Change, Ctx, IfMatch, Json, Pk, Query, View, created};
use crate::operation::Permit::{Member as AnyMember, Permission, Public, SignedIn as Anyone};
use crate::operation::{Op, Routes};
use crate::problem::Problem;

pub(super) fn routes(r: &mut Routes) {
    let (view, change) = (Permission("users.view_user"), Permission("users.change_user"));
    history_route!(r, "/api/user/", "user", view, members::find);
    r.add(
        Op::get("/api/users/", "list_users", view, "List the members, invited ones among them")
            .lists(MEMBERS)
            .answers_page::<Member>(),
        list,
    )
    .add(
        Op::post("/api/users/", "invite_user", Permission("users.add_user"), "Invite somebody by mail")
            .takes::<Invite>()
            .answers::<Member>(201)
            .refuses(&[409]),
        invite,
    )
    .add(
        Op::get(
            "/api/users/get-teams-and-users/",
            "get_teams_and_users",
            AnyMember,
            "Active members and teams, for pickers",
        )
        .answers::<Roster>(200),
        roster,
    )
    .add(
        Op::get(
            "/api/user/{id}/",
            "get_user",
            AnyMember,
            "One member: oneself, or anybody with `users.view_user`",
        )
        .shaped(MEMBERS)
        .answers::<Member>(200),
        find,
    )
    .add(
        Op::put("/api/user/{id}/", "replace_user", change, "Replace what the organization says of a member")
            .takes::<MemberFields>()
            .answers::<Member>(200)
            .refuses(&[409]),
        update,
    )
    .add(
        Op::patch("/api/user/{id}/", "change_user", change, "Change what the organization says of a member")
            .takes::<MemberFields>()
            .answers::<Member>(200)
            .refuses(&[409]),
        update,
    )
    .add(
        Op::delete(
            "/api/user/{id}/",
            "remove_user",
            Permission("users.delete_user"),
            "End a membership; the account stays",
        )
        .refuses(&[409]),
        remove,
    )
    .add(
        Op::post(
            "/api/user/{id}/status/",
            "change_user_status",
            change,
            "Shut a member out, or let them in again",
        )
        .takes::<StatusChange>()
        .answers::<Member>(200)
        .refuses(&[409]),
        change_status,
    )
    .add(
        Op::get("/api/profile/", "get_profile", AnyMember, "One's own membership with its permissions")
            .answers::<Profile>(200),
        my_profile,
    )
    .add(
        Op::patch("/api/profile/", "change_profile", AnyMember, "Change one's own name and phone numbers")
            .takes::<ProfileFields>()
            .answers::<Profile>(200),
        change_profile,
    )
    .add(
        Op::get(
            "/api/auth/profile/",
            "get_auth_profile",
            AnyMember,
            "One's own membership with its permissions",
        )
        .answers::<Profile>(200),
        my_profile,
    )
    .add(
        Op::post("/api/profile/leave/", "leave_org", AnyMember, "Leave the organization").refuses(&[409]),
        leave,
    )
    .add(
        Op::post(
            "/api/auth/invitation/accept/",
            "accept_invitation",
            Anyone,
            "Accept an invitation with the invited address",
        )
        .takes::<AcceptInvitation>()
        .answers::<SignedIn>(200)
        .refuses(&[403]),
        accept,
    )
    .add(
        Op::post(
            "/api/auth/invitation/join/",
            "join_by_invitation",
            Public,
            "Accept an invitation by opening an account",
        )
        .takes::<AcceptInvitation>()
        .answers::<SignedIn>(201)
        .refuses(&[401]),
        join,
    );
}

async fn list(ctx: Ctx, query: Query) -> Result<web::Json<Page<Shaped<Member>>>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| members::list(t, &query.0).await).await?))
}

async fn invite(ctx: Ctx, json: Json) -> Result<HttpResponse, Problem> {
    let identity = &ctx.state.identity;
    let member = ctx.tenant(async |t| identity.invite(t, &ctx.client, body::parse(json.0)?).await).await?;
    Ok(created("user", &member.base, &member))
}

async fn roster(ctx: Ctx) -> Result<web::Json<Roster>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| members::roster(t).await).await?))
}

async fn find(ctx: Ctx, id: Pk, view: View) -> Result<HttpResponse, Problem> {
    let (base, member) = ctx
        .tenant(async |t| {
            let member = members::find(t, id.0).await?;
            Ok((member.base.clone(), view.shape(t, &MEMBERS, member).await?))
        })
        .await?;
    Ok(view.composed(&base, &member))
}

async fn update(ctx: Ctx, id: Pk, change: Change, view: View) -> Result<HttpResponse, Problem> {
    let member = ctx.tenant(async |t| members::update(t, &ctx.client, id.0, change.0).await).await?;
    Ok(view.ok(&member.base, &member))
}

async fn remove(ctx: Ctx, id: Pk, condition: IfMatch) -> Result<HttpResponse, Problem> {
    ctx.tenant(async |t| members::remove(t, &ctx.client, id.0, &condition.0).await).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn change_status(ctx: Ctx, id: Pk, json: Json) -> Result<web::Json<Member>, Problem> {
    let change = async |t: &mut crm_core::TenantTx| {
        members::find(t, id.0).await?;
        let wanted: StatusChange = body::parse(json.0)?;
        members::change_status(t, &ctx.client, id.0, wanted).await
    };
    Ok(web::Json(ctx.tenant(change).await?))
}

async fn my_profile(ctx: Ctx, view: View) -> Result<HttpResponse, Problem> {
    let profile = ctx.tenant(async |t| profile::find(t).await).await?;
    Ok(view.composed(&profile.member.base, &profile))
}

async fn change_profile(ctx: Ctx, change: Change, view: View) -> Result<HttpResponse, Problem> {
    let profile = ctx.tenant(async |t| profile::update(t, change.0).await).await?;
    Ok(view.composed(&profile.member.base, &profile))
}

async fn leave(ctx: Ctx) -> Result<HttpResponse, Problem> {
    ctx.tenant(async |t| members::leave(t, &ctx.client).await).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn accept(ctx: Ctx, json: Json) -> Result<web::Json<SignedIn>, Problem> {
    let accepted = body::parse(json.0)?;
    Ok(web::Json(ctx.state.identity.accept_invitation(&ctx.client, Some(ctx.session()?), accepted).await?))
}

async fn join(call: Anonymous, json: Json) -> Result<HttpResponse, Problem> {
    let joined = call.state.identity.accept_invitation(&call.client, None, body::parse(json.0)?).await?;
    Ok(HttpResponse::Created().json(joined))
}
