//! How a member wants to be told.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use crm_core::body::{self, Object};
use crm_core::{Error, MemberId, Result, TenantTx};
use crm_schema::notification_preferences as stored;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;
use validator::Validate;

use crate::{Verb, delivery, feed};

crm_core::text_enum!(
    /// How often unread notifications are summed up in a mail.
    Digest {
        /// Never.
        Off = "off",
        /// Every day.
        Daily = "daily",
        /// On Mondays.
        Weekly = "weekly",
    }
);

/// Where one kind of thing is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Channels {
    /// Among the notifications.
    pub in_app: bool,
    /// By mail, at once.
    pub mail: bool,
}

const EVERYWHERE: Channels = Channels { in_app: true, mail: true };
const IN_APP: Channels = Channels { in_app: true, mail: false };

/// Where each verb is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Verbs {
    /// A record was assigned to the member.
    pub assigned: Channels,
    /// A comment mentions the member.
    pub mentioned: Channels,
    /// A record that the member follows was commented on.
    pub commented: Channels,
}

impl Default for Verbs {
    fn default() -> Self {
        Self { assigned: EVERYWHERE, mentioned: EVERYWHERE, commented: IN_APP }
    }
}

/// How a member wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Validate, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Preferences {
    /// What is told where.
    pub verbs: Verbs,
    /// How often unread notifications are summed up in a mail; a weekly digest goes on Mondays.
    pub digest: Digest,
    /// At which hour, in the organization's time zone.
    #[validate(range(min = 0, max = 23))]
    pub digest_hour: i32,
}

impl Default for Preferences {
    fn default() -> Self {
        Self { verbs: Verbs::default(), digest: Digest::Off, digest_hour: 8 }
    }
}

impl Preferences {
    /// Where this is told.
    pub fn channels(&self, verb: Verb) -> Channels {
        match verb {
            Verb::Assigned => self.verbs.assigned,
            Verb::Mentioned => self.verbs.mentioned,
            Verb::Commented => self.verbs.commented,
        }
    }

    fn read((verbs, digest, digest_hour): Columns) -> Result<Self> {
        Ok(Self { verbs: serde_json::from_value(verbs).map_err(Error::internal)?, digest, digest_hour })
    }
}

type Columns = (Value, Digest, i32);

const COLUMNS: (stored::verbs, stored::digest, stored::digest_hour) =
    (stored::verbs, stored::digest, stored::digest_hour);

/// How the caller wants to be told.
///
/// # Errors
/// `NotFound` for whoever is no member.
pub async fn find(t: &mut TenantTx) -> Result<Preferences> {
    let me = t.actor().ok_or(Error::NotFound)?;
    Ok(of(t, &[me]).await?.remove(&me).unwrap_or_default())
}

/// Changes how the caller wants to be told: a merge patch. A digest that is wanted anew, or at another hour, begins now.
///
/// # Errors
/// `NotFound` for whoever is no member; 400 and 422 for the body.
pub async fn update(t: &mut TenantTx, patch: Object) -> Result<Preferences> {
    let me = t.actor().ok_or(Error::NotFound)?;
    delivery::lock(t, &[me]).await?;
    let old = find(t).await?;
    let Value::Object(shown) = serde_json::to_value(old).map_err(Error::internal)? else {
        return Err(Error::internal("preferences are a JSON object"));
    };
    let new: Preferences = body::parse(body::merge(shown, patch))?;
    let start = (stored::digested_at.eq(t.now()), stored::digested_to.eq(feed::newest(t).await?));
    let wanted = (
        stored::verbs.eq(serde_json::to_value(new.verbs).map_err(Error::internal)?),
        stored::digest.eq(new.digest),
        stored::digest_hour.eq(new.digest_hour),
    );
    let restarts = (old.digest, old.digest_hour) != (new.digest, new.digest_hour);
    let upsert = diesel::insert_into(stored::table)
        .values((stored::org_id.eq(t.org()), stored::membership_id.eq(me), wanted.clone(), start))
        .on_conflict((stored::org_id, stored::membership_id))
        .do_update();
    if restarts {
        upsert.set((wanted, start)).execute(t.conn()?).await?;
    } else {
        upsert.set(wanted).execute(t.conn()?).await?;
    }
    Ok(new)
}

/// How these members want to be told; whoever is left out, as by default.
pub(crate) async fn of(t: &mut TenantTx, members: &[MemberId]) -> Result<HashMap<MemberId, Preferences>> {
    let rows: Vec<(MemberId, Columns)> = stored::table
        .filter(stored::org_id.eq(t.org()).and(stored::membership_id.eq_any(members)))
        .select((stored::membership_id, COLUMNS))
        .load(t.conn()?)
        .await?;
    rows.into_iter().map(|(member, columns)| Ok((member, Preferences::read(columns)?))).collect()
}

/// When a digest was last due to a member, and what it went up to.
#[derive(Debug, Clone, Copy, Queryable)]
pub(crate) struct Digested {
    pub(crate) member: MemberId,
    pub(crate) digest: Digest,
    pub(crate) hour: i32,
    pub(crate) at: DateTime<Utc>,
    pub(crate) to: Uuid,
}

/// Everybody who wants a digest, locked: of two jobs at once, the second sees what the first one sent.
pub(crate) async fn digested(t: &mut TenantTx) -> Result<Vec<Digested>> {
    let columns = (
        stored::membership_id,
        stored::digest,
        stored::digest_hour,
        stored::digested_at,
        stored::digested_to,
    );
    let wanted = stored::table.filter(stored::org_id.eq(t.org()).and(stored::digest.ne(Digest::Off)));
    Ok(wanted.order_by(stored::membership_id).for_update().select(columns).load(t.conn()?).await?)
}

/// Notes that a digest was due and went up to `to`.
pub(crate) async fn note_digest(t: &mut TenantTx, member: MemberId, to: Uuid) -> Result<()> {
    let this = stored::table.filter(stored::org_id.eq(t.org()).and(stored::membership_id.eq(member)));
    diesel::update(this)
        .set((stored::digested_at.eq(t.now()), stored::digested_to.eq(to)))
        .execute(t.conn()?)
        .await?;
    Ok(())
}
