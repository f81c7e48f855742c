use std::collections::BTreeMap;

use crm_core::{Result, TenantTx};
use crm_records::tally::{Sum, Tallied};
use diesel::sql_types::{BigInt, Text};
use diesel_async::RunQueryDsl;
use serde::Serialize;

use crate::days::Days;
use crate::figure::{ByCurrency, MoneyFigure, add};
use crate::part::Part;
use crate::statement::Statement;

/// The stages that a deal goes through, in their order.
const STAGES: [&str; 6] =
    ["PROSPECTING", "QUALIFICATION", "PROPOSAL", "NEGOTIATION", "CLOSED_WON", "CLOSED_LOST"];

/// Deals that may still be won, as a condition and as a list.
pub(crate) const OPEN: &str =
    "opportunities.stage IN ('PROSPECTING', 'QUALIFICATION', 'PROPOSAL', 'NEGOTIATION')";
pub(crate) const OPEN_LIST: &str =
    "/api/opportunities/?stage__in=PROSPECTING,QUALIFICATION,PROPOSAL,NEGOTIATION";
const WON: &str = "CLOSED_WON";

/// Whether a deal in the stage may still be won.
fn is_open(stage: &str) -> bool {
    !matches!(stage, "CLOSED_WON" | "CLOSED_LOST")
}

/// Figures about the deals that the caller may see. Days are those of the organization's time zone.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct OpportunityFigures {
    /// All deals, by stage.
    pub pipeline: Vec<StageFigure>,
    /// Those in an open stage.
    pub open: MoneyFigure,
    /// Won ones whose closing date is in the present month.
    pub won_this_month: MoneyFigure,
    /// Open ones that are to close today or on one of the seven days after.
    pub closing_soon: MoneyFigure,
    /// Open ones whose closing date has passed.
    pub overdue: MoneyFigure,
}

/// The deals in one stage.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct StageFigure {
    /// The stage.
    pub stage: &'static str,
    /// How many, and what they come to.
    #[serde(flatten)]
    pub deals: MoneyFigure,
}

/// Sums by stage, and of those that a day decides about.
#[derive(Debug, Default)]
struct Sums {
    stages: BTreeMap<String, ByCurrency>,
    won: ByCurrency,
    soon: ByCurrency,
    overdue: ByCurrency,
}

impl Sums {
    fn stage(&mut self, stage: &str, currency: &str, sum: Sum) {
        add(self.stages.entry(stage.to_owned()).or_default(), currency, sum);
    }
}

/// The figures about deals: one statement, none with tallies.
pub(crate) async fn figures(
    t: &mut TenantTx,
    part: &Part,
    tallies: &[Tallied],
    days: &Days,
) -> Result<OpportunityFigures> {
    let mut sums = Sums::default();
    if part.is_whole() {
        for Tallied { bucket, from, sum, .. } in tallies.iter().filter(|of| of.kind == part.resource.kind) {
            let (stage, currency) = bucket.split_once('|').unwrap_or((bucket, ""));
            match from {
                None => sums.stage(stage, currency, *sum),
                Some(from) if stage == WON => {
                    if (days.month_begin..=days.month_end).contains(from) {
                        add(&mut sums.won, currency, *sum);
                    }
                }
                Some(from) if *from < days.today => add(&mut sums.overdue, currency, *sum),
                Some(from) if *from <= days.soon => add(&mut sums.soon, currency, *sum),
                Some(_) => {}
            }
        }
    } else {
        for (stage, currency, period, count, amount, weighted) in dated(t, part, days).await? {
            let sum = Sum { count, amount, weighted };
            sums.stage(&stage, &currency, sum);
            match period.as_str() {
                "won" => add(&mut sums.won, &currency, sum),
                "soon" => add(&mut sums.soon, &currency, sum),
                "overdue" => add(&mut sums.overdue, &currency, sum),
                _ => {}
            }
        }
    }
    let mut open = ByCurrency::new();
    for (_, of) in sums.stages.iter().filter(|(stage, _)| is_open(stage)) {
        of.iter().for_each(|(currency, sum)| add(&mut open, currency, *sum));
    }
    let none = ByCurrency::new();
    let pipeline = STAGES.into_iter().map(|stage| {
        let list = format!("/api/opportunities/?stage={stage}");
        StageFigure { stage, deals: MoneyFigure::new(list, sums.stages.get(stage).unwrap_or(&none)) }
    });
    let (first, last) = (days.month_begin, days.month_end);
    let won = format!("/api/opportunities/?stage={WON}&closed_on__gte={first}&closed_on__lte={last}");
    let soon = format!("{OPEN_LIST}&closed_on__gte={}&closed_on__lte={}", days.today, days.soon);
    Ok(OpportunityFigures {
        pipeline: pipeline.collect(),
        open: MoneyFigure::new(OPEN_LIST.into(), &open),
        won_this_month: MoneyFigure::new(won, &sums.won),
        closing_soon: MoneyFigure::new(soon, &sums.soon),
        overdue: MoneyFigure::new(overdue_list(days), &sums.overdue),
    })
}

/// Open deals whose closing date has passed.
pub(crate) fn overdue_list(days: &Days) -> String {
    format!("{OPEN_LIST}&closed_on__lt={}", days.today)
}

type Dated = (String, String, String, i64, i64, i64);

/// Sums of the caller's own deals by stage, currency and what the closing date says.
async fn dated(t: &mut TenantTx, part: &Part, days: &Days) -> Result<Vec<Dated>> {
    let mut query = Statement::<(Text, Text, Text, BigInt, BigInt, BigInt)>::new();
    query.push("SELECT stage, CASE WHEN amount IS NULL THEN '' ELSE currency END, CASE WHEN stage = 'CLOSED_WON' AND closed_on >= ");
    query.push(days.month_begin).push(" AND closed_on <= ").push(days.month_end);
    query.push(" THEN 'won' WHEN ").push(OPEN).push(" AND closed_on < ").push(days.today);
    query.push(" THEN 'overdue' WHEN ").push(OPEN).push(" AND closed_on <= ").push(days.soon);
    // More than a bigint holds is shown as the most that it holds.
    query.push(
        " THEN 'soon' ELSE '' END, count(*), least(coalesce(sum(amount), 0), 9223372036854775807)::bigint, \
         least(coalesce(sum(amount * probability), 0), 9223372036854775807)::bigint FROM opportunities WHERE ",
    );
    query.push(part.visible(t));
    query.push(" GROUP BY 1, 2, 3");
    Ok(query.load(t.conn()?).await?)
}
