//! Signing in by a mail: with the link in it, or with the code in it.

use chrono::TimeDelta;
use crm_core::rules::normalize_email;
use crm_core::{Code, Error, FieldCode, PlatformTx, Result, Tx};
use crm_jobs::{Failure, Job};
use crm_mail::{Message, Template};
use crm_schema::{sign_in_codes as codes, sign_in_links as links};
use diesel::dsl::case_when;
use diesel::prelude::*;
use diesel::sql_types::{Integer, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;
use validator::{Validate, ValidationError};

use crate::events::{Client, Event, EventKind};
use crate::guesses::Guess;
use crate::login::Settled;
use crate::sign_in::{Method, Proven, SignIn, begin_again, retried};
use crate::throttle::{self, Key};
use crate::users::Account;
use crate::{Identity, secret};

/// The kind of the jobs that answer a request for a mail that signs in.
pub const SIGN_IN_MAIL_REQUESTED: &str = "platform.sign_in_mail_requested";

/// How long a link, or a code after it was last mailed, can be used.
const TTL: TimeDelta = TimeDelta::minutes(10);

/// How many guesses a code survives.
const ATTEMPTS: i32 = 5;

crm_core::text_enum!(
    /// What the mail holds.
    #[derive(Default)]
    Delivery {
        #[default]
        Link = "link",
        Code = "code",
    }
);

/// Body of a request for a mail that signs in.
#[derive(Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestSignInMail {
    /// The address, whether or not it has an account yet.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(max = 254), email)]
    pub email: String,
    /// `link` unless told.
    #[serde(default)]
    pub delivery: Delivery,
}

/// Body of a sign-in with a mailed link.
#[derive(Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifySignInLink {
    /// What stands in the link.
    #[validate(length(min = 1, max = 100))]
    pub token: String,
}

/// Body of a sign-in with a mailed code.
#[derive(Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifySignInCode {
    /// The address that the code was sent to.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(max = 254), email)]
    pub email: String,
    /// Six digits.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(custom(function = "six_digits"))]
    pub code: String,
}

fn six_digits(text: &str) -> Result<(), ValidationError> {
    if text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(());
    }
    let mut error = ValidationError::new(FieldCode::InvalidValue.as_str());
    error.message = Some("must be six digits".into());
    Err(error)
}

#[derive(Serialize, Deserialize)]
struct SignInMailRequested {
    email: String,
    email_normalized: String,
    delivery: Delivery,
}

impl Identity {
    /// Asks for a mail that signs in. The answer and its time are the same whether or not the address has an account: a job looks it up.
    ///
    /// # Errors
    /// `TooMany` for an address of the network that asks for many, and for everybody while too many are asked for altogether.
    pub async fn request_sign_in_mail(&self, client: &Client, input: RequestSignInMail) -> Result<()> {
        let RequestSignInMail { email, delivery } = input;
        let asked = SignInMailRequested { email_normalized: normalize_email(&email), email, delivery };
        self.db.platform(async |p| request(p, client, &asked).await).await?
    }

    /// Signs in with the token of a mailed link, with a new account where the address has none.
    ///
    /// # Errors
    /// `TokenUnusable`; `Forbidden` for an account that is shut out; `TooMany`.
    pub async fn verify_sign_in_link(&self, client: &Client, input: VerifySignInLink) -> Result<SignIn> {
        let prove = async || self.db.platform(async |p| self.follow(p, client, &input.token).await).await?;
        self.enter(client, retried(prove).await?).await
    }

    async fn follow(&self, p: &mut PlatformTx, client: &Client, token: &str) -> Settled<Proven> {
        let this = links::table.find(secret::digest(token)).filter(links::expires_at.gt(p.now()));
        let email: Option<String> =
            diesel::delete(this).returning(links::email).get_result(p.conn()?).await.optional()?;
        match email {
            Some(email) => self.proven(p, client, Method::Link, &email).await,
            None => unknown_link(p, client).await.map(Err),
        }
    }

