use chrono::{DateTime, TimeDelta, Utc};
use crm_core::{Db, Result, Sealer, Tx};
use crm_schema::account_idempotency_keys as row;
use diesel::prelude::*;
use diesel::query_dsl::methods;
use diesel_async::RunQueryDsl;

use crate::{Answer, Request, reused, running};

/// How long answers outside every organization are kept: they hold tokens.
pub const ACCOUNT_KEPT: TimeDelta = TimeDelta::hours(1);

/// After how long a request that never came to an end is taken for dead.
const ABANDONED: TimeDelta = TimeDelta::seconds(90);

/// A key outside every organization.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Whose key: an account's, or an operation's where nobody is signed in.
    pub scope: String,
    /// The request.
    pub request: Request,
}

/// What became of a [`Claim`].
#[derive(Debug)]
pub enum Claimed {
    /// The key is this request's, to be settled.
    Held(Held),
    /// It was answered before.
    Known(Answer),
}

/// A key that is this request's until it is settled, or abandoned for a while.
#[derive(Debug)]
pub struct Held {
    claim: Claim,
    /// By this nobody else's claim is taken for it.
    at: DateTime<Utc>,
}

impl Claim {
    /// Claims the key.
    ///
    /// # Errors
    /// `RequestInProgress`; `IdempotencyKeyReused`.
    pub async fn make(self, db: &Db, sealer: &Sealer) -> Result<Claimed> {
        let Self { scope, request: Request { key, fingerprint } } = &self;
        let known = db
            .platform(async |p| {
                let now = p.now();
                let old = row::claimed_at.lt(now - ACCOUNT_KEPT);
                let dead = row::answer.is_null().and(row::claimed_at.lt(now - ABANDONED));
                let claimed = (
                    row::scope.eq(scope),
                    row::key.eq(key),
                    row::fingerprint.eq(fingerprint),
                    row::answer.eq(None::<String>),
                    row::claimed_at.eq(now),
                );
                let taken_over = (
                    row::fingerprint.eq(fingerprint),
                    row::answer.eq(None::<String>),
                    row::claimed_at.eq(now),
                );
                let claim = diesel::insert_into(row::table)
                    .values(claimed)
                    .on_conflict((row::scope, row::key))
                    .do_update()
                    .set(taken_over);
                let claim = methods::FilterDsl::filter(claim, old.or(dead)).returning(row::claimed_at);
                if let Some(at) = claim.get_result(p.conn()?).await.optional()? {
                    return Ok(Err(at));
                }
                let this = row::table.find((scope, key)).select((row::fingerprint, row::answer));
                let (first, answer): (String, Option<String>) = this.first(p.conn()?).await?;
                match answer {
                    _ if first != *fingerprint => Err(reused()),
                    None => Err(running()),
                    Some(answer) => Ok(Ok(Answer::open(sealer, &answer)?)),
                }
            })
            .await?;
        Ok(match known {
            Ok(answer) => Claimed::Known(answer),
            Err(at) => Claimed::Held(Held { claim: self, at }),
        })
    }
}

impl Held {
    /// Keeps the answer of a request that succeeded; after one that did not the key is free again. It does nothing where the claim was
    /// given up meanwhile.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn settle(&self, db: &Db, answer: Option<&Answer>, sealer: &Sealer) -> Result<()> {
        let Claim { scope, request } = &self.claim;
        let sealed = answer.map(|answer| answer.seal(sealer)).transpose()?;
        db.platform(async |p| {
            let this = row::table.find((scope, &request.key)).filter(row::claimed_at.eq(self.at));
            match &sealed {
                Some(sealed) => diesel::update(this).set(row::answer.eq(sealed)).execute(p.conn()?).await?,
                None => diesel::delete(this).execute(p.conn()?).await?,
            };
            Ok(())
        })
        .await
    }
}

/// Removes answers outside every organization that are too old to be asked for.
///
/// # Errors
/// Those of the database.
pub async fn forget_accounts(tx: &mut impl Tx) -> Result<usize> {
    let old = row::claimed_at.lt(tx.now() - ACCOUNT_KEPT);
    Ok(diesel::delete(row::table.filter(old)).execute(tx.conn()?).await?)
}
