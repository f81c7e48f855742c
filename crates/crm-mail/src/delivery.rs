//! How a mail leaves, never twice: it is marked as being sent before the server hears of it, and whoever finds it so marked does not
//! send it.

use crm_core::{Db, OrgId, Result, Tx};
use crm_jobs::{Failure, Job, System};

use crate::rows::{self, Claim, Ended, MailState, ToSend};
use crate::{Error, Message, Sent};

/// Does a job that sends a mail, with `send`, which is [`crate::Mailer::send`] outside of tests.
///
/// # Errors
/// [`Failure::Retry`] where the server did not take the mail for now, [`Failure::Final`] where it never will or where that is unknown.
pub async fn deliver(
    db: &Db,
    job: &Job,
    send: impl AsyncFnOnce(&Message) -> Result<Sent, Error>,
) -> Result<(), Failure> {
    let ToSend { id } = job.payload()?;
    let (message, attempt) = match within(db, job.org_id, async |tx| rows::claim(tx, id).await).await? {
        Claim::Ours(message, attempt) => (message, attempt),
        Claim::Uncertain => return Err(Failure::Final(rows::LOST.into())),
        Claim::Nothing => return Ok(()),
    };
    let outcome = send(&message).await;
    let state = match &outcome {
        Ok(_) => MailState::Sent,
        Err(Error::Temporary(_)) => MailState::Queued,
        Err(Error::Uncertain(_)) => MailState::Uncertain,
        Err(_) => MailState::Failed,
    };
    let ended = Ended {
        attempt,
        state,
        sent: outcome.as_ref().ok(),
        error: outcome.as_ref().err().map(ToString::to_string),
    };
    within(db, job.org_id, async |tx| rows::finish(tx, id, ended).await).await?;
    // Only the error's own words: what the mail server said may quote the recipient.
    outcome.map(drop).map_err(|error| match state {
        MailState::Queued => Failure::Retry(error.to_string()),
        _ => Failure::Final(error.to_string()),
    })
}

/// Runs `work` as the program itself, in an organization or outside every one.
pub(crate) async fn within<T>(
    db: &Db,
    org: Option<OrgId>,
    work: impl AsyncFnOnce(&mut (dyn Tx + Send)) -> Result<T>,
) -> Result<T> {
    match org {
        Some(org) => db.tenant(&System(org), async |t| work(t).await).await,
        None => db.platform(async |p| work(p).await).await,
    }
}
