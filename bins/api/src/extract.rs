//! What handlers receive: who calls, which record, which body.

use std::future::{Ready, ready};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, IF_MATCH, IF_NONE_MATCH, LOCATION,
    USER_AGENT,
};
use actix_web::http::{Method, StatusCode};
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, web};
use crm_core::body::{Object, nearest};
use crm_core::{CallerSource as _, Code, Db, Error, FieldCode, OrgId, PlatformTx, Result, Sealer, TenantTx};
use crm_identity::{AccessClaims, Client, Credential, Identity, RequestInfo};
use crm_notifications::Live;
use crm_records::list::{Params, Resource, Shape, Shaped};
use crm_records::{Base, Edit, Module, Precondition};
use crm_storage::Storage;
use crm_webhooks::Webhooks;
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use serde::Serialize;
use uuid::Uuid;

use crate::idempotency::Attempt;
use crate::limits::{Limits, Notes};
use crate::operation::{Called, CalledAt, Permit};
use crate::problem::Problem;

/// The largest JSON body, in bytes.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// How long a JSON body may take to arrive: it holds one of the places of this process meanwhile.
const BODY_TIME_LIMIT: Duration = Duration::from_secs(15);

/// How long a transaction may take. Given up, it is rolled back.
pub const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Gives work up that takes longer than [`TIME_LIMIT`].
///
/// # Errors
/// `Unavailable`; those of the work.
pub async fn in_time<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(TIME_LIMIT, work)
        .await
        .unwrap_or_else(|late| Err(Error::Unavailable(Box::new(late))))
}

/// What every handler stands on.
#[derive(Clone)]
pub struct State {
    /// The database.
    pub db: Db,
    /// Accounts, sessions, organizations.
    pub identity: Identity,
    /// Files.
    pub storage: Storage,
    /// How many bytes of them one organization may keep.
    pub storage_quota_bytes: Option<i64>,
    /// Keeps answers that may hold secrets.
    pub sealer: Sealer,
    /// How much is taken on.
    pub limits: Arc<Limits>,
    /// Whoever waits for notifications.
    pub live: Live,
    /// What is sent to other programs.
    pub webhooks: Webhooks,
    /// How many proxies in front of this server write `X-Forwarded-For`.
    pub trusted_proxies: usize,
}

fn state(req: &HttpRequest) -> Result<&State> {
    let data = req.app_data::<web::Data<State>>().ok_or_else(|| Error::internal("no application state"))?;
    Ok(data.get_ref())
}

fn called(req: &HttpRequest) -> Result<&Called> {
    let at = req.app_data::<CalledAt>().and_then(|at| at.method(req.method()));
    at.ok_or_else(|| Error::internal("an operation that was never declared"))
}

/// Where a request comes from, for the audit and the throttles.
pub fn client(req: &HttpRequest) -> Client {
    let proxies = req.app_data::<web::Data<State>>().map_or(0, |state| state.trusted_proxies);
    let ip = address(req.headers(), req.peer_addr().map(|peer| peer.ip()), proxies);
    let user_agent = req.headers().get(USER_AGENT).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let called = req.app_data::<CalledAt>().and_then(|at| at.method(req.method()));
    let request = called.map(|called| RequestInfo {
        id: req.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default(),
        method: req.method().to_string(),
        route: called.path,
    });
    Client { ip, user_agent, request }
}

/// What a request is called in the log.
pub struct RequestId(pub String);

/// The client's address behind as many proxies of ours.
fn address(headers: &HeaderMap, peer: Option<IpAddr>, proxies: usize) -> Option<IpAddr> {
    let forwarded = || {
        let entries = headers.get_all("X-Forwarded-For").filter_map(|value| value.to_str().ok());
        let entries: Vec<_> = entries.flat_map(|value| value.split(',')).map(str::trim).collect();
        // The last entries were written by our own proxies; what stands before them is anybody's claim.
        let entry = *entries.get(entries.len().checked_sub(proxies)?)?;
        entry.parse().ok().or_else(|| entry.parse().ok().map(|with_port: SocketAddr| with_port.ip()))
    };
    if proxies == 0 { peer } else { forwarded().or(peer) }
}

