use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use crm_core::body::{self, Object};
use crm_notifications::feed::{self, ReadAll, Unread};
use crm_notifications::preferences::{self, Preferences};
use crm_notifications::{NOTIFICATIONS, Notification};
use crm_records::list::{Page, Shaped};
use futures_util::future::LocalBoxFuture;

use crate::extract::{Ctx, Json, Pk, Query};
use crate::operation::Permit::Member;
use crate::operation::{Op, Routes};
use crate::problem::Problem;

mod stream;

pub(super) fn routes(r: &mut Routes) {
    r.add(
        Op::get("/api/notifications/", "list_notifications", Member, "One's own notifications, newest first")
            .lists(NOTIFICATIONS)
            .answers_page::<Notification>(),
        list,
    )
    .add(
        Op::get(
            "/api/notifications/unread-count/",
            "count_unread_notifications",
            Member,
            "How many of one's own notifications are unread",
        )
        .answers::<Unread>(200),
        unread,
    )
    .add(
        Op::get(
            "/api/notifications/stream/",
            "stream_notifications",
            Member,
            "One's own notifications as they come, as server-sent events",
        )
        .answers_bytes("text/event-stream"),
        stream::open,
    )
    .add(
        Op::post(
            "/api/notifications/{id}/read/",
            "read_notification",
            Member,
            "Mark a notification as read; the first time counts",
        ),
        read,
    )
    .add(
        Op::post(
            "/api/notifications/read-all/",
            "read_all_notifications",
            Member,
            "Mark one's own notifications as read; the body may be left out",
        )
        .takes::<ReadAll>(),
        read_all,
    )
    .add(
        Op::delete("/api/notifications/{id}/", "delete_notification", Member, "Delete a notification")
            .unversioned(),
        delete,
    )
    .add(
        Op::get(
            "/api/notifications/preferences/",
            "get_notification_preferences",
            Member,
            "How one is told of what happens",
        )
        .answers::<Preferences>(200),
        preferences,
    )
    .add(
        Op::patch(
            "/api/notifications/preferences/",
            "change_notification_preferences",
            Member,
            "Change how one is told of what happens",
        )
        .unversioned()
        .takes::<Preferences>()
        .answers::<Preferences>(200),
        change_preferences,
    );
}

async fn list(ctx: Ctx, query: Query) -> Result<web::Json<Page<Shaped<Notification>>>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| feed::list(t, &query.0).await).await?))
}

async fn unread(ctx: Ctx) -> Result<web::Json<Unread>, Problem> {
    Ok(web::Json(ctx.tenant(feed::unread).await?))
}

async fn read(ctx: Ctx, id: Pk) -> Result<HttpResponse, Problem> {
    ctx.tenant(async |t| feed::read(t, id.0).await).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn read_all(ctx: Ctx, json: Optional) -> Result<HttpResponse, Problem> {
    ctx.tenant(async |t| {
        let which: ReadAll = body::parse(json.0)?;
        feed::read_all(t, which).await
    })
    .await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn delete(ctx: Ctx, id: Pk) -> Result<HttpResponse, Problem> {
    ctx.tenant(async |t| feed::delete(t, id.0).await).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn preferences(ctx: Ctx) -> Result<web::Json<Preferences>, Problem> {
    Ok(web::Json(ctx.tenant(preferences::find).await?))
}

async fn change_preferences(ctx: Ctx, json: Json) -> Result<web::Json<Preferences>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| preferences::update(t, json.0).await).await?))
}

/// A body that may be left out, which is an empty object then.
struct Optional(Object);

impl FromRequest for Optional {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let headers = req.headers();
        let is_empty = headers.get(CONTENT_LENGTH).is_none_or(|length| length == "0");
        if is_empty && !headers.contains_key(TRANSFER_ENCODING) && !headers.contains_key(CONTENT_TYPE) {
            return Box::pin(std::future::ready(Ok(Self(Object::new()))));
        }
        let body = Json::from_request(req, payload);
        Box::pin(async move { Ok(Self(body.await?.0)) })
    }
}
