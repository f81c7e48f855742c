//! What members write to people of an account: once to each, at once or at a time of their choice, until then it can be taken back.

use std::collections::BTreeSet;

use chrono::{DateTime, LocalResult, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use crm_access::Require;
use crm_core::body::{self, Object};
use crm_core::{Caller, Code, Error, FieldCode, FieldError, MemberId, Result, TenantTx, first_id_since};
use crm_jobs::NewJob;
use crm_mail::{Message, Template, enqueue, senders};
use crm_records::list::{Field, Kind, Page, Params, Rel, Resource, Shaped, SortValues, Value, check_related};
use crm_records::{Base, base_columns, base_values, created};
use crm_schema::{
    account_message_recipients as recipients, account_messages, accounts, contacts, mails, record_contacts,
};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;
use validator::Validate;

use crate::ACCOUNTS;

/// The kind of the job that sends one; its payload is [`Due`].
pub const SEND_MESSAGE: &str = "accounts.message";

/// How many people of an organization may be written to in an hour.
const MOST_AN_HOUR: i64 = 1_000;

/// What stands in double braces and is filled in for each recipient, and how many characters that may be.
const VARIABLES: [(&str, usize); 5] =
    [("name", 511), ("first_name", 255), ("last_name", 255), ("email", 254), ("account", 255)];

/// Characters of a subject and of a text, however long what is filled in may be.
const LONGEST: [usize; 2] = [1_000, 100_000];

diesel::define_sql_function! {
    /// Takes a lock until the transaction ends.
    fn pg_advisory_xact_lock(key: diesel::sql_types::BigInt) -> diesel::sql_types::Nullable<diesel::sql_types::Text>;
}

/// What the lock is for.
const RATE: u64 = 0x6d61_696c_7261_7465;

crm_core::text_enum!(
    /// How far a message has come.
    MessageState {
        /// To be sent at its time.
        Scheduled = "scheduled",
        /// Handed to the mail: how far each copy has come stands with its recipient.
        Sent = "sent",
        /// Taken back before it left.
        Cancelled = "cancelled",
        /// Not sent, because its sender or whoever wrote it was no longer allowed.
        Failed = "failed",
    }
);

/// Messages as a list.
pub const MESSAGES: Resource = Resource {
    kind: "account_message",
    table: "account_messages",
    fields: &[
        Field::new("state", Kind::Choice(MessageState::WORDS)).required(),
        Field::new("send_at", Kind::Timestamp).required(),
        Field::new("message_subject", Kind::Text).required(),
    ],
    searchable: false,
    mutable: true,
    neighbours: None,
};

/// Body of a new message.
#[derive(Debug, Clone, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAccountMessage {
    /// One of the organization's verified senders.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(max = 254), email)]
    pub from_email: String,
    /// May hold the variables of the body.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(min = 1, max = 255), custom(function = "crm_core::rules::one_line"))]
    pub message_subject: String,
    /// Plain text. `{{ name }}`, `{{ first_name }}`, `{{ last_name }}`, `{{ email }}` and `{{ account }}` are filled in.
    #[validate(length(min = 1, max = 100_000))]
    pub message_body: String,
    /// Contacts of the account.
    #[validate(length(min = 1, max = 200, message = "1 to 200 recipients"))]
    pub recipients: Vec<Uuid>,
    /// When to send it, as a clock shows it there: `2027-03-31T09:00`. At once unless told.
    #[serde(default)]
    pub scheduled_for: Option<String>,
    /// Where that clock is; the organization's own time zone unless told.
    #[serde(default, deserialize_with = "crm_core::body::text")]
    #[validate(custom(function = "crm_core::rules::timezone"))]
    pub timezone: Option<String>,
}