/// The bearer token of a request.
pub fn bearer(req: &HttpRequest) -> Option<&str> {
    let header = req.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok())?;
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Refuses query parameters that the operation does not take, and `fields` that its records do not have: nothing is ignored.
fn check_query(req: &HttpRequest, called: &Called) -> Result<()> {
    for (key, value) in params(req).pairs {
        if let Some(known) = called.query.as_ref().filter(|known| !known.contains(&key.as_str())) {
            let hint = did_you_mean(&key, known.iter().copied());
            let message = format!("there is no parameter {key} here{hint}");
            return Err(Error::parameter(key, FieldCode::UnknownParameter, message));
        }
        let asked = value.split(',').map(str::trim).filter(|word| key == "fields" && !word.is_empty());
        for word in asked {
            if let Some(fields) = &called.fields
                && !fields.iter().any(|field| field == word)
            {
                let hint = did_you_mean(word, fields.iter().map(String::as_str));
                let message = format!("there is no field {word} here{hint}");
                return Err(Error::parameter("fields", FieldCode::NotAChoice, message));
            }
        }
    }
    Ok(())
}

fn did_you_mean<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    nearest(word, known).map(|nearest| format!("; did you mean {nearest}?")).unwrap_or_default()
}

fn params(req: &HttpRequest) -> Params {
    let pairs = serde_urlencoded::from_str(req.query_string()).unwrap_or_default();
    Params { path: req.path().to_owned(), pairs }
}

/// An anonymous call: what sign-in and its like need.
#[derive(Clone)]
pub struct Anonymous {
    /// What the handler stands on.
    pub state: State,
    /// Where the request comes from.
    pub client: Client,
}

impl FromRequest for Anonymous {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let read = || {
            check_query(req, called(req)?)?;
            Ok(Self { state: state(req)?.clone(), client: client(req) })
        };
        ready(read().map_err(Problem))
    }
}

/// A signed-in call: the one extractor that authenticates.
#[derive(Clone)]
pub struct Ctx {
    /// What the handler stands on.
    pub state: State,
    /// Where the request comes from.
    pub client: Client,
    /// What it presents.
    pub credential: Credential,
    permit: Permit,
    attempt: Option<Attempt>,
    notes: Notes,
}

impl FromRequest for Ctx {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::read(req).map_err(Problem))
    }
}

impl Ctx {
    fn read(req: &HttpRequest) -> Result<Self> {
        let (state, called) = (state(req)?, called(req)?);
        let token = bearer(req)
            .ok_or(Error::Unauthenticated("sign in and send Authorization: Bearer <access token>".into()))?;
        let credential = state.identity.read_bearer(token, req.method().as_str(), called.path)?;
        req.extensions_mut().insert(credential.clone());
        let notes = Notes::of(req);
        state.limits.count_token(&notes, credential.id())?;
        if credential.org().is_none() && matches!(called.permit, Permit::Member | Permit::Permission(_)) {
            let message =
                "choose an organization first: POST /api/auth/switch-org/ or create one with POST /api/org/";
            return Err(Error::Refused(Code::NoOrganization, message.into()));
        }
        check_query(req, called)?;
        let outside = matches!(called.permit, Permit::SignedIn | Permit::Platform(_));
        if outside && called.id != "me" {
            credential.session()?;
        }
        let attempt = Attempt::of(req);
        Ok(Self {
            state: state.clone(),
            client: client(req),
            credential,
            permit: called.permit,
            attempt,
            notes,
        })
    }

    /// Runs `work` in one transaction of the token's organization, once the caller may do what the route declares. Under an
    /// `Idempotency-Key` it is committed together with the answer.
    ///
    /// # Errors
    /// `Unauthenticated` when the session, membership or organization has ended; `Forbidden`; those of `work`.
    pub async fn tenant<T>(&self, work: impl AsyncFnOnce(&mut TenantTx) -> Result<T>) -> Result<T, Problem> {
        match &self.attempt {
            Some(attempt) => Ok(in_time(self.once(attempt, work)).await?),
            None => self.look(work).await,
        }
    }

