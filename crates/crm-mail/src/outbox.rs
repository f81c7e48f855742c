//! What an operator sees and does about mails that did not simply arrive.

use chrono::{DateTime, Utc};
use crm_core::{Db, OrgId, Result};
use crm_jobs::System;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::Template;
use crate::delivery::within;
use crate::rows::{MailState, on_rows, queue_again};

/// A mail as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Entry {
    /// Its row.
    pub id: Uuid,
    /// When it was caused.
    pub created_at: DateTime<Utc>,
    /// The recipient.
    pub to: String,
    /// What it says.
    pub template: Template,
    /// How often it was tried.
    pub attempts: i32,
    /// What came of the last attempt, without personal data.
    pub last_error: Option<String>,
}

/// The mails in a state, newest first: of an organization, or to accounts outside every one.
///
/// # Errors
/// `Unavailable` without a database.
pub async fn in_state(db: &Db, org: Option<OrgId>, state: MailState, limit: i64) -> Result<Vec<Entry>> {
    within(db, org, async |tx| {
        Ok(on_rows!(tx, |mails, rows| {
            let columns = (
                mails::id,
                mails::created_at,
                mails::to_address,
                mails::template,
                mails::attempts,
                mails::last_error,
            );
            let newest = rows.filter(mails::state.eq(state)).order_by(mails::id.desc()).limit(limit);
            newest.select(columns).load(tx.conn()?).await?
        }))
    })
    .await
}

/// Has a mail sent that is left: one that is [`MailState::Uncertain`], which the recipient may then get twice, or one that is
/// [`MailState::Queued`] and whose job was given up.
///
/// # Errors
/// `NotFound`; `Conflict` for a mail in any other state.
pub async fn resend(db: &Db, org: Option<OrgId>, id: Uuid) -> Result<()> {
    match org {
        Some(org) => db.tenant(&System(org), async |t| queue_again(t, id).await).await,
        None => db.platform(async |p| queue_again(p, id).await).await,
    }
}
