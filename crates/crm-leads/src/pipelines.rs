//! Pipelines: ways that leads take, each a board with columns of its own.

use crm_access::Require;
use crm_core::body::Object;
use crm_core::{Code, Error, Result, TenantTx, rules};
use crm_records::list::{Field, Kind, Page, Params, Resource, Shaped, SortValues, Value};
use crm_records::{
    Base, Edit, Precondition, base_changes, base_columns, base_values, created, diff, updated,
};
use crm_schema::lead_pipelines;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use uuid::Uuid;
use validator::Validate;

use crate::stages::{self, LeadStage};

/// The permissions: stages are part of their pipeline.
pub(crate) const VIEW: &str = "pipelines.view_pipeline";
pub(crate) const CHANGE: &str = "pipelines.change_pipeline";

/// Pipelines as a list.
pub const PIPELINES: Resource = Resource {
    kind: "lead_pipeline",
    table: "lead_pipelines",
    fields: &[
        Field::new("name", Kind::Text).ordered().required(),
        Field::new("is_default", Kind::Bool).ordered().required(),
        Field::new("is_active", Kind::Bool).required(),
    ],
    searchable: false,
    mutable: true,
    neighbours: None,
};

/// What a client writes of a pipeline.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    Validate,
    Queryable,
    Selectable,
    Insertable,
    AsChangeset,
    utoipa::ToSchema,
)]
#[serde(deny_unknown_fields)]
#[diesel(table_name = lead_pipelines)]
pub struct PipelineFields {
    /// Unique in the organization, ignoring case.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(min = 1, max = 255), custom(function = "rules::one_line"))]
    pub name: String,
    /// What it is for.
    #[serde(default)]
    #[validate(length(max = 10_000))]
    pub description: String,
    /// Whether it is the one to begin with: the flag leaves the pipeline that had it.
    #[serde(default)]
    pub is_default: bool,
    /// False once it is out of use.
    #[serde(default = "yes")]
    pub is_active: bool,
}

/// What makes a pipeline.
#[derive(Debug, Clone, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPipeline {
    /// Unique in the organization, ignoring case.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(min = 1, max = 255), custom(function = "rules::one_line"))]
    pub name: String,
    /// What it is for.
    #[serde(default)]
    #[validate(length(max = 10_000))]
    pub description: String,
    /// Whether it is the one to begin with.
    #[serde(default)]
    pub is_default: bool,
    /// Whether it is in use.
    #[serde(default = "yes")]
    pub is_active: bool,
    /// Whether it gets the usual stages: New, Contacted, Qualified, Proposal, Won and Lost.
    #[serde(default = "yes")]
    pub create_default_stages: bool,
}

/// The order of a pipeline's stages.
#[derive(Debug, Clone, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StageOrder {
    /// The ids of all its stages.
    #[validate(length(max = 1000, message = "1000 stages at most"))]
    pub stage_ids: Vec<Uuid>,
}

const fn yes() -> bool {
    true
}

/// A pipeline with its stages.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Pipeline {
    /// What every record begins with.
    #[serde(flatten)]
    pub base: Base,
    /// What a client writes.
    #[serde(flatten)]
    pub fields: PipelineFields,
    /// Its stages, in their order.
    pub stages: Vec<LeadStage>,
    /// How many these are.
    pub stage_count: usize,
    /// The leads of the organization that are in them; those that were converted there are not.
    pub lead_count: i64,
}

const READ_ONLY: &[&str] = &["stages", "stage_count", stages::COUNT];

impl Pipeline {
    fn of(base: Base, fields: PipelineFields, stages: Vec<LeadStage>) -> Self {
        let lead_count = stages.iter().map(|stage| stage.lead_count).sum();
        Self { base, fields, stage_count: stages.len(), stages, lead_count }
    }

    /// Takes what is counted out of a body that was read a while ago.
    fn strip(&self, body: &mut Object) {
        body.remove(stages::COUNT);
        let Some(Json::Array(sent)) = body.get_mut("stages") else { return };
        for (sent, own) in sent.iter_mut().zip(&self.stages) {
            if let Some(count) = sent.get_mut(stages::COUNT) {
                *count = json!(own.lead_count);
            }
        }
    }
}