    /// The same for what has no effect that a repetition must not have again: a look before the work that counts.
    ///
    /// # Errors
    /// As [`Ctx::tenant`].
    pub async fn look<T>(&self, work: impl AsyncFnOnce(&mut TenantTx) -> Result<T>) -> Result<T, Problem> {
        let org_claims = self.credential.in_org()?;
        let work = self.state.db.tenant(&org_claims, async |t| {
            self.state.limits.count_org(&self.notes, t.org())?;
            self.permit.check(t.caller())?;
            work(t).await
        });
        Ok(in_time(work).await?)
    }

    /// The session, for what needs a person who has signed in.
    ///
    /// # Errors
    /// `Forbidden` for a personal access token.
    pub fn session(&self) -> Result<&AccessClaims> {
        self.credential.session()
    }

    /// The organization that the credential names.
    ///
    /// # Errors
    /// `NoOrganization`.
    pub fn org(&self) -> Result<OrgId> {
        Ok(self.credential.in_org()?.org())
    }

    /// A further part of a long answer: judged as the request was, and not counted as another one.
    ///
    /// # Errors
    /// As [`Ctx::tenant`].
    pub async fn again<T>(&self, work: impl AsyncFnOnce(&mut TenantTx) -> Result<T>) -> Result<T> {
        let org_claims = self.credential.in_org()?;
        let work = self.state.db.tenant(&org_claims, async |t| {
            self.permit.check(t.caller())?;
            work(t).await
        });
        in_time(work).await
    }

    async fn once<T>(
        &self,
        attempt: &Attempt,
        work: impl AsyncFnOnce(&mut TenantTx) -> Result<T>,
    ) -> Result<T> {
        let mut t = match attempt.resume() {
            Some(t) => t,
            None => self.state.db.open(&self.credential.in_org()?).await?,
        };
        let done = async {
            self.state.limits.count_org(&self.notes, t.org())?;
            self.permit.check(t.caller())?;
            attempt.begin(&mut t, &self.state.sealer).await?;
            work(&mut t).await
        };
        match done.await {
            Ok(done) => {
                attempt.done(t);
                Ok(done)
            }
            Err(refused) => {
                t.rollback().await;
                Err(refused)
            }
        }
    }

    /// Whether the request may be a repetition, which is judged with its transaction.
    pub fn may_repeat(&self) -> bool {
        self.attempt.is_some()
    }

    /// Makes `part` of the request count where it has an `Idempotency-Key`: what no extractor has read as a whole.
    pub fn absorb(&self, part: &[u8]) {
        if let Some(attempt) = &self.attempt {
            attempt.absorb(part);
        }
    }

    /// Runs `work` outside every organization, for a signed-in person.
    ///
    /// # Errors
    /// `Unauthenticated` when the session has ended; `Forbidden` for a platform route and no platform administrator.
    pub async fn platform<T>(
        &self,
        work: impl AsyncFnOnce(&mut PlatformTx, crm_identity::SignedInUser) -> Result<T>,
    ) -> Result<T, Problem> {
        let work = self.state.db.platform(async |p| {
            let user = crm_identity::signed_in(p, self.session()?).await?;
            if matches!(self.permit, Permit::Platform(_)) {
                self.permit.check_platform(&user.principal())?;
            }
            work(p, user).await
        });
        Ok(in_time(work).await?)
    }
}

/// The id in a path: what is not a UUID is not there.
#[derive(Debug, Clone, Copy)]
pub struct Pk(pub Uuid);

impl FromRequest for Pk {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let id = req.match_info().get("id").and_then(|text| text.parse().ok());
        ready(id.map(Self).ok_or(Problem(Error::NotFound)))
    }
}

/// The id of a line item in a path behind that of its record.
#[derive(Debug, Clone, Copy)]
pub struct LinePk(pub Uuid);

impl FromRequest for LinePk {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let id = req.match_info().get("line").and_then(|text| text.parse().ok());
        ready(id.map(Self).ok_or(Problem(Error::NotFound)))
    }
}

/// The query string of a list.
#[derive(Debug, Clone)]
pub struct Query(pub Params);

impl FromRequest for Query {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self(params(req))))
    }
}

