//! When people are to be reminded of a record: rows, and a job at the time of each. Whoever does that job takes what is due, in its own
//! transaction, so each is delivered once, however late.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use crm_core::{Result, TenantTx};
use crm_jobs::NewJob;
use crm_schema::{record_reminders, records};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;
use validator::Validate;

/// The kind of the job that delivers what is due; its payload is empty.
pub const REMIND: &str = "reminders.due";

/// How many one job takes.
pub const BATCH: i64 = 200;

/// How many a record may have.
pub const MOST: usize = 10;

crm_core::text_enum!(
    /// How people are reminded.
    ReminderType {
        /// By mail.
        Email = "Email",
        /// In the application.
        Popup = "Popup",
    }
);

/// What a client writes of a reminder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReminderFields {
    /// How.
    pub reminder_type: ReminderType,
    /// How long before the record's time, in seconds.
    #[validate(range(min = 0, max = 2_592_000))]
    pub reminder_time: i32,
}

/// A reminder of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Queryable, utoipa::ToSchema)]
pub struct Reminder {
    /// Its id.
    pub id: Uuid,
    /// How.
    pub reminder_type: ReminderType,
    /// How long before the record's time, in seconds.
    pub reminder_time: i32,
    /// When.
    pub due_at: DateTime<Utc>,
    /// When it was delivered; null while it is to come.
    pub sent_at: Option<DateTime<Utc>>,
}

/// A reminder whose time has come.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Due {
    /// Its id: the event that people are told of, once each.
    pub id: Uuid,
    /// The record.
    pub record_id: Uuid,
    /// The record's kind.
    pub kind: String,
    /// How.
    pub reminder_type: ReminderType,
    /// How long before the record's time, in seconds.
    pub reminder_time: i32,
    /// When it was due.
    pub due_at: DateTime<Utc>,
}

/// Has a record's reminders be these, counted back from its time `at`; without a time there are none. One whose time changes is armed
/// again. What lies in the past is delivered at once while the record's own time is still to come, and otherwise never.
///
/// # Errors
/// Those of the database.
pub async fn store(
    t: &mut TenantTx,
    record: Uuid,
    at: Option<DateTime<Utc>>,
    wanted: &[ReminderFields],
) -> Result<()> {
    let wanted: HashSet<_> = wanted.iter().copied().filter(|_| at.is_some()).collect();
    let mut old: HashMap<_, _> = of(t, &[record])
        .await?
        .remove(&record)
        .unwrap_or_default()
        .into_iter()
        .map(|r| (ReminderFields { reminder_type: r.reminder_type, reminder_time: r.reminder_time }, r))
        .collect();
    let (org, now) = (t.org(), t.now());
    for fields in wanted {
        let Some(at) = at else { break };
        let due_at = at - TimeDelta::seconds(i64::from(fields.reminder_time));
        let stored = old.remove(&fields);
        if stored.as_ref().is_some_and(|stored| stored.due_at == due_at) {
            continue;
        }
        let sent_at = (at < now).then_some(now);
        let set = (record_reminders::due_at.eq(due_at), record_reminders::sent_at.eq(sent_at));
        match stored {
            Some(stored) => {
                let this = record_reminders::org_id.eq(org).and(record_reminders::id.eq(stored.id));
                diesel::update(record_reminders::table.filter(this)).set(set).execute(t.conn()?).await?;
            }
            None => {
                let row = (
                    record_reminders::org_id.eq(org),
                    record_reminders::id.eq(Uuid::now_v7()),
                    record_reminders::record_id.eq(record),
                    record_reminders::reminder_type.eq(fields.reminder_type),
                    record_reminders::reminder_time.eq(fields.reminder_time),
                    set,
                );
                diesel::insert_into(record_reminders::table).values(row).execute(t.conn()?).await?;
            }
        }
        if sent_at.is_none() {
            let key = due_at.to_rfc3339_opts(SecondsFormat::Millis, true);
            NewJob::new(REMIND, &json!({}))?.key(key).at(due_at).put(t).await?;
        }
    }
    let gone: Vec<Uuid> = old.into_values().map(|reminder| reminder.id).collect();
    if !gone.is_empty() {
        let these = record_reminders::org_id.eq(org).and(record_reminders::id.eq_any(gone));
        diesel::delete(record_reminders::table.filter(these)).execute(t.conn()?).await?;
    }
    Ok(())
}

/// The reminders of some records, the earliest first.
///
/// # Errors
/// Those of the database.
pub async fn of(t: &mut TenantTx, records: &[Uuid]) -> Result<HashMap<Uuid, Vec<Reminder>>> {
    let these = record_reminders::record_id.eq_any(records.to_vec());
    let rows: Vec<(Uuid, Reminder)> = record_reminders::table
        .filter(record_reminders::org_id.eq(t.org()).and(these))
        .order_by((record_reminders::due_at, record_reminders::id))
        .select((
            record_reminders::record_id,
            (
                record_reminders::id,
                record_reminders::reminder_type,
                record_reminders::reminder_time,
                record_reminders::due_at,
                record_reminders::sent_at,
            ),
        ))
        .load(t.conn()?)
        .await?;
    let mut found: HashMap<Uuid, Vec<Reminder>> = HashMap::new();
    for (record, reminder) in rows {
        found.entry(record).or_default().push(reminder);
    }
    Ok(found)
}

/// Takes what is due and marks it as delivered, which holds if this transaction does: whoever calls delivers it in the same one. Where
/// there is more than [`BATCH`], another job takes the rest.
///
/// # Errors
/// Those of the database.
pub async fn take_due(t: &mut TenantTx) -> Result<Vec<Due>> {
    let (org, now) = (t.org(), t.now());
    let unsent = record_reminders::sent_at.is_null().and(record_reminders::due_at.le(now));
    let ids: Vec<Uuid> = record_reminders::table
        .filter(record_reminders::org_id.eq(org).and(unsent))
        .order_by((record_reminders::due_at, record_reminders::id))
        .limit(BATCH)
        .select(record_reminders::id)
        .for_update()
        .skip_locked()
        .load(t.conn()?)
        .await?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    if i64::try_from(ids.len()).is_ok_and(|taken| taken == BATCH) {
        NewJob::new(REMIND, &json!({}))?.put(t).await?;
    }
    let these = || record_reminders::org_id.eq(org).and(record_reminders::id.eq_any(ids.clone()));
    diesel::update(record_reminders::table.filter(these()))
        .set(record_reminders::sent_at.eq(now))
        .execute(t.conn()?)
        .await?;
    let due = record_reminders::table
        .inner_join(records::table.on(
            records::org_id.eq(record_reminders::org_id).and(records::id.eq(record_reminders::record_id)),
        ))
        .filter(these())
        .order_by((record_reminders::due_at, record_reminders::id))
        .select((
            record_reminders::id,
            record_reminders::record_id,
            records::kind,
            record_reminders::reminder_type,
            record_reminders::reminder_time,
            record_reminders::due_at,
        ));
    Ok(due.load(t.conn()?).await?)
}
