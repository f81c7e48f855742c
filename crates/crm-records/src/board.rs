//! A card's move on a board: which place it gets between the cards of a column.
//!
//! A column is whatever its clauses say, such as a stage. Its cards stand by [`position`], and newest first where two have the same one.

use std::cmp::Ordering;

use crm_access::Require;
use crm_core::{Error, FieldCode, Result, TenantTx};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::Deserialize;
use uuid::Uuid;
use validator::Validate;

use crate::list::{Clause, Value, Where};
use crate::{Target, position};

/// How many cards on each side of a crowded gap are spread again, to begin with.
const AROUND: usize = 50;

/// Between which cards of a column a card is put; at its end where neither is named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Validate, utoipa::ToSchema)]
#[serde(default)]
pub struct Between {
    /// The card above it. Decides where the two don't lie side by side any more.
    pub above_id: Option<Uuid>,
    /// The card below it.
    pub below_id: Option<Uuid>,
}

/// A card: its id and its place.
type Card = (Uuid, String);

/// The place for the card `moved` in a column of the target's records, between its neighbours there. The card and its neighbours stay
/// locked until the transaction ends, so that two moves into one gap come after each other. Where a gap has become too narrow, the
/// cards around it get short places again; that makes no new version of them.
///
/// # Errors
/// `Forbidden` without the permission to look at such records; 422 naming `above_id` or `below_id` for a card that is not in the column,
/// or that the caller may not see.
pub async fn place(
    t: &mut TenantTx,
    target: &Target,
    column: &[Clause],
    moved: Uuid,
    between: Between,
) -> Result<String> {
    let scope = t.require(target.view)?;
    // A card is no neighbour of itself.
    let [above, below] = [between.above_id, between.below_id].map(|id| id.filter(|id| *id != moved));
    let named: Vec<_> = above.into_iter().chain(below).collect();
    let column = Column { target, clauses: column, moved };
    let mut filter = vec![target.resource.among("id", [&named[..], &[moved]].concat())];
    column.cards(t, filter.clone(), Reading::Locked).await?;
    filter.extend(column.clauses.iter().cloned());
    filter.extend(target.resource.visible(t.caller(), scope));
    let found = column.cards(t, filter, Reading::Down(named.len() + 1)).await?;
    let card = |field: &'static str, id: Option<Uuid>| match id {
        Some(id) => found.iter().find(|card| card.0 == id).map(Some).ok_or_else(|| {
            let message = format!("{id} is not a card of this column that you may see");
            Error::field(field, FieldCode::NotFound, message)
        }),
        None => Ok(None),
    };
    let (above, below) = (card("above_id", above)?, card("below_id", below)?);
    // What stands next to the named card, whether the caller sees it or not.
    let (above, below) = match (above, below) {
        (Some(above), _) => (Some(above.clone()), column.beside(t, above, Ordering::Greater, 1).await?.pop()),
        (None, Some(below)) => (column.beside(t, below, Ordering::Less, 1).await?.pop(), Some(below.clone())),
        (None, None) => (column.cards(t, column.others(), Reading::Up(1)).await?.pop(), None),
    };
    let now = t.now();
    let place = match (&above, &below) {
        (Some(above), Some(below)) => position::between(&above.1, &below.1),
        (None, Some(below)) => Some(position::top(Some(&below.1), now)),
        (above, None) => Some(position::bottom(above.as_ref().map(|card| card.1.as_str()), now)),
    };
    match place.filter(|place| place.len() <= position::LONG) {
        Some(place) => Ok(place),
        None => column.spread(t, above, below).await,
    }
}

/// The cards that a card is moved among.
struct Column<'a> {
    target: &'a Target,
    clauses: &'a [Clause],
    moved: Uuid,
}

