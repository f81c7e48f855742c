use std::collections::BTreeMap;

use chrono::NaiveDate;
use crm_core::{Money, Result, TenantTx};
use crm_opportunities::Stage;
use crm_records::list::{Rel, visible};
use crm_schema::opportunities;
use diesel::dsl::{count_star, min, sql};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable};
use diesel_async::RunQueryDsl;
use iso_currency::Currency;
use serde::Serialize;
use uuid::Uuid;

use crate::model::ACCOUNTS;

/// A sum in one currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Amount {
    /// ISO 4217.
    pub currency: String,
    /// The sum.
    pub amount: Money,
}

/// What the deals of an account come to: of those that the caller may look at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Rollups {
    /// Deals that are neither won nor lost.
    pub open_deals: i64,
    /// What they are worth, a sum for each currency.
    pub open_pipeline: Vec<Amount>,
    /// Deals that were won.
    pub won_count: i64,
    /// What they brought, a sum for each currency.
    pub won_amount: Vec<Amount>,
    /// The day of the first of them.
    pub first_won_on: Option<NaiveDate>,
}

/// The sums of an account's deals.
///
/// # Errors
/// `Forbidden` without `accounts.view_account`; `NotFound`; `Merged`.
pub async fn rollups(t: &mut TenantTx, id: Uuid) -> Result<Rollups> {
    ACCOUNTS.check_view(t, id).await?;
    let of_account = opportunities::org_id.eq(t.org()).and(opportunities::account_id.eq(id));
    type Row = (String, Option<String>, i64, Option<i64>, Option<NaiveDate>);
    let rows: Vec<Row> = opportunities::table
        .filter(of_account.and(opportunities::stage.ne(Stage::ClosedLost.as_str())))
        .filter(visible(t, Rel::Opportunity))
        .group_by((opportunities::stage, opportunities::currency))
        .select((
            opportunities::stage,
            opportunities::currency,
            count_star(),
            // A sum of bigint is numeric.
            sql::<Nullable<BigInt>>("sum(opportunities.amount)::bigint"),
            min(opportunities::closed_on),
        ))
        .load(t.conn()?)
        .await?;
    let mut all = Rollups::default();
    let (mut open, mut won) = (BTreeMap::new(), BTreeMap::new());
    for (stage, currency, count, amount, first) in rows {
        let (number, sums) = if stage == Stage::ClosedWon.as_str() {
            all.first_won_on = all.first_won_on.into_iter().chain(first).min();
            (&mut all.won_count, &mut won)
        } else {
            (&mut all.open_deals, &mut open)
        };
        *number += count;
        if let (Some(currency), Some(amount)) = (currency, amount) {
            let sum = sums.entry(currency).or_insert(0_i64);
            *sum = sum.saturating_add(amount);
        }
    }
    all.open_pipeline = amounts(open)?;
    all.won_amount = amounts(won)?;
    Ok(all)
}

fn amounts(sums: BTreeMap<String, i64>) -> Result<Vec<Amount>> {
    let amount = |(code, minor): (String, i64)| {
        let currency = Currency::from_code(&code)
            .ok_or_else(|| crm_core::Error::internal(format!("no currency {code}")))?;
        let amount =
            Money::Stored(minor).settle_within(i64::MAX, currency).map_err(crm_core::Error::internal)?;
        Ok(Amount { currency: code, amount })
    };
    sums.into_iter().map(amount).collect()
}
