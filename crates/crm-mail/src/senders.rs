//! The addresses that an organization sends from: each proved to be its own by a code that was mailed there.

use chrono::{DateTime, TimeDelta, Utc};
use crm_access::Require;
use crm_core::body::{self, Object};
use crm_core::rules::normalize_email;
use crm_core::{Code, Error, Result, TenantTx, first_id_since};
use crm_records::list::{Field, Kind, Page, Params, Resource, Shaped, SortValues};
use crm_records::{Base, base_columns, base_values, created, deleted};
use crm_schema::{mail_senders, mails};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Uuid;
use validator::Validate;

use crate::{Message, Template, enqueue};

/// How long a code is good, in minutes.
const VALID_MINUTES: i64 = 30;

/// How often a code may be tried.
const MOST_ATTEMPTS: i32 = 5;

/// How many codes an organization may have mailed in an hour: to one address, and in all.
const MOST_CODES: [i64; 2] = [5, 20];

diesel::define_sql_function! {
    /// Takes a lock until the transaction ends.
    fn pg_advisory_xact_lock(key: diesel::sql_types::BigInt) -> diesel::sql_types::Nullable<diesel::sql_types::Text>;
}

/// What the lock is for.
const CODES: u64 = 0x7365_6e64_636f_6465;

/// Senders as a list.
pub const SENDERS: Resource = Resource {
    kind: "mail_sender",
    table: "mail_senders",
    fields: &[
        Field::email("email", "email_normalized").required(),
        Field::new("name", Kind::Text).required(),
        Field::new("verified_at", Kind::Timestamp),
    ],
    searchable: false,
    mutable: true,
    neighbours: None,
};

/// Body of a new sender.
#[derive(Debug, Clone, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSender {
    /// The address, to which a code is mailed.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(max = 254), email)]
    pub email: String,
    /// What recipients see beside it.
    #[serde(default, deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(max = 100), custom(function = "crm_core::rules::one_line"))]
    pub name: String,
}

/// Body that proves an address.
#[derive(Debug, Clone, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SenderCode {
    /// The six digits that were mailed there.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(min = 6, max = 6))]
    pub code: String,
}

/// An address that the organization sends from once it is verified.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Sender {
    /// What every record begins with.
    #[serde(flatten)]
    pub base: Base,
    /// The address.
    pub email: String,
    /// What recipients see beside it.
    pub name: String,
    /// When the code came back; null until then.
    pub verified_at: Option<DateTime<Utc>>,
}

type Columns = (String, String, Option<DateTime<Utc>>);

fn sender(base: Base, (email, name, verified_at): Columns) -> Sender {
    Sender { base, email, name, verified_at }
}

/// What [`Columns`] holds.
const COLUMNS: (mail_senders::email, mail_senders::name, mail_senders::verified_at) =
    (mail_senders::email, mail_senders::name, mail_senders::verified_at);

/// Lists the senders.
///
/// # Errors
/// `Forbidden` without `mail.view_sender`; 400 for parameters.
pub async fn list(t: &mut TenantTx, params: &Params) -> Result<Page<Shaped<Sender>>> {
    let scope = t.require("mail.view_sender")?;
    let selection = SENDERS.select(params, t.caller(), scope)?;
    let page = selection
        .run(t, async |t, f| {
            let rows: Vec<(Base, Columns, SortValues)> = mail_senders::table
                .filter(f.filter)
                .order_by(f.slice)
                .select((base_columns!(mail_senders), COLUMNS, selection.keys()))
                .load(t.conn()?)
                .await?;
            Ok(rows.into_iter().map(|(base, columns, keys)| (sender(base, columns), keys)).collect())
        })
        .await?;
    selection.shape.page(t, page).await
}

/// Adds an address and mails a code to it.
///
/// # Errors
/// `Forbidden` without `mail.add_sender`; `Duplicate`; 422; `TooMany` beyond five codes an hour to an address, or twenty in all: whoever
/// deletes an address and adds it again gets a new code to guess at, and its owner another mail.
pub async fn create(t: &mut TenantTx, new: NewSender) -> Result<Sender> {
    t.require("mail.add_sender")?;
    let base = Base::new(t);
    let code = format!("{:06}", rand::rng().random_range(0..1_000_000));
    created(t, SENDERS.kind, &base, None).await?;
    diesel::insert_into(mail_senders::table)
        .values((
            base_values!(mail_senders, base),
            mail_senders::email.eq(&new.email),
            mail_senders::email_normalized.eq(normalize_email(&new.email)),
            mail_senders::name.eq(&new.name),
            mail_senders::code_digest.eq(digest(base.id, &code)),
            mail_senders::code_expires_at.eq(t.now() + TimeDelta::minutes(VALID_MINUTES)),
        ))
        .execute(t.conn()?)
        .await
        .map_err(|error| {
            let message = "this address is there already";
            Error::unique(error, "mail_senders_org_id_email_normalized_key", "email", message)
        })?;
    check_rate(t, &new.email).await?;
    let data = json!({"org_name": t.caller().org.name, "code": code, "valid_minutes": VALID_MINUTES});
    enqueue(t, &Message::new(&new.email, Template::SenderCode, data).by(t.actor())).await?;
    Ok(Sender { base, email: new.email, name: new.name, verified_at: None })
}

