use crm_core::rules::normalize_email;
use crm_core::{Code, Error, OrgId, PlatformTx, Result, Tx};
use serde::Deserialize;
use validator::Validate;

use crate::events::{Client, Event, EventKind};
use crate::sign_in::{Method, Proven, SignIn};
use crate::throttle::{self, Key};
use crate::users::{Account, platform_admin};
use crate::{Identity, TokenKind, password, secret};

/// A refusal that was written down: the transaction commits although the answer is no.
pub(crate) type Settled<T> = Result<Result<T>>;

/// Body of a sign-in.
#[derive(Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The account's address, in any case.
    #[validate(length(min = 1, max = 254), custom(function = "crm_core::rules::one_line"))]
    pub email: String,
    /// Its password.
    #[validate(length(min = 1, max = 1000))]
    pub password: String,
    /// The organization to work in; without it, the latest joined one.
    #[serde(default)]
    pub org_id: Option<OrgId>,
}

/// What guesses at an account's password are counted by.
pub(crate) fn guesses(email_normalized: &str) -> Key {
    Key::account("login", email_normalized)
}

impl Identity {
    /// Signs in with a password, as far as that is enough.
    ///
    /// # Errors
    /// `InvalidCredentials` for an unknown address, a wrong password and an account that is shut out, which are not told apart;
    /// `TooMany`; `Forbidden` when the person is not an active member of the wanted organization.
    pub async fn login(&self, client: &Client, input: Login) -> Result<SignIn> {
        let email = normalize_email(&input.email);
        let account = self.db.platform(async |p| admit(p, client, &email).await).await??;
        let stored = account.as_ref().and_then(|a| a.password_hash.clone());
        let right = password::verify(input.password, stored).await?;
        let Some(account) = account.as_ref().filter(|account| right && account.user.is_active) else {
            self.db.platform(async |p| refuse(p, client, &email, account.as_ref()).await).await?;
            return Err(wrong_credentials());
        };
        let proven = Proven { wanted: input.org_id, ..Proven::new(account, Method::Password) };
        self.enter(client, proven).await
    }
}

pub(crate) fn wrong_credentials() -> Error {
    Error::Refused(Code::InvalidCredentials, "the e-mail address or the password is wrong".into())
}

/// Counts the attempt, and finds the account unless there were too many.
async fn admit(p: &mut PlatformTx, client: &Client, email: &str) -> Settled<Option<Account>> {
    if let Some(seconds) = count_guess(p, client, email).await? {
        Event::refused(EventKind::LoginFailure, "throttled")
            .detail("account", secret::digest(email))
            .detail("method", Method::Password.as_str())
            .record(p, client)
            .await?;
        return Ok(Err(Error::TooMany { seconds }));
    }
    Ok(Ok(Account::by_email(p, email).await?))
}

/// Counts a guess at a password, by account and by address, or answers how many seconds to wait.
pub(crate) async fn count_guess(p: &mut PlatformTx, client: &Client, email: &str) -> Result<Option<u64>> {
    if let Some(ip) = client.ip
        && let Some(seconds) = throttle::count(p, &Key::address("login", ip), throttle::ADDRESS).await?
    {
        return Ok(Some(seconds));
    }
    throttle::count(p, &guesses(email), throttle::ACCOUNT).await
}

/// The guess was right after all.
pub(crate) async fn forgive(tx: &mut impl Tx, client: &Client, email: &str) -> Result<()> {
    if let Some(ip) = client.ip {
        throttle::take_back(tx, &Key::address("login", ip)).await?;
    }
    throttle::forget(tx, &guesses(email)).await
}

async fn refuse(p: &mut PlatformTx, client: &Client, email: &str, account: Option<&Account>) -> Result<()> {
    let event = match account {
        None => Event::refused(EventKind::LoginFailure, "unknown_account")
            .detail("account", secret::digest(email)),
        Some(Account { user, .. }) if user.is_active => {
            Event::refused(EventKind::LoginFailure, "wrong_password").user(user.id)
        }
        Some(Account { user, .. }) => {
            Event::refused(EventKind::LoginFailure, "account_shut_out").user(user.id)
        }
    };
    event.detail("method", Method::Password.as_str()).record(p, client).await
}

pub(crate) async fn kind_of(tx: &mut impl Tx, user: crm_core::UserId) -> Result<TokenKind> {
    Ok(match platform_admin(tx, user).await? {
        Some(_) => TokenKind::Platform,
        None => TokenKind::Member,
    })
}
