//! Deals on a board: a column for each stage, and the move of a card.

use std::collections::HashMap;

use crm_access::Require;
use crm_core::body::{self, Object};
use crm_core::{Error, FieldCode, Result, TenantTx};
use crm_records::board::{Between, place};
use crm_records::custom::{CustomValues, Filtered};
use crm_records::list::{Clause, Page, Params, Shape, Shaped, Value};
use crm_records::{Edit, LinkIds, base_columns};
use crm_schema::opportunities;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use validator::Validate;

use crate::aging::Aging;
use crate::model::{Kept, OPPORTUNITIES, Opportunity, OpportunityFields, OpportunityRow};
use crate::service::{locked, narrowed, opportunity_columns, write};
use crate::stage::{Said, Stage, settle_stage};

/// Parameters of the board beside the filters of the list.
pub const PARAMETERS: [(&str, &str); 2] = [
    ("limit", "Cards in each column, 1 to 100; 50 unless told."),
    ("count", "`true` counts the cards of each column, shown or not."),
];

/// The most cards that a column shows.
const MOST: i64 = 100;

/// Every stage with its deals.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Board {
    /// In the order of the stages.
    pub columns: Vec<Column>,
    /// All cards, when `count=true` asked for it.
    pub count: Option<i64>,
}

/// A stage with the first of its deals.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Column {
    /// The stage.
    pub id: Stage,
    /// What it is called.
    pub name: &'static str,
    /// Its place on the board, from 1.
    pub order: usize,
    /// A colour for it.
    pub color: &'static str,
    /// `open`, `in_progress` or `completed`.
    pub stage_type: &'static str,
    /// Its cards, when `count=true` asked for it.
    pub count: Option<i64>,
    /// The first of them, by place.
    #[schema(value_type = Vec<Opportunity>)]
    pub cards: Vec<Shaped<Opportunity>>,
}

const fn look(stage: Stage) -> (&'static str, &'static str, &'static str) {
    match stage {
        Stage::Prospecting => ("Prospecting", "#3B82F6", "open"),
        Stage::Qualification => ("Qualification", "#8B5CF6", "open"),
        Stage::Proposal => ("Proposal", "#F59E0B", "in_progress"),
        Stage::Negotiation => ("Negotiation", "#EF4444", "in_progress"),
        Stage::ClosedWon => ("Won", "#22C55E", "completed"),
        Stage::ClosedLost => ("Lost", "#6B7280", "completed"),
    }
}

/// The board of the deals that the caller may see and the filters leave.
///
/// # Errors
/// `Forbidden` without `opportunities.view_opportunity`; 400 for parameters.
pub async fn board(t: &mut TenantTx, params: &Params) -> Result<Board> {
    t.require(OPPORTUNITIES.view)?;
    let wrong = |name: &str, text: &str| Error::parameter(name, FieldCode::InvalidValue, text.to_owned());
    let limit = match params.get("limit") {
        None => 50,
        Some(text) => {
            let limit = text.parse().ok().filter(|limit| (1..=MOST).contains(limit));
            limit.ok_or_else(|| wrong("limit", "must be a whole number from 1 to 100"))?
        }
    };
    let counted = match params.get("count") {
        None | Some("false" | "0") => false,
        Some("true" | "1") => true,
        Some(_) => return Err(wrong("count", "must be true or false")),
    };
    let shape = Shape::parse(params, &OPPORTUNITIES.resource)?;
    let aging = Aging::read(t).await?;
    let own: Vec<_> = PARAMETERS.iter().map(|(name, _)| *name).chain(["fields", "expand"]).collect();
    let filter = narrowed(t, params, &aging, &own).await?;
    let mut counts = HashMap::new();
    if counted {
        let rows: Vec<(Stage, i64)> = opportunities::table
            .filter(filter.clone())
            .group_by(opportunities::stage)
            .select((opportunities::stage, diesel::dsl::count_star()))
            .load(t.conn()?)
            .await?;
        counts.extend(rows);
    }
    let mut columns = Vec::new();
    for (place, stage) in Stage::ALL.into_iter().enumerate() {
        let mut filter = filter.clone();
        filter.0.push(of_stage(stage));
        let rows: Vec<OpportunityRow> = opportunities::table
            .filter(filter)
            .order_by((opportunities::position.asc(), opportunities::id.desc()))
            .limit(limit)
            .select(opportunity_columns!(t))
            .load(t.conn()?)
            .await?;
        let deals = rows.into_iter().map(|row| Opportunity::stored(t, &aging, row)).collect::<Result<_>>()?;
        let cards =
            shape.page(t, Page { count: None, next: None, previous: None, results: deals }).await?.results;
        let (name, color, stage_type) = look(stage);
        let count = counted.then(|| counts.get(&stage).copied().unwrap_or_default());
        columns.push(Column { id: stage, name, order: place + 1, color, stage_type, count, cards });
    }
    let count = counted.then(|| counts.values().sum());
    Ok(Board { columns, count })
}

/// Where a card is moved to.
#[derive(Debug, Clone, Copy, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// The stage that it is to be in; the one that it is in, to change its place only.
    pub stage: Stage,
    /// The card of that stage above it. Decides where the two don't lie side by side any more.
    #[serde(default)]
    pub above_id: Option<Uuid>,
    /// The card of that stage below it; at the end where neither is named.
    #[serde(default)]
    pub below_id: Option<Uuid>,
}

/// Moves a card: into a stage, with all that this stage demands, and between two cards of it. A place alone makes no new version.
///
/// # Errors
/// `Forbidden` without `opportunities.change_opportunity` or beyond its scope; `NotFound`; `Stale`; 400 and 422 for the body, and as
/// the stage demands.
pub async fn move_card(t: &mut TenantTx, id: Uuid, edit: Edit) -> Result<Opportunity> {
    OPPORTUNITIES.check(t, OPPORTUNITIES.change, id).await?;
    let Move { stage, above_id, below_id } = body::parse(edit.body)?;
    let place = place(t, &OPPORTUNITIES, &[of_stage(stage)], id, Between { above_id, below_id }).await?;
    let old = locked(t, OPPORTUNITIES.change, id).await?;
    edit.precondition.check(&old.base)?;
    let mut fields = OpportunityFields { stage, ..old.fields.clone() };
    let mut kept = Kept { position: place, ..old.kept.clone() };
    settle_stage(t, Some((&old.fields, &old.kept)), &mut fields, &mut kept, Said::default())?;
    let new = Opportunity { fields, kept, ..old.clone() };
    write(t, &old, new, Filtered::default(), Object::new()).await
}

fn of_stage(stage: Stage) -> Clause {
    OPPORTUNITIES.resource.compare("stage", "=", Value::Text(stage.as_str().to_owned()))
}
