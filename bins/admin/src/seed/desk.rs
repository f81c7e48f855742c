//! What an organization of the demonstration works towards and with: goals, how long a deal may stay in a stage, a web form.

use anyhow::Result;
use chrono::{Datelike, Days, Months, NaiveDate};
use crm_core::{OrgId, body};
use crm_opportunities::{aging, goals};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::files::some;
use super::lead::{Office, ascii};
use super::org::{Founder, object};
use super::{Wanted, words};

/// Members with goals of their own, beyond whom a leaderboard tells nothing new.
const WITH_GOALS: usize = 25;

/// What a lead comes to in a year, on average: about one in twenty ends in a deal that is won, within two years. In minor units.
const REVENUE_PER_LEAD: u64 = 22_500;

/// How many of a hundred thousand leads end in a deal that is won, in a year.
const DEALS_PER_100_000: u64 = 2_250;

/// What came of furnishing an organization.
pub(super) struct Desk {
    pub(super) goals: usize,
    /// The key of the web form, which nobody can look up later.
    pub(super) form_key: String,
}

impl Founder {
    /// Sets goals for the periods that `day` is in and those before, and whatever else is there once for the organization.
    pub(super) async fn furnish(
        &self,
        org: OrgId,
        office: &Office,
        wanted: &Wanted,
        day: NaiveDate,
    ) -> Result<Desk> {
        self.work(org, async |t| {
            let aim = Aims { leads: wanted.leads, rng: StdRng::seed_from_u64(wanted.seed) };
            let all = aim.all(office, day);
            let goals = all.len();
            for goal in all {
                goals::create(t, object(goal)).await?;
            }
            let stages = words::AGING.iter().map(|(stage, expected, warning)| {
                json!({"stage": stage, "expected_days": expected, "warning_days": warning})
            });
            aging::replace(t, stages.collect()).await?;
            let form = json!({
                "title": "Contact us",
                "website": format!("https://www.{}.example/contact", ascii(&wanted.name)),
                "lead_source": "campaign",
                "lead_assigned_to": some(&office.members, 0, 1),
                "teams": some(&office.teams, 0, 1),
                "tags": some(&office.tags, 1, 1),
            });
            let form = crm_web_forms::create(t, body::parse(object(form))?).await?;
            Ok(Desk { goals, form_key: form.apikey })
        })
        .await
    }
}

/// What is to be reached, in relation to what the leads come to.
struct Aims {
    leads: u64,
    rng: StdRng,
}

/// A stretch of whole months.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Period {
    start: NaiveDate,
    end: NaiveDate,
    months: u32,
}

impl Period {
    /// The month, the quarter or the year that `day` is in.
    fn of(day: NaiveDate, months: u32) -> Self {
        let first = day.month0() / months * months + 1;
        let start = NaiveDate::from_ymd_opt(day.year(), first, 1).unwrap_or(day);
        let end = start + Months::new(months) - Days::new(1);
        Self { start, end, months }
    }

    /// The one that `day` is in, and the one before.
    fn two(day: NaiveDate, months: u32) -> [Self; 2] {
        let now = Self::of(day, months);
        [Self::of(now.start - Days::new(1), months), now]
    }

    fn name(self) -> String {
        match self.months {
            1 => self.start.format("%B %Y").to_string(),
            3 => format!("Q{} {}", self.start.month0() / 3 + 1, self.start.year()),
            _ => self.start.year().to_string(),
        }
    }

    fn kind(self) -> &'static str {
        match self.months {
            1 => "MONTHLY",
            3 => "QUARTERLY",
            _ => "YEARLY",
        }
    }
}

impl Aims {
    /// A year for everybody, a quarter for each team, a month for members.
    fn all(mut self, office: &Office, day: NaiveDate) -> Vec<Value> {
        let mut all = Vec::new();
        for period in Period::two(day, 12) {
            all.push(self.goal("Revenue", period, Whose::Everybody, true, 100));
        }
        // A deal counts for each team that one of its members is on, and every other member is on one.
        for (team, (name, _)) in office.teams.iter().zip(words::TEAMS) {
            for period in Period::two(day, 3) {
                all.push(self.goal(name, period, Whose::Of("team_id", json!(team)), true, 60));
            }
        }
        let share = 110 / u64::try_from(office.members.len().max(1)).unwrap_or(u64::MAX);
        for (number, member) in office.members.iter().take(WITH_GOALS).enumerate() {
            let revenue = number % 3 != 2;
            let name = if revenue { "Revenue" } else { "Deals" };
            for period in Period::two(day, 1) {
                let whose = Whose::Of("assigned_to", json!(member));
                all.push(self.goal(name, period, whose, revenue, share));
            }
        }
        all
    }

    /// A goal of so many percent of what is to be expected of everybody, more or less.
    fn goal(&mut self, name: &str, period: Period, whose: Whose, revenue: bool, percent: u64) -> Value {
        let parts = u64::from(period.months) * percent * self.rng.random_range(70..=130);
        // Of months, of percent and of percent again.
        let whole = 12 * 100 * 100;
        let target = if revenue {
            // In whole thousands of the currency.
            (self.leads * REVENUE_PER_LEAD * parts / whole / 100_000 + 1) * 1_000
        } else {
            self.leads * DEALS_PER_100_000 * parts / whole / 100_000 + 1
        };
        let mut goal = json!({
            "name": format!("{name}, {}", period.name()),
            "goal_type": if revenue { "REVENUE" } else { "DEALS_CLOSED" },
            "target_value": target.to_string(),
            "period_type": period.kind(),
            "period_start": period.start,
            "period_end": period.end,
        });
        if let (Whose::Of(field, id), Value::Object(goal)) = (whose, &mut goal) {
            goal.insert(field.into(), id);
        }
        goal
    }
}

/// For whom a goal is set: everybody, or whom a field names.
enum Whose {
    Everybody,
    Of(&'static str, Value),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_a_whole_month_quarter_or_year() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        for (at, months, start, end, name) in [
            ("2026-11-28", 1, "2026-11-01", "2026-11-30", "November 2026"),
            ("2024-02-29", 1, "2024-02-01", "2024-02-29", "February 2024"),
            ("2026-11-28", 3, "2026-10-01", "2026-12-31", "Q4 2026"),
            ("2026-01-01", 3, "2026-01-01", "2026-03-31", "Q1 2026"),
            ("2026-11-28", 12, "2026-01-01", "2026-12-31", "2026"),
        ] {
            let period = Period::of(day(at), months);
            assert_eq!((period.start, period.end, period.name().as_str()), (day(start), day(end), name));
        }
        let [before, now] = Period::two(day("2026-01-15"), 1);
        assert_eq!((before.name().as_str(), now.name().as_str()), ("December 2025", "January 2026"));
        assert_eq!(before.end + Days::new(1), now.start);
    }
}
