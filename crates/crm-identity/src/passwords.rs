use crm_core::rules::normalize_email;
use crm_core::{Error, FieldCode, PlatformTx, Result, SessionId, Tx, UserId};
use crm_jobs::{Failure, Job};
use crm_mail::{Message, Template};
use crm_schema::users;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use serde_json::json;
use validator::Validate;

use crate::email_tokens::{self, Proof, Purpose};
use crate::events::{Client, Event, EventKind};
use crate::login::{Settled, count_guess, forgive, guesses};
use crate::sessions::{self, EndedBecause};
use crate::throttle::{self, Key};
use crate::users::{Account, User, lock};
use crate::viewer::signed_in;
use crate::{ACCOUNT_CLAIMED, AccessClaims, Identity, SIGN_IN_MAIL_REQUESTED, password};

/// The kind of the jobs that answer a request for a new password: an account belongs to no organization.
pub const PASSWORD_RESET_REQUESTED: &str = "platform.password_reset_requested";

/// Body of a change of password.
#[derive(Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// The password until now.
    #[validate(length(min = 1, max = 1000))]
    pub old_password: String,
    /// 8 to 128 characters.
    #[validate(custom(function = "crm_core::rules::password"))]
    pub new_password: String,
    /// The same again.
    #[validate(must_match(other = "new_password", message = "the two passwords do not match"))]
    pub confirm_password: String,
}

/// Body of a request for a link that sets a new password.
#[derive(Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForgotPassword {
    /// The account's address, in any case.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(max = 254), email)]
    pub email: String,
}

/// Body of the setting of a new password.
#[derive(Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetPassword {
    /// What stands in the link.
    pub token: String,
    /// 8 to 128 characters.
    #[validate(custom(function = "crm_core::rules::password"))]
    pub password: String,
    /// The same again.
    #[validate(must_match(other = "password", message = "the two passwords do not match"))]
    pub confirm_password: String,
}

#[derive(Serialize, Deserialize)]
struct ResetRequested {
    email_normalized: String,
}

impl Identity {
    /// Changes the password. Every other session ends; the one that asks stays.
    ///
    /// # Errors
    /// `ValidationFailed` on `old_password` when it is wrong, which counts as a failed sign-in; `TooMany`; as [`signed_in`].
    pub async fn change_password(
        &self,
        client: &Client,
        claims: &AccessClaims,
        input: ChangePassword,
    ) -> Result<()> {
        let Account { email_normalized, password_hash: old_hash, .. } =
            self.db.platform(async |p| admit(p, client, claims).await).await??;
        if !password::verify(input.old_password, old_hash.clone()).await? {
            let wrong = Event::refused(EventKind::PasswordChanged, "wrong_password").user(claims.user);
            self.db.platform(async |p| wrong.record(p, client).await).await?;
            return Err(wrong_password());
        }
        let new_hash = password::hash(input.new_password).await?;
        self.db
            .platform(async |p| {
                lock(p, claims.user).await?;
                // Somebody who changed it meanwhile wins: what was verified is no longer the password.
                if Account::by_id(p, claims.user).await?.password_hash != old_hash {
                    return Err(wrong_password());
                }
                let user =
                    store(p, claims.user, &email_normalized, &new_hash).await?.ok_or_else(wrong_password)?;
                forgive(p, client, &email_normalized).await?;
                let kind = EventKind::PasswordChanged;
                after(p, client, &user, kind, Some(claims.session), EndedBecause::PasswordChanged).await
            })
            .await
    }

    /// Asks for a link that sets a new password. The answer and its time are the same whether or not the address has an account:
    /// a job looks it up.
    ///
    /// # Errors
    /// `TooMany` for an address of the network that asks for many.
    pub async fn forgot_password(&self, client: &Client, input: ForgotPassword) -> Result<()> {
        let email_normalized = normalize_email(&input.email);
        self.db.platform(async |p| request_reset(p, client, email_normalized).await).await?
    }

    /// Sets a new password with the token of a link. Every session ends.
    ///
    /// # Errors
    /// `TokenUnusable`.
    pub async fn reset_password(&self, client: &Client, input: ResetPassword) -> Result<()> {
        self.db.platform(async |p| email_tokens::peek(p, Purpose::ResetPassword, &input.token).await).await?;
        let new_hash = password::hash(input.password).await?;
        self.db
            .platform(async |p| {
                let Proof { user_id, email_normalized } =
                    email_tokens::consume(p, Purpose::ResetPassword, &input.token).await?;
                let user = replace(p, client, user_id, &email_normalized, &new_hash).await?;
                user.map(drop).ok_or_else(email_tokens::unusable)
            })
            .await
    }

    /// Does a job of this crate's own; none for a job of another kind.
    pub async fn handle(&self, job: &Job) -> Option<Result<(), Failure>> {
        match job.kind.as_str() {
            PASSWORD_RESET_REQUESTED => Some(self.mail_reset(job).await),
            SIGN_IN_MAIL_REQUESTED => Some(self.mail_sign_in(job).await),
            ACCOUNT_CLAIMED => Some(self.end_tokens(job).await),
            _ => None,
        }
    }

