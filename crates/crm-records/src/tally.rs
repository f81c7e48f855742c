//! How many records of a kind there are in each bucket, which days they wait for, and what they are worth: sums that a dashboard reads
//! instead of counting.
//!
//! A module says with every creation, change and deletion which bucket the record was in and which it is in now ([`moved`]), in the same
//! transaction; so the sums are as true as the rows.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use crm_core::{Result, TenantTx};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Date, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

diesel::define_sql_function! {
    /// Adds differences to the tallies of a kind.
    fn tallies_add(
        org: SqlUuid, kind: Text, buckets: Array<Text>, days: Array<Nullable<Date>>, counts: Array<BigInt>, amounts: Array<BigInt>,
        weighted: Array<BigInt>
    ) -> Nullable<Text>;
}

/// Where a record counts, and for how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Such as `status|rating`: the module's own words.
    pub bucket: String,
    /// The day that the record waits for, and the bucket in which it counts under it, once more.
    pub due: Option<(String, NaiveDate)>,
    /// In minor units of one currency, which the bucket names; 0 without an amount.
    pub amount: i64,
    /// The same times the probability in percent.
    pub weighted: i64,
}

impl Tally {
    /// A record that counts and has no amount.
    pub fn one(bucket: impl Into<String>) -> Self {
        Self { bucket: bucket.into(), due: None, amount: 0, weighted: 0 }
    }

    /// The same record, which waits for a day.
    pub fn due(self, bucket: impl Into<String>, day: NaiveDate) -> Self {
        Self { due: Some((bucket.into(), day)), ..self }
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
    let mut sums: BTreeMap<(String, Option<NaiveDate>), Sum> = BTreeMap::new();
    let signed = old.into_iter().map(|tally| (-1, tally)).chain(new.into_iter().map(|tally| (1, tally)));
    for (sign, Tally { bucket, due, amount, weighted }) in signed {
        let due = due.map(|(bucket, day)| (bucket, Some(day)));
        for place in [Some((bucket, None)), due].into_iter().flatten() {
            let sum = sums.entry(place).or_default();
            sum.count += sign;
            sum.amount = sum.amount.saturating_add(sign * amount);
            sum.weighted = sum.weighted.saturating_add(sign * weighted);
        }
    }
    sums.retain(|_, sum| *sum != Sum::default());
    if sums.is_empty() {
        return Ok(());
    }
    let (places, sums): (Vec<_>, Vec<_>) = sums.into_iter().unzip();
    let (buckets, days): (Vec<_>, Vec<_>) = places.into_iter().unzip();
    let column = |of: fn(&Sum) -> i64| sums.iter().map(of).collect::<Vec<_>>();
    let (counts, amounts, weighted) = (column(|s| s.count), column(|s| s.amount), column(|s| s.weighted));
    let add = tallies_add(t.org(), kind, buckets, days, counts, amounts, weighted);
    diesel::select(add).execute(t.conn()?).await?;
    Ok(())
}

/// What a bucket of a kind holds, of records that wait for a day or, apart from it, of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tallied {
    /// The kind of record.
    pub kind: String,
    /// The bucket.
    pub bucket: String,
    /// None for all records of the bucket; otherwise those that wait for a day from this one on until before the next of the days that
    /// were asked for. `NaiveDate::MIN` for those before the first one.
    pub from: Option<NaiveDate>,
    /// How many, and what they are worth.
    pub sum: Sum,
}

/// The sums of some kinds; of days, those between each of the ascending `days` and the next, and none from the last one on.
///
/// # Errors
/// Those of the database.
pub async fn read(t: &mut TenantTx, kinds: &[&str], days: &[NaiveDate]) -> Result<Vec<Tallied>> {
    let rows: Vec<(String, String, Option<i32>, i64, i64, i64)> =
        Sums { org: t.org().0, kinds, days, end: days.last().copied() }.load(t.conn()?).await?;
    let begin = |period: i32| {
        let passed = usize::try_from(period).ok().and_then(|period| period.checked_sub(1));
        passed.and_then(|last| days.get(last)).copied().unwrap_or(NaiveDate::MIN)
    };
    let tallied = rows.into_iter().map(|(kind, bucket, period, count, amount, weighted)| Tallied {
        kind,
        bucket,
        from: period.map(begin),
        sum: Sum { count, amount, weighted },
    });
    Ok(tallied.filter(|tallied| tallied.sum != Sum::default()).collect())
}

/// Sums by kind, bucket and how many of the days have come. The DSL can't group by what has a parameter in it. More than a bigint holds is
/// told as the most that it holds.
struct Sums<'a> {
    org: Uuid,
    kinds: &'a [&'a str],
    days: &'a [NaiveDate],
    /// The last of them.
    end: Option<NaiveDate>,
}

impl Query for Sums<'_> {
    type SqlType = (Text, Text, Nullable<Integer>, BigInt, BigInt, BigInt);
}

impl QueryId for Sums<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Sums<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT kind, bucket, width_bucket(day, ");
        out.push_bind_param::<Array<Date>, _>(self.days)?;
        out.push_sql("), sum(count)::bigint, least(sum(amount), 9223372036854775807)::bigint, ");
        out.push_sql("least(sum(weighted), 9223372036854775807)::bigint FROM tallies WHERE org_id = ");
        out.push_bind_param::<SqlUuid, _>(&self.org)?;
        out.push_sql(" AND kind = ANY (");
        out.push_bind_param::<Array<Text>, _>(self.kinds)?;
        out.push_sql(") AND (day IS NULL OR day < ");
        out.push_bind_param::<Nullable<Date>, _>(&self.end)?;
        out.push_sql(") GROUP BY 1, 2, 3 ORDER BY 1, 2, 3");
        Ok(())
    }
}