/// A message to people of an account.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct AccountMessage {
    /// What every record begins with.
    #[serde(flatten)]
    pub base: Base,
    /// The account.
    pub account_id: Uuid,
    /// The sender.
    pub from_email: String,
    /// The subject, with its variables.
    pub message_subject: String,
    /// The text, with its variables.
    pub message_body: String,
    /// The time zone that its time was given in.
    pub timezone: String,
    /// When it is to leave, or was.
    pub send_at: DateTime<Utc>,
    /// How far it has come.
    pub state: MessageState,
    /// Why nothing went.
    pub error: Option<String>,
}

/// Somebody a message is for.
#[derive(Debug, Clone, Queryable, Serialize, utoipa::ToSchema)]
pub struct MessageRecipient {
    /// The contact.
    pub contact_id: Uuid,
    /// Where it went.
    pub email: Option<String>,
    /// Its mail, as in `/api/mail/messages/`.
    pub mail_id: Option<Uuid>,
    /// How far that has come.
    pub mail_state: Option<String>,
    /// Why there is none.
    pub skipped_reason: Option<String>,
}

/// A message with everybody it is for.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct AccountMessageDetail {
    /// The message.
    #[serde(flatten)]
    pub message: AccountMessage,
    /// Everybody it is for.
    pub recipients: Vec<MessageRecipient>,
}

/// A message whose time has come.
#[derive(Debug, Serialize, Deserialize)]
pub struct Due {
    message_id: Uuid,
}

type Columns = (Uuid, String, String, String, String, DateTime<Utc>, MessageState, Option<String>);

macro_rules! columns {
    () => {
        (
            account_messages::account_id,
            account_messages::from_email,
            account_messages::message_subject,
            account_messages::message_body,
            account_messages::timezone,
            account_messages::send_at,
            account_messages::state,
            account_messages::error,
        )
    };
}

fn message(base: Base, columns: Columns) -> AccountMessage {
    let (account_id, from_email, message_subject, message_body, timezone, send_at, state, error) = columns;
    AccountMessage {
        base,
        account_id,
        from_email,
        message_subject,
        message_body,
        timezone,
        send_at,
        state,
        error,
    }
}

/// Writes to people of an account that the caller may change.
///
/// # Errors
/// `Forbidden`; `NotFound`; 422 for a sender that is not verified, somebody who is no contact of the account, an unknown variable, a time
/// that is past or that no clock shows; `TooMany` beyond 1,000 recipients an hour.
pub async fn write(t: &mut TenantTx, account: Uuid, body: Object) -> Result<AccountMessageDetail> {
    ACCOUNTS.check(t, ACCOUNTS.change, account).await?;
    let mut new: NewAccountMessage = body::parse(body)?;
    new.recipients.sort();
    new.recipients.dedup();
    check_variables("message_subject", &new.message_subject, LONGEST[0])?;
    check_variables("message_body", &new.message_body, LONGEST[1])?;
    let zone =
        new.timezone.as_deref().and_then(|zone| zone.parse::<Tz>().ok()).unwrap_or(t.caller().org.timezone);
    let send_at = send_at(t.now(), zone, new.scheduled_for.as_deref())?;
    if senders::verified(t, &new.from_email).await?.is_none() {
        let message = "is none of the organization's verified senders";
        return Err(Error::field("from_email", FieldCode::NotAllowed, message));
    }
    check_recipients(t, account, &new.recipients).await?;
    check_rate(t, new.recipients.len()).await?;
    let base = Base::new(t);
    created(t, MESSAGES.kind, &base, None).await?;
    let row = (
        base_values!(account_messages, base),
        account_messages::account_id.eq(account),
        account_messages::from_email.eq(&new.from_email),
        account_messages::message_subject.eq(&new.message_subject),
        account_messages::message_body.eq(&new.message_body),
        account_messages::timezone.eq(zone.name()),
        account_messages::send_at.eq(send_at),
        account_messages::is_scheduled.eq(new.scheduled_for.is_some()),
        account_messages::state.eq(MessageState::Scheduled),
    );
    diesel::insert_into(account_messages::table).values(row).execute(t.conn()?).await?;
    let org = t.org();
    let rows: Vec<_> = new
        .recipients
        .iter()
        .map(|contact| {
            (
                recipients::org_id.eq(org),
                recipients::message_id.eq(base.id),
                recipients::contact_id.eq(*contact),
            )
        })
        .collect();
    diesel::insert_into(recipients::table).values(rows).execute(t.conn()?).await?;
    NewJob::new(SEND_MESSAGE, &Due { message_id: base.id })?.at(send_at).put(t).await?;
    load(t, base.id).await
}

