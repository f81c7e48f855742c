//! The second factor: codes of an authenticator (RFC 6238), and recovery codes for the day it is lost.

use chrono::TimeDelta;
use crm_core::rules::normalize_email;
use crm_core::{Code, Error, FieldCode, PlatformTx, Result};
use crm_mail::{Message, Template};
use serde_json::json;
use totp_rs::{Builder, Secret, Totp};

use crate::events::{Client, Event, EventKind};
use crate::guesses::Guess;
use crate::login::{Settled, count_guess, forgive};
use crate::users::{Account, User, lock};
use crate::viewer::signed_in;
use crate::{AccessClaims, Identity, password};

mod challenge;
mod model;
mod rows;

pub(crate) use challenge::{challenge, sweep};
pub(crate) use rows::{methods, remove};

pub use challenge::VerifySecondFactor;
use model::Evidence;
pub use model::{DisableTwoFactor, Factor, RecoveryCodes, TwoFactor, TwoFactorCode, TwoFactorSetup};

/// What authenticators show beside the account.
const ISSUER: &str = "Amphora";

/// How long a sign-in waits for the second factor.
pub(crate) const CHALLENGE_TTL: TimeDelta = TimeDelta::minutes(5);

impl Identity {
    /// How the second factor of whoever is signed in stands.
    ///
    /// # Errors
    /// As [`crate::signed_in`].
    pub async fn two_factor(&self, claims: &AccessClaims) -> Result<TwoFactor> {
        self.db
            .platform(async |p| {
                let user = signed_in(p, claims).await?.user.id;
                let (enabled, recovery_codes_left) =
                    (rows::is_enabled(p, user).await?, rows::codes_left(p, user).await?);
                Ok(TwoFactor { enabled, recovery_codes_left })
            })
            .await
    }

    /// Makes a secret for an authenticator. It is asked for once [`Identity::enable_two_factor`] has seen a code of it.
    ///
    /// # Errors
    /// `Conflict` while the second factor is on; as [`crate::signed_in`].
    pub async fn set_up_two_factor(&self, claims: &AccessClaims) -> Result<TwoFactorSetup> {
        let secret = Secret::generate();
        let sealed = self.keys.totp.seal(secret.as_bytes())?;
        let user = self
            .db
            .platform(async |p| {
                let user = signed_in(p, claims).await?.user;
                match rows::set_up(p, user.id, &sealed).await? {
                    true => Ok(user),
                    false => Err(conflict("two-factor authentication is on: switch it off first")),
                }
            })
            .await?;
        let totp = Builder::new()
            .with_secret(secret.clone())
            // A colon would end the name of the issuer.
            .with_account_name(user.email.replace(':', "_"))
            .with_issuer(Some(ISSUER))
            .build()
            .map_err(Error::internal)?;
        Ok(TwoFactorSetup {
            secret: secret.to_base32(),
            otpauth_url: totp.to_url().map_err(Error::internal)?,
        })
    }

    /// Switches the second factor on, with a code that shows that the authenticator has the secret.
    ///
    /// # Errors
    /// `Conflict` when nothing was set up, or it is on already; 422 on `code`; as [`crate::signed_in`].
    pub async fn enable_two_factor(
        &self,
        client: &Client,
        claims: &AccessClaims,
        input: TwoFactorCode,
    ) -> Result<RecoveryCodes> {
        self.db
            .platform(async |p| {
                let user = signed_in(p, claims).await?.user;
                lock(p, user.id).await?;
                let sealed = rows::pending(p, user.id)
                    .await?
                    .ok_or_else(|| conflict("there is nothing to switch on: set it up first"))?;
                let step = totp(&self.keys.totp.open(&sealed)?)?.check(&input.code, seconds(p));
                let step = step.ok_or_else(|| wrong("code"))?;
                rows::enable(p, user.id, step).await?;
                let recovery_codes = rows::renew_codes(p, &self.keys, user.id).await?;
                changed(p, client, &user, EventKind::TwoFactorEnabled, "switched on").await?;
                Ok(RecoveryCodes { recovery_codes })
            })
            .await
    }

    /// Switches the second factor off. The password or a code has to be given, so that a session left open is not enough.
    ///
    /// # Errors
    /// `Conflict` when it is off; 422 naming what is wrong; `TooMany`; as [`crate::signed_in`].
    pub async fn disable_two_factor(
        &self,
        client: &Client,
        claims: &AccessClaims,
        input: DisableTwoFactor,
    ) -> Result<()> {
        let DisableTwoFactor { password, code, recovery_code } = input;
        let Some(password) = password else {
            let evidence = Evidence::from(code, recovery_code).ok_or_else(one_of_three)?;
            return self
                .db
                .platform(async |p| match self.presented(p, client, claims, &evidence).await? {
                    Ok(account) => switch_off(p, client, &account.user).await.map(Ok),
                    Err(refusal) => Ok(Err(refusal)),
                })
                .await?;
        };
        if code.is_some() || recovery_code.is_some() {
            return Err(one_of_three());
        }
        let account = self.db.platform(async |p| admit_password(p, client, claims).await).await??;
        let right = password::verify(password, account.password_hash.clone()).await?;
        self.db
            .platform(async |p| {
                lock(p, claims.user).await?;
                if !right || Account::by_id(p, claims.user).await?.mark() != account.mark() {
                    failed(p, client, &account.user, "wrong_password").await?;
                    return Settled::Ok(Err(wrong("password")));
                }
                forgive(p, client, &account.email_normalized).await?;
                switch_off(p, client, &account.user).await.map(Ok)
            })
            .await?
    }

