//! Web forms: keys of web sites, and what these send.

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_TYPE, LOCATION, ORIGIN, REFERER};
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use crm_core::body::{self, Object};
use crm_core::{Code, Error, Result};
use crm_jobs::System;
use crm_records::list::{Page, Shaped};
use crm_web_forms::{
    self as web_forms, Accepted, IssuedWebForm, Submission, WEB_FORMS, WebForm, WebFormFields,
};
use futures_util::future::LocalBoxFuture;
use serde_json::Value;

use super::versioned;
use crate::extract::{Anonymous, Change, Ctx, IfMatch, Json, Pk, Query, View, created, in_time, read_body};
use crate::limits::Notes;
use crate::operation::Permit::{Permission, Public};
use crate::operation::{Op, Routes};
use crate::problem::Problem;

/// Where web sites send leads: pages of every origin may ask, because each form has origins of its own.
pub const SUBMIT: &str = "/api/leads/create-from-site/";

/// Another header for the key than the body's field.
const KEY: &str = "x-api-key";

pub(super) fn routes(r: &mut Routes) {
    let (view, change) = (Permission(WEB_FORMS.view), Permission(WEB_FORMS.change));
    r.add(
        Op::get("/api/api-settings/", "list_web_forms", view, "List the web forms, without their keys")
            .lists(WEB_FORMS.resource)
            .answers_page::<WebForm>(),
        list,
    )
    .add(
        Op::post(
            "/api/api-settings/",
            "create_web_form",
            Permission("web_forms.add_web_form"),
            "Make a web form; its key is shown this once",
        )
        .takes::<WebFormFields>()
        .answers::<IssuedWebForm>(201),
        create,
    )
    .add(
        Op::get("/api/api-settings/{id}/", "get_web_form", view, "One web form, without its key")
            .shaped(WEB_FORMS.resource)
            .answers::<WebForm>(200),
        find,
    )
    .add(
        Op::put("/api/api-settings/{id}/", "replace_web_form", change, "Replace a web form; its key stays")
            .takes::<WebFormFields>()
            .answers::<WebForm>(200),
        update,
    )
    .add(
        Op::patch("/api/api-settings/{id}/", "change_web_form", change, "Change a web form; its key stays")
            .takes::<WebFormFields>()
            .answers::<WebForm>(200),
        update,
    )
    .add(
        Op::delete(
            "/api/api-settings/{id}/",
            "delete_web_form",
            Permission("web_forms.delete_web_form"),
            "Delete a web form with its key; the leads that it brought stay",
        ),
        delete,
    )
    .add(
        Op::post(
            "/api/api-settings/{id}/rotate/",
            "rotate_web_form_key",
            change,
            "Give a web form another key, shown this once; the old one opens nothing any more",
        )
        .answers::<IssuedWebForm>(200),
        rotate,
    )
    .add(
        Op::post(
            SUBMIT,
            "create_lead_from_site",
            Public,
            "Send a lead from a web site, as JSON or as an HTML form does; with redirect the answer is a 303 to that page",
        )
        .takes::<Submission>()
        .answers::<Accepted>(202)
        .refuses(&[403, 415, 422]),
        submit,
    );
}

async fn list(ctx: Ctx, query: Query) -> Result<web::Json<Page<Shaped<WebForm>>>, Problem> {
    Ok(web::Json(ctx.tenant(async |t| web_forms::list(t, &query.0).await).await?))
}

async fn create(ctx: Ctx, json: Json) -> Result<HttpResponse, Problem> {
    let issued = ctx.tenant(async |t| web_forms::create(t, body::parse(json.0)?).await).await?;
    Ok(created("api-settings", &issued.form.base, &issued))
}

async fn find(ctx: Ctx, id: Pk, view: View) -> Result<HttpResponse, Problem> {
    let (base, form) = ctx
        .tenant(async |t| {
            let form = web_forms::find(t, id.0).await?;
            Ok((form.base.clone(), view.shape(t, &WEB_FORMS.resource, form).await?))
        })
        .await?;
    Ok(view.ok(&base, &form))
}

