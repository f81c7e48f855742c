//! What a member was told. Every query is about the caller's own.

use std::borrow::Cow;

use chrono::{DateTime, Datelike, Utc};
use crm_core::body::is_common_era;
use crm_core::{Error, FieldCode, MemberId, Result, Scope, TenantTx};
use crm_records::list::{Page, Params, Shaped, SortValues, Value};
use crm_schema::notifications;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use validator::{Validate, ValidationError};

use crate::delivery;
use crate::model::{NOTIFICATIONS, Notification};

/// How many notifications [`since`] answers at most.
pub const BATCH: usize = 100;

/// How many notifications are unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Unread {
    /// Of all of them.
    pub count: i64,
}

/// Which notifications to mark as read.
#[derive(Debug, Clone, Copy, Default, Deserialize, Validate, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReadAll {
    /// Those told at that instant or before; all that are there when it is left out.
    #[validate(custom(function = "in_common_era"))]
    pub before: Option<DateTime<Utc>>,
}

fn in_common_era(at: &DateTime<Utc>) -> Result<(), ValidationError> {
    if is_common_era(at.year()) {
        return Ok(());
    }
    let message = Cow::Borrowed("must be an instant of the years 1 to 9999");
    Err(ValidationError::new(FieldCode::OutOfRange.as_str()).with_message(message))
}

/// The caller's notifications from some point on.
#[derive(Debug, Clone, PartialEq)]
pub struct News {
    /// The next ones, oldest first, [`BATCH`] at most.
    pub notifications: Vec<Notification>,
    /// How many are unread, of all.
    pub unread: Unread,
}

macro_rules! mine {
    ($t:expr) => {
        notifications::table
            .filter(notifications::org_id.eq($t.org()).and(notifications::recipient_id.eq(member($t)?)))
    };
}

/// Whoever is no member was told nothing.
fn member(t: &TenantTx) -> Result<MemberId> {
    t.actor().ok_or(Error::NotFound)
}

/// Lists the caller's notifications, newest first.
///
/// # Errors
/// 400 for parameters.
pub async fn list(t: &mut TenantTx, params: &Params) -> Result<Page<Shaped<Notification>>> {
    let mut selection = NOTIFICATIONS.select(params, t.caller(), Scope::All)?;
    selection.and(NOTIFICATIONS.compare("recipient_id", "=", Value::Uuid(member(t)?.0)));
    let page = selection
        .run(t, async |t, f| {
            let query = notifications::table
                .filter(f.filter)
                .order_by(f.slice)
                .select((Notification::as_select(), selection.keys()));
            Ok(query.load::<(Notification, SortValues)>(t.conn()?).await?)
        })
        .await?;
    selection.shape.page(t, page).await
}

/// How many notifications the caller has not read.
///
/// # Errors
/// Those of the database.
pub async fn unread(t: &mut TenantTx) -> Result<Unread> {
    let unread = mine!(t).filter(notifications::read_at.is_null());
    Ok(Unread { count: unread.count().get_result(t.conn()?).await? })
}

/// The caller's newest notification; the nil id where there is none.
///
/// # Errors
/// Those of the database.
pub async fn newest(t: &mut TenantTx) -> Result<Uuid> {
    let newest = mine!(t).order_by(notifications::id.desc()).select(notifications::id);
    Ok(newest.first(t.conn()?).await.optional()?.unwrap_or_default())
}

/// What the caller was told after the notification `after`, which need not be there any more.
///
/// # Errors
/// Those of the database.
pub async fn since(t: &mut TenantTx, after: Uuid) -> Result<News> {
    let next = mine!(t)
        .filter(notifications::id.gt(after))
        .order_by(notifications::id)
        .limit(BATCH as i64)
        .select(Notification::as_select());
    let notifications = next.load(t.conn()?).await?;
    Ok(News { notifications, unread: unread(t).await? })
}

/// Marks one as read; one that is read already keeps its time.
///
/// # Errors
/// `NotFound` for one that is not the caller's.
pub async fn read(t: &mut TenantTx, id: Uuid) -> Result<()> {
    let now = t.now();
    let unread = mine!(t).filter(notifications::id.eq(id).and(notifications::read_at.is_null()));
    if diesel::update(unread).set(notifications::read_at.eq(now)).execute(t.conn()?).await? > 0 {
        delivery::wake(t, &[member(t)?]);
        return Ok(());
    }
    let there = mine!(t).filter(notifications::id.eq(id)).select(notifications::id);
    there.first::<Uuid>(t.conn()?).await?;
    Ok(())
}

/// Marks as read what is unread; what comes meanwhile stays unread.
///
/// # Errors
/// Those of the database.
pub async fn read_all(t: &mut TenantTx, which: ReadAll) -> Result<()> {
    let mut unread = diesel::update(mine!(t).filter(notifications::read_at.is_null()))
        .set(notifications::read_at.eq(t.now()))
        .into_boxed();
    if let Some(before) = which.before {
        unread = unread.filter(notifications::created_at.le(before));
    }
    if unread.execute(t.conn()?).await? > 0 {
        delivery::wake(t, &[member(t)?]);
    }
    Ok(())
}

/// Deletes one.
///
/// # Errors
/// `NotFound` for one that is not the caller's.
pub async fn delete(t: &mut TenantTx, id: Uuid) -> Result<()> {
    if diesel::delete(mine!(t).filter(notifications::id.eq(id))).execute(t.conn()?).await? == 0 {
        return Err(Error::NotFound);
    }
    delivery::wake(t, &[member(t)?]);
    Ok(())
}
