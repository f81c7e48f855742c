use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, Days as Span, Months, NaiveDate, TimeDelta, Utc};
use crm_core::TenantTx;

/// How far ahead "soon" reaches, and how long a hot lead may go without a word, in days.
pub(crate) const WEEK: u64 = 7;

/// The days that figures speak of, where the organization is at home.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Days {
    /// The instant itself.
    pub(crate) now: DateTime<Utc>,
    pub(crate) today: NaiveDate,
    pub(crate) tomorrow: NaiveDate,
    /// The last day that is soon.
    pub(crate) soon: NaiveDate,
    /// The last day that is long ago.
    pub(crate) long_ago: NaiveDate,
    pub(crate) month_begin: NaiveDate,
    pub(crate) month_end: NaiveDate,
}

impl Days {
    pub(crate) fn of(t: &TenantTx) -> Self {
        Self::at(t.now(), t.caller().org.timezone)
    }

    pub(crate) fn at(now: DateTime<Utc>, zone: impl chrono::TimeZone) -> Self {
        let today = now.with_timezone(&zone).date_naive();
        let ahead = |days| today.checked_add_days(Span::new(days)).unwrap_or(today);
        let month_begin = today.with_day(1).unwrap_or(today);
        let next_month = month_begin.checked_add_months(Months::new(1));
        Self {
            now,
            today,
            tomorrow: ahead(1),
            soon: ahead(WEEK),
            long_ago: today.checked_sub_days(Span::new(WEEK)).unwrap_or(today),
            month_begin,
            month_end: next_month.and_then(|day| day.pred_opt()).unwrap_or(today),
        }
    }

    /// Where one figure's days end and another's begin, ascending; the last one is of interest to none.
    pub(crate) fn cuts(&self) -> Vec<NaiveDate> {
        let after = |day: NaiveDate| day.succ_opt().unwrap_or(day);
        let cuts = [self.month_begin, self.today, self.tomorrow, after(self.soon), after(self.month_end)];
        BTreeSet::from(cuts).into_iter().collect()
    }

    /// So many whole days of 24 hours before now.
    pub(crate) fn before(&self, days: i64) -> DateTime<Utc> {
        TimeDelta::try_days(days).and_then(|span| self.now.checked_sub_signed(span)).unwrap_or(self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_and_the_month_are_those_of_the_place() {
        let now = "2026-12-31T12:30:00Z".parse().unwrap();
        for (zone, today, begin, end) in [
            (chrono_tz::Pacific::Auckland, "2027-01-01", "2027-01-01", "2027-01-31"),
            (chrono_tz::America::Los_Angeles, "2026-12-31", "2026-12-01", "2026-12-31"),
        ] {
            let days = Days::at(now, zone);
            let told = [days.today, days.month_begin, days.month_end].map(|day| day.to_string());
            assert_eq!(told, [today, begin, end]);
        }
        let cuts = Days::at("2026-11-27T12:00:00Z".parse().unwrap(), Utc).cuts();
        let told: Vec<_> = cuts.iter().map(NaiveDate::to_string).collect();
        assert_eq!(told, ["2026-11-01", "2026-11-27", "2026-11-28", "2026-12-01", "2026-12-05"]);
        let leap = Days::at("2028-02-10T00:00:00Z".parse().unwrap(), Utc);
        assert_eq!(leap.month_end.to_string(), "2028-02-29");
    }
}
