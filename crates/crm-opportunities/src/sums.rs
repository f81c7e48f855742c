//! What deals are worth together: never euros and dollars in one sum.

mod tallied;

use chrono::{Datelike, Months, NaiveDate};
use crm_access::Require;
use crm_core::{Error, FieldCode, Money, Result, Scope, TenantTx};
use crm_records::list::{Params, Where};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Date, Nullable, Text};
use diesel_async::RunQueryDsl;
use serde::Serialize;

use crate::aging::Aging;
use crate::model::{OPPORTUNITIES, currency};
use crate::service::narrowed;

use tallied::Tallied;

/// What deals in one currency are worth together.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Sum {
    /// The currency; null for deals without an amount.
    pub currency: Option<String>,
    /// How many they are.
    pub count: i64,
    /// What they come to.
    pub amount: Option<Money>,
    /// The same by their probability.
    pub weighted: Option<Money>,
    /// How many of them have been in their stage for too long.
    pub stalled: i64,
}

impl Sum {
    fn of((code, count, amount, weighted, stalled): Row) -> Result<Self> {
        let money = |minor: i64| -> Result<Option<Money>> {
            let Some(code) = &code else { return Ok(None) };
            let exponent = u32::from(currency(code)?.exponent().unwrap_or(0));
            Ok(Some(Money::Settled { minor, exponent }))
        };
        let (amount, weighted) = (money(amount)?, money(weighted)?);
        Ok(Self { currency: code, count, amount, weighted, stalled })
    }
}

/// Currency, number, amount, weighted amount, stalled.
type Row = (Option<String>, i64, i64, i64, i64);

/// What all the deals of a list come to.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Totals {
    /// How many they are.
    pub count: i64,
    /// How many of them have been in their stage for too long.
    pub stalled: i64,
    /// What they are worth, for each currency.
    pub currencies: Vec<Sum>,
}

/// Adds up the deals that the caller may see and the filters of the list leave.
///
/// # Errors
/// `Forbidden` without `opportunities.view_opportunity`; 400 for parameters.
pub async fn totals(t: &mut TenantTx, params: &Params) -> Result<Totals> {
    t.require(OPPORTUNITIES.view)?;
    let aging = Aging::read(t).await?;
    let sums: Vec<Row> = if is_whole(t, params, &[])? {
        let all: Vec<(String, Row)> = tallied(t, &aging, None).load(t.conn()?).await?;
        all.into_iter().map(|(_, row)| row).collect()
    } else {
        let filter = narrowed(t, params, &aging, &[]).await?;
        Sums { filter, rotten: Where(vec![aging.rotten(t.now())]) }.load(t.conn()?).await?
    };
    let (count, stalled) = sums.iter().fold((0, 0), |(count, stalled), row| (count + row.1, stalled + row.4));
    let currencies = sums.into_iter().filter(|row| row.0.is_some()).map(Sum::of).collect::<Result<_>>()?;
    Ok(Totals { count, stalled, currencies })
}

/// Parameters of the forecast beside the filters of the list.
pub const FORECAST: [(&str, &str); 1] =
    [("months", "How many months are looked ahead, this one among them: 1 to 24; 6 unless told.")];

/// What is hoped for.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Forecast {
    /// The day in the organization's time zone.
    pub today: NaiveDate,
    /// Won so far this month.
    pub won: Vec<Sum>,
    /// Open deals that were to close before today.
    pub overdue: Vec<Sum>,
    /// Open deals by the month in which they are to close.
    pub months: Vec<Month>,
    /// Open deals that are to close after those months.
    pub later: Vec<Sum>,
    /// Open deals without a date.
    pub undated: Vec<Sum>,
}

/// The open deals that are to close in a month.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Month {
    /// Such as `2026-12`.
    pub month: String,
    /// What they are worth, for each currency.
    pub currencies: Vec<Sum>,
}

/// Looks ahead: the active open deals that the caller may see and the filters of the list leave, by the month in which they are to
/// close, for each currency; with what was won so far this month.
///
/// # Errors
/// `Forbidden` without `opportunities.view_opportunity`; 400 for parameters.
pub async fn forecast(t: &mut TenantTx, params: &Params) -> Result<Forecast> {
    t.require(OPPORTUNITIES.view)?;
    let months = match params.get("months") {
        None => 6,
        Some(text) => text.parse().ok().filter(|months| (1..=24).contains(months)).ok_or_else(|| {
            Error::parameter("months", FieldCode::OutOfRange, "must be a whole number from 1 to 24")
        })?,
    };
    let aging = Aging::read(t).await?;
    let today = t.now().with_timezone(&t.caller().org.timezone).date_naive();
    let first = today.with_day(1).unwrap_or(today);
    let month = |ahead: u32| first.checked_add_months(Months::new(ahead)).unwrap_or(NaiveDate::MAX);
    let span = Span { today, first, end: month(months) };
    let rows: Vec<(String, Row)> = if is_whole(t, params, &["months"])? {
        tallied(t, &aging, Some(span)).load(t.conn()?).await?
    } else {
        let filter = narrowed(t, params, &aging, &["months"]).await?;
        let rotten = Where(vec![aging.rotten(t.now())]);
        Ahead { sums: Sums { filter, rotten }, span }.load(t.conn()?).await?
    };
    let of = |bucket: &str| {
        rows.iter()
            .filter(|(of, _)| of == bucket)
            .map(|(_, row)| Sum::of(row.clone()))
            .collect::<Result<Vec<_>>>()
    };
    let named = |ahead| {
        let month = month(ahead).format("%Y-%m").to_string();
        Ok(Month { currencies: of(&month)?, month })
    };
    Ok(Forecast {
        today,
        won: of("won")?,
        overdue: of("overdue")?,
        months: (0..months).map(named).collect::<Result<_>>()?,
        later: of("later")?,
        undated: of("undated")?,
    })
}

