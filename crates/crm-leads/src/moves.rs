//! A lead's move on a board: to another column, or between other cards of its own.

use crm_core::{Code, Error, FieldCode, FieldError, Result, TenantTx};
use crm_records::board::{self, Between};
use crm_records::list::{Clause, Value};
use crm_records::{Precondition, base_changes, diff, tally, updated};
use crm_schema::leads;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Deserializer};
use uuid::Uuid;
use validator::Validate;

use crate::follow_up::{Days, FollowUp};
use crate::model::{LEADS, Lead, LeadStatus};
use crate::service::{Converting, locked};
use crate::stages::{self, LeadStage};

/// Where a card is moved to: at least one of these.
#[derive(Debug, Clone, Default, Deserialize, Validate, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LeadMove {
    /// The stage; null for the board of statuses. Left out, it stays.
    #[serde(deserialize_with = "said")]
    #[schema(value_type = Option<Uuid>)]
    pub stage_id: Option<Option<Uuid>>,
    /// The status, which goes before the one that the stage brings; null for none. With `converted` the lead is converted.
    #[serde(deserialize_with = "said")]
    #[schema(value_type = Option<LeadStatus>)]
    pub status: Option<Option<LeadStatus>>,
    /// The card above it, in the column that it comes to. Without neighbours it comes to the end of another column.
    pub above_id: Option<Uuid>,
    /// The card below it.
    pub below_id: Option<Uuid>,
}

/// A field that is there, `null` included.
fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Moves a lead's card. The lead takes over the status of the stage that it comes to, and its probability where its own is 0.
///
/// # Errors
/// `Forbidden` without `leads.change_lead` or beyond its scope; `NotFound`; `Stale`; `Conflict` for a full stage and for whatever converts
/// the lead or takes it out of its conversion; 422 for a stage out of use and for a neighbour that is not in the column.
pub async fn move_card(
    t: &mut TenantTx,
    id: Uuid,
    to: LeadMove,
    precondition: &Precondition,
) -> Result<Lead> {
    Ok(move_towards(t, id, to, precondition, Converting::Refused).await?.0)
}

/// The same for whoever converts leads: with [`Converting::Left`], the lead is moved and keeps its status where the new one would be
/// `converted`, and whether that is so is answered beside it.
///
/// # Errors
/// As [`move_card`].
pub async fn move_towards(
    t: &mut TenantTx,
    id: Uuid,
    to: LeadMove,
    precondition: &Precondition,
    converting: Converting,
) -> Result<(Lead, bool)> {
    lock_cards(t, [Some(id), to.above_id, to.below_id]).await?;
    let old = locked(t, LEADS.change, id).await?;
    precondition.check(&old.base)?;
    let between = Between { above_id: to.above_id, below_id: to.below_id };
    if to.stage_id.is_none() && to.status.is_none() && between == Between::default() {
        let message = "say where to: stage_id, status, above_id or below_id";
        return Err(Error::field("stage_id", FieldCode::Required, message));
    }
    for (field, neighbour) in [("above_id", to.above_id), ("below_id", to.below_id)] {
        if neighbour == Some(id) {
            return Err(Error::field(field, FieldCode::NotAllowed, "a card is no neighbour of itself"));
        }
    }
    let stage_id = to.stage_id.unwrap_or(old.stage_id);
    let entered = match stage_id.filter(|_| stage_id != old.stage_id) {
        Some(stage) => Some(enter(t, stage, id).await?),
        None => None,
    };
    let brings = entered.as_ref().and_then(|stage| stage.fields.maps_to_status);
    let leaves = old.fields.status == Some(LeadStatus::Converted)
        && stage_id != old.stage_id
        && brings != Some(LeadStatus::Converted);
    let wanted = to.status.unwrap_or(brings.or(old.fields.status));
    let (status, converts) = converting.judge(old.fields.status, wanted)?;
    if leaves {
        return Err(Error::Refused(Code::Conflict, "a converted lead stays where it is".into()));
    }
    let mut fields = old.fields.clone();
    fields.status = status;
    // Of a lead that is about to be converted the probability is that of its deal, which only begins.
    if let Some(stage) = entered.filter(|stage| stage.fields.win_probability > 0 && !converts)
        && fields.probability == Some(0)
    {
        fields.probability = Some(stage.fields.win_probability);
    }
    // Where a lead is about to be converted it stands with those that are.
    let column = column(stage_id, wanted);
    let stays = stage_id == old.stage_id && (stage_id.is_some() || wanted == old.fields.status);
    let position = if stays && between == Between::default() {
        old.position.clone()
    } else {
        board::place(t, &LEADS, &column, id, between).await?
    };
    if fields == old.fields && stage_id == old.stage_id && position == old.position {
        return Ok((old, converts));
    }
    let base = old.base.next(t);
    let follow_up = FollowUp::of(&base, &fields, Days::of(t));
    let new = Lead { base, fields, stage_id, position, follow_up, ..old.clone() };
    diesel::update(leads::table.filter(leads::org_id.eq(t.org()).and(leads::id.eq(id))))
        .set((
            base_changes!(leads, new.base),
            leads::status.eq(new.fields.status),
            leads::probability.eq(new.fields.probability),
            leads::stage_id.eq(new.stage_id),
            leads::position.eq(&new.position),
        ))
        .execute(t.conn()?)
        .await?;
    tally::moved(t, LEADS.resource.kind, [old.fields.tally()], [new.fields.tally()]).await?;
    let mut changed = diff(&old, &new)?;
    FollowUp::strip(&mut changed);
    updated(t, LEADS.resource.kind, &new.base, changed, None).await?;
    Ok((new, converts))
}