    /// Signs in with a mailed code, with a new account where the address has none.
    ///
    /// # Errors
    /// `InvalidCredentials` for a wrong code, and where there is none; `Forbidden` for an account that is shut out; `TooMany`.
    pub async fn verify_sign_in_code(&self, client: &Client, input: VerifySignInCode) -> Result<SignIn> {
        let prove = async || self.db.platform(async |p| self.compare(p, client, &input).await).await?;
        self.enter(client, retried(prove).await?).await
    }

    async fn compare(
        &self,
        p: &mut PlatformTx,
        client: &Client,
        input: &VerifySignInCode,
    ) -> Settled<Proven> {
        let email = normalize_email(&input.email);
        let guess = Guess::new("sign_in_code", client, &email);
        if let Some(seconds) = guess.count(p).await? {
            failed(p, client, &email, "throttled").await?;
            return Ok(Err(Error::TooMany { seconds }));
        }
        let usable = codes::expires_at.gt(p.now()).and(codes::attempts.lt(ATTEMPTS));
        // Counted before it is judged; the lock lets guesses at one code pass one by one.
        let seed: Option<Uuid> = diesel::update(codes::table.find(&email).filter(usable))
            .set(codes::attempts.eq(codes::attempts + 1))
            .returning(codes::seed)
            .get_result(p.conn()?)
            .await
            .optional()?;
        let code = self.keys.sign_in_code(&email, seed.unwrap_or_else(Uuid::new_v4));
        // The digests tell by the time of their comparison nothing of the code.
        if seed.is_none() || secret::digest(&code) != secret::digest(&input.code) {
            failed(p, client, &email, "wrong_code").await?;
            let message = "the code is wrong or can't be used any more";
            return Ok(Err(Error::Refused(Code::InvalidCredentials, message.into())));
        }
        diesel::delete(codes::table.find(&email)).execute(p.conn()?).await?;
        guess.take_back(p).await?;
        self.proven(p, client, Method::Code, &input.email).await
    }