    /// Replaces the recovery codes, used and unused ones.
    ///
    /// # Errors
    /// `Conflict` when the second factor is off; 422 on `code`; `TooMany`; as [`crate::signed_in`].
    pub async fn renew_recovery_codes(
        &self,
        client: &Client,
        claims: &AccessClaims,
        input: TwoFactorCode,
    ) -> Result<RecoveryCodes> {
        let evidence = Evidence::Totp(input.code);
        self.db
            .platform(async |p| match self.presented(p, client, claims, &evidence).await? {
                Ok(Account { user, .. }) => {
                    let recovery_codes = rows::renew_codes(p, &self.keys, user.id).await?;
                    changed(p, client, &user, EventKind::TwoFactorEnabled, "given new recovery codes")
                        .await?;
                    Settled::Ok(Ok(RecoveryCodes { recovery_codes }))
                }
                Err(refusal) => Ok(Err(refusal)),
            })
            .await?
    }

    /// Takes a second factor from somebody who is signed in.
    async fn presented(
        &self,
        p: &mut PlatformTx,
        client: &Client,
        claims: &AccessClaims,
        evidence: &Evidence,
    ) -> Settled<Account> {
        let account = with_factor(p, claims).await?;
        let field = match evidence {
            Evidence::Totp(_) => "code",
            Evidence::RecoveryCode(_) => "recovery_code",
        };
        match self.judge(p, client, &account, evidence).await? {
            Ok(Some(_)) => Ok(Ok(account)),
            Ok(None) => Ok(Err(wrong(field))),
            Err(too_many) => Ok(Err(too_many)),
        }
    }

    /// Counts the guess, and uses the code up if it is right. None if it is wrong.
    async fn judge(
        &self,
        p: &mut PlatformTx,
        client: &Client,
        account: &Account,
        evidence: &Evidence,
    ) -> Settled<Option<Factor>> {
        let user = account.user.id;
        let guess = Guess::new("second_factor", client, &account.email_normalized);
        if let Some(seconds) = guess.count(p).await? {
            failed(p, client, &account.user, "throttled").await?;
            return Ok(Err(Error::TooMany { seconds }));
        }
        let factor = match evidence {
            Evidence::Totp(code) => self.accept_totp(p, account, code).await?.then_some(Factor::Totp),
            Evidence::RecoveryCode(code) => {
                rows::use_code(p, &self.keys, user, code).await?.then_some(Factor::RecoveryCode)
            }
        };
        match factor {
            None => failed(p, client, &account.user, "wrong_code").await?,
            Some(Factor::RecoveryCode) => {
                let left = rows::codes_left(p, user).await?;
                let event = Event::done(EventKind::RecoveryCodeUsed).user(user).detail("left", left);
                event.record(p, client).await?;
            }
            Some(Factor::Totp) => {}
        }
        if factor.is_some() {
            guess.take_back(p).await?;
        }
        Ok(Ok(factor))
    }

    async fn accept_totp(&self, p: &mut PlatformTx, account: &Account, code: &str) -> Result<bool> {
        let Some(sealed) = rows::secret(p, account.user.id).await? else { return Ok(false) };
        match totp(&self.keys.totp.open(&sealed)?)?.check(code, seconds(p)) {
            Some(step) => rows::use_step(p, account.user.id, step).await,
            None => Ok(false),
        }
    }
}

/// Whoever is signed in, if their account has a second factor; held until the transaction ends.
async fn with_factor(p: &mut PlatformTx, claims: &AccessClaims) -> Result<Account> {
    let user = signed_in(p, claims).await?.user.id;
    lock(p, user).await?;
    match rows::is_enabled(p, user).await? {
        true => Account::by_id(p, user).await,
        false => Err(conflict("two-factor authentication is off")),
    }
}

async fn admit_password(p: &mut PlatformTx, client: &Client, claims: &AccessClaims) -> Settled<Account> {
    let account = with_factor(p, claims).await?;
    if let Some(seconds) = count_guess(p, client, &normalize_email(&account.user.email)).await? {
        failed(p, client, &account.user, "throttled").await?;
        return Ok(Err(Error::TooMany { seconds }));
    }
    Ok(Ok(account))
}

async fn switch_off(p: &mut PlatformTx, client: &Client, user: &User) -> Result<()> {
    remove(p, user.id).await?;
    changed(p, client, user, EventKind::TwoFactorDisabled, "switched off").await
}

async fn changed(
    p: &mut PlatformTx,
    client: &Client,
    user: &User,
    kind: EventKind,
    what: &'static str,
) -> Result<()> {
    Event::done(kind).user(user.id).detail("what", what).record(p, client).await?;
    let at = p.now().format("%Y-%m-%d %H:%M UTC").to_string();
    let data = json!({"name": user.name, "what": what, "at": at});
    crm_mail::enqueue(p, &Message::new(&user.email, Template::TwoFactorChanged, data)).await
}

async fn failed(p: &mut PlatformTx, client: &Client, user: &User, reason: &'static str) -> Result<()> {
    Event::refused(EventKind::TwoFactorFailed, reason).user(user.id).record(p, client).await
}

/// Codes of six digits every thirty seconds, those of the step before and after the present one included.
fn totp(secret: &[u8]) -> Result<Totp> {
    Builder::new().with_secret(secret.to_vec()).build().map_err(Error::internal)
}

fn seconds(p: &PlatformTx) -> u64 {
    u64::try_from(p.now().timestamp()).unwrap_or(0)
}

fn conflict(message: &'static str) -> Error {
    Error::Refused(Code::Conflict, message.into())
}

fn wrong(field: &'static str) -> Error {
    Error::field(field, FieldCode::InvalidValue, "is wrong, or was used already")
}

fn one_of_three() -> Error {
    Error::field("code", FieldCode::Required, "give one of password, code and recovery_code")
}
