//! Reading the audit trail: its own part for whoever runs an organization, all of it for platform administrators and operators.
//!
//! The table is under no tenant's policy, for it also holds what happens before an organization is known. Here is the one place that
//! reads it, and what is read inside an organization is filtered by it.

use std::net::IpAddr;

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, TimeZone, Utc};
use crm_access::Require;
use crm_core::body::{is_common_era, nearest};
use crm_core::{Code, Error, FieldCode, OrgId, PlatformTx, Result, TenantTx, Tx, UserId};
use crm_records::list::{Page, Params};
use crm_schema::security_events::{self, dsl as row};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Serialize;
use uuid::Uuid;

use crate::events::{Client, Event, EventKind};
use crate::{SignedInUser, platform};

const DEFAULT_LIMIT: i64 = 50;
const MAX_LIMIT: i64 = 200;

/// The parameters of the list of all organizations, with their meaning.
pub const PLATFORM_PARAMETERS: &[(&str, &str)] = &[
    ("org_id", "The organization it happened in."),
    ("limit", "Rows per page, up to 200; 50 unless told."),
    ("cursor", "Taken from `next`."),
    ("count", "`true` counts all rows of the query."),
    ("event", "What happened: one word, or several with commas."),
    ("user_id", "The account it is about."),
    ("success", "`false` for what was refused."),
    ("ip_address", "Where it came from."),
    ("request_id", "The request that caused it."),
    ("created_at__gte", "Not before this instant, or this day."),
    ("created_at__lt", "Before this instant, or this day."),
];

/// Those of the list of one organization: all but the first.
pub const PARAMETERS: &[(&str, &str)] = match PLATFORM_PARAMETERS {
    [_org, of_one @ ..] => of_one,
    [] => &[],
};

/// An event of the audit trail.
#[derive(Debug, Clone, Queryable, Selectable, Serialize, utoipa::ToSchema)]
#[diesel(table_name = security_events)]
pub struct AuditEvent {
    /// Its id.
    pub id: Uuid,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// What happened, such as `login_failure`.
    pub event: String,
    /// False for what was refused or went wrong.
    pub success: bool,
    /// The account it is about, where one is known.
    pub user_id: Option<UserId>,
    /// The organization it happened in, where there is one.
    pub org_id: Option<OrgId>,
    /// Where the request came from.
    pub ip_address: Option<String>,
    /// What the client calls its program.
    pub user_agent: Option<String>,
    /// The request that caused it, as in the log and in `X-Request-Id`.
    pub request_id: Option<String>,
    /// Its method.
    pub method: Option<String>,
    /// Its path as it is declared.
    pub route: Option<String>,
    /// More about it: ids and words, and `repeated` for how often the same was only counted.
    #[schema(value_type = Object)]
    pub detail: serde_json::Value,
}

/// Which events are wanted.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    org: Option<OrgId>,
    user: Option<UserId>,
    events: Vec<EventKind>,
    success: Option<bool>,
    ip: Option<IpAddr>,
    request: Option<String>,
    from: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
    before: Option<Uuid>,
    limit: Option<i64>,
    count: bool,
}

impl AuditFilter {
    /// Judges a query string; a day begins where `zone` says.
    ///
    /// # Errors
    /// 400 naming the parameter.
    pub fn parse(params: &Params, zone: &impl TimeZone) -> Result<Self> {
        let mut filter = Self::default();
        for (key, value) in &params.pairs {
            match key.as_str() {
                "org_id" => filter.org = Some(read(key, value, "an id")?),
                "user_id" => filter.user = Some(read(key, value, "an id")?),
                "event" => {
                    filter.events = value.split(',').map(|word| kind(word.trim())).collect::<Result<_>>()?
                }
                "success" => filter.success = Some(boolean(key, value)?),
                "ip_address" => filter.ip = Some(read(key, value, "an address")?),
                "request_id" => filter.request = Some(value.replace('\0', "")),
                "created_at__gte" => filter.from = Some(instant(key, value, zone)?),
                "created_at__lt" => filter.until = Some(instant(key, value, zone)?),
                "cursor" => {
                    let malformed =
                        || Error::Refused(Code::InvalidCursor, "the cursor is not one of this list's".into());
                    filter.before = Some(value.parse().map_err(|_| malformed())?);
                }
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                    let message = || format!("must be a whole number from 1 to {MAX_LIMIT}");
                    filter.limit =
                        Some(limit.ok_or_else(|| Error::parameter(key, FieldCode::OutOfRange, message()))?);
                }
                "count" => filter.count = boolean(key, value)?,
                _ => return Err(unknown(key)),
            }
        }
        Ok(filter)
    }

    /// The newest events, up to `limit` of them.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn newest(&self, tx: &mut impl Tx, limit: i64) -> Result<Vec<AuditEvent>> {
        let mut query = self.matching();
        if let Some(before) = self.before {
            query = query.filter(row::id.lt(before));
        }
        let query = query.order_by(row::id.desc()).limit(limit).select(AuditEvent::as_select());
        Ok(query.load(tx.conn()?).await?)
    }

    fn matching(&self) -> security_events::BoxedQuery<'_, Pg> {
        let mut query = row::security_events.into_boxed();
        if let Some(org) = self.org {
            query = query.filter(row::org_id.eq(org));
        }
        if let Some(user) = self.user {
            query = query.filter(row::user_id.eq(user));
        }
        if !self.events.is_empty() {
            query = query.filter(row::event.eq_any(&self.events));
        }
        if let Some(success) = self.success {
            query = query.filter(row::success.eq(success));
        }
        if let Some(ip) = self.ip {
            query = query.filter(row::ip_address.eq(ip.to_string()));
        }
        if let Some(request) = &self.request {
            query = query.filter(row::request_id.eq(request));
        }
        if let Some(from) = self.from {
            query = query.filter(row::created_at.ge(from));
        }
        if let Some(until) = self.until {
            query = query.filter(row::created_at.lt(until));
        }
        query
    }

    async fn page(&self, tx: &mut impl Tx, params: &Params) -> Result<Page<AuditEvent>> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        let mut results = self.newest(tx, limit + 1).await?;
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = results.len() > wanted;
        results.truncate(wanted);
        let next = results.last().filter(|_| more).map(|last| link(params, last.id)).transpose()?;
        let count = match self.count {
            true => Some(self.matching().count().get_result(tx.conn()?).await?),
            false => None,
        };
        Ok(Page { count, next, previous: None, results })
    }
}

