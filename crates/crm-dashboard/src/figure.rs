use std::collections::BTreeMap;

use crm_core::Money;
use crm_records::tally::Sum;
use iso_currency::Currency;
use serde::Serialize;

/// How many records there are, and the list that shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct CountFigure {
    /// How many.
    pub count: i64,
    /// Which: a path with its query.
    pub list: String,
}

impl CountFigure {
    pub(crate) fn new(count: i64, list: impl Into<String>) -> Self {
        Self { count, list: list.into() }
    }
}

/// What deals in one currency come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct CurrencyFigure {
    /// Which currency.
    pub currency: String,
    /// How many deals with an amount in it.
    pub count: i64,
    /// The sum of their amounts.
    #[schema(value_type = Money)]
    pub amount: Money,
    /// The sum of their amounts times their probabilities, rounded once.
    #[schema(value_type = Money)]
    pub weighted: Money,
    /// Which deals.
    pub list: String,
}

/// How many deals there are and what they come to. Different currencies are never added up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct MoneyFigure {
    /// How many, those without an amount among them.
    pub count: i64,
    /// Which: a path with its query.
    pub list: String,
    /// By currency.
    pub amounts: Vec<CurrencyFigure>,
}

/// Sums by currency; under the empty word what has no amount.
pub(crate) type ByCurrency = BTreeMap<String, Sum>;

impl MoneyFigure {
    /// `list` has a query already.
    pub(crate) fn new(list: String, sums: &ByCurrency) -> Self {
        let amounts = sums.iter().filter(|(currency, sum)| !currency.is_empty() && sum.count > 0);
        let amounts = amounts.map(|(currency, sum)| CurrencyFigure {
            currency: currency.clone(),
            count: sum.count,
            amount: money(currency, sum.amount),
            weighted: money(currency, sum.weighted.saturating_add(50).div_euclid(100)),
            list: format!("{list}&currency={currency}&amount__isnull=false"),
        });
        let amounts = amounts.collect();
        Self { count: sums.values().map(|sum| sum.count).sum(), amounts, list }
    }
}

/// A sum may be larger than any amount that is accepted.
pub(crate) fn money(currency: &str, minor: i64) -> Money {
    let exponent = Currency::from_code(currency).and_then(|currency| currency.exponent()).unwrap_or(0);
    Money::Settled { minor, exponent: u32::from(exponent) }
}

pub(crate) fn add(sums: &mut ByCurrency, currency: &str, sum: Sum) {
    let all = sums.entry(currency.to_owned()).or_default();
    all.count += sum.count;
    all.amount = all.amount.saturating_add(sum.amount);
    all.weighted = all.weighted.saturating_add(sum.weighted);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_currency_keeps_its_decimals_and_its_own_sum() {
        let mut sums = ByCurrency::new();
        for (currency, amount, weighted) in
            [("EUR", 100_050, 5_002_500), ("JPY", 1_500, 75_050), ("EUR", 1, 25), ("", 0, 0)]
        {
            add(&mut sums, currency, Sum { count: 1, amount, weighted });
        }
        let figure = MoneyFigure::new("/api/opportunities/?stage=PROPOSAL".into(), &sums);
        assert_eq!(figure.count, 4, "a deal without an amount is a deal");
        let told: Vec<_> = figure
            .amounts
            .iter()
            .map(|f| (f.currency.as_str(), f.count, f.amount.to_string(), f.weighted.to_string()))
            .collect();
        assert_eq!(
            told,
            [
                ("EUR", 2, "1000.51".to_owned(), "500.25".to_owned()),
                ("JPY", 1, "1500".to_owned(), "751".to_owned())
            ]
        );
        assert_eq!(
            figure.amounts[1].list,
            "/api/opportunities/?stage=PROPOSAL&currency=JPY&amount__isnull=false"
        );
    }
}