/// Lists what was written to people of an account, newest first.
///
/// # Errors
/// `Forbidden`; `NotFound`; 400 for parameters.
pub async fn list(t: &mut TenantTx, account: Uuid, params: &Params) -> Result<Page<Shaped<AccountMessage>>> {
    ACCOUNTS.check_view(t, account).await?;
    let mut selection = MESSAGES.select(params, t.caller(), crm_core::Scope::All)?;
    selection.and(MESSAGES.compare("account_id", "=", Value::Uuid(account)));
    let page = selection
        .run(t, async |t, f| {
            let rows: Vec<(Base, Columns, SortValues)> = account_messages::table
                .filter(f.filter)
                .order_by(f.slice)
                .select((base_columns!(account_messages), columns!(), selection.keys()))
                .load(t.conn()?)
                .await?;
            Ok(rows.into_iter().map(|(base, columns, keys)| (message(base, columns), keys)).collect())
        })
        .await?;
    selection.shape.page(t, page).await
}

/// One message, for whoever may look at its account.
///
/// # Errors
/// `Forbidden`; `NotFound`.
pub async fn find(t: &mut TenantTx, id: Uuid) -> Result<AccountMessageDetail> {
    t.require(ACCOUNTS.view)?;
    let found = load(t, id).await?;
    match ACCOUNTS.check_view(t, found.message.account_id).await {
        Err(Error::Merged { .. }) => Err(Error::NotFound),
        seen => seen.map(|()| found),
    }
}

/// Takes a message back before it leaves.
///
/// # Errors
/// As [`find`]; `Forbidden`; `Conflict` once it has left or was taken back.
pub async fn cancel(t: &mut TenantTx, id: Uuid) -> Result<AccountMessageDetail> {
    let this =
        account_messages::table.filter(account_messages::org_id.eq(t.org()).and(account_messages::id.eq(id)));
    let state: MessageState = this.select(account_messages::state).for_update().first(t.conn()?).await?;
    let found = find(t, id).await?;
    ACCOUNTS.check(t, ACCOUNTS.change, found.message.account_id).await?;
    if state != MessageState::Scheduled {
        return Err(Error::Refused(Code::Conflict, format!("the message is {state} already").into()));
    }
    set_state(t, id, MessageState::Cancelled, None).await?;
    load(t, id).await
}