    async fn mail_reset(&self, job: &Job) -> Result<(), Failure> {
        let ResetRequested { email_normalized } = job.payload()?;
        job.on_platform(&self.db, async |p| {
            let account = Account::by_email(p, &email_normalized).await?;
            let Some(Account { user, .. }) = account.filter(|account| account.user.is_active) else {
                return Ok(());
            };
            let token = email_tokens::issue(p, Purpose::ResetPassword, user.id, &email_normalized).await?;
            let data = json!({
                "name": user.name,
                "link": self.settings.link("reset-password", &token),
                "valid_minutes": Purpose::ResetPassword.ttl().num_minutes(),
            });
            crm_mail::enqueue(p, &Message::new(user.email, Template::PasswordReset, data)).await
        })
        .await
    }
}

async fn admit(p: &mut PlatformTx, client: &Client, claims: &AccessClaims) -> Settled<Account> {
    let user = signed_in(p, claims).await?.user;
    if let Some(seconds) = count_guess(p, client, &normalize_email(&user.email)).await? {
        Event::refused(EventKind::PasswordChanged, "throttled").user(user.id).record(p, client).await?;
        return Ok(Err(Error::TooMany { seconds }));
    }
    Account::by_id(p, user.id).await.map(Ok)
}

fn wrong_password() -> Error {
    Error::field("old_password", FieldCode::InvalidValue, "is not the current password")
}

async fn request_reset(p: &mut PlatformTx, client: &Client, email_normalized: String) -> Settled<()> {
    if let Some(ip) = client.ip
        && let Some(seconds) = throttle::count(p, &Key::address("forgot", ip), throttle::ADDRESS).await?
    {
        return Ok(Err(Error::TooMany { seconds }));
    }
    let key = Key::account("forgot", &email_normalized);
    if throttle::count(p, &key, throttle::MAILS).await?.is_none() {
        crm_jobs::enqueue(p, PASSWORD_RESET_REQUESTED, &ResetRequested { email_normalized }).await?;
    }
    Ok(Ok(()))
}

/// Sets a new password whatever the old one was, and ends every session. None for an account that is shut out.
pub(crate) async fn replace(
    tx: &mut impl Tx,
    client: &Client,
    id: UserId,
    email_normalized: &str,
    new_hash: &str,
) -> Result<Option<User>> {
    let Some(user) = store(tx, id, email_normalized, new_hash).await? else { return Ok(None) };
    email_tokens::void(tx, Purpose::ResetPassword, user.id).await?;
    throttle::forget(tx, &guesses(email_normalized)).await?;
    after(tx, client, &user, EventKind::PasswordReset, None, EndedBecause::PasswordReset).await?;
    Ok(Some(user))
}

/// Takes the password away, ends every session and mails a link that sets a new one, so that whoever reads the address's mail is the
/// only one left who can sign in.
pub(crate) async fn hand_over(
    tx: &mut impl Tx,
    client: &Client,
    user: UserId,
    email_normalized: String,
) -> Result<()> {
    diesel::update(users::table.find(user))
        .set((users::password_hash.eq(None::<String>), users::updated_at.eq(tx.now())))
        .execute(tx.conn()?)
        .await?;
    end_sessions(tx, client, user, None, EndedBecause::PasswordReset).await?;
    crm_jobs::enqueue(tx, PASSWORD_RESET_REQUESTED, &ResetRequested { email_normalized }).await
}

async fn store(
    tx: &mut impl Tx,
    id: UserId,
    email_normalized: &str,
    password_hash: &str,
) -> Result<Option<User>> {
    let same =
        users::id.eq(id).and(users::email_normalized.eq(email_normalized)).and(users::is_active.eq(true));
    let changed = diesel::update(users::table.filter(same))
        .set((users::password_hash.eq(password_hash), users::updated_at.eq(tx.now())))
        .returning(User::as_returning())
        .get_result(tx.conn()?)
        .await;
    Ok(changed.optional()?)
}

/// What every new password entails.
async fn after(
    tx: &mut impl Tx,
    client: &Client,
    user: &User,
    kind: EventKind,
    except: Option<SessionId>,
    because: EndedBecause,
) -> Result<()> {
    Event::done(kind).user(user.id).record(tx, client).await?;
    end_sessions(tx, client, user.id, except, because).await?;
    let at = tx.now().format("%Y-%m-%d %H:%M UTC").to_string();
    let data = json!({"name": user.name, "at": at});
    crm_mail::enqueue(tx, &Message::new(&user.email, Template::PasswordChanged, data)).await
}

async fn end_sessions(
    tx: &mut impl Tx,
    client: &Client,
    user: UserId,
    except: Option<SessionId>,
    because: EndedBecause,
) -> Result<()> {
    let ended = sessions::end_all(tx, user, except, because).await?;
    Event::done(EventKind::SessionsEnded).user(user).detail("count", ended).record(tx, client).await
}
