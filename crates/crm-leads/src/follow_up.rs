//! How long a lead has been left alone, and when it is to be spoken to again: counted in days of the organization's time zone from
//! today, when it is shown. None of it is stored.

use chrono::{NaiveDate, TimeDelta};
use chrono_tz::Tz;
use crm_core::body::Object;
use crm_core::{Error, FieldCode, Result, TenantTx};
use crm_records::Base;
use crm_records::list::{Clause, Params, Value, start_of_day};
use serde::Serialize;

use crate::model::{LEADS, LeadFields, LeadStatus};

/// After how many days without contact an open lead is stale.
const STALE_AFTER_DAYS: i64 = 30;

const STALE: &str = "stale";
const FOLLOW_UP: &str = "follow_up";

/// What the list of leads is filtered by beside their fields: the parameters and their meaning.
pub const LEAD_FILTERS: [(&str, &str); 2] = [
    (STALE, "`true` for open leads without contact for more than 30 days, `false` for the others."),
    (FOLLOW_UP, "`overdue`, `today` or `upcoming`: where the next follow-up lies."),
];

/// Their names.
pub(crate) const OWN_PARAMETERS: &[&str] = &[STALE, FOLLOW_UP];

/// How long a lead has been left alone, and when it is to be spoken to again. Computed when it is shown; ignored in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FollowUp {
    /// Since the last contact; without one, since the lead was made.
    pub days_since_last_contact: i64,
    /// Whether these are more than 30, and the lead is neither converted nor closed.
    pub is_stale: bool,
    /// Until the next follow-up; negative when it is late.
    pub days_until_follow_up: Option<i64>,
    /// Whether that day is past.
    pub is_follow_up_overdue: bool,
}

impl FollowUp {
    /// Its fields, which no body sets and no history keeps.
    pub(crate) const FIELDS: &'static [&'static str] =
        &["days_since_last_contact", "is_stale", "days_until_follow_up", "is_follow_up_overdue"];

    pub(crate) fn of(base: &Base, fields: &LeadFields, days: Days) -> Self {
        let made = || base.created_at.with_timezone(&days.zone).date_naive();
        let contact = fields.last_contacted.unwrap_or_else(made);
        let since = (days.today - contact).num_days().max(0);
        let until = fields.next_follow_up.map(|day| (day - days.today).num_days());
        let open = !matches!(fields.status, Some(LeadStatus::Converted | LeadStatus::Closed));
        Self {
            days_since_last_contact: since,
            is_stale: open && since > STALE_AFTER_DAYS,
            days_until_follow_up: until,
            is_follow_up_overdue: until.is_some_and(|days| days < 0),
        }
    }

    /// Takes them out of what a client sent back as it was read, or of what is to be told of a change.
    pub(crate) fn strip(object: &mut Object) {
        object.retain(|key, _| !Self::FIELDS.contains(&key.as_str()));
    }
}

/// Today, as the organization counts its days.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Days {
    zone: Tz,
    today: NaiveDate,
}

impl Days {
    pub(crate) fn of(t: &TenantTx) -> Self {
        let zone = t.caller().org.timezone;
        Self { zone, today: t.now().with_timezone(&zone).date_naive() }
    }

    /// The conditions that the parameters of a list ask for.
    pub(crate) fn conditions(self, params: &Params) -> Result<Vec<Clause>> {
        let own = params.pairs.iter().filter_map(|(key, value)| match key.as_str() {
            STALE => Some(self.stale(value)),
            FOLLOW_UP => Some(self.follow_up(value)),
            _ => None,
        });
        own.collect()
    }

    fn stale(self, word: &str) -> Result<Clause> {
        let resource = &LEADS.resource;
        let first = self.today - TimeDelta::days(STALE_AFTER_DAYS);
        let contacted = |is_null| Clause::Null(resource.table, "last_contacted", is_null);
        let made = Value::Time(start_of_day(self.zone, first));
        let silent = Clause::AnyOf(vec![
            Clause::All(vec![contacted(false), resource.compare("last_contacted", "<", Value::Date(first))]),
            Clause::All(vec![contacted(true), resource.compare("created_at", "<", made)]),
        ]);
        let not = |status: LeadStatus| {
            resource.compare("status", "IS DISTINCT FROM", Value::Text(status.as_str().to_owned()))
        };
        let stale = Clause::All(vec![silent, not(LeadStatus::Converted), not(LeadStatus::Closed)]);
        match word {
            "true" | "1" => Ok(stale),
            "false" | "0" => Ok(Clause::Not(Box::new(stale))),
            _ => Err(Error::parameter(STALE, FieldCode::InvalidValue, "must be true or false")),
        }
    }

    fn follow_up(self, word: &str) -> Result<Clause> {
        let operator = match word {
            "overdue" => "<",
            "today" => "=",
            "upcoming" => ">",
            _ => {
                let message = "must be overdue, today or upcoming";
                return Err(Error::parameter(FOLLOW_UP, FieldCode::NotAChoice, message));
            }
        };
        Ok(LEADS.resource.compare("next_follow_up", operator, Value::Date(self.today)))
    }
}
