//! A sign-in that waits for the second factor.

use crm_core::{Code, Error, FieldCode, OrgId, PlatformTx, Result, Tx, UserId};
use crm_schema::sign_in_challenges as row;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Deserialize;
use validator::Validate;

use super::{CHALLENGE_TTL, Evidence};
use crate::events::{Client, Event, EventKind};
use crate::login::Settled;
use crate::sign_in::{Method, Proven, begin_again};
use crate::throttle::{self, Key};
use crate::users::{Account, lock};
use crate::{Identity, SignedIn, secret};

/// Body of the answer to a challenge: with a code of the authenticator or a recovery code.
#[derive(Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifySecondFactor {
    /// What the sign-in answered.
    #[validate(length(min = 1, max = 100))]
    pub challenge: String,
    /// Six digits of the authenticator.
    #[serde(default, deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 20))]
    pub code: Option<String>,
    /// A recovery code, which is used up.
    #[serde(default, deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 50))]
    pub recovery_code: Option<String>,
    /// The organization to work in; without it, the one that was asked for before.
    #[serde(default)]
    pub org_id: Option<OrgId>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = row)]
struct Challenge {
    user_id: UserId,
    org_id: Option<OrgId>,
    method: Method,
    mark: String,
}

/// Asks whoever has proven the first factor for the second.
pub(crate) async fn challenge(tx: &mut impl Tx, proven: &Proven) -> Result<String> {
    let token = secret::token();
    let now = tx.now();
    diesel::insert_into(row::table)
        .values((
            row::digest.eq(secret::digest(&token)),
            row::user_id.eq(proven.user),
            row::org_id.eq(proven.wanted),
            row::method.eq(proven.method),
            row::mark.eq(&proven.mark),
            row::created_at.eq(now),
            row::expires_at.eq(now + CHALLENGE_TTL),
        ))
        .execute(tx.conn()?)
        .await?;
    Ok(token)
}

impl Identity {
    /// Finishes a sign-in that was answered with a challenge.
    ///
    /// # Errors
    /// `TokenUnusable` for a challenge that is unknown, answered, too old or older than the password; `InvalidCredentials` for a
    /// wrong code; `TooMany`; `Forbidden` when the person is not an active member of the wanted organization.
    pub async fn verify_second_factor(&self, client: &Client, input: VerifySecondFactor) -> Result<SignedIn> {
        let VerifySecondFactor { challenge, code, recovery_code, org_id } = input;
        let evidence = Evidence::from(code, recovery_code)
            .ok_or_else(|| Error::field("code", FieldCode::Required, "give either code or recovery_code"))?;
        let answered = self.db.platform(async |p| self.answer(p, client, &challenge, &evidence).await);
        let proven = answered.await??;
        let wanted = org_id.or(proven.wanted);
        self.enter(client, Proven { wanted, ..proven }).await?.signed_in()
    }

    async fn answer(
        &self,
        p: &mut PlatformTx,
        client: &Client,
        challenge: &str,
        evidence: &Evidence,
    ) -> Settled<Proven> {
        let this = row::table.find(secret::digest(challenge));
        let open = this.clone().filter(row::expires_at.gt(p.now())).select(Challenge::as_select());
        let Some(open) = open.first(p.conn()?).await.optional()? else {
            return unknown(p, client).await.map(Err);
        };
        lock(p, open.user_id).await?;
        let account = Account::by_id(p, open.user_id).await?;
        if account.mark() != open.mark || !account.user.is_active {
            let event = Event::refused(EventKind::LoginFailure, "outdated_challenge").user(open.user_id);
            event.record(p, client).await?;
            return Ok(Err(begin_again()));
        }
        let factor = match self.judge(p, client, &account, evidence).await? {
            Ok(Some(factor)) => factor,
            Ok(None) => {
                let message = "the code is wrong, or was used already";
                return Ok(Err(Error::Refused(Code::InvalidCredentials, message.into())));
            }
            Err(too_many) => return Ok(Err(too_many)),
        };
        // Answered by somebody else at the same moment: the code is given back with the transaction.
        if diesel::delete(this).execute(p.conn()?).await? == 0 {
            return Err(begin_again());
        }
        let Challenge { org_id: wanted, method, mark, .. } = open;
        Ok(Ok(Proven { user: account.user.id, method, mark, wanted, factor: Some(factor) }))
    }
}

/// Counts challenges that were never given out, by address.
async fn unknown(p: &mut PlatformTx, client: &Client) -> Result<Error> {
    if let Some(ip) = client.ip
        && let Some(seconds) = throttle::count(p, &Key::address("login", ip), throttle::ADDRESS).await?
    {
        return Ok(Error::TooMany { seconds });
    }
    Event::refused(EventKind::LoginFailure, "unknown_challenge").record(p, client).await?;
    Ok(begin_again())
}

/// Removes challenges that can't be answered any more.
pub(crate) async fn sweep(tx: &mut impl Tx) -> Result<usize> {
    let over = row::table.filter(row::expires_at.le(tx.now()));
    Ok(diesel::delete(over).execute(tx.conn()?).await?)
}
