use chrono::TimeDelta;
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

impl Claim {
    /// Claims the key, or answers what was answered before.
    ///
    /// # Errors
    /// `RequestInProgress`; `IdempotencyKeyReused`.
    pub async fn make(&self, db: &Db, sealer: &Sealer) -> Result<Option<Answer>> {
        let Self { scope, request: Request { key, fingerprint } } = self;
        db.platform(async |p| {
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
            let taken_over =
                (row::fingerprint.eq(fingerprint), row::answer.eq(None::<String>), row::claimed_at.eq(now));
            let claim = diesel::insert_into(row::table)
                .values(claimed)
                .on_conflict((row::scope, row::key))
                .do_update()
                .set(taken_over);
            if methods::FilterDsl::filter(claim, old.or(dead)).execute(p.conn()?).await? == 1 {
                return Ok(None);
            }
            let (first, answer): (String, Option<String>) = row::table
                .find((scope, key))
                .select((row::fingerprint, row::answer))
                .first(p.conn()?)
                .await?;
            match answer {
                _ if first != *fingerprint => Err(reused()),
                None => Err(running()),
                Some(answer) => Answer::open(sealer, &answer).map(Some),
            }
        })
        .await
    }

    /// Keeps the answer of a request that succeeded; after one that did not the key is free again.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn settle(&self, db: &Db, answer: Option<&Answer>, sealer: &Sealer) -> Result<()> {
        let sealed = answer.map(|answer| answer.seal(sealer)).transpose()?;
        db.platform(async |p| {
            let this = row::table.find((&self.scope, &self.request.key));
            match sealed {
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
