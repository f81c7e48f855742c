//! How much one client, one organization and one address may ask for, and how much this process takes on at once.
//!
//! The limits are kept in the memory of each process: they protect it, they are no billing.

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::HttpMessage;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web;
use crm_core::{Error, OrgId, Result};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use uuid::Uuid;

use crate::extract::State;
use crate::problem::Problem;

/// What every limit counts over.
const WINDOW: Duration = Duration::from_secs(60);

/// After how many checks keys that have recovered are forgotten.
const FORGET_EVERY: usize = 50_000;

static LIMIT: HeaderName = HeaderName::from_static("ratelimit");
static POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Requests a minute for each; none is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Of one session or access token.
    pub token: Option<NonZeroU32>,
    /// Of all members of one organization.
    pub org: Option<NonZeroU32>,
    /// From one address; a whole /64 counts as one.
    pub address: Option<NonZeroU32>,
    /// Requests under way in this process at most; beyond that it answers 503.
    pub in_flight: usize,
}

/// The state of all limits of this process.
pub struct Limits {
    token: Option<Limiter<Uuid>>,
    org: Option<Limiter<OrgId>>,
    address: Option<Limiter<IpAddr>>,
    in_flight: AtomicUsize,
    most: usize,
}

impl Limits {
    /// Limits of these rates.
    pub fn new(rates: Rates) -> Self {
        Self {
            token: rates.token.and_then(|rate| Limiter::new("token", rate)),
            org: rates.org.and_then(|rate| Limiter::new("org", rate)),
            address: rates.address.and_then(|rate| Limiter::new("address", rate)),
            in_flight: AtomicUsize::new(0),
            most: rates.in_flight,
        }
    }

    /// Counts a request of a session or access token, and of its organization.
    ///
    /// # Errors
    /// `TooMany`.
    pub fn count(&self, notes: &impl HttpMessage, token: Uuid, org: Option<OrgId>) -> Result<()> {
        count(self.token.as_ref(), notes, &token)?;
        org.map_or(Ok(()), |org| count(self.org.as_ref(), notes, &org))
    }
}

fn count<K: Clone + Hash + Eq>(
    limiter: Option<&Limiter<K>>,
    notes: &impl HttpMessage,
    key: &K,
) -> Result<()> {
    let Some(limiter) = limiter else { return Ok(()) };
    let (note, counted) = limiter.count(key);
    let mut extensions = notes.extensions_mut();
    match extensions.get_mut::<Noted>() {
        Some(noted) => noted.0.push(note),
        None => drop(extensions.insert(Noted(vec![note]))),
    }
    counted
}

struct Limiter<K: Clone + Hash + Eq> {
    name: &'static str,
    rate: NonZeroU32,
    limiter: RateLimiter<K, DefaultKeyedStateStore<K>, DefaultClock, StateInformationMiddleware>,
    checks: AtomicUsize,
}

/// Where one limit stands after a request, for the headers.
struct Note {
    name: &'static str,
    rate: u32,
    left: u32,
    /// Seconds until there is more.
    wait: u64,
}

struct Noted(Vec<Note>);

impl<K: Clone + Hash + Eq> Limiter<K> {
    fn new(name: &'static str, rate: NonZeroU32) -> Option<Self> {
        let quota = Quota::with_period(WINDOW / rate.get())?.allow_burst(rate);
        let limiter = RateLimiter::keyed(quota).with_middleware::<StateInformationMiddleware>();
        Some(Self { name, rate, limiter, checks: AtomicUsize::new(0) })
    }

    fn count(&self, key: &K) -> (Note, Result<()>) {
        if self.checks.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            self.limiter.retain_recent();
        }
        let note = |left, wait| Note { name: self.name, rate: self.rate.get(), left, wait };
        match self.limiter.check_key(key) {
            Ok(state) => (note(state.remaining_burst_capacity(), 1), Ok(())),
            Err(until) => {
                let wait = until.wait_time_from(DefaultClock::default().now()).as_secs() + 1;
                (note(0, wait), Err(Error::TooMany { seconds: wait }))
            }
        }
    }
}

/// Counts the address of every request, refuses what this process can't take on, and tells where the limits stand.
///
/// # Errors
/// None of its own.
pub async fn guard(
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let Some(state) = req.app_data::<web::Data<State>>().cloned() else {
        return Ok(next.call(req).await?.map_into_boxed_body());
    };
    // Whoever watches over this process must get through.
    let watches = matches!(req.path(), "/healthz/" | "/readyz/" | "/metrics/");
    let most = if watches { usize::MAX } else { state.limits.most };
    let Some(_place) = Place::take(&state.limits.in_flight, most) else {
        let busy = Error::Unavailable("as many requests are under way as this process takes on".into());
        metrics::counter!("requests_shed_total").increment(1);
        return Ok(req.error_response(Problem(busy)));
    };
    let address = crate::extract::client(req.request()).ip.map(crm_identity::one_address);
    let counted = address.map_or(Ok(()), |ip| count(state.limits.address.as_ref(), &req, &ip));
    let mut response = match counted {
        Ok(()) => next.call(req).await?.map_into_boxed_body(),
        Err(error) => req.error_response(Problem(error)),
    };
    let noted = response.request().extensions_mut().remove::<Noted>();
    if let Some(Noted(notes)) = noted {
        tell(response.headers_mut(), &notes);
    }
    Ok(response)
}

/// Writes the headers of draft-ietf-httpapi-ratelimit-headers, the narrowest limit first.
fn tell(headers: &mut HeaderMap, notes: &[Note]) {
    let mut notes: Vec<_> = notes.iter().collect();
    notes.sort_by_key(|note| note.left);
    let list = |one: fn(&Note) -> String| notes.iter().map(|note| one(note)).collect::<Vec<_>>().join(", ");
    let policy = list(|n| format!("\"{}\";q={};w={}", n.name, n.rate, WINDOW.as_secs()));
    let limit = list(|n| format!("\"{}\";r={};t={}", n.name, n.left, n.wait));
    for (name, text) in [(&POLICY, policy), (&LIMIT, limit)] {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name.clone(), value);
        }
    }
}

/// A request under way.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(taken: &'a AtomicUsize, most: usize) -> Option<Self> {
        let place = Self(taken);
        (taken.fetch_add(1, Ordering::Relaxed) < most).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