    /// Whoever has just proven to read mail to an address.
    async fn proven(
        &self,
        p: &mut PlatformTx,
        client: &Client,
        method: Method,
        email: &str,
    ) -> Settled<Proven> {
        let account = match self.account_of(p, client, method, (email, None)).await? {
            Ok(account) => account,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.promote(p, client, account.user.id, &account.email_normalized).await?;
        // Read again: becoming a platform administrator ends the password.
        let account = Account::by_id(p, account.user.id).await?;
        Ok(Ok(Proven::new(&account, method)))
    }

    pub(crate) async fn mail_sign_in(&self, job: &Job) -> Result<(), Failure> {
        let SignInMailRequested { email, email_normalized, delivery } = job.payload()?;
        job.on_platform(&self.db, async |p| {
            let to = match Account::by_email(p, &email_normalized).await? {
                Some(account) if !account.user.is_active => return Ok(()),
                Some(account) => account.user.email,
                None => email,
            };
            let valid_minutes = TTL.num_minutes();
            let (template, data) = match delivery {
                Delivery::Link => {
                    let token = issue_link(p, &to).await?;
                    let link = self.settings.link("magic-link", &token);
                    (Template::SignInLink, json!({"link": link, "valid_minutes": valid_minutes}))
                }
                Delivery::Code => {
                    let seed = issue_code(p, &email_normalized).await?;
                    let code = self.keys.sign_in_code(&email_normalized, seed);
                    (Template::SignInCode, json!({"code": code, "valid_minutes": valid_minutes}))
                }
            };
            crm_mail::enqueue(p, &Message::new(to, template, data)).await
        })
        .await
    }
}

async fn request(p: &mut PlatformTx, client: &Client, asked: &SignInMailRequested) -> Settled<()> {
    if let Some(ip) = client.ip
        && let Some(seconds) =
            throttle::count(p, &Key::address("sign_in_mail", ip), throttle::ADDRESS).await?
    {
        return Ok(Err(Error::TooMany { seconds }));
    }
    let everybody = Key::everybody("sign_in_mail", p.now());
    if let Some(seconds) = throttle::count(p, &everybody, throttle::SIGN_IN_MAILS).await? {
        return Ok(Err(Error::TooMany { seconds }));
    }
    let key = Key::account("sign_in_mail", &asked.email_normalized);
    let event = match throttle::count(p, &key, throttle::MAILS).await? {
        None => {
            crm_jobs::enqueue(p, SIGN_IN_MAIL_REQUESTED, asked).await?;
            Event::done(EventKind::MagicLinkRequested)
        }
        Some(_) => Event::refused(EventKind::MagicLinkRequested, "throttled"),
    };
    let event = event.detail("account", secret::digest(&asked.email_normalized));
    event.detail("delivery", asked.delivery.as_str()).record(p, client).await?;
    Ok(Ok(()))
}

/// Makes a link. Earlier ones stay usable, so that asking again burns nobody's link.
async fn issue_link(tx: &mut impl Tx, email: &str) -> Result<String> {
    let token = secret::token();
    let now = tx.now();
    diesel::insert_into(links::table)
        .values((
            links::digest.eq(secret::digest(&token)),
            links::email.eq(email),
            links::created_at.eq(now),
            links::expires_at.eq(now + TTL),
        ))
        .execute(tx.conn()?)
        .await?;
    Ok(token)
}

/// The seed of the address's code: as long as one can be used, asking again mails the same one, so that every mail is good and there are
/// never several codes to hit.
async fn issue_code(tx: &mut impl Tx, email_normalized: &str) -> Result<Uuid> {
    let (now, seed) = (tx.now(), Uuid::new_v4());
    let usable = || codes::expires_at.gt(now).and(codes::attempts.lt(ATTEMPTS));
    Ok(diesel::insert_into(codes::table)
        .values((
            codes::email_normalized.eq(email_normalized),
            codes::seed.eq(seed),
            codes::created_at.eq(now),
            codes::expires_at.eq(now + TTL),
        ))
        .on_conflict(codes::email_normalized)
        .do_update()
        .set((
            codes::seed.eq(case_when(usable(), codes::seed).otherwise(seed.into_sql::<SqlUuid>())),
            codes::attempts.eq(case_when(usable(), codes::attempts).otherwise(0.into_sql::<Integer>())),
            codes::expires_at.eq(now + TTL),
        ))
        .returning(codes::seed)
        .get_result(tx.conn()?)
        .await?)
}

async fn failed(p: &mut PlatformTx, client: &Client, email: &str, reason: &'static str) -> Result<()> {
    let event = Event::refused(EventKind::SignInCodeFailed, reason).detail("account", secret::digest(email));
    event.record(p, client).await
}

/// Counts links that were never sent, by address.
async fn unknown_link(p: &mut PlatformTx, client: &Client) -> Result<Error> {
    if let Some(ip) = client.ip
        && let Some(seconds) = throttle::count(p, &Key::address("login", ip), throttle::ADDRESS).await?
    {
        return Ok(Error::TooMany { seconds });
    }
    let event = Event::refused(EventKind::LoginFailure, "unknown_link");
    event.detail("method", Method::Link.as_str()).record(p, client).await?;
    Ok(begin_again())
}

/// Removes links and codes that can't be used any more.
pub(crate) async fn sweep(tx: &mut impl Tx) -> Result<usize> {
    let now = tx.now();
    let old_links = diesel::delete(links::table.filter(links::expires_at.le(now)));
    let swept = old_links.execute(tx.conn()?).await?;
    let old_codes = diesel::delete(codes::table.filter(codes::expires_at.le(now)));
    Ok(swept + old_codes.execute(tx.conn()?).await?)
}