/// Whether it is about all deals there are: nothing but the module's `own` parameters narrows it, nor the caller's scope.
fn is_whole(t: &TenantTx, params: &Params, own: &[&str]) -> Result<bool> {
    let narrows = params.pairs.iter().any(|(key, _)| !own.contains(&key.as_str()));
    Ok(!narrows && t.require(OPPORTUNITIES.view)? == Scope::All)
}

fn tallied(t: &TenantTx, aging: &Aging, span: Option<Span>) -> Tallied {
    let (stages, since) =
        aging.red_since(t.now()).map(|(stage, since)| (stage.as_str().to_owned(), since)).unzip();
    Tallied { org: t.org().0, stages, since, span }
}

/// The sums of some deals for each currency.
struct Sums {
    filter: Where,
    rotten: Where,
}

impl Query for Sums {
    type SqlType = (Nullable<Text>, BigInt, BigInt, BigInt, BigInt);
}

impl QueryId for Sums {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

/// Sums beyond what a column holds stop at its end, rather than fail.
const COLUMNS: &str = "CASE WHEN amount IS NOT NULL THEN currency END, count(*), \
    least(coalesce(sum(amount), 0), 9223372036854775807)::bigint, \
    least(coalesce(round(sum(amount::numeric * probability) / 100), 0), 9223372036854775807)::bigint, count(*) FILTER (WHERE ";

impl QueryFragment<Pg> for Sums {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT ");
        out.push_sql(COLUMNS);
        self.rotten.walk_ast(out.reborrow())?;
        out.push_sql(") FROM opportunities WHERE ");
        self.filter.walk_ast(out.reborrow())?;
        out.push_sql(" GROUP BY 1 ORDER BY 1");
        Ok(())
    }
}

/// The days of a forecast.
#[derive(Debug, Clone, Copy)]
struct Span {
    today: NaiveDate,
    /// The first day of this month, and of the month behind the last.
    first: NaiveDate,
    end: NaiveDate,
}

impl Span {
    /// The period that a deal belongs to.
    const PERIOD: &str = "CASE WHEN stage = 'CLOSED_WON' THEN 'won' WHEN closed_on IS NULL THEN 'undated' \
        WHEN closed_on < {today} THEN 'overdue' WHEN closed_on >= {end} THEN 'later' ELSE to_char(closed_on, 'YYYY-MM') END";

    /// The condition of a deal that belongs to one, as far as it is in use.
    const COUNTS: &str = "(stage IN ('PROSPECTING', 'QUALIFICATION', 'PROPOSAL', 'NEGOTIATION') \
        OR stage = 'CLOSED_WON' AND closed_on >= {first} AND closed_on <= {today})";

    /// Binds the day of a name.
    fn bind<'b>(span: Option<&'b Self>, name: &str, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let Some(Self { today, first, end }) = span else { return Ok(()) };
        let day = match name {
            "first" => first,
            "end" => end,
            _ => today,
        };
        out.push_bind_param::<Date, _>(day)
    }

    /// Pushes text in which days stand in braces.
    fn push<'b>(&'b self, text: &str, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for (place, part) in text.split(['{', '}']).enumerate() {
            if place % 2 == 0 {
                out.push_sql(part);
            } else {
                Self::bind(Some(self), part, out)?;
            }
        }
        Ok(())
    }
}

/// The same sums for each period of a forecast.
struct Ahead {
    sums: Sums,
    span: Span,
}

impl Query for Ahead {
    type SqlType = (Text, (Nullable<Text>, BigInt, BigInt, BigInt, BigInt));
}

impl QueryId for Ahead {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Ahead {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT ");
        self.span.push(Span::PERIOD, &mut out)?;
        out.push_sql(", ");
        out.push_sql(COLUMNS);
        self.sums.rotten.walk_ast(out.reborrow())?;
        out.push_sql(") FROM opportunities WHERE ");
        self.sums.filter.walk_ast(out.reborrow())?;
        out.push_sql(" AND is_active AND ");
        self.span.push(Span::COUNTS, &mut out)?;
        out.push_sql(" GROUP BY 1, 2 ORDER BY 1, 2");
        Ok(())
    }
}
