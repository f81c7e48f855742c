//! What wraps every request: its id, the log line, the metrics, problem documents, security headers, the final slash.

use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, HeaderName, HeaderValue};
use actix_web::http::uri::{PathAndQuery, Uri};
use actix_web::middleware::{DefaultHeaders, Next};
use actix_web::{Error, HttpMessage, web};
use crm_core::Code;
use crm_identity::Credential;
use uuid::Uuid;

use crate::extract::{RequestId, State, client};
use crate::limits::Shed;
use crate::operation::CalledAt;
use crate::problem::{Problem, ProblemDocument};

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives the request an id, answers refusals as problem documents, and writes one log line without personal data.
///
/// # Errors
/// None of its own.
pub async fn observe(
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let id = req.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    let plain = |id: &&str| {
        (8..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    // What the client gave, if it can stand in a log.
    let id = id.filter(plain).map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
    let method = req.method().clone();
    req.extensions_mut().insert(RequestId(id.clone()));
    let response = next.call(req).await?;
    let mut response = problems(response.map_into_boxed_body(), &id);
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID.clone(), value);
    }
    let status = response.status().as_u16();
    let seconds = started.elapsed().as_secs_f64();
    let route = response.request().match_pattern().unwrap_or_else(|| "unknown".into());
    let extensions = response.request().extensions();
    let credential = extensions.get::<Credential>();
    tracing::info!(
        target: "access",
        request_id = %id,
        %method,
        route,
        status,
        milliseconds = (seconds * 1e6).round() / 1e3,
        org = credential.and_then(Credential::org).map(|org| org.to_string()),
        user = credential.and_then(|c| c.session().ok()).map(|claims| claims.user.to_string()),
    );
    drop(extensions);
    // Anybody can invent methods: each would be a series of its own.
    let known = matches!(method.as_str(), "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS");
    let method = if known { method.to_string() } else { "other".into() };
    let labels = [("method", method), ("route", route), ("status", status.to_string())];
    metrics::histogram!("http_request_duration_seconds", &labels).record(seconds);
    Ok(response)
}

/// Turns every refusal, ours or the framework's, into a problem document.
fn problems(response: ServiceResponse<BoxBody>, request_id: &str) -> ServiceResponse<BoxBody> {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let instance = response.request().path().to_owned();
    let ours = response.response().error().and_then(|error| error.as_error::<Problem>());
    let shed = response.request().extensions().contains::<Shed>();
    if let Some(Problem(error)) = ours
        && status.is_server_error()
        && !shed
    {
        let source = std::error::Error::source(error).map(ToString::to_string);
        tracing::error!(request_id, %error, source, "request failed");
    }
    let document = match ours {
        Some(Problem(error)) => ProblemDocument::new(error, &instance, request_id),
        None => ProblemDocument::new(&foreign(status), &instance, request_id),
    };
    let (request, response) = response.into_parts();
    ServiceResponse::new(request, document.write(response))
}

/// A refusal of the framework in our words.
fn foreign(status: StatusCode) -> crm_core::Error {
    let refused = |code, message: &'static str| crm_core::Error::Refused(code, message.into());
    match status {
        StatusCode::NOT_FOUND => crm_core::Error::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => {
            refused(Code::MethodNotAllowed, "the Allow header names what is possible here")
        }
        StatusCode::PAYLOAD_TOO_LARGE => refused(Code::PayloadTooLarge, "the body is too large"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            refused(Code::UnsupportedMediaType, "this media type is not understood here")
        }
        status if status.is_client_error() => refused(Code::MalformedRequest, "the request is malformed"),
        _ => crm_core::Error::internal("answered by the framework"),
    }
}

/// Notes refusals and the use of personal access tokens in the audit trail. Stands around every operation, where it is known which one
/// it is.
///
/// # Errors
/// None of its own.
pub async fn audit(
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let called = req.app_data::<CalledAt>().and_then(|at| at.method(req.method())).map(|called| called.id);
    let state = req.app_data::<web::Data<State>>().cloned();
    let response = next.call(req).await?.map_into_boxed_body();
    let credential = response.request().extensions().get::<Credential>().cloned();
    if let (Some(operation), Some(state), Some(credential)) = (called, state, credential) {
        let client = client(response.request());
        match (response.response().error().and_then(|error| error.as_error::<Problem>()), &credential) {
            (Some(Problem(error)), _) => state.identity.refused(&credential, error, operation, &client).await,
            (None, Credential::Token(claims)) => state.identity.token_used(claims, &client).await,
            (None, Credential::Session(_)) => {}
        }
    }
    Ok(response)
}

/// Lets `/api/leads` answer as `/api/leads/`.
///
/// # Errors
/// None of its own.
pub async fn final_slash<B: MessageBody>(
    mut req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let path = req.path();
    let file =
        path.starts_with("/swagger-ui/") || path.rsplit('/').next().is_some_and(|last| last.contains('.'));
    if !path.ends_with('/') && !file {
        let query = req.query_string();
        let query = if query.is_empty() { String::new() } else { format!("?{query}") };
        let mut parts = req.head().uri.clone().into_parts();
        if let Ok(slashed) = format!("{path}/{query}").parse::<PathAndQuery>() {
            parts.path_and_query = Some(slashed);
            if let Ok(uri) = Uri::from_parts(parts) {
                req.match_info_mut().get_mut().update(&uri);
                req.head_mut().uri = uri;
            }
        }
    }
    next.call(req).await
}

/// Headers that keep a browser from being talked into anything. Pages that need scripts set their own policy.
pub fn security_headers() -> DefaultHeaders {
    DefaultHeaders::new()
        .add(("X-Content-Type-Options", "nosniff"))
        .add(("X-Frame-Options", "DENY"))
        .add(("Referrer-Policy", "same-origin"))
        .add(("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"))
        .add((CACHE_CONTROL, "no-store"))
        // Here and not among the rules of CORS, which write it in another order in every worker.
        .add((
            ACCESS_CONTROL_EXPOSE_HEADERS,
            "etag, idempotent-replayed, location, ratelimit, ratelimit-policy, retry-after, x-request-id",
        ))
}
