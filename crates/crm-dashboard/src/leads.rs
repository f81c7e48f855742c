use chrono::{DateTime, NaiveDate, Utc};
use crm_core::{Result, TenantTx};
use crm_records::tally::Tallied;
use diesel::Queryable;
use diesel::sql_types::{BigInt, Date, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use uuid::Uuid;

use crate::days::Days;
use crate::figure::CountFigure;
use crate::part::Part;
use crate::statement::Statement;

/// Leads that somebody may still have to do with, word for word as in the index of follow-ups.
pub(crate) const OPEN: &str = "status IS DISTINCT FROM 'converted' AND status IS DISTINCT FROM 'closed'";

/// Hot leads that somebody works on, word for word as in the indexes of hot leads.
pub(crate) const HOT: &str = "rating = 'HOT' AND status IN ('assigned', 'in process')";

/// The same as lists.
pub(crate) const OPEN_LIST: &str = "/api/leads/?status__ne=converted&status__ne=closed";
pub(crate) const HOT_LIST: &str = "/api/leads/?rating=HOT&status__in=assigned,in%20process";

/// Figures about the leads that the caller may see.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct LeadFigures {
    /// Neither converted nor closed; those without a status among them.
    pub open: CountFigure,
    /// Closed.
    pub closed: CountFigure,
    /// Converted.
    pub converted: CountFigure,
    /// Converted ones among all, in percent with one decimal; null without leads.
    pub conversion_rate: Option<f64>,
    /// Hot ones that are assigned or in process.
    pub hot: HotLeads,
    /// When open leads want to hear from somebody, by days of the organization's time zone.
    pub follow_ups: FollowUpFigures,
}

/// Hot leads.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct HotLeads {
    /// How many.
    pub count: i64,
    /// Which.
    pub list: String,
    /// The newest ten.
    pub newest: Vec<HotLead>,
}

/// A hot lead in brief.
#[derive(Debug, Clone, Queryable, Serialize, utoipa::ToSchema)]
pub struct HotLead {
    /// Its id.
    pub id: Uuid,
    /// What it is called.
    pub title: String,
    /// The person's first name.
    pub first_name: Option<String>,
    /// The person's last name.
    pub last_name: Option<String>,
    /// Where the person works.
    pub company_name: Option<String>,
    /// The day of the last contact.
    pub last_contacted: Option<NaiveDate>,
    /// The day of the next follow-up.
    pub next_follow_up: Option<NaiveDate>,
    /// When it came in.
    pub created_at: DateTime<Utc>,
}

/// Follow-ups of open leads.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct FollowUpFigures {
    /// Due before today.
    pub overdue: CountFigure,
    /// Due today.
    pub today: CountFigure,
    /// Due on the seven days after today.
    pub next_7_days: CountFigure,
}

/// How many leads there are of each sort.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Statuses {
    open: i64,
    closed: i64,
    converted: i64,
    hot: i64,
}

impl Statuses {
    /// Of tallies by `status|rating`.
    fn tallied<'a>(tallies: impl Iterator<Item = &'a Tallied>) -> Self {
        let mut all = Self::default();
        for Tallied { bucket, sum, .. } in tallies.filter(|tallied| tallied.from.is_none()) {
            let (status, rating) = bucket.split_once('|').unwrap_or((bucket, ""));
            match status {
                "converted" => all.converted += sum.count,
                "closed" => all.closed += sum.count,
                _ => all.open += sum.count,
            }
            if rating == "HOT" && matches!(status, "assigned" | "in process") {
                all.hot += sum.count;
            }
        }
        all
    }

    fn conversion_rate(&self) -> Option<f64> {
        let all = self.open + self.closed + self.converted;
        // Thousandths, exactly, before it becomes a number with a point.
        let rounded = (all > 0).then(|| (self.converted * 2_000 + all) / (all * 2))?;
        Some(i32::try_from(rounded).map_or(100.0, f64::from) / 10.0)
    }
}

/// Follow-ups by the days that tallies tell: overdue, today, on the days after.
fn follow_ups<'a>(tallies: impl Iterator<Item = &'a Tallied>, days: &Days) -> [i64; 3] {
    let mut all = [0; 3];
    for Tallied { from, sum, .. } in tallies {
        let Some(from) = from else { continue };
        let [overdue, today, soon] = &mut all;
        match from {
            day if *day < days.today => *overdue += sum.count,
            day if *day == days.today => *today += sum.count,
            day if *day <= days.soon => *soon += sum.count,
            _ => {}
        }
    }
    all
}