/// Lists the events of the caller's organization, newest first.
///
/// # Errors
/// `Forbidden` without `audit.view_audit`; 400 for parameters.
pub async fn list(t: &mut TenantTx, params: &Params) -> Result<Page<AuditEvent>> {
    t.require("audit.view_audit")?;
    if params.get("org_id").is_some() {
        return Err(unknown("org_id"));
    }
    let filter = AuditFilter::parse(params, &t.caller().org.timezone)?;
    AuditFilter { org: Some(t.org()), ..filter }.page(t, params).await
}

/// Lists all events, newest first; the look itself becomes one.
///
/// # Errors
/// `Forbidden` without `platform.view_audit`; 400 for parameters.
pub async fn list_all(
    p: &mut PlatformTx,
    client: &Client,
    admin: &SignedInUser,
    params: &Params,
) -> Result<Page<AuditEvent>> {
    platform::require(admin, "platform.view_audit")?;
    let filter = AuditFilter::parse(params, &Utc)?;
    let page = filter.page(p, params).await?;
    let event = Event::done(EventKind::PlatformAccess).user(admin.user.id).org(filter.org);
    event.detail("listed_events", page.results.len()).record(p, client).await?;
    Ok(page)
}

fn link(params: &Params, last: Uuid) -> Result<String> {
    let mut pairs = params.pairs.clone();
    pairs.retain(|(key, _)| key != "cursor");
    pairs.push(("cursor".to_owned(), last.to_string()));
    let query = serde_urlencoded::to_string(pairs).map_err(Error::internal)?;
    Ok(format!("{}?{query}", params.path))
}

fn unknown(key: &str) -> Error {
    let near = nearest(key, PARAMETERS.iter().map(|(name, _)| *name));
    let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    Error::parameter(key, FieldCode::UnknownParameter, format!("there is no parameter {key}{hint}"))
}

fn read<T: std::str::FromStr>(key: &str, text: &str, expected: &str) -> Result<T> {
    text.parse().map_err(|_| wrong(key, text, expected))
}

fn boolean(key: &str, text: &str) -> Result<bool> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(wrong(key, text, "true or false")),
    }
}

fn wrong(key: &str, text: &str, expected: &str) -> Error {
    Error::parameter(key, FieldCode::InvalidValue, format!("{text:?} is not {expected}"))
}

fn kind(word: &str) -> Result<EventKind> {
    EventKind::from_word(word).ok_or_else(|| {
        let near = nearest(word, EventKind::WORDS.iter().copied());
        let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        Error::parameter("event", FieldCode::NotAChoice, format!("{word:?} is not a choice{hint}"))
    })
}

fn instant(key: &str, text: &str, zone: &impl TimeZone) -> Result<DateTime<Utc>> {
    // A plus sign in a query string arrives as a space.
    let instant = DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok().map(|at| at.to_utc());
    let day = || {
        let midnight = text.parse::<NaiveDate>().ok()?.and_time(NaiveTime::MIN);
        let local = zone.from_local_datetime(&midnight).earliest().map(|at| at.to_utc());
        Some(local.unwrap_or_else(|| midnight.and_utc()))
    };
    let at = instant.or_else(day).filter(|at| is_common_era(at.year()));
    at.ok_or_else(|| wrong(key, text, "a date or an RFC 3339 instant"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_where_the_zone_says() {
        let berlin = chrono::FixedOffset::east_opt(3600).unwrap();
        let at = |text| instant("created_at__gte", text, &berlin).map(|at| at.to_rfc3339()).ok();
        assert_eq!(at("2026-01-31").as_deref(), Some("2026-01-30T23:00:00+00:00"));
        assert_eq!(at("2026-01-31T10:00:00 02:00").as_deref(), Some("2026-01-31T08:00:00+00:00"));
        for text in ["", "yesterday", "2026-13-01", "12026-01-01", "-0001-01-01"] {
            assert_eq!(at(text), None, "{text}");
        }
    }
}
