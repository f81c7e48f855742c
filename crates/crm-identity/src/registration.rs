use crm_core::rules::normalize_email;
use crm_core::{Error, PlatformTx, Result, Tx, UserId};
use crm_mail::{Message, Template};
use crm_schema::users;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Deserialize;
use serde_json::json;
use validator::Validate;

use crate::email_tokens::{self, Purpose};
use crate::events::{Client, Event, EventKind};
use crate::login::Settled;
use crate::sessions::SignedIn;
use crate::throttle::{self, Key};
use crate::users::{Account, NewUser, User, is_member_anywhere, lock, taken};
use crate::{AccessClaims, Identity, TokenKind, password, passwords, platform};

/// Body of a registration.
#[derive(Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// The address to sign in with; one account per address, ignoring case.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(max = 254), email)]
    pub email: String,
    /// 8 to 128 characters.
    #[validate(custom(function = "crm_core::rules::password"))]
    pub password: String,
    /// The same again.
    #[validate(must_match(other = "password", message = "the two passwords do not match"))]
    pub confirm_password: String,
    /// What the person is called; without it, what stands before the `@`.
    #[serde(default, deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 255), custom(function = "crm_core::rules::one_line"))]
    pub name: Option<String>,
}

/// Body of the confirmation of an address.
#[derive(Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyEmail {
    /// What stands in the link.
    pub token: String,
}

impl Identity {
    /// Makes an account, signs it in, and mails a link that proves the address.
    ///
    /// # Errors
    /// `Duplicate` for an address that has an account: whoever wants to register has to be told; `TooMany`.
    pub async fn register(&self, client: &Client, input: Register) -> Result<SignedIn> {
        let email = normalize_email(&input.email);
        self.db.platform(async |p| admit(p, client, &email).await).await??;
        let password_hash = password::hash(input.password).await?;
        self.db
            .platform(async |p| {
                let new = NewUser {
                    email: &input.email,
                    name: input.name.as_deref(),
                    password_hash: Some(&password_hash),
                    verified: false,
                };
                let user = new.insert(p).await?;
                self.mail_verification(p, &user).await?;
                Event::done(EventKind::Registered).user(user.id).record(p, client).await?;
                let tokens = self.open_session(p, client, user.id, None, TokenKind::Member).await?;
                Ok(SignedIn::new(tokens, user, None, &[]))
            })
            .await
    }

    /// Mails another link that proves the address; nothing to do when it is proven.
    ///
    /// # Errors
    /// As [`crate::signed_in`]; `TooMany`.
    pub async fn resend_verification(&self, claims: &AccessClaims) -> Result<()> {
        let user = self.signed_in(claims).await?.user;
        if user.email_verified_at.is_some() {
            return Ok(());
        }
        self.db.platform(async |p| self.resend(p, &user).await).await?
    }

    async fn resend(&self, p: &mut PlatformTx, user: &User) -> Settled<()> {
        let key = Key::account("verify", &normalize_email(&user.email));
        if let Some(seconds) = throttle::count(p, &key, throttle::MAILS).await? {
            return Ok(Err(Error::TooMany { seconds }));
        }
        self.mail_verification(p, user).await.map(Ok)
    }

    async fn mail_verification(&self, tx: &mut impl Tx, user: &User) -> Result<()> {
        let token =
            email_tokens::issue(tx, Purpose::VerifyEmail, user.id, &normalize_email(&user.email)).await?;
        let data = json!({
            "name": user.name,
            "link": self.settings.link("verify-email", &token),
            "valid_hours": Purpose::VerifyEmail.ttl().num_hours(),
        });
        crm_mail::enqueue(tx, &Message::new(&user.email, Template::VerifyEmail, data)).await
    }

    /// Takes the token of a link as proof of the address. In a platform administrators' domain, somebody who belongs to no
    /// organization becomes one: their sessions and their password end, and a link that sets a new password is mailed.
    ///
    /// # Errors
    /// `TokenUnusable`.
    pub async fn verify_email(&self, client: &Client, input: VerifyEmail) -> Result<User> {
        self.db
            .platform(async |p| {
                let proof = email_tokens::consume(p, Purpose::VerifyEmail, &input.token).await?;
                lock(p, proof.user_id).await?;
                let same =
                    users::id.eq(proof.user_id).and(users::email_normalized.eq(&proof.email_normalized));
                let now = p.now();
                let user = diesel::update(users::table.filter(same))
                    .set((users::email_verified_at.eq(now), users::updated_at.eq(now)))
                    .returning(User::as_returning())
                    .get_result(p.conn()?)
                    .await
                    .optional()?
                    .ok_or_else(email_tokens::unusable)?;
                Event::done(EventKind::EmailVerified).user(user.id).record(p, client).await?;
                self.promote(p, client, user.id, &proof.email_normalized).await?;
                Ok(user)
            })
            .await
    }

    /// Makes somebody who has just proven an address in a platform administrators' domain one of them, unless they belong to an
    /// organization.
    pub(crate) async fn promote(
        &self,
        p: &mut PlatformTx,
        client: &Client,
        user: UserId,
        email_normalized: &str,
    ) -> Result<()> {
        if self.settings.is_platform_address(email_normalized)
            && !is_member_anywhere(p, user).await?
            && platform::grant(p, client, user, true, "domain").await?
        {
            // The proof says who reads the mail, not that the same person registered and chose the password.
            passwords::hand_over(p, client, user, email_normalized.to_owned()).await?;
        }
        Ok(())
    }
}

/// Refuses early, before a hash is computed.
async fn admit(p: &mut PlatformTx, client: &Client, email: &str) -> Settled<()> {
    if let Some(ip) = client.ip
        && let Some(seconds) = throttle::count(p, &Key::address("register", ip), throttle::ADDRESS).await?
    {
        return Ok(Err(Error::TooMany { seconds }));
    }
    if let Some(Account { user, .. }) = Account::by_email(p, email).await? {
        Event::refused(EventKind::Registered, "address_taken").user(user.id).record(p, client).await?;
        return Ok(Err(taken()));
    }
    Ok(Ok(()))
}