/// A JSON object as the body, not yet judged: that happens after the permission.
#[derive(Debug, Clone)]
pub struct Json(pub Object);

impl FromRequest for Json {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let req = req.clone();
        let payload = payload.take();
        Box::pin(async move { object(&req, payload).await.map(Self).map_err(Problem) })
    }
}

/// Any JSON as the body, not yet judged: that happens after the permission.
#[derive(Debug, Clone)]
pub struct AnyJson(pub serde_json::Value);

impl FromRequest for AnyJson {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let req = req.clone();
        let payload = payload.take();
        Box::pin(async move { any_json(&req, payload).await.map(Self).map_err(Problem) })
    }
}

async fn object(req: &HttpRequest, payload: Payload) -> Result<Object> {
    match any_json(req, payload).await? {
        serde_json::Value::Object(object) => Ok(object),
        _ => Err(Error::Refused(Code::MalformedRequest, "the body must be a JSON object".into())),
    }
}

async fn any_json(req: &HttpRequest, payload: Payload) -> Result<serde_json::Value> {
    let essence = req.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let essence = essence.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !matches!(essence.as_str(), "application/json" | "application/merge-patch+json") {
        return Err(Error::Refused(
            Code::UnsupportedMediaType,
            "send JSON with Content-Type: application/json".into(),
        ));
    }
    let bytes = read_body(payload).await?;
    if let Some(attempt) = Attempt::of(req) {
        attempt.absorb(&bytes);
    }
    serde_json::from_slice(&bytes).map_err(|e| {
        Error::Refused(Code::MalformedRequest, format!("the body is not valid JSON: {e}").into())
    })
}

/// Reads a body of at most [`MAX_BODY_BYTES`].
///
/// # Errors
/// `PayloadTooLarge`; `MalformedRequest` when it breaks off.
pub async fn read_body(payload: Payload) -> Result<web::Bytes> {
    let slow = |_| Err(Error::Refused(Code::MalformedRequest, "the body took too long to arrive".into()));
    tokio::time::timeout(BODY_TIME_LIMIT, gather(payload)).await.unwrap_or_else(slow)
}

async fn gather(mut payload: Payload) -> Result<web::Bytes> {
    let mut bytes = web::BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk
            .map_err(|e| Error::Refused(Code::MalformedRequest, format!("the body broke off: {e}").into()))?;
        if bytes.len() + chunk.len() > MAX_BODY_BYTES {
            let message = format!("a body may have {MAX_BODY_BYTES} bytes at most");
            return Err(Error::Refused(Code::PayloadTooLarge, message.into()));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

fn if_match(req: &HttpRequest) -> Precondition {
    let header = req.headers().get(IF_MATCH).and_then(|value| value.to_str().ok());
    let tags = header.filter(|tags| tags.trim() != "*");
    // A tag that we never gave out, a weak one among them, matches no version.
    let versions = tags.map(|tags| {
        let version = |tag: &str| {
            let tag = tag.trim().strip_prefix('"')?.strip_suffix('"')?;
            // What follows the version tells states apart that are the same to whoever writes.
            tag.split_once('-').map_or(tag, |(version, _)| version).parse().ok()
        };
        tags.split(',').filter_map(version).collect()
    });
    Precondition { if_match: versions }
}

/// The body and conditions of a PUT or PATCH.
#[derive(Debug, Clone)]
pub struct Change(pub Edit);

impl FromRequest for Change {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (partial, precondition) = (req.method() == Method::PATCH, if_match(req));
        let body = Json::from_request(req, payload);
        Box::pin(async move { Ok(Self(Edit { body: body.await?.0, partial, precondition })) })
    }
}

/// The conditions of a DELETE.
#[derive(Debug, Clone)]
pub struct IfMatch(pub Precondition);

impl FromRequest for IfMatch {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self(if_match(req))))
    }
}

/// How a single record is to be answered: its shape, and the version that the client has already.
#[derive(Debug, Clone)]
pub struct View {
    params: Params,
    if_none_match: Option<String>,
}