/// Does the job of a message whose time has come, in one transaction with the end of the job: what was taken back stays here, and so does
/// what somebody wrote who could not write it any more. `author` finds them as they are now.
///
/// # Errors
/// Those of the database.
pub async fn send(
    t: &mut TenantTx,
    due: Due,
    author: impl AsyncFnOnce(&mut TenantTx, MemberId) -> Result<Caller>,
) -> Result<()> {
    let id = due.message_id;
    let this =
        account_messages::table.filter(account_messages::org_id.eq(t.org()).and(account_messages::id.eq(id)));
    let locked: Option<MessageState> =
        this.select(account_messages::state).for_update().first(t.conn()?).await.optional()?;
    if locked != Some(MessageState::Scheduled) {
        return Ok(());
    }
    let found = load(t, id).await?.message;
    if let Some(reason) = silenced(t, &found, author).await? {
        return set_state(t, id, MessageState::Failed, Some(reason)).await;
    }
    let Some(from) = senders::verified(t, &found.from_email).await? else {
        return set_state(t, id, MessageState::Failed, Some("the sender is no longer verified")).await;
    };
    let account: String = accounts::table
        .filter(accounts::org_id.eq(t.org()).and(accounts::id.eq(found.account_id)))
        .select(accounts::name)
        .first(t.conn()?)
        .await?;
    type Person = (Uuid, String, String, Option<String>);
    let people: Vec<Person> = recipients::table
        .inner_join(
            contacts::table
                .on(contacts::org_id.eq(recipients::org_id).and(contacts::id.eq(recipients::contact_id))),
        )
        .filter(recipients::org_id.eq(t.org()).and(recipients::message_id.eq(id)))
        .select((contacts::id, contacts::first_name, contacts::last_name, contacts::email))
        .order_by(contacts::id)
        .load(t.conn()?)
        .await?;
    for (contact, first_name, last_name, email) in people {
        let recipient = recipients::table.filter(
            recipients::org_id
                .eq(t.org())
                .and(recipients::message_id.eq(id))
                .and(recipients::contact_id.eq(contact)),
        );
        let Some(email) = email else {
            let reason = recipients::skipped_reason.eq("the contact has no e-mail address");
            diesel::update(recipient).set(reason).execute(t.conn()?).await?;
            continue;
        };
        let values =
            [format!("{first_name} {last_name}"), first_name, last_name, email.clone(), account.clone()];
        let lines: Vec<String> = filled(&found.message_body, &values).lines().map(str::to_owned).collect();
        let data = json!({"subject": filled(&found.message_subject, &values), "lines": lines, "from": from});
        let mail = Message::new(&email, Template::AccountMessage, data).by(found.base.created_by);
        enqueue(t, &mail).await?;
        let logged = (recipients::email.eq(&email), recipients::mail_id.eq(mail.id));
        diesel::update(recipient).set(logged).execute(t.conn()?).await?;
    }
    set_state(t, id, MessageState::Sent, None).await
}

/// Why whoever wrote a message could not write it any more.
async fn silenced(
    t: &mut TenantTx,
    message: &AccountMessage,
    author: impl AsyncFnOnce(&mut TenantTx, MemberId) -> Result<Caller>,
) -> Result<Option<&'static str>> {
    let gone = Some("whoever wrote it is no longer an active member");
    let Some(member) = message.base.created_by else { return Ok(gone) };
    let author = match author(t, member).await {
        Ok(author) => author,
        Err(error) if error.code().status() >= 500 => return Err(error),
        Err(_) => return Ok(gone),
    };
    let program = t.caller().clone();
    t.become_caller(author);
    let allowed = ACCOUNTS.check(t, ACCOUNTS.change, message.account_id).await;
    t.become_caller(program);
    match allowed {
        Ok(()) => Ok(None),
        Err(error) if error.code().status() >= 500 => Err(error),
        Err(_) => Ok(Some("whoever wrote it may no longer change the account")),
    }
}

async fn set_state(t: &mut TenantTx, id: Uuid, state: MessageState, error: Option<&str>) -> Result<()> {
    let this =
        account_messages::table.filter(account_messages::org_id.eq(t.org()).and(account_messages::id.eq(id)));
    let changed = (
        account_messages::state.eq(state),
        account_messages::error.eq(error),
        account_messages::version.eq(account_messages::version + 1),
        account_messages::updated_at.eq(t.now()),
        account_messages::updated_by.eq(t.actor()),
    );
    diesel::update(this).set(changed).execute(t.conn()?).await?;
    Ok(())
}