/// Lists the pipelines in use, newest first; those out of use when `is_active` is asked for.
///
/// # Errors
/// `Forbidden` without `pipelines.view_pipeline`; 400 for parameters.
pub async fn list_pipelines(t: &mut TenantTx, params: &Params) -> Result<Page<Shaped<Pipeline>>> {
    let scope = t.require(VIEW)?;
    let mut selection = PIPELINES.select(params, t.caller(), scope)?;
    if !selection.mentions("is_active") {
        selection.and(PIPELINES.compare("is_active", "=", Value::Bool(true)));
    }
    let page = selection
        .run(t, async |t, f| {
            let rows: Vec<(Base, PipelineFields, SortValues)> = lead_pipelines::table
                .filter(f.filter)
                .order_by(f.slice)
                .select((base_columns!(lead_pipelines), PipelineFields::as_select(), selection.keys()))
                .load(t.conn()?)
                .await?;
            Ok(rows.into_iter().map(|(base, fields, keys)| ((base, fields), keys)).collect())
        })
        .await?;
    let ids: Vec<Uuid> = page.results.iter().map(|(base, _)| base.id).collect();
    let stages = stages::counted_of(t, &ids).await?;
    let page = page.map(|(base, fields)| {
        let stages = stages.iter().filter(|stage| stage.pipeline_id == base.id).cloned().collect();
        Pipeline::of(base, fields, stages)
    });
    selection.shape.page(t, page).await
}

/// One pipeline, in use or not.
///
/// # Errors
/// `Forbidden` without `pipelines.view_pipeline`; `NotFound`.
pub async fn find_pipeline(t: &mut TenantTx, id: Uuid) -> Result<Pipeline> {
    t.require(VIEW)?;
    load(t, id).await
}

/// Makes a pipeline.
///
/// # Errors
/// `Forbidden` without `pipelines.add_pipeline`; `Duplicate` for a name that is there.
pub async fn create_pipeline(t: &mut TenantTx, new: NewPipeline) -> Result<Pipeline> {
    t.require("pipelines.add_pipeline")?;
    let NewPipeline { name, description, is_default, is_active, create_default_stages } = new;
    let fields = PipelineFields { name, description, is_default: is_default && is_active, is_active };
    let base = Base::new(t);
    if fields.is_default {
        lock_all(t).await?;
        take_default(t, base.id).await?;
    }
    created(t, PIPELINES.kind, &base, None).await?;
    diesel::insert_into(lead_pipelines::table)
        .values((
            base_values!(lead_pipelines, base),
            &fields,
            lead_pipelines::name_normalized.eq(fields.name.to_lowercase()),
        ))
        .execute(t.conn()?)
        .await
        .map_err(taken)?;
    let mut stages = Vec::new();
    let defaults = if create_default_stages { stages::defaults() } else { Vec::new() };
    for (at, stage) in defaults.into_iter().enumerate() {
        stages.push(stages::add(t, base.id, stage, at).await?);
    }
    Ok(Pipeline::of(base, fields, stages))
}

/// Changes a pipeline. What the edit leaves as it is makes no new version.
///
/// # Errors
/// `Forbidden` without `pipelines.change_pipeline`; `NotFound`; `Stale`; `Duplicate`; `InUse` for taking one out of use that holds leads.
pub async fn update_pipeline(t: &mut TenantTx, id: Uuid, mut edit: Edit) -> Result<Pipeline> {
    t.require(CHANGE)?;
    // Whoever moves the flag of the default locks all pipelines, in one order, before any of them.
    if edit.body.get("is_default").is_some_and(|flag| flag == &json!(true)) {
        lock_all(t).await?;
    }
    let old = locked(t, id).await?;
    old.strip(&mut edit.body);
    let mut fields: PipelineFields = edit.fields(&old, &old.base, READ_ONLY)?;
    fields.is_default &= fields.is_active;
    change(t, old, fields).await
}

/// Takes a pipeline out of use in whose stages no lead is. Leads that were converted there stay.
///
/// # Errors
/// `Forbidden` without `pipelines.delete_pipeline`; `NotFound`; `Stale`; `InUse`.
pub async fn delete_pipeline(t: &mut TenantTx, id: Uuid, precondition: &Precondition) -> Result<()> {
    t.require("pipelines.delete_pipeline")?;
    let old = locked(t, id).await?;
    precondition.check(&old.base)?;
    let fields = PipelineFields { is_default: false, is_active: false, ..old.fields.clone() };
    change(t, old, fields).await.map(drop)
}

/// Puts the stages of a pipeline in order, from 1.
///
/// # Errors
/// `Forbidden` without `pipelines.change_pipeline`; `NotFound`; 422 unless `stage_ids` are those of all its stages, each once.
pub async fn reorder_stages(t: &mut TenantTx, id: Uuid, order: &StageOrder) -> Result<Pipeline> {
    t.require(CHANGE)?;
    stages::reorder(t, id, &order.stage_ids).await?;
    load(t, id).await
}

