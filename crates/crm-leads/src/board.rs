//! The boards of leads: by status, and one for each pipeline. A column is the list of leads, narrowed to it and in the order of its cards.

use crm_access::Require;
use crm_core::{Error, FieldCode, Result, TenantTx};
use crm_records::list::{Params, Shaped};
use serde::Serialize;
use uuid::Uuid;

use crate::follow_up::LEAD_FILTERS;
use crate::model::{LEADS, Lead, LeadStatus};
use crate::pipelines::{self, Pipeline};
use crate::service;
use crate::stages::{LeadStage, StageType};

const PIPELINE_ID: &str = "pipeline_id";

/// What a board takes beside the parameters of the list.
pub const BOARD_PARAMETERS: &[(&str, &str)] = &[
    (PIPELINE_ID, "The pipeline whose board it is; the board of statuses unless told."),
    ("limit", "Cards per column, from 1 to 200; 50 unless told."),
    ("count", "`true` to count the leads of each column."),
    LEAD_FILTERS[0],
    LEAD_FILTERS[1],
];

/// What orders and pages a list has no place where each column has its own order.
const WITHOUT: [&str; 3] = ["ordering", "cursor", "offset"];

crm_core::text_enum!(
    /// What the columns of a board are.
    LeadBoardMode { Status = "status", Pipeline = "pipeline" }
);

/// A board of leads.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct LeadBoard {
    /// What its columns are.
    pub mode: LeadBoardMode,
    /// The pipeline, unless it is the board of statuses.
    pub pipeline: Option<LeadBoardPipeline>,
    /// Its columns, from left to right.
    pub columns: Vec<LeadColumn>,
    /// The leads of all columns, when `count=true` asked for it.
    pub count: Option<i64>,
}

/// A pipeline as its board names it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct LeadBoardPipeline {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Whether it is the one to begin with.
    pub is_default: bool,
}

/// A column of a board with its first cards.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct LeadColumn {
    /// The status, or the stage's id; null for leads without a status.
    pub id: Option<String>,
    /// What it is called.
    pub name: String,
    /// Its place, from 1.
    pub order: i32,
    /// Such as `#3B82F6`.
    pub color: String,
    /// Whether leads are still being worked on here.
    pub stage_type: StageType,
    /// Whether it is a status instead of a stage.
    pub is_status_column: bool,
    /// What a lead's status becomes when it gets here.
    pub maps_to_status: Option<LeadStatus>,
    /// What a lead without a probability takes over, in percent.
    pub win_probability: i32,
    /// How many leads it takes.
    pub wip_limit: Option<i32>,
    /// The leads that the caller may see here, when `count=true` asked for it.
    pub count: Option<i64>,
    /// Where the list of further cards begins, as a path with its query.
    pub next: Option<String>,
    /// The cards.
    #[schema(value_type = Vec<Lead>)]
    pub leads: Vec<Shaped<Lead>>,
}

/// The board of a pipeline, or that of statuses, with the leads that the caller may see: those in use and not converted, unless the
/// filters say otherwise. A lead that is in a pipeline is not on the board of statuses.
///
/// # Errors
/// `Forbidden` without `leads.view_lead`; `NotFound` for a pipeline that is not in use; 400 for parameters.
pub async fn kanban(t: &mut TenantTx, params: &Params) -> Result<LeadBoard> {
    t.require(LEADS.view)?;
    for word in WITHOUT {
        if params.mentions(word) {
            let message = format!("a board has no {word}: its cards are put in order by hand");
            return Err(Error::parameter(word, FieldCode::NotAllowed, message));
        }
    }
    let pipeline = match params.get(PIPELINE_ID) {
        Some(id) => {
            let id = id.parse().map_err(|_| Error::NotFound)?;
            Some(pipelines::in_use(t, id).await?)
        }
        None => None,
    };
    let mut columns = Vec::new();
    for column in pipeline.as_ref().map_or_else(of_statuses, of_stages) {
        columns.push(column.filled(t, params).await?);
    }
    let count = columns.iter().map(|column| column.count).sum();
    let mode = if pipeline.is_some() { LeadBoardMode::Pipeline } else { LeadBoardMode::Status };
    let pipeline = pipeline.map(|Pipeline { base, fields, .. }| LeadBoardPipeline {
        id: base.id,
        name: fields.name,
        is_default: fields.is_default,
    });
    Ok(LeadBoard { mode, pipeline, columns, count })
}

fn of_statuses() -> Vec<LeadColumn> {
    let columns = [
        (None, "No status", "#9CA3AF", StageType::Open),
        (Some(LeadStatus::Assigned), "Assigned", "#3B82F6", StageType::Open),
        (Some(LeadStatus::InProcess), "In process", "#F59E0B", StageType::Open),
        (Some(LeadStatus::Recycled), "Recycled", "#F97316", StageType::Lost),
        (Some(LeadStatus::Closed), "Closed", "#6B7280", StageType::Lost),
    ];
    let column =
        |(order, (status, name, color, stage_type)): (i32, (Option<LeadStatus>, &str, &str, _))| LeadColumn {
            id: status.map(|status| status.as_str().to_owned()),
            name: name.into(),
            order,
            color: color.into(),
            stage_type,
            is_status_column: true,
            maps_to_status: status,
            win_probability: 0,
            wip_limit: None,
            count: None,
            next: None,
            leads: Vec::new(),
        };
    (1..).zip(columns).map(column).collect()
}

fn of_stages(pipeline: &Pipeline) -> Vec<LeadColumn> {
    let column = |LeadStage { base, fields, .. }: &LeadStage| LeadColumn {
        id: Some(base.id.to_string()),
        name: fields.name.clone(),
        order: fields.order.unwrap_or_default(),
        color: fields.color.clone(),
        stage_type: fields.stage_type,
        is_status_column: false,
        maps_to_status: fields.maps_to_status,
        win_probability: fields.win_probability,
        wip_limit: fields.wip_limit,
        count: None,
        next: None,
        leads: Vec::new(),
    };
    pipeline.stages.iter().map(column).collect()
}

impl LeadColumn {
    /// The column with its cards: a page of the list of leads.
    async fn filled(self, t: &mut TenantTx, params: &Params) -> Result<Self> {
        let mut pairs: Vec<(String, String)> =
            params.pairs.iter().filter(|(key, _)| key != PIPELINE_ID).cloned().collect();
        let mut say = |key: &str, value: &str| pairs.push((key.to_owned(), value.to_owned()));
        match (&self.id, self.is_status_column) {
            (Some(stage), false) => say("stage_id", stage),
            (Some(status), true) => say("status", status),
            (None, _) => say("status__isnull", "true"),
        }
        if self.is_status_column {
            say("stage_id__isnull", "true");
        }
        if !params.mentions("is_active") {
            say("is_active", "true");
        }
        say("ordering", "position");
        let params = Params { path: "/api/leads/".into(), pairs };
        let page = service::list(t, &params).await?;
        Ok(Self { count: page.count, next: page.next, leads: page.results, ..self })
    }
}
