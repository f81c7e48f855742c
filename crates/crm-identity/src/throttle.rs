//! Slows down whoever tries something guessable, or has mails sent, again and again. An attempt is counted before it is judged, in one
//! statement, so that attempts made at once do not slip through together.

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};
use crm_core::{OrgId, PlatformTx, Result, Tx};
use crm_schema::throttles::dsl as row;
use diesel::dsl::case_when;
use diesel::prelude::*;
use diesel::query_dsl::methods;
use diesel::sql_types::Integer;
use diesel_async::RunQueryDsl;

use crate::events::{Client, Event, EventKind};
use crate::secret;

/// The longest that any limit remembers an attempt.
const LONGEST: TimeDelta = TimeDelta::days(1);

/// How many attempts are free, how long to wait after each further one, and after how long without any the count starts anew.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    free: i32,
    wait: Wait,
    forget_after: TimeDelta,
}

#[derive(Debug, Clone, Copy)]
enum Wait {
    /// 1, 2, 4, … up to 300 seconds.
    Doubling,
    /// As long as the count lasts.
    UntilForgotten,
}

/// Passwords tried on one account.
pub(crate) const ACCOUNT: Limit = Limit { free: 5, wait: Wait::Doubling, forget_after: TimeDelta::hours(1) };
/// Anything guessable tried from one address.
pub(crate) const ADDRESS: Limit = Limit { free: 20, wait: Wait::Doubling, forget_after: TimeDelta::hours(1) };
/// Mails that a stranger can have sent to one account.
pub(crate) const MAILS: Limit =
    Limit { free: 3, wait: Wait::UntilForgotten, forget_after: TimeDelta::hours(1) };
/// Codes of six digits tried on one account within an hour.
pub(crate) const CODES_AN_HOUR: Limit =
    Limit { free: 5, wait: Wait::UntilForgotten, forget_after: TimeDelta::hours(1) };
/// The same within a day.
pub(crate) const CODES_A_DAY: Limit = Limit { free: 10, wait: Wait::UntilForgotten, forget_after: LONGEST };
/// Mails that sign in, sent to anybody within an hour of the clock.
pub(crate) const SIGN_IN_MAILS: Limit =
    Limit { free: 1000, wait: Wait::UntilForgotten, forget_after: TimeDelta::hours(1) };
/// Invitations that an organization sends.
pub(crate) const INVITING: Limit =
    Limit { free: 50, wait: Wait::UntilForgotten, forget_after: TimeDelta::hours(1) };
/// Invitations that one address is sent, by whichever organizations.
pub(crate) const INVITED: Limit = Limit { free: 5, wait: Wait::UntilForgotten, forget_after: LONGEST };

impl Limit {
    /// The wait after the given number of attempts.
    fn wait(self, attempts: i32) -> Option<TimeDelta> {
        let beyond = u32::try_from(attempts.checked_sub(self.free)?).ok()?;
        Some(match self.wait {
            Wait::Doubling => TimeDelta::seconds(2_i64.saturating_pow(beyond).min(300)),
            Wait::UntilForgotten => self.forget_after,
        })
    }
}

/// What attempts are counted by: an account, whether it exists or not, an organization, or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key(String);

impl Key {
    pub(crate) fn account(purpose: &str, email_normalized: &str) -> Self {
        Self(format!("{purpose}:account:{}", secret::digest(email_normalized)))
    }

    pub(crate) fn org(purpose: &str, org: OrgId) -> Self {
        Self(format!("{purpose}:org:{org}"))
    }

    /// Everybody together, within one hour of the clock.
    pub(crate) fn everybody(purpose: &str, at: DateTime<Utc>) -> Self {
        Self(format!("{purpose}:hour:{}", at.timestamp() / 3600))
    }

    pub(crate) fn address(purpose: &str, ip: IpAddr) -> Self {
        Self(format!("{purpose}:address:{}", one_address(ip)))
    }

    /// Writes down that somebody is slowed down from now on, once for each series of attempts.
    async fn reached(&self, tx: &mut impl Tx) -> Result<()> {
        let ip = self.0.split_once(":address:").and_then(|(_, ip)| ip.parse().ok());
        let event =
            Event::refused(EventKind::SuspiciousActivity, "limit_reached").detail("limit", self.0.as_str());
        event.record(tx, &Client { ip, ..Client::default() }).await
    }
}