impl FromRequest for View {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let header = req.headers().get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        let if_none_match = header.filter(|_| req.method() == Method::GET || req.method() == Method::HEAD);
        ready(Ok(Self { params: params(req), if_none_match: if_none_match.map(str::to_owned) }))
    }
}

impl View {
    /// Reshapes a record inside its transaction.
    ///
    /// # Errors
    /// 400 for a relation that is not there.
    pub async fn shape<T: Serialize>(
        &self,
        t: &mut TenantTx,
        resource: &Resource,
        record: T,
    ) -> Result<Shaped<T>> {
        Shape::parse(&self.params, resource)?.one(t, record).await
    }

    /// 200 with the record and its `ETag`, or 304 when the client has this version.
    pub fn ok(&self, base: &Base, record: &impl Serialize) -> HttpResponse {
        self.of_tag(tag(base, None), record)
    }

    /// The same for a record of a module, some of which show what changes without their version.
    pub fn of<M: Module>(&self, record: &M::Record) -> HttpResponse {
        self.of_tag(tag_of::<M>(record), record)
    }

    /// The same for one that was shaped since its `ETag` was made.
    pub fn of_tag(&self, tag: String, record: &impl Serialize) -> HttpResponse {
        let known = |list: &String| {
            list.split(',').any(|one| one.trim().trim_start_matches("W/") == tag || one.trim() == "*")
        };
        // A client may keep the record, but has to ask whether it is still the one.
        let keep = (CACHE_CONTROL, "private, no-cache");
        // What is expanded changes without the record.
        let whole = self.params.get("expand").is_none();
        if whole && self.if_none_match.as_ref().is_some_and(known) {
            return HttpResponse::NotModified().insert_header((ETAG, tag)).insert_header(keep).finish();
        }
        HttpResponse::Ok().insert_header((ETAG, tag)).insert_header(keep).json(record)
    }

    /// 200 with a record that is shown with parts of others, and so changes without its version: never 304.
    pub fn composed(&self, base: &Base, record: &impl Serialize) -> HttpResponse {
        HttpResponse::Ok().insert_header((ETAG, tag(base, None))).json(record)
    }
}

/// The version, and behind it what else tells two states apart.
fn tag(base: &Base, moment: Option<String>) -> String {
    match moment {
        Some(moment) => format!("\"{}-{moment}\"", base.version),
        None => format!("\"{}\"", base.version),
    }
}

/// The `ETag` of a record of a module.
pub fn tag_of<M: Module>(record: &M::Record) -> String {
    tag(M::base(record), M::moment(record))
}

/// 201 with the record, its `Location` and its `ETag`.
pub fn created(module: &str, base: &Base, record: &impl Serialize) -> HttpResponse {
    at(module, base, tag(base, None), record)
}

/// The same for a record of a module.
pub fn created_of<M: Module>(record: &M::Record) -> HttpResponse {
    at(M::NAME, M::base(record), tag_of::<M>(record), record)
}

fn at(module: &str, base: &Base, tag: String, record: &impl Serialize) -> HttpResponse {
    HttpResponse::build(StatusCode::CREATED)
        .insert_header((LOCATION, format!("/api/{module}/{}/", base.id)))
        .insert_header((ETAG, tag))
        .json(record)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn only_what_our_own_proxies_wrote_tells_the_address() {
        let peer: IpAddr = "192.0.2.9".parse().unwrap();
        for (header, proxies, want) in [
            ("203.0.113.5", 0, "192.0.2.9"),
            ("203.0.113.5", 1, "203.0.113.5"),
            ("198.51.100.1, 203.0.113.5", 1, "203.0.113.5"),
            ("198.51.100.1, 203.0.113.5, 192.0.2.1", 2, "203.0.113.5"),
            ("198.51.100.1, 203.0.113.5:4711", 1, "203.0.113.5"),
            ("198.51.100.1, nonsense", 1, "192.0.2.9"),
            ("", 1, "192.0.2.9"),
            ("203.0.113.5", 3, "192.0.2.9"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for".parse().unwrap(), HeaderValue::from_str(header).unwrap());
            assert_eq!(
                address(&headers, Some(peer), proxies),
                Some(want.parse().unwrap()),
                "{header} behind {proxies}"
            );
        }
    }
}