/// The figures about leads: one statement, two without tallies.
pub(crate) async fn figures(
    t: &mut TenantTx,
    part: &Part,
    tallies: &[Tallied],
    days: &Days,
) -> Result<LeadFigures> {
    let (statuses, [overdue, today, soon]) = if part.is_whole() {
        let own = || tallies.iter().filter(|tallied| tallied.kind == part.resource.kind);
        (Statuses::tallied(own()), follow_ups(own(), days))
    } else {
        counted(t, part, days).await?
    };
    let newest = newest_hot(t, part).await?;
    let Days { tomorrow, soon: last, .. } = days;
    Ok(LeadFigures {
        open: CountFigure::new(statuses.open, OPEN_LIST),
        closed: CountFigure::new(statuses.closed, "/api/leads/?status=closed"),
        converted: CountFigure::new(statuses.converted, "/api/leads/?status=converted"),
        conversion_rate: statuses.conversion_rate(),
        hot: HotLeads { count: statuses.hot, list: HOT_LIST.into(), newest },
        follow_ups: FollowUpFigures {
            overdue: CountFigure::new(overdue, overdue_list(days)),
            today: CountFigure::new(today, today_list(days)),
            next_7_days: CountFigure::new(
                soon,
                format!("{OPEN_LIST}&next_follow_up__gte={tomorrow}&next_follow_up__lte={last}"),
            ),
        },
    })
}

/// Follow-ups that were due before today.
pub(crate) fn overdue_list(days: &Days) -> String {
    format!("{OPEN_LIST}&next_follow_up__lt={}", days.today)
}

/// Follow-ups that are due today.
pub(crate) fn today_list(days: &Days) -> String {
    format!("{OPEN_LIST}&next_follow_up={}", days.today)
}

/// Of one's own leads everything is counted in one go.
async fn counted(t: &mut TenantTx, part: &Part, days: &Days) -> Result<(Statuses, [i64; 3])> {
    let mut query = Statement::<(BigInt, BigInt, BigInt, BigInt, BigInt, BigInt, BigInt)>::new();
    query.push("SELECT count(*) FILTER (WHERE ").push(OPEN);
    query.push("), count(*) FILTER (WHERE leads.status = 'closed'), count(*) FILTER (WHERE leads.status = 'converted')");
    query.push(", count(*) FILTER (WHERE ").push(HOT).push(")");
    for operator in ["<", "=", ">"] {
        query.push(", count(*) FILTER (WHERE ").push(OPEN).push(" AND leads.next_follow_up ").push(operator);
        query.push(" ").push(days.today).push(" AND leads.next_follow_up <= ").push(days.soon).push(")");
    }
    query.push(" FROM leads WHERE ").push(part.visible(t));
    let (open, closed, converted, hot, overdue, today, soon) = query.get_result(t.conn()?).await?;
    Ok((Statuses { open, closed, converted, hot }, [overdue, today, soon]))
}

type HotRow = (
    SqlUuid,
    Text,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Date>,
    Nullable<Date>,
    Timestamptz,
);

async fn newest_hot(t: &mut TenantTx, part: &Part) -> Result<Vec<HotLead>> {
    let mut query = Statement::<HotRow>::new();
    query.push(
        "SELECT id, coalesce(record_title(id), ''), first_name, last_name, company_name, last_contacted, next_follow_up, \
         created_at",
    );
    part.walk(t, &mut query);
    query.push(" AND ").push(HOT).push(" ORDER BY id DESC LIMIT 10");
    Ok(query.load(t.conn()?).await?)
}

#[cfg(test)]
mod tests {
    use crm_records::tally::Sum;

    use super::*;

    fn tallied(bucket: &str, from: Option<NaiveDate>, count: i64) -> Tallied {
        Tallied { kind: "lead".into(), bucket: bucket.into(), from, sum: Sum { count, ..Sum::default() } }
    }

    #[test]
    fn tallies_tell_open_from_closed_and_hot_from_the_rest() {
        let buckets = [
            ("|", 1),
            ("assigned|HOT", 2),
            ("in process|HOT", 4),
            ("recycled|HOT", 8),
            ("converted|HOT", 16),
            ("closed|", 32),
        ];
        let mut tallies: Vec<_> = buckets.map(|(bucket, count)| tallied(bucket, None, count)).into();
        tallies.push(tallied("follow_up", Some(NaiveDate::MIN), 64));
        let all = Statuses::tallied(tallies.iter());
        assert_eq!(all, Statuses { open: 15, closed: 32, converted: 16, hot: 6 });
    }

    #[test]
    fn follow_ups_are_told_by_the_day_that_their_period_begins_with() {
        let days = Days::at("2026-11-27T12:00:00Z".parse().unwrap(), chrono_tz::UTC);
        let begins =
            [NaiveDate::MIN, days.month_begin, days.today, days.tomorrow, days.soon + chrono::Days::new(1)];
        let periods = begins.into_iter().zip([1, 2, 4, 8, 16]);
        let tallies: Vec<_> = periods.map(|(from, count)| tallied("follow_up", Some(from), count)).collect();
        assert_eq!(follow_ups(tallies.iter(), &days), [3, 4, 8]);
    }

    #[test]
    fn the_conversion_rate_has_one_decimal_and_none_of_nothing() {
        for (open, converted, rate) in
            [(0, 0, None), (2, 1, Some(33.3)), (1, 2, Some(66.7)), (0, 5, Some(100.0)), (1999, 1, Some(0.1))]
        {
            assert_eq!(Statuses { open, converted, ..Statuses::default() }.conversion_rate(), rate);
        }
    }
}
