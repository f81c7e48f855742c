//! The stages of a pipeline: the columns of its board, in the order that leads take them.

use std::borrow::Cow;

use crm_access::Require;
use crm_core::{Code, Error, FieldCode, FieldError, Result, TenantTx, rules};
use crm_records::list::{Field, Kind, Page, Params, Resource, Shaped, SortValues, Value};
use crm_records::{
    Base, Edit, Precondition, base_changes, base_columns, base_values, created, deleted, diff, updated,
};
use crm_schema::{lead_pipelines, lead_stages, leads};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;
use validator::{Validate, ValidationError};

use crate::model::LeadStatus;
use crate::pipelines::{CHANGE, VIEW};

/// How many stages a pipeline may have: each is a column of its board.
const MAX_STAGES: usize = 50;

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
}

const READ_ONLY: &[&str] = &["pipeline_id"];

type Row = (Base, Uuid, String, i32, String, StageType, Option<LeadStatus>, i32, Option<i32>);

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

fn stage(row: Row) -> LeadStage {
    let (base, pipeline_id, name, order, color, stage_type, maps_to_status, win_probability, wip_limit) = row;
    let order = Some(order);
    let fields = StageFields { name, order, color, stage_type, maps_to_status, win_probability, wip_limit };
    LeadStage { base, pipeline_id, fields }
}

