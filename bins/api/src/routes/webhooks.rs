use actix_web::{HttpResponse, web};
use crm_core::body;
use crm_records::list::{Page, Shaped};
use crm_webhooks::{DELIVERIES, Delivery, NewWebhook, RotatedSecret, WEBHOOKS, Webhook, WebhookFields};

use crate::extract::{Change, Ctx, IfMatch, Json, Pk, Query, View, created};
use crate::operation::Permit::Permission;
use crate::operation::{Op, Routes};
use crate::problem::Problem;

pub(super) fn routes(r: &mut Routes) {
    let (view, change) = (Permission("webhooks.view_webhook"), Permission("webhooks.change_webhook"));
    r.add(
        Op::get("/api/webhooks/", "list_webhooks", view, "List webhooks")
            .lists(WEBHOOKS)
            .answers_page::<Webhook>(),
        list,
    )
    .add(
        Op::post(
            "/api/webhooks/",
            "create_webhook",
            Permission("webhooks.add_webhook"),
            "Make a webhook; its secret is shown this once",
        )
        .takes::<WebhookFields>()
        .answers::<NewWebhook>(201)
        .refuses(&[409]),
        create,
    )
    .add(
        Op::get("/api/webhooks/{id}/", "get_webhook", view, "One webhook")
            .shaped(WEBHOOKS)
            .answers::<Webhook>(200),
        find,
    )
    .add(
        Op::put("/api/webhooks/{id}/", "replace_webhook", change, "Replace a webhook; its secret stays")
            .takes::<WebhookFields>()
            .answers::<Webhook>(200),
        update,
    )
    .add(
        Op::patch("/api/webhooks/{id}/", "change_webhook", change, "Change a webhook; its secret stays")
            .takes::<WebhookFields>()
            .answers::<Webhook>(200),
        update,
    )
    .add(
        Op::delete(
            "/api/webhooks/{id}/",
            "delete_webhook",
            Permission("webhooks.delete_webhook"),
            "Delete a webhook with its deliveries",
        ),
        delete,
    )
    .add(
        Op::post(
            "/api/webhooks/{id}/rotate-secret/",
            "rotate_webhook_secret",
            change,
            "Give a webhook another secret, shown this once; the one before signs as well for a day",
        )
        .answers::<RotatedSecret>(200),
        rotate_secret,
    )
    .add(
        Op::post("/api/webhooks/{id}/test/", "test_webhook", change, "Send a webhook the event webhook.test")
            .answers::<Delivery>(202)
            .refuses(&[409]),
        test,
    )
    .add(
        Op::get(
            "/api/webhooks/{id}/deliveries/",
            "list_webhook_deliveries",
            view,
            "What was sent to a webhook in the last 30 days, with every attempt",
        )
        .lists(DELIVERIES)
        .answers_page::<Delivery>(),
        deliveries,
    )
    .add(
        Op::post(
            "/api/webhooks/deliveries/{id}/redeliver/",
            "redeliver_webhook_delivery",
            change,
            "Send a delivery again; the id is the delivery's",
        )
        .answers::<Delivery>(202)
        .refuses(&[409]),
        redeliver,
    );
}

async fn list(ctx: Ctx, query: Query) -> Result<web::Json<Page<Shaped<Webhook>>>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| ctx.state.webhooks.list(t, &query.0).await).await?))
}

async fn create(ctx: Ctx, json: Json) -> Result<HttpResponse, Problem> {
    // A token is refused whatever it sends.
    ctx.session()?;
    let webhooks = &ctx.state.webhooks;
    let made = ctx.tenant(async |t| webhooks.create(t, &ctx.client, body::parse(json.0)?).await).await?;
    Ok(created("webhooks", &made.webhook.base, &made))
}

async fn find(ctx: Ctx, id: Pk, view: View) -> Result<HttpResponse, Problem> {
    let (base, webhook) = ctx
        .tenant(async |t| {
            let webhook = ctx.state.webhooks.find(t, id.0).await?;
            Ok((webhook.base.clone(), view.shape(t, &WEBHOOKS, webhook).await?))
        })
        .await?;
    Ok(view.composed(&base, &webhook))
}

async fn update(ctx: Ctx, id: Pk, change: Change, view: View) -> Result<HttpResponse, Problem> {
    let webhooks = &ctx.state.webhooks;
    let webhook = ctx.tenant(async |t| webhooks.update(t, &ctx.client, id.0, change.0).await).await?;
    Ok(view.composed(&webhook.base, &webhook))
}

async fn delete(ctx: Ctx, id: Pk, condition: IfMatch) -> Result<HttpResponse, Problem> {
    let webhooks = &ctx.state.webhooks;
    ctx.tenant(async |t| webhooks.delete(t, &ctx.client, id.0, &condition.0).await).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn rotate_secret(ctx: Ctx, id: Pk) -> Result<web::Json<RotatedSecret>, Problem> {
    let webhooks = &ctx.state.webhooks;
    Ok(web::Json(ctx.tenant(async |t| webhooks.rotate_secret(t, &ctx.client, id.0).await).await?))
}

async fn test(ctx: Ctx, id: Pk) -> Result<HttpResponse, Problem> {
    let delivery = ctx.tenant(async |t| ctx.state.webhooks.test(t, id.0).await).await?;
    Ok(HttpResponse::Accepted().json(delivery))
}

async fn deliveries(ctx: Ctx, id: Pk, query: Query) -> Result<web::Json<Page<Shaped<Delivery>>>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| ctx.state.webhooks.deliveries(t, id.0, &query.0).await).await?))
}

async fn redeliver(ctx: Ctx, id: Pk) -> Result<HttpResponse, Problem> {
    let delivery = ctx.tenant(async |t| ctx.state.webhooks.redeliver(t, id.0).await).await?;
    Ok(HttpResponse::Accepted().json(delivery))
}
