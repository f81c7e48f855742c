//! How much one client, one organization and one address may ask for, and how much this process takes on at once.
//!
//! The limits are kept in the memory of each process: they protect it, they are no billing.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
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
    /// Submissions with the key of one web form.
    pub web_form: Option<NonZeroU32>,
    /// Submissions of web forms from one address.
    pub web_form_address: Option<NonZeroU32>,
    /// Requests under way in this process at most, half of them from one address; beyond that it answers 503.
    pub in_flight: usize,
}

/// The state of all limits of this process.
pub struct Limits {
    token: Option<Limiter<Uuid>>,
    org: Option<Limiter<OrgId>>,
    address: Option<Limiter<IpAddr>>,
    web_form: Option<Limiter<Uuid>>,
    web_form_address: Option<Limiter<IpAddr>>,
    places: Places,
}

impl Limits {
    /// Limits of these rates.
    pub fn new(rates: Rates) -> Self {
        Self {
            token: rates.token.and_then(|rate| Limiter::new("token", rate)),
            org: rates.org.and_then(|rate| Limiter::new("org", rate)),
            address: rates.address.and_then(|rate| Limiter::new("address", rate)),
            web_form: rates.web_form.and_then(|rate| Limiter::new("web-form", rate)),
            web_form_address: rates.web_form_address.and_then(|rate| Limiter::new("web-form-address", rate)),
            places: Places { most: rates.in_flight, taken: Mutex::default() },
        }
    }

    /// Counts a request of a session or access token.
    ///
    /// # Errors
    /// `TooMany`.
    pub fn count_token(&self, notes: &Notes, token: Uuid) -> Result<()> {
        count(self.token.as_ref(), notes, &token)
    }

    /// Counts a request of an organization, once it is known that the caller belongs to it: a token may name any.
    ///
    /// # Errors
    /// `TooMany`.
    pub fn count_org(&self, notes: &Notes, org: OrgId) -> Result<()> {
        count(self.org.as_ref(), notes, &org)
    }

    /// Counts a submission of a web form, once its key is known to be one.
    ///
    /// # Errors
    /// `TooMany`.
    pub fn count_form(&self, notes: &Notes, form: Uuid) -> Result<()> {
        count(self.web_form.as_ref(), notes, &form)
    }

    /// Counts what an address sends to web forms, whatever comes of it: keys are not to be guessed either.
    ///
    /// # Errors
    /// `TooMany`.
    pub fn count_form_address(&self, notes: &Notes, address: Option<IpAddr>) -> Result<()> {
        let Some(address) = address.map(crm_identity::one_address) else { return Ok(()) };
        count(self.web_form_address.as_ref(), notes, &address)
    }
}

/// Where the limits of one request stand.
#[derive(Clone, Default)]
pub struct Notes(Rc<RefCell<Vec<Note>>>);

impl Notes {
    /// Those of a request.
    pub fn of(req: &impl HttpMessage) -> Self {
        req.extensions().get::<Self>().cloned().unwrap_or_default()
    }
}

fn count<K: Clone + Hash + Eq>(limiter: Option<&Limiter<K>>, notes: &Notes, key: &K) -> Result<()> {
    let Some(limiter) = limiter else { return Ok(()) };
    let (note, counted) = limiter.count(key);
    notes.0.borrow_mut().push(note);
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
    let address = crate::extract::client(req.request()).ip.map(crm_identity::one_address);
    // Whoever watches over this process must get through.
    let watches = matches!(req.path(), "/healthz/" | "/readyz/" | "/metrics/");
    let place = state.limits.places.take(address);
    if place.is_none() && !watches {
        let busy = Error::Unavailable("as many requests are under way as this process takes on".into());
        metrics::counter!("requests_shed_total").increment(1);
        req.extensions_mut().insert(Shed);
        return Ok(req.error_response(Problem(busy)));
    }
    let notes = Notes::default();
    req.extensions_mut().insert(notes.clone());
    let counted = address.map_or(Ok(()), |ip| count(state.limits.address.as_ref(), &notes, &ip));
    let mut response = match counted {
        Ok(()) => next.call(req).await?.map_into_boxed_body(),
        Err(error) => req.error_response(Problem(error)),
    };
    tell(response.headers_mut(), &notes.0.borrow());
    Ok(response)
}

/// Writes the headers of draft-ietf-httpapi-ratelimit-headers, the narrowest limit first.
fn tell(headers: &mut HeaderMap, notes: &[Note]) {
    if notes.is_empty() {
        return;
    }
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

/// A request that was sent away: it is counted, and no fault to be logged one by one.
pub struct Shed;

/// The requests under way: so many at most, and from one address no more than half of them.
struct Places {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_address: HashMap<Option<IpAddr>, usize>,
}

/// A request under way.
struct Place<'a> {
    places: &'a Places,
    address: Option<IpAddr>,
}

impl Places {
    fn take(&self, address: Option<IpAddr>) -> Option<Place<'_>> {
        let mut taken = self.taken();
        let Taken { all, by_address } = &mut *taken;
        let here = by_address.get(&address).copied().unwrap_or_default();
        if *all >= self.most || here >= self.most.div_ceil(2) {
            return None;
        }
        *all += 1;
        by_address.insert(address, here + 1);
        Some(Place { places: self, address })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        match taken.by_address.get_mut(&self.address) {
            Some(here) if *here > 1 => *here -= 1,
            _ => drop(taken.by_address.remove(&self.address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_leaves_half_of_the_places_to_others() {
        let places = Places { most: 4, taken: Mutex::default() };
        let [one, other] = ["10.0.0.1", "10.0.0.2"].map(|ip| Some(ip.parse().unwrap()));
        let first = places.take(one).unwrap();
        let _second = places.take(one).unwrap();
        assert!(places.take(one).is_none());
        let _others = [places.take(other).unwrap(), places.take(other).unwrap()];
        assert!(places.take(None).is_none(), "all are taken");
        drop(first);
        assert!(places.take(other).is_none() && places.take(one).is_some());
    }
}