async fn update(ctx: Ctx, id: Pk, change: Change, view: View) -> Result<HttpResponse, Problem> {
    let form = ctx.tenant(async |t| web_forms::update(t, id.0, change.0).await).await?;
    Ok(view.ok(&form.base, &form))
}

async fn delete(ctx: Ctx, id: Pk, condition: IfMatch) -> Result<HttpResponse, Problem> {
    ctx.tenant(async |t| web_forms::delete(t, id.0, &condition.0).await).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn rotate(ctx: Ctx, id: Pk) -> Result<HttpResponse, Problem> {
    let issued = ctx.tenant(async |t| web_forms::rotate(t, id.0).await).await?;
    Ok(HttpResponse::Ok().insert_header(versioned(issued.form.base.version)).json(issued))
}

/// Every submission that is taken is answered alike, whatever came of it.
async fn submit(caller: Anonymous, sent: Sent) -> Result<HttpResponse, Problem> {
    let Sent { key, origin, object, notes } = sent;
    let limits = &caller.state.limits;
    limits.count_form_address(&notes, caller.client.ip)?;
    let key = key.ok_or_else(web_forms::refused)?;
    let org = System(web_forms::org_of(&key));
    let attempt = async || {
        let taken = caller.state.db.tenant(&org, async |t| {
            let form = web_forms::open(t, &key, origin.as_deref()).await?;
            limits.count_form(&notes, form.id())?;
            web_forms::accept(t, &form, object.clone()).await
        });
        // A key that names no organization there is opens as little as any other.
        in_time(taken).await.map_err(|error| match error {
            Error::NotFound => web_forms::refused(),
            other => other,
        })
    };
    let mut taken = attempt().await;
    if taken.as_ref().is_err_and(|error| error.code() == Code::Duplicate) {
        // Two came at once from one address: the second one finds the lead of the first.
        taken = attempt().await;
    }
    Ok(match taken? {
        Some(page) => HttpResponse::SeeOther().insert_header((LOCATION, page)).finish(),
        None => HttpResponse::Accepted().json(Accepted { accepted: true }),
    })
}

/// What a page sent, as JSON or as a form of HTML, not yet judged.
struct Sent {
    key: Option<String>,
    /// Of the page.
    origin: Option<String>,
    object: Object,
    notes: Notes,
}

impl FromRequest for Sent {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (req, payload) = (req.clone(), payload.take());
        Box::pin(async move { Self::read(&req, payload).await.map_err(Problem) })
    }
}

impl Sent {
    async fn read(req: &HttpRequest, payload: Payload) -> Result<Self> {
        let header =
            |name: &str| req.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let media_type = header(CONTENT_TYPE.as_str()).unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let object = match media_type.as_str() {
            "application/json" => json(&read_body(payload).await?)?,
            "application/x-www-form-urlencoded" => form(&read_body(payload).await?)?,
            _ => {
                let message = "send JSON or application/x-www-form-urlencoded";
                return Err(Error::Refused(Code::UnsupportedMediaType, message.into()));
            }
        };
        let in_body = object.get("apikey").and_then(Value::as_str).map(str::to_owned);
        let origin = header(ORIGIN.as_str()).or_else(|| header(REFERER.as_str()));
        Ok(Self { key: header(KEY).or(in_body), origin, object, notes: Notes::of(req) })
    }
}

fn malformed(why: &'static str) -> Error {
    Error::Refused(Code::MalformedRequest, why.into())
}

fn json(bytes: &[u8]) -> Result<Object> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(malformed("the body must be a JSON object")),
    }
}

fn form(bytes: &[u8]) -> Result<Object> {
    let pairs: Vec<(String, String)> =
        serde_urlencoded::from_bytes(bytes).map_err(|_| malformed("the form can't be read"))?;
    let mut object = Object::new();
    for (name, text) in pairs {
        if object.insert(name, Value::String(text)).is_some() {
            return Err(malformed("each field may be sent once"));
        }
    }
    Ok(object)
}
