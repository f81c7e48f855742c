//! `Idempotency-Key` on every POST, once for all routes.
//!
//! In an organization the transaction of the effect stays open until the answer is made and kept in it. Outside, the key is claimed
//! before the work and settled after.

use std::cell::RefCell;
use std::rc::Rc;

use actix_web::body::{BoxBody, MessageBody, to_bytes};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, LOCATION};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use crm_core::{Code, Error, Result, Sealer, TenantTx};
use crm_idempotency::{Answer, Claim, Claimed, Request, recall, remember};
use sha2::{Digest, Sha256};

use crate::extract::{State, read_body};
use crate::operation::{CalledAt, Permit};
use crate::problem::Problem;

const MAX_KEY: usize = 255;

static KEY: HeaderName = HeaderName::from_static("idempotency-key");
static REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The headers that are kept with an answer.
const KEPT_HEADERS: [HeaderName; 3] = [CONTENT_TYPE, LOCATION, ETAG];

/// A POST with a key, on its way through an organization.
#[derive(Clone)]
pub struct Attempt(Rc<Inner>);

struct Inner {
    key: String,
    /// Of the request as far as it was read.
    digest: RefCell<Sha256>,
    outcome: RefCell<Outcome>,
}

#[derive(Default)]
enum Outcome {
    /// Nothing happened yet.
    #[default]
    None,
    /// The effect is there, not yet committed.
    Done(Box<TenantTx>),
    /// It was there before.
    Known(Answer),
}

impl Attempt {
    /// The attempt that a request is.
    pub fn of(req: &HttpRequest) -> Option<Self> {
        req.extensions().get::<Self>().cloned()
    }

    /// Makes `part` of the request count: with another one it is another request.
    pub fn absorb(&self, part: &[u8]) {
        self.0.digest.borrow_mut().update(part);
    }

    /// The transaction that an earlier part of the work has left open.
    pub fn resume(&self) -> Option<TenantTx> {
        match self.0.outcome.take() {
            Outcome::Done(t) => Some(*t),
            other => {
                self.0.outcome.replace(other);
                None
            }
        }
    }

    /// Looks the key up at the beginning of the request's transaction.
    ///
    /// # Errors
    /// Those of [`recall`]; any where the answer is known, which then takes the place of the refusal.
    pub async fn begin(&self, t: &mut TenantTx, sealer: &Sealer) -> Result<()> {
        if let Some(answer) = recall(t, &self.request(), sealer).await? {
            self.0.outcome.replace(Outcome::Known(answer));
            return Err(Error::Refused(Code::Conflict, "this was answered before".into()));
        }
        Ok(())
    }

    /// Leaves the transaction open until the answer is made.
    pub fn done(&self, t: TenantTx) {
        self.0.outcome.replace(Outcome::Done(Box::new(t)));
    }

    /// Keeps the answer and commits, or answers what was answered before.
    async fn answer(&self, response: ServiceResponse<BoxBody>, sealer: &Sealer) -> ServiceResponse<BoxBody> {
        match self.0.outcome.take() {
            Outcome::None => response,
            Outcome::Known(answer) => replay(answer, response),
            Outcome::Done(t) if !response.status().is_success() => {
                t.rollback().await;
                response
            }
            Outcome::Done(mut t) => {
                let (answer, response) = taken(response).await;
                let request = self.request();
                let kept = async {
                    remember(&mut t, &request, &answer?, sealer).await?;
                    t.commit().await
                };
                match kept.await {
                    Ok(()) => response,
                    Err(error) => ServiceResponse::from_err(Problem(error), response.request().clone()),
                }
            }
        }
    }

    fn request(&self) -> Request {
        Request { key: self.0.key.clone(), fingerprint: hex(self.0.digest.borrow().clone()) }
    }
}

/// Honours the key of a POST. Stands around every operation, where it is known which one it is.
///
/// # Errors
/// None of its own.
pub async fn honour(
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let called = req.app_data::<CalledAt>().and_then(|at| at.method(req.method()));
    let state = req.app_data::<web::Data<State>>().cloned();
    let (Some(permit), Some(state)) = (called.map(|called| called.permit), state) else {
        return Ok(next.call(req).await?.map_into_boxed_body());
    };
    let key = match key(&req) {
        Ok(Some(key)) => key,
        Ok(None) => return Ok(next.call(req).await?.map_into_boxed_body()),
        Err(error) => return Ok(req.error_response(Problem(error))),
    };
    if !matches!(permit, Permit::Member | Permit::Permission(_)) {
        return outside(req, next, &state, key).await;
    }
    let attempt =
        Attempt(Rc::new(Inner { key, digest: RefCell::new(begun(&req)), outcome: RefCell::default() }));
    req.extensions_mut().insert(attempt.clone());
    let response = next.call(req).await?.map_into_boxed_body();
    Ok(attempt.answer(response, &state.sealer).await)
}