impl Column<'_> {
    /// Every card but the moved one.
    fn others(&self) -> Vec<Clause> {
        let other = self.target.resource.compare("id", "<>", Value::Uuid(self.moved));
        self.clauses.iter().cloned().chain([other]).collect()
    }

    async fn cards(&self, t: &mut TenantTx, clauses: Vec<Clause>, reading: Reading) -> Result<Vec<Card>> {
        let in_org = self.target.resource.in_org(t.org());
        let filter = Where([vec![in_org], clauses].concat());
        let cards = Cards { table: self.target.resource.table, filter, reading };
        Ok(cards.load(t.conn()?).await?)
    }

    /// The next cards above (`Less`) or below (`Greater`) one, the nearest first.
    async fn beside(&self, t: &mut TenantTx, card: &Card, side: Ordering, count: usize) -> Result<Vec<Card>> {
        let resource = &self.target.resource;
        let (beyond, at_least, newer, reading) = match side {
            Ordering::Less => ("<", "<=", ">", Reading::Up(count)),
            _ => (">", ">=", "<", Reading::Down(count)),
        };
        let place = || Value::Text(card.1.clone());
        let mut clauses = self.others();
        clauses.push(resource.compare("position", at_least, place()));
        clauses.push(Clause::AnyOf(vec![
            resource.compare("position", beyond, place()),
            resource.compare("id", newer, Value::Uuid(card.0)),
        ]));
        self.cards(t, clauses, reading).await
    }

    /// Spreads the cards around a gap between two of them, one of which may be missing, and answers the place in the gap.
    async fn spread(&self, t: &mut TenantTx, above: Option<Card>, below: Option<Card>) -> Result<String> {
        let mut around = AROUND;
        loop {
            let mut up: Vec<Card> = above.iter().cloned().collect();
            if let Some(card) = &above {
                up.extend(self.beside(t, card, Ordering::Less, around).await?);
            }
            let mut down: Vec<Card> = below.iter().cloned().collect();
            if let Some(card) = &below {
                down.extend(self.beside(t, card, Ordering::Greater, around).await?);
            }
            // The outermost ones stay where they are, unless they are the last.
            let first = if up.len() > around { up.pop() } else { None };
            let last = if down.len() > around { down.pop() } else { None };
            if let (Some(first), Some(last)) = (&first, &last)
                && first.1 >= last.1
            {
                around *= 4;
                continue;
            }
            let (first, last) = (first.map(|card| card.1), last.map(|card| card.1));
            let mut places = position::spread(first.as_deref(), last.as_deref(), up.len() + 1 + down.len());
            let place = places.remove(up.len());
            let (ids, old): (Vec<_>, Vec<_>) = up.into_iter().rev().chain(down).unzip();
            self.cards(t, vec![self.target.resource.among("id", ids.clone())], Reading::Locked).await?;
            let move_all = MoveAll {
                table: self.target.resource.table,
                org: t.org().0,
                ids: &ids,
                old: &old,
                places: &places,
            };
            move_all.execute(t.conn()?).await?;
            return Ok(place);
        }
    }
}

/// In which order cards are read, and how many; or all of them, locked.
enum Reading {
    Down(usize),
    Up(usize),
    Locked,
}

/// `SELECT id, position FROM table WHERE filter …`.
struct Cards {
    table: &'static str,
    filter: Where,
    reading: Reading,
}

impl Query for Cards {
    type SqlType = (SqlUuid, Text);
}

impl QueryId for Cards {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Cards {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT id, position FROM ");
        out.push_identifier(self.table)?;
        out.push_sql(" WHERE ");
        self.filter.walk_ast(out.reborrow())?;
        match self.reading {
            Reading::Down(count) => {
                out.push_sql(&format!(" ORDER BY position ASC, id DESC LIMIT {}", count.max(1)));
            }
            Reading::Up(count) => {
                out.push_sql(&format!(" ORDER BY position DESC, id ASC LIMIT {}", count.max(1)));
            }
            // In one order, so that two moves don't wait for each other.
            Reading::Locked => out.push_sql(" ORDER BY id FOR NO KEY UPDATE"),
        }
        Ok(())
    }
}

/// Gives cards new places, each unless it was moved meanwhile.
struct MoveAll<'a> {
    table: &'static str,
    org: Uuid,
    ids: &'a [Uuid],
    old: &'a [String],
    places: &'a [String],
}

impl QueryId for MoveAll<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<C> diesel::query_dsl::RunQueryDsl<C> for MoveAll<'_> {}

impl QueryFragment<Pg> for MoveAll<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("UPDATE ");
        out.push_identifier(self.table)?;
        out.push_sql(" card SET position = moved.place FROM unnest(");
        out.push_bind_param::<Array<SqlUuid>, _>(self.ids)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(self.old)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(self.places)?;
        out.push_sql(") moved (id, old, place) WHERE card.org_id = ");
        out.push_bind_param::<SqlUuid, _>(&self.org)?;
        out.push_sql(" AND card.id = moved.id AND card.position = moved.old");
        Ok(())
    }
}