impl StageFields {
    fn settle(mut self) -> Self {
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

/// Lists the stages of a pipeline, in their order unless told otherwise.
///
/// # Errors
/// `Forbidden` without `pipelines.view_pipeline`; `NotFound`; 400 for parameters.
pub async fn list_stages(
    t: &mut TenantTx,
    pipeline: Uuid,
    params: &Params,
) -> Result<Page<Shaped<LeadStage>>> {
    let scope = t.require(VIEW)?;
    let this = lead_pipelines::table.filter(lead_pipelines::org_id.eq(t.org()));
    this.filter(lead_pipelines::id.eq(pipeline)).select(lead_pipelines::id).first::<Uuid>(t.conn()?).await?;
    let mut params = params.clone();
    if params.get("ordering").is_none() {
        params.pairs.push(("ordering".into(), "order".into()));
    }
    let mut selection = STAGES.select(&params, t.caller(), scope)?;
    selection.and(STAGES.compare("pipeline_id", "=", Value::Uuid(pipeline)));
    let page = selection
        .run(t, async |t, f| {
            let rows: Vec<(Row, SortValues)> = lead_stages::table
                .filter(f.filter)
                .order_by(f.slice)
                .select((stage_columns!(), selection.keys()))
                .load(t.conn()?)
                .await?;
            Ok(rows.into_iter().map(|(row, keys)| (stage(row), keys)).collect())
        })
        .await?;
    selection.shape.page(t, page).await
}

/// One stage.
///
/// # Errors
/// `Forbidden` without `pipelines.view_pipeline`; `NotFound`.
pub async fn find_stage(t: &mut TenantTx, id: Uuid) -> Result<LeadStage> {
    t.require(VIEW)?;
    load(t, id).await
}

/// Adds a stage to a pipeline.
///
/// # Errors
/// `Forbidden` without `pipelines.change_pipeline`; `NotFound`; `Duplicate` for a name that is there; `Conflict` in a full pipeline.
pub async fn create_stage(t: &mut TenantTx, pipeline: Uuid, fields: StageFields) -> Result<LeadStage> {
    t.require(CHANGE)?;
    lock_pipeline(t, pipeline).await?;
    let mut ids: Vec<Uuid> = of(t, &[pipeline]).await?.into_iter().map(|stage| stage.base.id).collect();
    if ids.len() >= MAX_STAGES {
        let message = format!("a pipeline has {MAX_STAGES} stages at most");
        return Err(Error::Refused(Code::Conflict, message.into()));
    }
    let at = place(fields.order, ids.len());
    let stage = add(t, pipeline, fields, at).await?;
    ids.insert(at, stage.base.id);
    arrange(t, &ids).await?;
    Ok(stage)
}

/// Inserts a stage at a place, from 0, where another one may stand until all are [`arrange`]d.
pub(crate) async fn add(
    t: &mut TenantTx,
    pipeline: Uuid,
    fields: StageFields,
    at: usize,
) -> Result<LeadStage> {
    let order = order(at)?;
    let fields = StageFields { order: Some(order), ..fields.settle() };
    let base = Base::new(t);
    created(t, STAGES.kind, &base, None).await?;
    diesel::insert_into(lead_stages::table)
        .values((
            base_values!(lead_stages, base),
            lead_stages::pipeline_id.eq(pipeline),
            lead_stages::sort_order.eq(order),
            stage_values!(fields),
        ))
        .execute(t.conn()?)
        .await
        .map_err(taken)?;
    Ok(LeadStage { base, pipeline_id: pipeline, fields })
}

/// Changes a stage. What the edit leaves as it is makes no new version.
///
/// # Errors
/// `Forbidden` without `pipelines.change_pipeline`; `NotFound`; `Stale`; `Duplicate`; 400 and 422 for the body.
pub async fn update_stage(t: &mut TenantTx, id: Uuid, edit: Edit) -> Result<LeadStage> {
    t.require(CHANGE)?;
    let old = locked(t, id).await?;
    let fields: StageFields = edit.fields(&old, &old.base, READ_ONLY)?;
    let mut ids = of(t, &[old.pipeline_id]).await?.into_iter().map(|stage| stage.base.id).collect::<Vec<_>>();
    ids.retain(|other| *other != id);
    let at = place(fields.order.or(old.fields.order), ids.len());
    ids.insert(at, id);
    let order = order(at)?;
    let fields = StageFields { order: Some(order), ..fields.settle() };
    if fields == old.fields {
        return Ok(old);
    }
    let new = LeadStage { base: old.base.next(t), fields, pipeline_id: old.pipeline_id };
    diesel::update(lead_stages::table.filter(lead_stages::org_id.eq(t.org()).and(lead_stages::id.eq(id))))
        .set((
            base_changes!(lead_stages, new.base),
            lead_stages::sort_order.eq(order),
            stage_values!(new.fields),
        ))
        .execute(t.conn()?)
        .await
        .map_err(taken)?;
    updated(t, STAGES.kind, &new.base, diff(&old, &new)?, None).await?;
    arrange(t, &ids).await?;
    Ok(new)
}

/// Deletes a stage in which no lead is.
///
/// # Errors
/// `Forbidden` without `pipelines.change_pipeline`; `NotFound`; `Stale`; `InUse`.
pub async fn delete_stage(t: &mut TenantTx, id: Uuid, precondition: &Precondition) -> Result<()> {
    t.require(CHANGE)?;
    let old = locked(t, id).await?;
    precondition.check(&old.base)?;
    let held = leads::table.filter(leads::org_id.eq(t.org()).and(leads::stage_id.eq(id)));
    if diesel::select(diesel::dsl::exists(held)).get_result::<bool>(t.conn()?).await? {
        return Err(Error::Refused(Code::InUse, "there are leads in this stage".into()));
    }
    deleted(t, STAGES.kind, id).await?;
    let left: Vec<Uuid> = of(t, &[old.pipeline_id]).await?.into_iter().map(|stage| stage.base.id).collect();
    arrange(t, &left).await
}

/// Puts the stages of a pipeline in order.
///
/// # Errors
/// `Forbidden` without `pipelines.change_pipeline`; `NotFound`; 422 unless the ids are those of all its stages, each once.
pub(crate) async fn reorder(t: &mut TenantTx, pipeline: Uuid, ids: &[Uuid]) -> Result<()> {
    lock_pipeline(t, pipeline).await?;
    let mut known: Vec<Uuid> = of(t, &[pipeline]).await?.into_iter().map(|stage| stage.base.id).collect();
    let mut sent = ids.to_vec();
    known.sort();
    sent.sort();
    if known != sent {
        let message = "must be the ids of all stages of the pipeline, each once";
        let fault = FieldError::new("stage_ids", FieldCode::InvalidValue, message);
        return Err(Error::Fields(Code::ValidationFailed, vec![fault]));
    }
    arrange(t, ids).await
}

/// The stages of some pipelines, in their order.
pub(crate) async fn of(t: &mut TenantTx, pipelines: &[Uuid]) -> Result<Vec<LeadStage>> {
    let rows: Vec<Row> = lead_stages::table
        .filter(lead_stages::org_id.eq(t.org()).and(lead_stages::pipeline_id.eq_any(pipelines)))
        .order_by((lead_stages::sort_order, lead_stages::id))
        .select(stage_columns!())
        .load(t.conn()?)
        .await?;
    Ok(rows.into_iter().map(stage).collect())
}

/// Makes sure that a pipeline is there, and that nobody else changes its stages until the transaction ends.
async fn lock_pipeline(t: &mut TenantTx, id: Uuid) -> Result<()> {
    let this =
        lead_pipelines::table.filter(lead_pipelines::org_id.eq(t.org()).and(lead_pipelines::id.eq(id)));
    this.select(lead_pipelines::id).for_update().first::<Uuid>(t.conn()?).await?;
    Ok(())
}

async fn load(t: &mut TenantTx, id: Uuid) -> Result<LeadStage> {
    let this = lead_stages::table.filter(lead_stages::org_id.eq(t.org()).and(lead_stages::id.eq(id)));
    Ok(stage(this.select(stage_columns!()).first(t.conn()?).await?))
}

/// A stage, locked after its pipeline.
async fn locked(t: &mut TenantTx, id: Uuid) -> Result<LeadStage> {
    let pipeline = load(t, id).await?.pipeline_id;
    lock_pipeline(t, pipeline).await?;
    let this = lead_stages::table.filter(lead_stages::org_id.eq(t.org()).and(lead_stages::id.eq(id)));
    Ok(stage(this.select(stage_columns!()).for_update().first(t.conn()?).await?))
}

/// A stage that a lead is about to enter: held until the transaction ends, so that its limit holds too; none where it is not there or its
/// pipeline is not in use.
pub(crate) async fn entered(t: &mut TenantTx, id: Uuid) -> Result<Option<LeadStage>> {
    let this = lead_stages::table.filter(lead_stages::org_id.eq(t.org()).and(lead_stages::id.eq(id)));
    let Some(pipeline) = this.select(lead_stages::pipeline_id).first::<Uuid>(t.conn()?).await.optional()?
    else {
        return Ok(None);
    };
    let its = lead_pipelines::id.eq(pipeline).and(lead_pipelines::is_active);
    let used = lead_pipelines::table.filter(lead_pipelines::org_id.eq(t.org()).and(its));
    let used = used.select(lead_pipelines::id).for_share().first::<Uuid>(t.conn()?).await.optional()?;
    if used.is_none() {
        return Ok(None);
    }
    let found = this.select(stage_columns!()).for_no_key_update().first::<Row>(t.conn()?).await.optional()?;
    Ok(found.map(stage))
}

/// Numbers stages from 1; those whose place stays the same make no new version.
async fn arrange(t: &mut TenantTx, ids: &[Uuid]) -> Result<()> {
    let rows: Vec<(Base, i32)> = lead_stages::table
        .filter(lead_stages::org_id.eq(t.org()).and(lead_stages::id.eq_any(ids)))
        .order_by(lead_stages::id)
        .select((base_columns!(lead_stages), lead_stages::sort_order))
        .load(t.conn()?)
        .await?;
    for (base, old) in rows {
        let Some(at) = ids.iter().position(|id| *id == base.id) else { continue };
        let new = order(at)?;
        if new == old {
            continue;
        }
        let next = base.next(t);
        let this = lead_stages::org_id.eq(t.org()).and(lead_stages::id.eq(base.id));
        diesel::update(lead_stages::table.filter(this))
            .set((base_changes!(lead_stages, next), lead_stages::sort_order.eq(new)))
            .execute(t.conn()?)
            .await?;
        let change = [("order".to_owned(), json!([old, new]))].into_iter().collect();
        updated(t, STAGES.kind, &next, change, None).await?;
    }
    Ok(())
}

/// The place, from 0, that an order names among `others`.
fn place(order: Option<i32>, others: usize) -> usize {
    let wanted = order.and_then(|order| usize::try_from(order - 1).ok());
    wanted.unwrap_or(others).min(others)
}

fn order(at: usize) -> Result<i32> {
    i32::try_from(at + 1).map_err(Error::internal)
}

fn taken(error: diesel::result::Error) -> Error {
    let message = "the pipeline has a stage of this name already";
    Error::unique(error, "lead_stages_org_id_pipeline_id_name_normalized_key", "name", message)
}