/// The key of a POST.
fn key(req: &ServiceRequest) -> Result<Option<String>> {
    let Some(value) = req.headers().get(&KEY).filter(|_| req.method() == Method::POST) else {
        return Ok(None);
    };
    let key = value.to_str().unwrap_or_default();
    if !(1..=MAX_KEY).contains(&key.len()) || !key.bytes().all(|b| b.is_ascii_graphic()) {
        let message = format!("Idempotency-Key must have 1 to {MAX_KEY} visible ASCII characters");
        return Err(Error::Refused(Code::MalformedRequest, message.into()));
    }
    Ok(Some(key.to_owned()))
}

/// Claims the key, has the request done, and keeps its answer if it succeeded.
async fn outside(
    mut req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    state: &State,
    key: String,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let Some(scope) = scope(&req, state).await else {
        return Ok(next.call(req).await?.map_into_boxed_body());
    };
    let body = match read_body(req.take_payload()).await {
        Ok(body) => body,
        Err(error) => return Ok(req.error_response(Problem(error))),
    };
    let mut digest = begun(&req);
    digest.update(&body);
    req.set_payload(body.into());
    let claim = Claim { scope, request: Request { key, fingerprint: hex(digest) } };
    let held = match claim.make(&state.db, &state.sealer).await {
        Err(error) => return Ok(req.error_response(Problem(error))),
        Ok(Claimed::Known(answer)) => return Ok(replay(answer, req.into_response(HttpResponse::Ok()))),
        Ok(Claimed::Held(held)) => held,
    };
    let state = state.clone();
    // In a task of its own: a client that hangs up leaves the effect and its answer together.
    let done = actix_web::rt::spawn(async move {
        let mut response = next.call(req).await?.map_into_boxed_body();
        let mut answer = None;
        if response.status().is_success() {
            let (copy, whole) = taken(response).await;
            (answer, response) = (copy.ok(), whole);
        }
        if let Err(error) = held.settle(&state.db, answer.as_ref(), &state.sealer).await {
            tracing::warn!(%error, "an answer could not be kept: its key stays claimed for a while");
        }
        Ok(response)
    });
    done.await.map_err(|broken| actix_web::Error::from(Problem(Error::internal(broken))))?
}

/// Whose key it is: the account's where one is signed in, otherwise the operation's. Nobody's where the session has ended, or a
/// personal access token is presented: they are refused anyway.
async fn scope(req: &ServiceRequest, state: &State) -> Option<String> {
    let Some(token) = crate::extract::bearer(req.request()) else {
        return Some(format!("anybody {}", req.path()));
    };
    let claims = state.identity.verify_access(token).ok()?;
    let standing = state.db.platform(async |p| crm_identity::signed_in(p, &claims).await);
    standing.await.is_ok().then(|| format!("user {}", claims.user))
}

/// A copy of an answer, which is read for it.
async fn taken(response: ServiceResponse<BoxBody>) -> (Result<Answer>, ServiceResponse<BoxBody>) {
    let (request, response) = response.into_parts();
    let (head, body) = response.into_parts();
    let (status, headers) = (head.status().as_u16(), kept(head.headers()));
    let bytes = to_bytes(body).await.unwrap_or_default();
    let answer = String::from_utf8(bytes.to_vec()).map(|body| Answer { status, headers, body });
    (answer.map_err(Error::internal), ServiceResponse::new(request, head.set_body(BoxBody::new(bytes))))
}

/// Answers again what was answered before, in place of `response`.
fn replay(answer: Answer, response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let mut again = HttpResponse::build(StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK));
    for header in answer.headers {
        again.insert_header(header);
    }
    again.insert_header((REPLAYED.clone(), HeaderValue::from_static("true")));
    response.into_response(again.body(answer.body))
}

fn kept(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    KEPT_HEADERS.iter().filter_map(|name| Some((name.to_string(), text(name)?))).collect()
}

/// The digest of what is known of a request before its body.
fn begun(req: &ServiceRequest) -> Sha256 {
    Sha256::new_with_prefix(format!("{} {}?{}\n", req.method(), req.path(), req.query_string()))
}

fn hex(digest: Sha256) -> String {
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