async fn load(t: &mut TenantTx, id: Uuid) -> Result<AccountMessageDetail> {
    let this =
        account_messages::table.filter(account_messages::org_id.eq(t.org()).and(account_messages::id.eq(id)));
    let (base, columns): (Base, Columns) =
        this.select((base_columns!(account_messages), columns!())).first(t.conn()?).await?;
    let recipients = recipients::table
        .left_join(
            mails::table
                .on(mails::org_id.eq(recipients::org_id).and(mails::id.nullable().eq(recipients::mail_id))),
        )
        .filter(recipients::org_id.eq(t.org()).and(recipients::message_id.eq(id)))
        .select((
            recipients::contact_id,
            recipients::email,
            recipients::mail_id,
            mails::state.nullable(),
            recipients::skipped_reason,
        ))
        .order_by(recipients::contact_id)
        .load(t.conn()?)
        .await?;
    Ok(AccountMessageDetail { message: message(base, columns), recipients })
}

/// Only people of the account, and only those that the caller may look at.
async fn check_recipients(t: &mut TenantTx, account: Uuid, ids: &[Uuid]) -> Result<()> {
    check_related(t, Rel::Contact, "recipients", ids).await?;
    let of_account: BTreeSet<Uuid> = record_contacts::table
        .filter(record_contacts::org_id.eq(t.org()).and(record_contacts::record_id.eq(account)))
        .filter(record_contacts::contact_id.eq_any(ids))
        .select(record_contacts::contact_id)
        .load(t.conn()?)
        .await?
        .into_iter()
        .collect();
    let strangers: Vec<_> = ids
        .iter()
        .filter(|id| !of_account.contains(id))
        .map(|id| {
            FieldError::new(
                "recipients",
                FieldCode::NotFound,
                format!("{id} is not a contact of this account"),
            )
        })
        .collect();
    if strangers.is_empty() { Ok(()) } else { Err(Error::Fields(Code::ValidationFailed, strangers)) }
}

/// One after the other, so that what two write at once counts for both.
async fn check_rate(t: &mut TenantTx, more: usize) -> Result<()> {
    let (_, low) = t.org().0.as_u64_pair();
    diesel::select(pg_advisory_xact_lock((low ^ RATE).cast_signed())).execute(t.conn()?).await?;
    let since = t.now() - TimeDelta::hours(1);
    let lately: i64 = recipients::table
        .inner_join(
            account_messages::table.on(account_messages::org_id
                .eq(recipients::org_id)
                .and(account_messages::id.eq(recipients::message_id))),
        )
        .filter(recipients::org_id.eq(t.org()))
        // The ids lead there.
        .filter(account_messages::org_id.eq(t.org()).and(account_messages::id.gt(first_id_since(since))))
        .filter(account_messages::created_at.gt(since))
        .count()
        .get_result(t.conn()?)
        .await?;
    if lately + i64::try_from(more).unwrap_or(i64::MAX) > MOST_AN_HOUR {
        return Err(Error::TooMany { seconds: 3600 });
    }
    Ok(())
}

/// Of two instants that a clock shows alike, the first; one that no clock shows is refused.
fn send_at(now: DateTime<Utc>, zone: Tz, local: Option<&str>) -> Result<DateTime<Utc>> {
    let wrong = |code, message: String| Error::field("scheduled_for", code, message);
    let Some(text) = local else { return Ok(now) };
    let parsed = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"];
    let local = parsed.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    let local = local.ok_or_else(|| {
        wrong(FieldCode::InvalidValue, "must be a local date and time such as 2027-03-31T09:00".into())
    })?;
    let at = match zone.from_local_datetime(&local) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => at.with_timezone(&Utc),
        LocalResult::None => {
            let message = format!("no clock in {zone} shows {text}: it is put forward then");
            return Err(wrong(FieldCode::InvalidValue, message));
        }
    };
    if at < now {
        return Err(wrong(FieldCode::OutOfRange, "lies in the past".into()));
    }
    if at > now + TimeDelta::days(366) {
        return Err(wrong(FieldCode::OutOfRange, "must be within a year".into()));
    }
    Ok(at)
}

