//! The row of each message, which says how far it has come: in `mails` inside an organization, in `account_mails` outside.

use crm_core::rules::normalize_email;
use crm_core::{Code, Error, Result, Tx};
use crm_schema::{account_mails, mails};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{Message, Sent, Template, suppressions};

/// The kind of the jobs that send a mail of an organization.
pub const SEND: &str = "mail.send";

/// The kind of the jobs that send a mail to an account, outside every organization.
pub const SEND_OUTSIDE: &str = "platform.mail.send";

crm_core::text_enum!(
    /// How far a mail has come.
    MailState {
        /// To be sent, or to be tried again.
        Queued = "queued",
        /// Being sent: what becomes of the worker now decides whether it was.
        Sending = "sending",
        /// The server has taken it.
        Sent = "sent",
        /// Kept back, because the organization does not mail to this recipient.
        Suppressed = "suppressed",
        /// Refused for good.
        Failed = "failed",
        /// Handed over perhaps: only an operator sends it again.
        Uncertain = "uncertain",
    }
);

impl MailState {
    /// Whether nothing can come of it any more.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Sent | Self::Suppressed | Self::Failed)
    }
}

/// What a job that sends carries.
#[derive(Serialize, Deserialize)]
pub(crate) struct ToSend {
    pub(crate) id: Uuid,
}

/// Runs statements on the mails of a transaction: those of its organization, or outside every one those to accounts.
macro_rules! on_rows {
    ($tx:expr, |$mails:ident, $rows:ident| $body:expr) => {
        match $tx.org() {
            Some(org) => {
                use crm_schema::mails as $mails;
                let $rows = $mails::table.filter($mails::org_id.eq(org));
                $body
            }
            None => {
                use crm_schema::account_mails as $mails;
                let $rows = $mails::table;
                $body
            }
        }
    };
}
pub(crate) use on_rows;

/// Has a message sent once the transaction has committed: of its organization, or to an account outside every one.
///
/// # Errors
/// Those of the database.
pub async fn enqueue(tx: &mut impl Tx, message: &Message) -> Result<()> {
    macro_rules! columns {
        ($mails:ident) => {
            (
                $mails::id.eq(message.id),
                $mails::created_at.eq(tx.now()),
                $mails::to_address.eq(&message.to),
                $mails::to_normalized.eq(normalize_email(&message.to)),
                $mails::template.eq(message.template),
                $mails::data.eq(&message.data),
            )
        };
    }
    match tx.org() {
        Some(org) => {
            let row = (mails::org_id.eq(org), mails::created_by.eq(message.by), columns!(mails));
            diesel::insert_into(mails::table).values(row).execute(tx.conn()?).await?
        }
        None => {
            let row = columns!(account_mails);
            diesel::insert_into(account_mails::table).values(row).execute(tx.conn()?).await?
        }
    };
    put_job(tx, message.id).await
}

async fn put_job(tx: &mut impl Tx, id: Uuid) -> Result<()> {
    let kind = if tx.org().is_some() { SEND } else { SEND_OUTSIDE };
    crm_jobs::enqueue(tx, kind, &ToSend { id }).await
}

/// Why a mail is uncertain that a worker finds half sent.
pub(crate) const LOST: &str = "the worker was lost while it sent the mail";

/// What a worker finds that wants to send a mail.
pub(crate) enum Claim {
    /// It is this worker's to send, in this attempt.
    Ours(Message, i32),
    /// It was being sent when its worker was lost.
    Uncertain,
    /// Nothing is to be done.
    Nothing,
}

type Row = (MailState, i32, String, String, Template, Value);

/// Takes a mail for this worker alone, once the transaction has committed.
pub(crate) async fn claim(tx: &mut (dyn Tx + Send), id: Uuid) -> Result<Claim> {
    let row: Option<Row> = on_rows!(tx, |mails, rows| {
        let columns = (
            mails::state,
            mails::attempts,
            mails::to_address,
            mails::to_normalized,
            mails::template,
            mails::data,
        );
        let this = rows.filter(mails::id.eq(id)).select(columns).for_update();
        this.first(tx.conn()?).await.optional()?
    });
    let Some((state, attempts, to, to_normalized, template, data)) = row else { return Ok(Claim::Nothing) };
    let (state, attempt, claim) = match state {
        MailState::Queued
            if !template.is_about_account() && suppressions::apply_to(tx, &to_normalized).await? =>
        {
            (MailState::Suppressed, attempts, Claim::Nothing)
        }
        MailState::Queued => {
            let message = Message { id, to, template, data, by: None };
            (MailState::Sending, attempts + 1, Claim::Ours(message, attempts + 1))
        }
        MailState::Sending => (MailState::Uncertain, attempts, Claim::Uncertain),
        _ => return Ok(Claim::Nothing),
    };
    let error = matches!(claim, Claim::Uncertain).then_some(LOST);
    on_rows!(tx, |mails, rows| {
        let change = (
            mails::state.eq(state),
            mails::attempts.eq(attempt),
            mails::last_error.eq(error),
            state.is_final().then(|| mails::data.eq(json!({}))),
        );
        diesel::update(rows.filter(mails::id.eq(id))).set(change).execute(tx.conn()?).await?
    });
    Ok(claim)
}

/// What came of an attempt to send.
pub(crate) struct Ended<'a> {
    pub(crate) attempt: i32,
    pub(crate) state: MailState,
    pub(crate) sent: Option<&'a Sent>,
    pub(crate) error: Option<String>,
}

/// Notes what came of an attempt. One that was declared uncertain meanwhile can still turn out sent or failed, but is not queued
/// again: nobody would be left to send it.
pub(crate) async fn finish(tx: &mut (dyn Tx + Send), id: Uuid, ended: Ended<'_>) -> Result<()> {
    let Ended { attempt, state, sent, error } = ended;
    let open = match state {
        MailState::Queued => &[MailState::Sending][..],
        _ => &[MailState::Sending, MailState::Uncertain],
    };
    let now = tx.now();
    on_rows!(tx, |mails, rows| {
        let this =
            rows.filter(mails::id.eq(id).and(mails::attempts.eq(attempt)).and(mails::state.eq_any(open)));
        let change = (
            mails::state.eq(state),
            mails::last_error.eq(error),
            sent.map(|sent| {
                (
                    mails::subject.eq(&sent.subject),
                    mails::message_id.eq(&sent.message_id),
                    mails::sent_at.eq(now),
                )
            }),
            state.is_final().then(|| mails::data.eq(json!({}))),
        );
        diesel::update(this).set(change).execute(tx.conn()?).await?
    });
    Ok(())
}

/// Puts a job in for a mail that has none any more: it may have been sent already, or was tried too often.
///
/// # Errors
/// `NotFound`; `Conflict` for a mail in any other state.
pub(crate) async fn queue_again(tx: &mut impl Tx, id: Uuid) -> Result<()> {
    let state: MailState = on_rows!(tx, |mails, rows| {
        rows.filter(mails::id.eq(id)).select(mails::state).for_update().first(tx.conn()?).await?
    });
    if !matches!(state, MailState::Uncertain | MailState::Queued) {
        let message = format!("only a mail that is uncertain or queued can be sent: this one is {state}");
        return Err(Error::Refused(Code::Conflict, message.into()));
    }
    on_rows!(tx, |mails, rows| {
        let this = rows.filter(mails::id.eq(id));
        diesel::update(this).set(mails::state.eq(MailState::Queued)).execute(tx.conn()?).await?
    });
    put_job(tx, id).await
}