async fn change(t: &mut TenantTx, old: Pipeline, fields: PipelineFields) -> Result<Pipeline> {
    if fields == old.fields {
        return Ok(old);
    }
    let id = old.base.id;
    if old.fields.is_active && !fields.is_active {
        check_empty(t, id).await?;
    }
    if fields.is_default && !old.fields.is_default {
        take_default(t, id).await?;
    }
    let new = Pipeline { base: old.base.next(t), fields, ..old.clone() };
    let this = lead_pipelines::org_id.eq(t.org()).and(lead_pipelines::id.eq(id));
    diesel::update(lead_pipelines::table.filter(this))
        .set((
            base_changes!(lead_pipelines, new.base),
            &new.fields,
            lead_pipelines::name_normalized.eq(new.fields.name.to_lowercase()),
        ))
        .execute(t.conn()?)
        .await
        .map_err(taken)?;
    updated(t, PIPELINES.kind, &new.base, diff(&old, &new)?, None).await?;
    Ok(new)
}

/// The pipeline of a board: one in use, whoever may look at leads.
pub(crate) async fn in_use(t: &mut TenantTx, id: Uuid) -> Result<Pipeline> {
    let pipeline = load(t, id).await?;
    if pipeline.fields.is_active { Ok(pipeline) } else { Err(Error::NotFound) }
}

async fn load(t: &mut TenantTx, id: Uuid) -> Result<Pipeline> {
    let (base, fields): (Base, PipelineFields) = lead_pipelines::table
        .filter(lead_pipelines::org_id.eq(t.org()).and(lead_pipelines::id.eq(id)))
        .select((base_columns!(lead_pipelines), PipelineFields::as_select()))
        .first(t.conn()?)
        .await?;
    let stages = stages::counted_of(t, &[id]).await?;
    Ok(Pipeline::of(base, fields, stages))
}

async fn locked(t: &mut TenantTx, id: Uuid) -> Result<Pipeline> {
    let this =
        lead_pipelines::table.filter(lead_pipelines::org_id.eq(t.org()).and(lead_pipelines::id.eq(id)));
    this.select(lead_pipelines::id).for_update().first::<Uuid>(t.conn()?).await?;
    load(t, id).await
}

async fn lock_all(t: &mut TenantTx) -> Result<()> {
    let all = lead_pipelines::table.filter(lead_pipelines::org_id.eq(t.org())).order_by(lead_pipelines::id);
    all.select(lead_pipelines::id).for_update().load::<Uuid>(t.conn()?).await?;
    Ok(())
}

/// Takes the flag of the default from whichever other pipeline has it.
async fn take_default(t: &mut TenantTx, to: Uuid) -> Result<()> {
    let others = lead_pipelines::is_default.and(lead_pipelines::id.ne(to));
    let others = lead_pipelines::table.filter(lead_pipelines::org_id.eq(t.org()).and(others));
    let (now, actor) = (t.now(), t.actor());
    let lost: Vec<Base> = diesel::update(others)
        .set((
            lead_pipelines::is_default.eq(false),
            lead_pipelines::version.eq(lead_pipelines::version + 1),
            lead_pipelines::updated_at.eq(now),
            lead_pipelines::updated_by.eq(actor),
        ))
        .returning(base_columns!(lead_pipelines))
        .get_results(t.conn()?)
        .await?;
    for base in lost {
        let change = [("is_default".to_owned(), json!([true, false]))].into_iter().collect();
        updated(t, PIPELINES.kind, &base, change, None).await?;
    }
    Ok(())
}

async fn check_empty(t: &mut TenantTx, id: Uuid) -> Result<()> {
    if stages::counted_of(t, &[id]).await?.iter().any(|stage| stage.lead_count > 0) {
        return Err(Error::Refused(Code::InUse, "there are leads in the stages of this pipeline".into()));
    }
    Ok(())
}

fn taken(error: diesel::result::Error) -> Error {
    if Error::violated_unique(&error) == Some("lead_pipelines_default_key") {
        let message = "somebody else made another pipeline the default at the same time; try again";
        return Error::Refused(Code::Conflict, message.into());
    }
    let message = "there is a pipeline of this name already";
    Error::unique(error, "lead_pipelines_org_id_name_normalized_key", "name", message)
}