/// What stands between braces must be one of the variables, and the text must not be too long however long their values are.
fn check_variables(field: &'static str, text: &str, longest: usize) -> Result<()> {
    let mut rest = text;
    let mut length = 0;
    while let Some((before, behind)) = rest.split_once("{{") {
        let Some((name, after)) = behind.split_once("}}") else {
            return Err(Error::field(field, FieldCode::InvalidValue, "has {{ without }}"));
        };
        let Some((_, most)) = VARIABLES.iter().find(|(known, _)| *known == name.trim()) else {
            let known = VARIABLES.map(|(known, _)| known).join(", ");
            let message = format!("there is no variable {:?}; use {known}", name.trim());
            return Err(Error::field(
                field,
                FieldCode::NotAChoice,
                message.chars().take(300).collect::<String>(),
            ));
        };
        length += before.chars().count() + most;
        rest = after;
    }
    length += rest.chars().count();
    if length > longest {
        let message =
            format!("may come to {length} characters once its variables are filled in; {longest} at most");
        return Err(Error::field(field, FieldCode::TooLong, message));
    }
    Ok(())
}

/// The text with its variables filled in: once, so that a name which looks like a variable stays a name.
fn filled(text: &str, values: &[String; 5]) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("{{") {
        whole.push_str(before);
        let Some((name, after)) = behind.split_once("}}") else { break };
        let value = VARIABLES.iter().zip(values).find(|((known, _), _)| *known == name.trim());
        whole.push_str(value.map_or("", |(_, value)| value));
        rest = after;
    }
    whole.push_str(rest);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_once_and_unknown_ones_refused() {
        let values = ["Ann {{ email }}".to_owned(), "Ann".into(), "B".into(), "a@b.c".into(), "Acme".into()];
        assert_eq!(
            filled("Hi {{name}}, of {{ account }}: {{ email }}.", &values),
            "Hi Ann {{ email }}, of Acme: a@b.c."
        );
        assert!(check_variables("message_body", "{{ name }} {{account}}", 1_000).is_ok());
        for wrong in ["{{ password }}", "{{ name", "{{ 7 * 7 }}", "{{}}"] {
            assert!(check_variables("message_body", wrong, 1_000).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_text_is_as_long_as_its_variables_may_make_it() {
        let text = |n: usize| format!("{}{}", "{{name}}".repeat(n), "x".repeat(1_000 - n * 511));
        assert!(check_variables("message_body", &text(1), 1_000).is_ok());
        for long in [text(1) + "x", "{{name}}".repeat(2), "x".repeat(1_001)] {
            let error = check_variables("message_body", &long, 1_000).unwrap_err();
            let Error::Fields(_, faults) = error else { panic!("{error}") };
            assert_eq!((faults[0].code, faults[0].field.as_str()), (FieldCode::TooLong, "message_body"));
        }
    }

    #[test]
    fn a_clock_that_is_put_forward_or_back_is_read_as_it_stands() {
        let zone = chrono_tz::Europe::Berlin;
        let now = Utc.with_ymd_and_hms(2027, 3, 1, 12, 0, 0).unwrap();
        let at = |text: &str| send_at(now, zone, Some(text)).map(|at| at.to_rfc3339());
        assert_eq!(at("2027-03-28T01:30").unwrap(), "2027-03-28T00:30:00+00:00");
        assert!(at("2027-03-28T02:30").is_err(), "no clock shows it");
        assert_eq!(at("2027-03-28T03:30").unwrap(), "2027-03-28T01:30:00+00:00");
        assert_eq!(at("2027-10-31T02:30").unwrap(), "2027-10-31T00:30:00+00:00", "the first of two");
        assert_eq!(at("2027-10-31T03:30:15").unwrap(), "2027-10-31T02:30:15+00:00");
        assert!(at("2027-03-01T12:59").is_err(), "past, where that clock is");
        assert!(at("2028-03-03T12:00").is_err(), "more than a year ahead");
        assert_eq!(send_at(now, zone, None).unwrap(), now);
    }
}
