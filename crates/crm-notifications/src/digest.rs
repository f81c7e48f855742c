//! What stayed unread, summed up in a mail.

use std::collections::HashMap;

use chrono::{DateTime, Datelike, Days, NaiveDate, TimeDelta, TimeZone, Utc, Weekday};
use chrono_tz::Tz;
use crm_core::{MemberId, Result, TenantTx};
use crm_jobs::enqueue;
use crm_mail::{Message, Template};
use crm_schema::{memberships, notifications, users};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::json;
use uuid::Uuid;

use crate::Verb;
use crate::delivery::names;
use crate::preferences::{self, Digest, Digested};

/// The kind of the job that sends the digests that are due.
pub const DIGEST: &str = "notifications.digest";

/// How many members one transaction sends to.
const BATCH: usize = 100;

/// How many notifications a digest spells out.
const ITEMS: i64 = 50;

/// Sends every digest that is due, each once, and puts itself in again where there are more.
pub(crate) async fn send(t: &mut TenantTx, frontend_url: &str) -> Result<()> {
    let (now, zone) = (t.now(), t.caller().org.timezone);
    let mut due = preferences::digested(t).await?;
    due.retain(|last| last_due(now, zone, last.digest, last.hour).is_some_and(|due| last.at < due));
    let more = due.len() > BATCH;
    due.truncate(BATCH);
    let recipients = recipients(t, &due).await?;
    for last in due {
        let to = match recipients.get(&last.member) {
            Some((email, name)) => {
                let (to, digest) = digest(t, last, name, frontend_url).await?;
                if let Some(data) = digest {
                    crm_mail::enqueue(t, &Message::new(email, Template::Digest, data)).await?;
                }
                to
            }
            None => last.to,
        };
        preferences::note_digest(t, last.member, to).await?;
    }
    if more {
        enqueue(t, DIGEST, &json!({})).await?;
    }
    Ok(())
}

/// When a digest was last due: at its hour today or before. Where the clocks skip that hour, at the first one that there is; where they
/// repeat it, at the first of the two.
fn last_due(now: DateTime<Utc>, zone: Tz, digest: Digest, hour: i32) -> Option<DateTime<Utc>> {
    let today = now.with_timezone(&zone).date_naive();
    let is_day = |day: &NaiveDate| match digest {
        Digest::Off => false,
        Digest::Daily => true,
        Digest::Weekly => day.weekday() == Weekday::Mon,
    };
    let days = (0..=7).filter_map(|ago| today.checked_sub_days(Days::new(ago)));
    days.filter(is_day).filter_map(|day| at_hour(zone, day, hour)).find(|due| *due <= now)
}

fn at_hour(zone: Tz, day: NaiveDate, hour: i32) -> Option<DateTime<Utc>> {
    let wanted = day.and_hms_opt(u32::try_from(hour).ok()?, 0, 0)?;
    let from_there = (0..24).map(|quarters| wanted + TimeDelta::minutes(15 * quarters));
    from_there.filter_map(|local| zone.from_local_datetime(&local).earliest()).next().map(|at| at.to_utc())
}

/// Address and name of those who are still active.
async fn recipients(t: &mut TenantTx, due: &[Digested]) -> Result<HashMap<MemberId, (String, String)>> {
    let these = memberships::id.eq_any(due.iter().map(|last| last.member));
    let found: Vec<(MemberId, (String, String))> = memberships::table
        .inner_join(users::table.on(memberships::user_id.eq(users::id.nullable())))
        .filter(memberships::org_id.eq(t.org()).and(these))
        .filter(memberships::state.eq("active").and(users::is_active.eq(true)))
        .select((memberships::id, (users::email, users::name)))
        .load(t.conn()?)
        .await?;
    Ok(found.into_iter().collect())
}

