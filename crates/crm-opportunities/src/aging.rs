//! How long a deal may stay in a stage before it counts as stalled.

use chrono::{DateTime, TimeDelta, Utc};
use crm_access::Require;
use crm_core::{Code, Error, FieldError, Result, TenantTx, body};
use crm_records::list::{Clause, Value};
use crm_schema::stage_aging;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use validator::Validate;

use crate::model::OPPORTUNITIES;
use crate::stage::Stage;

crm_core::text_enum!(
    /// Whether a deal has been in its stage for too long. Closed ones never are.
    AgingStatus { Green = "green", Yellow = "yellow", Red = "red" }
);

/// What is expected of one open stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StageAging {
    /// The stage.
    pub stage: Stage,
    /// In how many days a deal leaves it. At one and a half times that it is stalled: red.
    #[validate(range(min = 1, max = 3650))]
    pub expected_days: i32,
    /// From how many days on it is yellow; from the expected ones unless told.
    #[serde(default)]
    #[validate(range(min = 1, max = 3650))]
    pub warning_days: Option<i32>,
}

impl StageAging {
    /// What holds unless an organization says otherwise.
    const fn default_of(stage: Stage) -> Self {
        let expected_days = match stage {
            Stage::Prospecting | Stage::Qualification => 14,
            _ => 10,
        };
        Self { stage, expected_days, warning_days: None }
    }

    /// From which whole day on a deal is stalled: one and a half times the expected ones. Half a day more is a whole one, because
    /// whole days are counted.
    const fn red_days(self) -> i64 {
        let days = self.expected_days as i64;
        days + (days + 1) / 2
    }

    /// From which whole day on a deal is slow: the expected ones, or fewer where the organization wants to be warned before.
    fn yellow_days(self) -> i64 {
        i64::from(self.warning_days.map_or(self.expected_days, |warning| warning.min(self.expected_days)))
    }
}

/// What is expected of every open stage, in the order of the board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aging(Vec<StageAging>);

impl Aging {
    /// Reads what the organization expects.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn read(t: &mut TenantTx) -> Result<Self> {
        let rows: Vec<(Stage, i32, Option<i32>)> = stage_aging::table
            .filter(stage_aging::org_id.eq(t.org()))
            .select((stage_aging::stage, stage_aging::expected_days, stage_aging::warning_days))
            .load(t.conn()?)
            .await?;
        let of = |stage| {
            rows.iter().find(|row| row.0 == stage).map_or(
                StageAging::default_of(stage),
                |&(stage, expected_days, warning_days)| StageAging { stage, expected_days, warning_days },
            )
        };
        Ok(Self(Stage::OPEN.into_iter().map(of).collect()))
    }

    /// Whether so many days in a stage are too many.
    pub fn status(&self, stage: Stage, days: i64) -> AgingStatus {
        match self.0.iter().find(|aging| aging.stage == stage) {
            Some(aging) if days >= aging.red_days() => AgingStatus::Red,
            Some(aging) if days >= aging.yellow_days() => AgingStatus::Yellow,
            _ => AgingStatus::Green,
        }
    }

    /// From which whole day on a deal is yellow, and from which it is red, in each open stage.
    pub fn limits(&self) -> impl Iterator<Item = (Stage, i64, i64)> {
        self.0.iter().map(|aging| (aging.stage, aging.yellow_days(), aging.red_days()))
    }

    /// In how many days a deal is expected to leave a stage; none for a closed one.
    pub fn expected_days(&self, stage: Stage) -> Option<i32> {
        self.0.iter().find(|aging| aging.stage == stage).map(|aging| aging.expected_days)
    }

    /// The condition of a deal that is red at this time: the same days as its status is judged by.
    pub(crate) fn rotten(&self, now: DateTime<Utc>) -> Clause {
        let resource = &OPPORTUNITIES.resource;
        let of = |(stage, since): (Stage, DateTime<Utc>)| {
            Clause::All(vec![
                resource.compare("stage", "=", Value::Text(stage.as_str().to_owned())),
                resource.compare("stage_changed_at", "<=", Value::Time(since)),
            ])
        };
        Clause::AnyOf(self.red_since(now).map(of).collect())
    }

    /// Since when a deal that is red at this time is in each open stage, or longer.
    pub(crate) fn red_since(&self, now: DateTime<Utc>) -> impl Iterator<Item = (Stage, DateTime<Utc>)> {
        self.0.iter().map(move |aging| (aging.stage, now - TimeDelta::days(aging.red_days())))
    }
}