/// What counts as one address: of IPv6 a whole /64, which is what one connection is given.
pub fn one_address(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

/// Counts an attempt, or answers for how many seconds none is accepted.
pub(crate) async fn count(tx: &mut impl Tx, key: &Key, limit: Limit) -> Result<Option<u64>> {
    let now = tx.now();
    let stale = row::updated_at.lt(now - limit.forget_after);
    let upsert = diesel::insert_into(row::throttles)
        .values((row::key.eq(&key.0), row::failures.eq(1), row::updated_at.eq(now)))
        .on_conflict(row::key)
        .do_update()
        .set((
            row::failures.eq(case_when(stale, 1.into_sql::<Integer>()).otherwise(row::failures + 1)),
            row::updated_at.eq(now),
        ));
    let open = row::blocked_until.is_null().or(row::blocked_until.le(now));
    let counted: Option<i32> = methods::FilterDsl::filter(upsert, open)
        .returning(row::failures)
        .get_result(tx.conn()?)
        .await
        .optional()?;
    let this = row::throttles.find(&key.0);
    let Some(attempts) = counted else {
        let until = this.select(row::blocked_until).first::<Option<_>>(tx.conn()?).await?.unwrap_or(now);
        return Ok(Some(u64::try_from((until - now).num_seconds()).unwrap_or(0) + 1));
    };
    if let Some(wait) = limit.wait(attempts) {
        diesel::update(this).set(row::blocked_until.eq(now + wait)).execute(tx.conn()?).await?;
        if attempts == limit.free {
            key.reached(tx).await?;
        }
    }
    Ok(None)
}

/// Forgets what was counted: the attempt was right.
pub(crate) async fn forget(tx: &mut impl Tx, key: &Key) -> Result<()> {
    diesel::delete(row::throttles.find(&key.0)).execute(tx.conn()?).await?;
    Ok(())
}

/// Takes one attempt back: it was right, which says nothing about the others from the same address.
pub(crate) async fn take_back(tx: &mut impl Tx, key: &Key) -> Result<()> {
    diesel::update(row::throttles.find(&key.0).filter(row::failures.gt(0)))
        .set((row::failures.eq(row::failures - 1), row::blocked_until.eq(None::<DateTime<Utc>>)))
        .execute(tx.conn()?)
        .await?;
    Ok(())
}

/// Removes counts that would start anew anyway.
pub(crate) async fn sweep(p: &mut PlatformTx) -> Result<usize> {
    let old = p.now() - LONGEST;
    let stale = row::throttles
        .filter(row::updated_at.lt(old))
        .filter(row::blocked_until.is_null().or(row::blocked_until.lt(old)));
    Ok(diesel::delete(stale).execute(p.conn()?).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes() {
        let waits = |limit: Limit, attempts: &[i32]| -> Vec<_> {
            attempts.iter().map(|n| limit.wait(*n).map(|w| w.num_seconds())).collect()
        };
        assert_eq!(
            waits(ACCOUNT, &[1, 4, 5, 6, 7, 13, 14, i32::MAX]),
            [None, None, Some(1), Some(2), Some(4), Some(256), Some(300), Some(300)]
        );
        assert_eq!(waits(ADDRESS, &[19, 20, 22]), [None, Some(1), Some(4)]);
        assert_eq!(waits(MAILS, &[2, 3, 9]), [None, Some(3600), Some(3600)]);
        assert_eq!(waits(INVITED, &[4, 5]), [None, Some(86_400)]);
        assert_eq!(waits(CODES_AN_HOUR, &[4, 5]), [None, Some(3600)]);
        assert_eq!(waits(CODES_A_DAY, &[9, 10]), [None, Some(86_400)]);
    }

    #[test]
    fn keys_tell_people_apart_and_addresses_of_one_connection_not() {
        let key = |ip: &str| Key::address("login", ip.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_ne!(Key::account("login", "ann@example.com"), Key::account("login", "bob@example.com"));
        assert!(!Key::account("login", "ann@example.com").0.contains("ann"));
    }
}
