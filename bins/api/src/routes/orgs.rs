use actix_web::{HttpResponse, web};
use crm_core::{OrgId, body};
use crm_identity::OrgRole;
use crm_identity::orgs::{self, NewOrg, OrgFields, Organization};
use crm_records::list::Page;
use crm_records::usage::{self, Usage};

use crate::extract::{Change, Ctx, Json, Pk};
use crate::operation::Permit::{Member, Permission, SignedIn};
use crate::operation::{Op, Routes};
use crate::problem::Problem;
use crate::routes::versioned;

pub(super) fn routes(r: &mut Routes) {
    let change = Permission("org.change_org");
    r.add(
        Op::get("/api/org/", "list_my_orgs", SignedIn, "The organizations of whoever is signed in")
            .answers_page::<OrgRole>(),
        list,
    )
    .add(
        Op::post("/api/org/", "create_org", SignedIn, "Found an organization and become its administrator")
            .takes::<NewOrg>()
            .answers::<Organization>(201)
            .refuses(&[403]),
        create,
    )
    .add(
        Op::get("/api/org/{id}/", "get_org", Member, "The organization of the token")
            .answers::<Organization>(200),
        find,
    )
    .add(
        Op::put("/api/org/{id}/", "replace_org", change, "Replace the organization's data")
            .takes::<OrgFields>()
            .answers::<Organization>(200),
        update,
    )
    .add(
        Op::patch("/api/org/{id}/", "change_org", change, "Change the organization's data")
            .takes::<OrgFields>()
            .answers::<Organization>(200),
        update,
    )
    .add(
        Op::get("/api/org/settings/", "get_org_settings", Member, "The organization of the token")
            .answers::<Organization>(200),
        settings,
    )
    .add(
        Op::patch(
            "/api/org/settings/",
            "change_org_settings",
            change,
            "Change the organization of the token",
        )
        .takes::<OrgFields>()
        .answers::<Organization>(200),
        change_settings,
    )
    .add(
        Op::get("/api/org/storage/", "get_org_storage", Member, "How much the organization keeps in files")
            .answers::<Usage>(200),
        storage,
    );
}

async fn list(ctx: Ctx) -> Result<web::Json<Page<OrgRole>>, Problem> {
    let results = ctx.state.identity.my_organizations(ctx.session()?).await?;
    Ok(web::Json(Page { count: None, next: None, previous: None, results }))
}

async fn create(ctx: Ctx, json: Json) -> Result<HttpResponse, Problem> {
    let org = ctx.state.identity.create_org(&ctx.client, ctx.session()?, body::parse(json.0)?).await?;
    Ok(HttpResponse::Created()
        .insert_header(("Location", format!("/api/org/{}/", org.id)))
        .insert_header(versioned(org.version))
        .json(org))
}

async fn find(ctx: Ctx, id: Pk) -> Result<HttpResponse, Problem> {
    answer(ctx.tenant(async |t| orgs::find(t, OrgId(id.0)).await).await?)
}

async fn update(ctx: Ctx, id: Pk, change: Change) -> Result<HttpResponse, Problem> {
    let client = ctx.client.clone();
    answer(ctx.tenant(async |t| orgs::update(t, &client, OrgId(id.0), change.0).await).await?)
}

async fn settings(ctx: Ctx) -> Result<HttpResponse, Problem> {
    answer(ctx.tenant(async |t| orgs::settings(t).await).await?)
}

async fn change_settings(ctx: Ctx, change: Change) -> Result<HttpResponse, Problem> {
    let client = ctx.client.clone();
    answer(ctx.tenant(async |t| orgs::change_settings(t, &client, change.0).await).await?)
}

async fn storage(ctx: Ctx) -> Result<web::Json<Usage>, Problem> {
    let quota = ctx.state.storage_quota_bytes;
    Ok(web::Json(ctx.tenant(async |t| usage::find(t, quota).await).await?))
}

fn answer(org: Organization) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().insert_header(versioned(org.version)).json(org))
}