/// What is expected of the open stages.
///
/// # Errors
/// `Forbidden` without `pipelines.view_pipeline`.
pub async fn find(t: &mut TenantTx) -> Result<Vec<StageAging>> {
    t.require("pipelines.view_pipeline")?;
    Ok(Aging::read(t).await?.0)
}

/// Sets what is expected of the stages that are named; the others stay as they are.
///
/// # Errors
/// `Forbidden` without `pipelines.change_pipeline`; 400 and 422 naming an entry by its place, such as `[0].expected_days`.
pub async fn replace(t: &mut TenantTx, body: Json) -> Result<Vec<StageAging>> {
    t.require("pipelines.change_pipeline")?;
    let Json::Array(entries) = body else {
        let message = "the body must be an array of stages";
        return Err(Error::Refused(Code::MalformedRequest, message.into()));
    };
    let mut named: Vec<StageAging> = Vec::new();
    for (place, entry) in entries.into_iter().enumerate() {
        let aging = read(entry).map_err(|error| at(place, error))?;
        let refused = if aging.stage.is_closed() {
            Some("is not an open stage")
        } else if named.iter().any(|other| other.stage == aging.stage) {
            Some("is named twice")
        } else {
            None
        };
        if let Some(message) = refused {
            return Err(at(place, Error::field("stage", crm_core::FieldCode::NotAllowed, message)));
        }
        named.push(aging);
    }
    for aging in named {
        let values = (
            stage_aging::expected_days.eq(aging.expected_days),
            stage_aging::warning_days.eq(aging.warning_days),
        );
        diesel::insert_into(stage_aging::table)
            .values((stage_aging::org_id.eq(t.org()), stage_aging::stage.eq(aging.stage), values))
            .on_conflict((stage_aging::org_id, stage_aging::stage))
            .do_update()
            .set(values)
            .execute(t.conn()?)
            .await?;
    }
    Ok(Aging::read(t).await?.0)
}

fn read(entry: Json) -> Result<StageAging> {
    match entry {
        Json::Object(object) => body::parse(object),
        _ => Err(Error::field("", crm_core::FieldCode::WrongType, "must be an object")),
    }
}

/// The same error, with the place of the entry before its fields.
fn at(place: usize, error: Error) -> Error {
    match error {
        Error::Fields(code, errors) => {
            let placed = |error: FieldError| {
                let dot = if error.field.is_empty() { "" } else { "." };
                FieldError::new(format!("[{place}]{dot}{}", error.field), error.code, error.message)
            };
            Error::Fields(code, errors.into_iter().map(placed).collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deal_is_red_at_one_and_a_half_times_the_expected_days_and_not_before() {
        for (expected, warning, yellow, red) in [
            (14, None, 14, 21),
            (10, Some(4), 4, 15),
            (10, Some(30), 10, 15),
            (7, None, 7, 11),
            (1, None, 1, 2),
        ] {
            let aging = Aging(vec![StageAging {
                stage: Stage::Proposal,
                expected_days: expected,
                warning_days: warning,
            }]);
            let status = |days| aging.status(Stage::Proposal, days);
            assert_eq!(status(yellow - 1), AgingStatus::Green);
            if yellow < red {
                assert_eq!(status(yellow), AgingStatus::Yellow);
            }
            assert_eq!(status(red - 1), if red > yellow { AgingStatus::Yellow } else { AgingStatus::Green });
            assert_eq!(status(red), AgingStatus::Red);
            assert_eq!(aging.status(Stage::ClosedWon, 1000), AgingStatus::Green);
        }
    }
}
