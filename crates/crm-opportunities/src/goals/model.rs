use chrono::NaiveDate;
use crm_core::{Code, Error, FieldCode, FieldError, MemberId, Money, Result, TeamId, rules};
use crm_records::Base;
use crm_records::list::{Field, Kind, Rel, Resource};
use crm_schema::sales_goals;
use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::hundredths::Written;
use crate::model::currency;

crm_core::text_enum!(
    /// What a goal counts.
    GoalType {
        /// What won deals are worth.
        Revenue = "REVENUE",
        /// How many deals were won.
        DealsClosed = "DEALS_CLOSED",
    }
);

crm_core::text_enum!(
    /// How long a goal runs.
    PeriodType { Monthly = "MONTHLY", Quarterly = "QUARTERLY", Yearly = "YEARLY", Custom = "CUSTOM" }
);

crm_core::text_enum!(
    /// How a goal stands against the time that has passed.
    GoalStatus { Completed = "completed", OnTrack = "on_track", AtRisk = "at_risk", Behind = "behind" }
);

/// Sales goals as a list.
pub const GOALS: Resource = Resource {
    kind: "goal",
    table: "sales_goals",
    fields: &[
        Field::new("name", Kind::Text).required(),
        Field::new("goal_type", Kind::Choice(GoalType::WORDS)).required(),
        Field::new("currency", Kind::Text),
        Field::new("period_type", Kind::Choice(PeriodType::WORDS)).required(),
        Field::new("period_start", Kind::Date).ordered().required(),
        Field::new("period_end", Kind::Date).ordered().required(),
        Field::relation("assigned_to", Rel::Member),
        Field::relation("team_id", Rel::Team),
        Field::new("is_active", Kind::Bool).required(),
    ],
    searchable: false,
    mutable: true,
    neighbours: None,
};

/// What a client writes of a goal.
#[derive(Debug, Clone, PartialEq, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GoalFields {
    /// What it is called.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(min = 1, max = 255), custom(function = "rules::one_line"))]
    pub name: String,
    /// What it counts.
    pub goal_type: GoalType,
    /// An amount in its currency, or a whole number of deals.
    #[schema(value_type = String)]
    pub target_value: Written,
    /// Of a goal for revenue, the organization's own unless told: deals in another currency do not count.
    #[serde(default, deserialize_with = "crm_core::body::text")]
    #[validate(custom(function = "rules::currency"))]
    pub currency: Option<String>,
    /// How long it runs.
    pub period_type: PeriodType,
    /// Its first day.
    pub period_start: NaiveDate,
    /// Its last day.
    pub period_end: NaiveDate,
    /// Whose deals count.
    #[serde(default)]
    pub assigned_to: Option<MemberId>,
    /// The team whose members' deals count, where it is nobody's; everybody's where there is no team either.
    #[serde(default)]
    pub team_id: Option<TeamId>,
    /// False puts it away.
    #[serde(default = "on")]
    pub is_active: bool,
}

const fn on() -> bool {
    true
}

/// A goal as it is stored.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = sales_goals, treat_none_as_null = true)]
pub(crate) struct GoalRow {
    pub(crate) name: String,
    pub(crate) goal_type: GoalType,
    pub(crate) target_value: i64,
    pub(crate) currency: Option<String>,
    pub(crate) period_type: PeriodType,
    pub(crate) period_start: NaiveDate,
    pub(crate) period_end: NaiveDate,
    pub(crate) assigned_to: Option<MemberId>,
    pub(crate) team_id: Option<TeamId>,
    pub(crate) is_active: bool,
    pub(crate) milestone: i32,
}

impl GoalFields {
    /// The row of the goal, at its milestone.
    ///
    /// # Errors
    /// 422 naming every field that does not fit the others.
    pub(super) fn settle(self, default_currency: &str, milestone: i32) -> Result<GoalRow> {
        let mut faults = Vec::new();
        let mut fault = |field, code, message: &str| faults.push(FieldError::new(field, code, message));
        if self.period_end <= self.period_start {
            fault("period_end", FieldCode::OutOfRange, "must be after period_start");
        }
        for (field, day) in [("period_start", self.period_start), ("period_end", self.period_end)] {
            if !crm_core::body::is_common_era(chrono::Datelike::year(&day)) {
                fault(field, FieldCode::InvalidValue, "must be of the years 1 to 9999");
            }
        }
        let code = match (self.goal_type, self.currency) {
            (GoalType::Revenue, code) => Some(code.unwrap_or_else(|| default_currency.to_owned())),
            (GoalType::DealsClosed, Some(_)) => {
                fault("currency", FieldCode::NotAllowed, "deals are counted, whatever their currency");
                None
            }
            (GoalType::DealsClosed, None) => None,
        };
        let exponent = exponent(code.as_deref())?;
        let target_value = self.target_value.0.in_units(exponent).unwrap_or(i64::MAX);
        if !(1..=Money::MAX_MINOR).contains(&target_value) {
            let message = match self.goal_type {
                GoalType::Revenue => {
                    "must be an amount in the currency, greater than nothing, of twelve digits at most"
                }
                GoalType::DealsClosed => "must be a whole number greater than 0",
            };
            fault("target_value", FieldCode::OutOfRange, message);
        }
        if !faults.is_empty() {
            return Err(Error::Fields(Code::ValidationFailed, faults));
        }
        Ok(GoalRow {
            name: self.name,
            goal_type: self.goal_type,
            target_value,
            currency: code,
            period_type: self.period_type,
            period_start: self.period_start,
            period_end: self.period_end,
            assigned_to: self.assigned_to,
            team_id: self.team_id,
            is_active: self.is_active,
            milestone,
        })
    }
}