/// The cards of a column.
fn column(stage: Option<Uuid>, status: Option<LeadStatus>) -> Vec<Clause> {
    let resource = &LEADS.resource;
    if let Some(stage) = stage {
        return vec![resource.compare("stage_id", "=", Value::Uuid(stage))];
    }
    let status = match status {
        Some(status) => resource.compare("status", "=", Value::Text(status.as_str().to_owned())),
        None => Clause::Null(resource.table, "status", true),
    };
    vec![Clause::Null(resource.table, "stage_id", true), status]
}

/// Locks a card and its neighbours in one order, before anything else, so that two moves past each other don't wait for each other.
async fn lock_cards(t: &mut TenantTx, cards: [Option<Uuid>; 3]) -> Result<()> {
    let cards: Vec<Uuid> = cards.into_iter().flatten().collect();
    let these = leads::table.filter(leads::org_id.eq(t.org()).and(leads::id.eq_any(cards)));
    these.order_by(leads::id).select(leads::id).for_update().load::<Uuid>(t.conn()?).await?;
    Ok(())
}

/// The stage that a lead comes to, if there is room.
async fn enter(t: &mut TenantTx, stage: Uuid, lead: Uuid) -> Result<LeadStage> {
    let Some(stage) = stages::entered(t, stage).await? else {
        let message = format!("{stage} is not a stage of a pipeline in use");
        return Err(Error::field("stage_id", FieldCode::NotFound, message));
    };
    if let Some(limit) = stage.fields.wip_limit {
        // What its board shows: neither converted leads nor those out of use.
        let shown = leads::is_active.and(leads::status.is_distinct_from(LeadStatus::Converted));
        let others = leads::stage_id.eq(stage.base.id).and(leads::id.ne(lead));
        let held: i64 = leads::table
            .filter(leads::org_id.eq(t.org()).and(others).and(shown))
            .count()
            .get_result(t.conn()?)
            .await?;
        if held >= i64::from(limit) {
            let message = format!("the stage {} is full: it takes {limit} leads", stage.fields.name);
            let fault = FieldError::new("stage_id", FieldCode::NotAllowed, message);
            return Err(Error::Fields(Code::Conflict, vec![fault]));
        }
    }
    Ok(stage)
}
