//! How many records of a kind there are in each bucket, and what they are worth: sums that a dashboard reads instead of counting.
//!
//! A module says with every creation, change and deletion which bucket the record was in and which it is in now ([`moved`]), in the same
//! transaction; so the sums are as true as the rows.

use std::collections::BTreeMap;

use crm_core::{Result, TenantTx};
use crm_schema::tallies;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;

diesel::define_sql_function! {
    /// Adds differences to the tallies of a kind.
    fn tallies_add(org: SqlUuid, kind: Text, buckets: Array<Text>, counts: Array<BigInt>, amounts: Array<BigInt>, weighted: Array<BigInt>)
        -> diesel::sql_types::Nullable<Text>;
}

/// Where a record counts, and for how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Such as `status|rating`: the module's own words.
    pub bucket: String,
    /// In minor units of one currency, which the bucket names; 0 without an amount.
    pub amount: i64,
    /// The same times the probability in percent.
    pub weighted: i64,
}

impl Tally {
    /// A record that counts and has no amount.
    pub fn one(bucket: impl Into<String>) -> Self {
        Self { bucket: bucket.into(), amount: 0, weighted: 0 }
    }
}

/// What a bucket holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// Records.
    pub count: i64,
    /// Their amounts, in minor units.
    pub amount: i64,
    /// The same times the probability in percent.
    pub weighted: i64,
}

/// Takes records out of where they counted and counts them where they are now; what stays the same costs nothing.
///
/// # Errors
/// Those of the database.
pub async fn moved(
    t: &mut TenantTx,
    kind: &str,
    old: impl IntoIterator<Item = Tally>,
    new: impl IntoIterator<Item = Tally>,
) -> Result<()> {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for (sign, tally) in
        old.into_iter().map(|tally| (-1, tally)).chain(new.into_iter().map(|tally| (1, tally)))
    {
        let sum = sums.entry(tally.bucket).or_default();
        sum.count += sign;
        sum.amount = sum.amount.saturating_add(sign * tally.amount);
        sum.weighted = sum.weighted.saturating_add(sign * tally.weighted);
    }
    sums.retain(|_, sum| *sum != Sum::default());
    if sums.is_empty() {
        return Ok(());
    }
    let (buckets, sums): (Vec<_>, Vec<_>) = sums.into_iter().unzip();
    let column = |of: fn(&Sum) -> i64| sums.iter().map(of).collect::<Vec<_>>();
    let (counts, amounts, weighted) = (column(|s| s.count), column(|s| s.amount), column(|s| s.weighted));
    diesel::select(tallies_add(t.org(), kind, buckets, counts, amounts, weighted)).execute(t.conn()?).await?;
    Ok(())
}

/// The sums of some kinds, by kind and bucket.
///
/// # Errors
/// Those of the database.
pub async fn read(t: &mut TenantTx, kinds: &[&str]) -> Result<BTreeMap<(String, String), Sum>> {
    let rows: Vec<(String, String, i64, i64, i64)> = tallies::table
        .filter(tallies::org_id.eq(t.org()).and(tallies::kind.eq_any(kinds.to_vec())))
        .select((tallies::kind, tallies::bucket, tallies::count, tallies::amount, tallies::weighted))
        .load(t.conn()?)
        .await?;
    let mut sums: BTreeMap<(String, String), Sum> = BTreeMap::new();
    for (kind, bucket, count, amount, weighted) in rows {
        let sum = sums.entry((kind, bucket)).or_default();
        sum.count += count;
        sum.amount += amount;
        sum.weighted += weighted;
    }
    sums.retain(|_, sum| *sum != Sum::default());
    Ok(sums)
}
