//! What a stage is: its fields, and how it is stored.

use std::borrow::Cow;

use crm_core::{FieldCode, rules};
use crm_records::Base;
use crm_records::list::{Field, Kind, Resource};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use validator::{Validate, ValidationError};

use crate::model::LeadStatus;

crm_core::text_enum!(
    /// Whether leads in a stage are still being worked on, or how that ended.
    StageType { Open = "open", Won = "won", Lost = "lost" }
);

/// Stages as a list.
pub const STAGES: Resource = Resource {
    kind: "lead_stage",
    table: "lead_stages",
    fields: &[
        Field::new("name", Kind::Text).ordered().required(),
        Field::new("order", Kind::Integer).stored_in("sort_order").ordered().required(),
        Field::new("stage_type", Kind::Choice(StageType::WORDS)).required(),
        Field::new("maps_to_status", Kind::Choice(LeadStatus::WORDS)),
        Field::new("win_probability", Kind::Integer).required(),
    ],
    searchable: false,
    mutable: true,
    neighbours: None,
};

/// What a client writes of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StageFields {
    /// Unique in the pipeline, ignoring case.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(min = 1, max = 100), custom(function = "rules::one_line"))]
    pub name: String,
    /// Its place among the stages of the pipeline, from 1; the last one unless told. The others make room.
    #[serde(default)]
    #[validate(range(min = 1, max = 1000))]
    pub order: Option<i32>,
    /// Such as `#3B82F6`.
    #[serde(default = "gray")]
    #[validate(custom(function = "color"))]
    pub color: String,
    /// Whether leads are still being worked on here.
    #[serde(default = "open")]
    pub stage_type: StageType,
    /// What a lead's status becomes when it gets here; with `converted` it is converted.
    #[serde(default)]
    pub maps_to_status: Option<LeadStatus>,
    /// In percent: taken over by a lead whose own is 0; 0 for none.
    #[serde(default)]
    #[validate(range(min = 0, max = 100))]
    pub win_probability: i32,
    /// How many leads it takes; null or 0 for any number.
    #[serde(default)]
    #[validate(range(min = 0, max = 1_000_000))]
    pub wip_limit: Option<i32>,
}

fn gray() -> String {
    "#6B7280".into()
}

const fn open() -> StageType {
    StageType::Open
}

fn color(text: &str) -> Result<(), ValidationError> {
    let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6).unwrap_or_default();
    if !digits.is_empty() && digits.chars().all(|c| c.is_ascii_hexdigit()) {
        return Ok(());
    }
    let mut error = ValidationError::new(FieldCode::InvalidValue.as_str());
    error.message = Some(Cow::Borrowed("must be a colour such as #3B82F6"));
    Err(error)
}

/// A stage of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct LeadStage {
    /// What every record begins with.
    #[serde(flatten)]
    pub base: Base,
    /// The pipeline.
    pub pipeline_id: Uuid,
    /// What a client writes.
    #[serde(flatten)]
    pub fields: StageFields,
    /// The leads of the organization that are in it; those that were converted there are not.
    pub lead_count: i64,
}

pub(super) const READ_ONLY: &[&str] = &["pipeline_id", COUNT];

/// What is counted anew whenever a stage is shown.
pub(crate) const COUNT: &str = "lead_count";

pub(super) type Row = (Base, Uuid, String, i32, String, StageType, Option<LeadStatus>, i32, Option<i32>);

macro_rules! stage_columns {
    () => {
        (
            base_columns!(lead_stages),
            lead_stages::pipeline_id,
            lead_stages::name,
            lead_stages::sort_order,
            lead_stages::color,
            lead_stages::stage_type,
            lead_stages::maps_to_status,
            lead_stages::win_probability,
            lead_stages::wip_limit,
        )
    };
}

/// The columns of what a client writes but its place, with their values.
macro_rules! stage_values {
    ($fields:expr) => {
        (
            lead_stages::name.eq(&$fields.name),
            lead_stages::name_normalized.eq($fields.name.to_lowercase()),
            lead_stages::color.eq(&$fields.color),
            lead_stages::stage_type.eq($fields.stage_type),
            lead_stages::maps_to_status.eq($fields.maps_to_status),
            lead_stages::win_probability.eq($fields.win_probability),
            lead_stages::wip_limit.eq($fields.wip_limit),
        )
    };
}

pub(super) use {stage_columns, stage_values};

pub(super) fn stage(row: Row) -> LeadStage {
    let (base, pipeline_id, name, order, color, stage_type, maps_to_status, win_probability, wip_limit) = row;
    let order = Some(order);
    let fields = StageFields { name, order, color, stage_type, maps_to_status, win_probability, wip_limit };
    LeadStage { base, pipeline_id, fields, lead_count: 0 }
}

impl StageFields {
    pub(super) fn settle(mut self) -> Self {
        self.color.make_ascii_uppercase();
        self.wip_limit = self.wip_limit.filter(|limit| *limit > 0);
        self
    }
}

/// The stages of a new pipeline that is to begin with some.
pub(crate) fn defaults() -> Vec<StageFields> {
    use LeadStatus::{Assigned, Closed, Converted, InProcess};
    let stages = [
        ("New", "#3B82F6", StageType::Open, Assigned, 0),
        ("Contacted", "#8B5CF6", StageType::Open, InProcess, 0),
        ("Qualified", "#F59E0B", StageType::Open, InProcess, 25),
        ("Proposal", "#10B981", StageType::Open, InProcess, 50),
        ("Won", "#22C55E", StageType::Won, Converted, 100),
        ("Lost", "#EF4444", StageType::Lost, Closed, 0),
    ];
    let fields = |(name, color, stage_type, status, win_probability): (&str, &str, _, _, _)| StageFields {
        name: name.into(),
        order: None,
        color: color.into(),
        stage_type,
        maps_to_status: Some(status),
        win_probability,
        wip_limit: None,
    };
    stages.into_iter().map(fields).collect()
}