/// What one member is sent, if anything is unread, and the notification up to which this digest goes.
async fn digest(
    t: &mut TenantTx,
    last: Digested,
    name: &str,
    frontend_url: &str,
) -> Result<(Uuid, Option<serde_json::Value>)> {
    let theirs = notifications::org_id.eq(t.org()).and(notifications::recipient_id.eq(last.member));
    let new = theirs.and(notifications::id.gt(last.to));
    let newest =
        notifications::table.filter(new).order_by(notifications::id.desc()).select(notifications::id);
    let Some(to) = newest.first::<Uuid>(t.conn()?).await.optional()? else {
        return Ok((last.to, None));
    };
    let unread = new.and(notifications::id.le(to)).and(notifications::read_at.is_null());
    let count: i64 = notifications::table.filter(unread).count().get_result(t.conn()?).await?;
    if count == 0 {
        return Ok((to, None));
    }
    let columns = (
        notifications::verb,
        notifications::created_by,
        notifications::kind,
        notifications::title,
        notifications::link,
        notifications::created_at,
    );
    let first = notifications::table.filter(unread).order_by(notifications::id).limit(ITEMS);
    let rows: Vec<Row> = first.select(columns).load(t.conn()?).await?;
    let by: Vec<_> = rows.iter().filter_map(|row| row.1).collect();
    let names = names(t, &by).await?;
    let org = &t.caller().org;
    let items: Vec<_> = rows
        .into_iter()
        .map(|(verb, by, kind, title, link, at)| {
            let by = by.and_then(|by| names.get(&by)).unwrap_or(&org.name);
            let text = verb.sentence(by, kind.as_deref().unwrap_or_default(), &title);
            let at = at.with_timezone(&org.timezone).format("%Y-%m-%d %H:%M").to_string();
            json!({"text": text, "link": format!("{frontend_url}{link}"), "at": at})
        })
        .collect();
    Ok((to, Some(json!({"org_name": org.name, "name": name, "count": count, "items": items}))))
}

/// Verb, who did it, kind, title, link and time.
type Row = (Verb, Option<MemberId>, Option<String>, String, String, DateTime<Utc>);

#[cfg(test)]
mod tests {
    use chrono_tz::Europe::Berlin;
    use chrono_tz::{America::New_York, Australia::Lord_Howe, UTC};

    use super::*;

    #[test]
    fn a_digest_is_due_once_a_day_whatever_the_clocks_do() {
        use Digest::{Daily, Off, Weekly};
        for (now, zone, digest, hour, want) in [
            ("2026-11-22T10:00:00Z", UTC, Daily, 8, "2026-11-22T08:00:00Z"),
            ("2026-11-22T08:00:00Z", UTC, Daily, 8, "2026-11-22T08:00:00Z"),
            ("2026-11-22T07:59:59Z", UTC, Daily, 8, "2026-11-21T08:00:00Z"),
            ("2026-11-22T12:00:00Z", New_York, Daily, 8, "2026-11-21T13:00:00Z"),
            // 2026-11-22 is a Sunday.
            ("2026-11-22T10:00:00Z", UTC, Weekly, 8, "2026-11-16T08:00:00Z"),
            ("2026-11-23T07:00:00Z", UTC, Weekly, 8, "2026-11-16T08:00:00Z"),
            ("2026-11-23T08:00:00Z", UTC, Weekly, 8, "2026-11-23T08:00:00Z"),
            // The last hour of the day before, seen from the next one.
            ("2026-03-28T23:30:00Z", Berlin, Daily, 23, "2026-03-28T22:00:00Z"),
            // Two o'clock is skipped in the morning of 2026-03-29, and three comes at once.
            ("2026-03-29T00:59:59Z", Berlin, Daily, 2, "2026-03-28T01:00:00Z"),
            ("2026-03-29T01:00:00Z", Berlin, Daily, 2, "2026-03-29T01:00:00Z"),
            ("2026-03-29T12:00:00Z", Berlin, Daily, 8, "2026-03-29T06:00:00Z"),
            ("2026-03-28T12:00:00Z", Berlin, Daily, 8, "2026-03-28T07:00:00Z"),
            // And comes twice in the morning of 2026-10-25.
            ("2026-10-25T00:30:00Z", Berlin, Daily, 2, "2026-10-25T00:00:00Z"),
            ("2026-10-25T01:30:00Z", Berlin, Daily, 2, "2026-10-25T00:00:00Z"),
            // Half an hour is skipped.
            ("2026-10-03T16:00:00Z", Lord_Howe, Daily, 2, "2026-10-03T15:30:00Z"),
        ] {
            let (now, want): (DateTime<Utc>, DateTime<Utc>) = (now.parse().unwrap(), want.parse().unwrap());
            assert_eq!(last_due(now, zone, digest, hour), Some(want), "{digest} at {hour}, {zone}, {now}");
            assert_eq!(last_due(now, zone, Off, hour), None);
        }
    }
}
