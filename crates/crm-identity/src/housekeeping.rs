use chrono::TimeDelta;
use crm_core::Result;

use crate::{Identity, email_tokens, oidc, sessions, sign_in_mail, throttle, two_factor};

/// For how long what can't be used any more is kept, so that an operator can still look at it.
const KEPT: TimeDelta = TimeDelta::days(30);

impl Identity {
    /// Removes sessions, mailed tokens and counts of attempts that are of no more use, and answers how many rows that were.
    /// What the audit trail has only counted so far is written.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn sweep(&self) -> Result<usize> {
        self.write_repeats().await?;
        self.db
            .platform(async |p| {
                let before = p.now() - KEPT;
                let swept = throttle::sweep(p).await? + email_tokens::sweep(p, before).await?;
                let over =
                    two_factor::sweep(p).await? + oidc::sweep(p).await? + sign_in_mail::sweep(p).await?;
                Ok(swept + over + sessions::sweep(p, before).await?)
            })
            .await
    }
}
