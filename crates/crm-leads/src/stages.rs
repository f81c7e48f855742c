//! The stages of a pipeline: the columns of its board, in the order that leads take them.

mod model;

use std::collections::HashMap;

use crm_access::Require;
use crm_core::body::Object;
use crm_core::{Code, Error, FieldCode, FieldError, Result, TenantTx};
use crm_records::list::{Page, Params, Shaped, SortValues, Value};
use crm_records::{
    Base, Edit, Precondition, Update, base_changes, base_columns, base_values, created, deleted, diff,
    updated, updated_many,
};
use crm_schema::{lead_pipelines, lead_stages, leads};
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::RunQueryDsl;
use serde_json::json;
use uuid::Uuid;

use crate::model::{LEADS, LeadStatus};
use crate::pipelines::{CHANGE, VIEW};

pub(crate) use model::{COUNT, defaults};
pub use model::{LeadStage, STAGES, StageFields, StageType};
use model::{READ_ONLY, Row, stage, stage_columns, stage_values};

/// How many stages a pipeline may have: each is a column of its board.
const MAX_STAGES: usize = 50;

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
    let held = held(t, &page.results.iter().map(|stage| stage.base.id).collect::<Vec<_>>()).await?;
    let page = page.map(|stage| LeadStage { lead_count: count_of(&held, stage.base.id), ..stage });
    selection.shape.page(t, page).await
}

/// One stage.
///
/// # Errors
/// `Forbidden` without `pipelines.view_pipeline`; `NotFound`.
pub async fn find_stage(t: &mut TenantTx, id: Uuid) -> Result<LeadStage> {
    t.require(VIEW)?;
    let stage = load(t, id).await?;
    counted(t, stage).await
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
    Ok(LeadStage { base, pipeline_id: pipeline, fields, lead_count: 0 })
}

/// Changes a stage. What the edit leaves as it is makes no new version.
///
/// # Errors
/// `Forbidden` without `pipelines.change_pipeline`; `NotFound`; `Stale`; `Duplicate`; 400 and 422 for the body.
pub async fn update_stage(t: &mut TenantTx, id: Uuid, mut edit: Edit) -> Result<LeadStage> {
    t.require(CHANGE)?;
    let old = locked(t, id).await?;
    let old = counted(t, old).await?;
    edit.body.remove(COUNT);
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
    let new = LeadStage { base: old.base.next(t), fields, ..old.clone() };
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

/// Deletes a stage in which no lead is. Leads that were converted there stand without a stage from then on.
///
/// # Errors
/// `Forbidden` without `pipelines.change_pipeline`; `NotFound`; `Stale`; `InUse`.
pub async fn delete_stage(t: &mut TenantTx, id: Uuid, precondition: &Precondition) -> Result<()> {
    t.require(CHANGE)?;
    let old = locked(t, id).await?;
    precondition.check(&old.base)?;
    if count_of(&held(t, &[id]).await?, id) > 0 {
        return Err(Error::Refused(Code::InUse, "there are leads in this stage".into()));
    }
    leave(t, id).await?;
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

/// The same with their leads counted.
pub(crate) async fn counted_of(t: &mut TenantTx, pipelines: &[Uuid]) -> Result<Vec<LeadStage>> {
    let mut stages = of(t, pipelines).await?;
    let held = held(t, &stages.iter().map(|stage| stage.base.id).collect::<Vec<_>>()).await?;
    for stage in &mut stages {
        stage.lead_count = count_of(&held, stage.base.id);
    }
    Ok(stages)
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

/// How many leads are in each of the stages, without those that were converted there.
pub(crate) async fn held(t: &mut TenantTx, stages: &[Uuid]) -> Result<HashMap<Uuid, i64>> {
    // As a literal, so that the index of just these leads is used whatever plan is kept.
    let here = diesel::dsl::sql::<Bool>("leads.status IS DISTINCT FROM 'converted'");
    let rows: Vec<(Option<Uuid>, i64)> = leads::table
        .filter(leads::org_id.eq(t.org()).and(leads::stage_id.eq_any(stages)))
        .filter(here)
        .group_by(leads::stage_id)
        .select((leads::stage_id, diesel::dsl::count_star()))
        .load(t.conn()?)
        .await?;
    Ok(rows.into_iter().filter_map(|(stage, count)| Some((stage?, count))).collect())
}

/// How many there are in one of them.
pub(crate) fn count_of(held: &HashMap<Uuid, i64>, stage: Uuid) -> i64 {
    held.get(&stage).copied().unwrap_or_default()
}

async fn counted(t: &mut TenantTx, stage: LeadStage) -> Result<LeadStage> {
    let held = held(t, &[stage.base.id]).await?;
    Ok(LeadStage { lead_count: count_of(&held, stage.base.id), ..stage })
}

/// Takes the stage from the leads that were converted in it.
async fn leave(t: &mut TenantTx, stage: Uuid) -> Result<()> {
    let (now, actor) = (t.now(), t.actor());
    let converted = leads::stage_id.eq(stage).and(leads::status.eq(LeadStatus::Converted));
    let left: Vec<(Uuid, i64)> =
        diesel::update(leads::table.filter(leads::org_id.eq(t.org()).and(converted)))
            .set((
                leads::stage_id.eq(None::<Uuid>),
                leads::version.eq(leads::version + 1),
                leads::updated_at.eq(now),
                leads::updated_by.eq(actor),
            ))
            .returning((leads::id, leads::version))
            .get_results(t.conn()?)
            .await?;
    let change: Object = [("stage_id".to_owned(), json!([stage, null]))].into_iter().collect();
    let update = |(id, version)| Update { id, version: Some(version), fields: change.clone() };
    updated_many(t, LEADS.resource.kind, actor, left.into_iter().map(update).collect()).await
}

/// Whether the board of a stage is in use.
pub(crate) async fn is_in_use(t: &mut TenantTx, stage: Uuid) -> Result<bool> {
    let its =
        lead_pipelines::org_id.eq(lead_stages::org_id).and(lead_pipelines::id.eq(lead_stages::pipeline_id));
    let used = lead_stages::table
        .inner_join(lead_pipelines::table.on(its))
        .filter(lead_stages::org_id.eq(t.org()).and(lead_stages::id.eq(stage)))
        .filter(lead_pipelines::is_active);
    Ok(diesel::select(diesel::dsl::exists(used)).get_result(t.conn()?).await?)
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