/// One after the other, so that what two ask for at once counts for both.
async fn check_rate(t: &mut TenantTx, email: &str) -> Result<()> {
    let (_, low) = t.org().0.as_u64_pair();
    diesel::select(pg_advisory_xact_lock((low ^ CODES).cast_signed())).execute(t.conn()?).await?;
    let (org, since) = (t.org(), t.now() - TimeDelta::hours(1));
    let codes = || {
        let lately = mails::id.gt(first_id_since(since)).and(mails::created_at.gt(since));
        let codes = mails::org_id.eq(org).and(mails::template.eq(Template::SenderCode.as_str()));
        mails::table.filter(codes).filter(lately).count()
    };
    let (to, all) = (codes().filter(mails::to_normalized.eq(normalize_email(email))), codes());
    for (codes, most) in [(to.into_boxed(), MOST_CODES[0]), (all.into_boxed(), MOST_CODES[1])] {
        if codes.get_result::<i64>(t.conn()?).await? >= most {
            return Err(Error::TooMany { seconds: 3600 });
        }
    }
    Ok(())
}

/// Proves an address by the code that was mailed to it. A wrong code is counted, so it is no error here: then there is no answer.
///
/// # Errors
/// `Forbidden` without `mail.change_sender`; `NotFound`, which is judged before the body; 422; `TokenUnusable` once the code is too old or was tried too often.
pub async fn verify(t: &mut TenantTx, id: Uuid, body: Object) -> Result<Option<Sender>> {
    t.require("mail.change_sender")?;
    let this = mail_senders::table.filter(mail_senders::org_id.eq(t.org()).and(mail_senders::id.eq(id)));
    let columns = (mail_senders::code_digest, mail_senders::code_expires_at, mail_senders::attempts);
    let (known, until, attempts): (Option<String>, Option<DateTime<Utc>>, i32) =
        this.select(columns).for_update().first(t.conn()?).await?;
    let given: SenderCode = body::parse(body)?;
    if let Some(known) = known {
        if attempts >= MOST_ATTEMPTS || until.is_none_or(|until| until < t.now()) {
            let message = "the code is too old or was tried too often: delete the address and add it again";
            return Err(Error::Refused(Code::TokenUnusable, message.into()));
        }
        if known != digest(id, &given.code) {
            diesel::update(this).set(mail_senders::attempts.eq(attempts + 1)).execute(t.conn()?).await?;
            return Ok(None);
        }
        let verified = (
            mail_senders::code_digest.eq(None::<String>),
            mail_senders::verified_at.eq(t.now()),
            mail_senders::updated_at.eq(t.now()),
            mail_senders::updated_by.eq(t.actor()),
            mail_senders::version.eq(mail_senders::version + 1),
        );
        diesel::update(this).set(verified).execute(t.conn()?).await?;
    }
    let (base, columns) = this.select((base_columns!(mail_senders), COLUMNS)).first(t.conn()?).await?;
    Ok(Some(sender(base, columns)))
}

/// Takes an address away; what is still to be sent from it will not be.
///
/// # Errors
/// `Forbidden` without `mail.delete_sender`; `NotFound`.
pub async fn delete(t: &mut TenantTx, id: Uuid) -> Result<()> {
    t.require("mail.delete_sender")?;
    let this = mail_senders::table.filter(mail_senders::org_id.eq(t.org()).and(mail_senders::id.eq(id)));
    this.select(mail_senders::id).for_update().first::<Uuid>(t.conn()?).await?;
    deleted(t, SENDERS.kind, id).await
}

/// How the organization writes from an address, as `Name <address>`; none for one that is not verified.
///
/// # Errors
/// Those of the database.
pub async fn verified(t: &mut TenantTx, email: &str) -> Result<Option<String>> {
    let this = mail_senders::table
        .filter(mail_senders::org_id.eq(t.org()))
        .filter(mail_senders::email_normalized.eq(normalize_email(email)))
        .filter(mail_senders::verified_at.is_not_null());
    let found: Option<(String, String)> =
        this.select((mail_senders::name, mail_senders::email)).first(t.conn()?).await.optional()?;
    Ok(found.map(|(name, email)| {
        if name.is_empty() { email } else { format!("\"{}\" <{email}>", name.replace(['"', '\\'], "")) }
    }))
}

fn digest(id: Uuid, code: &str) -> String {
    Sha256::digest(format!("{id} {code}")).iter().map(|byte| format!("{byte:02x}")).collect()
}