/// How many decimals the values of a goal have.
fn exponent(code: Option<&str>) -> Result<u32> {
    code.map_or(Ok(0), |code| Ok(u32::from(currency(code)?.exponent().unwrap_or(0))))
}

/// A sales goal, with how far it has come.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Goal {
    /// What every record begins with.
    #[serde(flatten)]
    pub base: Base,
    /// What it is called.
    pub name: String,
    /// What it counts.
    pub goal_type: GoalType,
    /// An amount in its currency, or a whole number of deals.
    pub target_value: Money,
    /// Of a goal for revenue.
    pub currency: Option<String>,
    /// How long it runs.
    pub period_type: PeriodType,
    /// Its first day.
    pub period_start: NaiveDate,
    /// Its last day.
    pub period_end: NaiveDate,
    /// Whose deals count.
    pub assigned_to: Option<MemberId>,
    /// The team whose members' deals count, where it is nobody's.
    pub team_id: Option<TeamId>,
    /// False: put away.
    pub is_active: bool,
    /// The highest milestone that was told of, in percent: 0, 50, 90 or 100.
    pub milestone: i32,
    /// What was reached, counted like the target.
    pub progress_value: Money,
    /// The same in percent of the target, 100 at most.
    pub progress_percent: i32,
    /// How that stands against the time that has passed.
    pub status: GoalStatus,
}

impl Goal {
    /// The fields of a goal that the server owns beside those of every record.
    pub(super) const READ_ONLY: &'static [&'static str] =
        &["milestone", "progress_value", "progress_percent", "status"];

    /// Those of them that are worked out anew whenever it is shown.
    pub(super) const OF_THE_MOMENT: &'static [&'static str] =
        &["progress_value", "progress_percent", "status"];

    /// A goal as it was stored, with what was reached of it by `today`.
    pub(crate) fn stored(base: Base, row: GoalRow, reached: i64, today: NaiveDate) -> Result<Self> {
        let exponent = exponent(row.currency.as_deref())?;
        let percent = percent(reached, row.target_value);
        let status = status(percent, today, row.period_start, row.period_end);
        let value = |minor| Money::Settled { minor, exponent };
        Ok(Self {
            base,
            name: row.name,
            goal_type: row.goal_type,
            target_value: value(row.target_value),
            currency: row.currency,
            period_type: row.period_type,
            period_start: row.period_start,
            period_end: row.period_end,
            assigned_to: row.assigned_to,
            team_id: row.team_id,
            is_active: row.is_active,
            milestone: row.milestone,
            progress_value: value(reached),
            progress_percent: percent,
            status,
        })
    }
}

/// How much of the target was reached, in whole percent, 100 at most.
pub(crate) fn percent(reached: i64, target: i64) -> i32 {
    let percent = i128::from(reached.max(0)) * 100 / i128::from(target.max(1));
    i32::try_from(percent.min(100)).unwrap_or(100)
}

/// How a goal stands: against the part of its days that has passed.
pub(crate) fn status(percent: i32, today: NaiveDate, start: NaiveDate, end: NaiveDate) -> GoalStatus {
    if percent >= 100 {
        return GoalStatus::Completed;
    }
    let total = (end - start).num_days().max(1);
    let passed = (today - start).num_days().clamp(0, total);
    // In percent times the total of days: nothing is divided, so nothing is rounded.
    let (reached, pace) = (i64::from(percent) * total, passed * 100);
    if reached >= pace {
        GoalStatus::OnTrack
    } else if reached * 10 >= pace * 8 {
        GoalStatus::AtRisk
    } else {
        GoalStatus::Behind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_measured_by_the_days_that_have_passed() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let (start, end) = (day("2026-01-01"), day("2026-01-11"));
        for (percent, today, want) in [
            (0, "2025-12-31", GoalStatus::OnTrack),
            (0, "2026-01-01", GoalStatus::OnTrack),
            (0, "2026-01-02", GoalStatus::Behind),
            (50, "2026-01-06", GoalStatus::OnTrack),
            (49, "2026-01-06", GoalStatus::AtRisk),
            (40, "2026-01-06", GoalStatus::AtRisk),
            (39, "2026-01-06", GoalStatus::Behind),
            (99, "2026-02-01", GoalStatus::AtRisk),
            (79, "2026-02-01", GoalStatus::Behind),
            (100, "2026-01-02", GoalStatus::Completed),
        ] {
            assert_eq!(status(percent, day(today), start, end), want, "{percent} on {today}");
        }
        assert_eq!((percent(999, 1000), percent(2_000, 1000), percent(0, 5)), (99, 100, 0));
    }
}
