//! Two records of a kind made one, and parted again within [`UNDO_DAYS`].
//!
//! The winner gets what hangs on the loser; the loser's row waits in the merge, and its id answers 410. The half of this that is the same
//! for every kind is here; a module says what points at its records and which of their fields may be filled ([`Mergeable`]).

mod hanging;

use chrono::{DateTime, TimeDelta, Utc};
use crm_access::Require;
use crm_core::body::{self, Object};
use crm_core::{Code, Error, FieldCode, MemberId, Result, Scope, TenantTx};
use crm_jobs::Schedule;
use crm_schema::{custom_fields, record_merges, records};
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;
use validator::Validate;

use self::hanging::Moved;
pub use self::hanging::Pointer;
use crate::custom::{CUSTOM_FIELDS, CustomTarget, CustomValues};
use crate::list::{self, Field, Kind, Page, Params, Resource, Shaped, Where};
use crate::log::logged;
use crate::tally::{self, Tally};
use crate::{Base, Described, Module, Target, diff};

diesel::define_sql_function! {
    /// Tells the feed, webhooks and search of a record that was merged into another one.
    fn record_merged_away(org_id: SqlUuid, id: SqlUuid, kind: Text, actor: Nullable<SqlUuid>, change: SqlUuid, at: Timestamptz)
        -> Nullable<Text>;
}

/// For how many days a merge may be undone.
pub const UNDO_DAYS: i64 = 30;

/// The merges into a record as a list.
pub const MERGES: Resource = Resource {
    kind: "merge",
    table: "record_merges",
    fields: &[Field::new("loser_id", Kind::Id).required(), Field::new("undone_at", Kind::Timestamp)],
    searchable: false,
    mutable: false,
    neighbours: None,
};

/// Which record is to be merged into the one of the path.
#[derive(Debug, Clone, Copy, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MergeFields {
    /// The record that goes.
    pub loser_id: Uuid,
    /// Whether fields that are empty in the one that stays take its values.
    #[serde(default = "yes")]
    pub fill: bool,
}

const fn yes() -> bool {
    true
}

/// A merge.
#[derive(Debug, Clone, Queryable, Serialize, utoipa::ToSchema)]
pub struct Merge {
    /// Its id, by which it is undone.
    pub id: Uuid,
    /// The record that stayed.
    pub winner_id: Uuid,
    /// The record that went.
    pub loser_id: Uuid,
    /// What that one was called; empty once the merge can't be undone any more.
    pub loser_name: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// Who did it.
    pub created_by: Option<MemberId>,
    /// When it was undone.
    pub undone_at: Option<DateTime<Utc>>,
    /// Who undid it.
    pub undone_by: Option<MemberId>,
}

/// A module whose records can be made one: its own half of a merge.
#[expect(async_fn_in_trait, reason = "the requests of one worker stay on its thread")]
pub trait Mergeable: Module<Record: Clone> {
    /// What points at one of its records, beside what hangs on every record.
    const POINTERS: &'static [Pointer];

    /// Fields that are shown to each caller as far as they may see, which have no place in a history that all read.
    const NARROWED: &'static [&'static str] = &[];

    /// The base of a record, to give it another version.
    fn base_mut(record: &mut Self::Record) -> &mut Base;

    /// Its custom fields.
    fn custom_mut(record: &mut Self::Record) -> &mut CustomValues;

    /// Fills what is empty in one record with what another has.
    ///
    /// # Errors
    /// 422 where the two do not go together.
    fn fill(winner: &mut Self::Record, loser: &Self::Record) -> Result<()>;

    /// Empties the fields that still are as they were given: field -> value.
    ///
    /// # Errors
    /// Those of [`Mergeable::fill`].
    fn take_back(winner: &mut Self::Record, given: &Object) -> Result<()>;

    /// Mends what a stored row points at and is there no more.
    ///
    /// # Errors
    /// Those of the database.
    async fn mend(t: &mut TenantTx, row: &mut Object) -> Result<()>;

    /// Stores a new state of a record.
    ///
    /// # Errors
    /// `Duplicate`.
    async fn write(t: &mut TenantTx, record: &Self::Record) -> Result<()>;

    /// A record, whoever may see it.
    ///
    /// # Errors
    /// `NotFound`.
    async fn load(t: &mut TenantTx, filter: Where) -> Result<Self::Record>;

    /// Makes sure that the caller may take the record away.
    ///
    /// # Errors
    /// `Forbidden`.
    fn check_delete(t: &TenantTx, record: &Self::Record) -> Result<()>;

    /// Where it counts.
    fn tally(record: &Self::Record) -> Tally;

    /// How it is found.
    fn described(record: &Self::Record) -> Described;

    /// A value that another record has meanwhile.
    fn taken(error: diesel::result::Error) -> Error;
}

/// Declares which of a module's optional fields a merge fills, as `fill` and `take_back` of its fields: each by itself, and behind the
/// semicolon those that only make sense together, such as the lines of an address.
#[macro_export]
macro_rules! fillable {
    ($fields:ty { $($field:ident),+; $($part:ident),+ $(,)? }) => {
        impl $fields {
            /// Takes from others what is empty here.
            fn fill(&mut self, others: &Self) {
                $(if self.$field.is_none() { self.$field.clone_from(&others.$field); })+
                if $(self.$part.is_none())&&+ {
                    $(self.$part.clone_from(&others.$part);)+
                }
            }

            /// Empties what still is as it was given.
            fn take_back(&mut self, given: &$crate::export::Object) {
                let still = |field: &str, is: &dyn Fn(&$crate::export::Value) -> bool| given.get(field).is_some_and(is);
                $(if still(stringify!($field), &|value| $crate::merge::is_still(&self.$field, value)) { self.$field = None; })+
                $(if still(stringify!($part), &|value| $crate::merge::is_still(&self.$part, value)) { self.$part = None; })+
            }
        }
    };
}

/// Whether a field has the value that it was given.
pub fn is_still(field: &impl Serialize, given: &Value) -> bool {
    serde_json::to_value(field).is_ok_and(|now| now == *given)
}

/// Merges a record into another one: that one gets its comments, files, tags, people and whatever points at it, and where it has
/// nothing itself, its values. The loser's id leads to the winner from then on.
///
/// # Errors
/// `Forbidden` unless the caller may change both and delete the loser; `NotFound`; `Merged`; 422 naming `loser_id`.
pub async fn merge<M: Mergeable>(t: &mut TenantTx, winner_id: Uuid, body: Object) -> Result<M::Record> {
    let (target, table) = (M::TARGET, M::TARGET.resource.table);
    target.check_view(t, winner_id).await?;
    target.check(t, target.change, winner_id).await?;
    let MergeFields { loser_id, fill } = body::parse(body)?;
    if loser_id == winner_id {
        return Err(Error::field("loser_id", FieldCode::NotAllowed, "a record is not merged into itself"));
    }
    hanging::lock(t, table, &[winner_id, loser_id]).await?;
    target.check(t, target.change, winner_id).await?;
    match target.check_view(t, loser_id).await {
        Err(Error::NotFound | Error::Merged { .. }) => {
            let message = format!("{loser_id} is not one of them that you may see");
            return Err(Error::field("loser_id", FieldCode::NotFound, message));
        }
        seen => seen?,
    }
    target.check(t, target.change, loser_id).await?;
    target.check(t, M::DELETE, loser_id).await?;
    let (winner, loser) = (whole::<M>(t, winner_id).await?, whole::<M>(t, loser_id).await?);
    M::check_delete(t, &loser)?;

    let row = hanging::row(t, table, loser_id).await?;
    let mut moved = Moved::carry(t, M::POINTERS, winner_id, loser_id).await?;
    // Out of the way of what is unique, before the winner may take it.
    hanging::take_row(t, table, loser_id).await?;
    let mut filled = winner.clone();
    if fill {
        M::fill(&mut filled, &loser)?;
        let given = diff(&winner, &filled)?
            .into_iter()
            .filter_map(|(field, pair)| Some((field, pair.get(1)?.clone())));
        moved.given = given.collect();
        let mut donor = loser.clone();
        moved.given_custom = M::custom_mut(&mut filled).fill(M::custom_mut(&mut donor));
        if !moved.given_custom.is_empty() {
            hanging::copy_values(t, loser_id, winner_id).await?;
        }
    }
    *M::base_mut(&mut filled) = M::base(&winner).next(t);
    M::write(t, &filled).await?;
    let merged = whole::<M>(t, winner_id).await?;
    diesel::insert_into(record_merges::table)
        .values((
            record_merges::org_id.eq(t.org()),
            record_merges::id.eq(Uuid::now_v7()),
            record_merges::kind.eq(target.resource.kind),
            record_merges::winner_id.eq(winner_id),
            record_merges::loser_id.eq(loser_id),
            record_merges::created_at.eq(t.now()),
            record_merges::created_by.eq(t.actor()),
            record_merges::loser.eq(row),
            record_merges::moved.eq(serde_json::to_value(&moved).map_err(Error::internal)?),
        ))
        .execute(t.conn()?)
        .await?;
    tally::moved(t, target.resource.kind, [M::tally(&winner), M::tally(&loser)], [M::tally(&merged)]).await?;
    let fields = changed::<M>(&winner, &merged, json!([null, loser_id]))?;
    log::<M>(t, &merged, "merged", fields).await?;
    let away =
        record_merged_away(t.org(), loser_id, target.resource.kind, t.actor(), Uuid::now_v7(), t.now());
    diesel::select(away).execute(t.conn()?).await?;
    M::find(t, winner_id).await
}

/// Parts what a merge made one: the loser is there again with what it had, as far as that still is where the merge put it.
///
/// # Errors
/// `Forbidden` unless the caller may change the winner, and the loser when it is back; `NotFound`; `Conflict` for a merge that was undone
/// already, is too old, or whose winner was merged itself; `Duplicate` when something else has what is unique of the loser.
pub async fn undo<M: Mergeable>(t: &mut TenantTx, id: Uuid) -> Result<M::Record> {
    let (target, table, kind) = (M::TARGET, M::TARGET.resource.table, M::TARGET.resource.kind);
    t.require(target.change)?;
    let this =
        record_merges::org_id.eq(t.org()).and(record_merges::id.eq(id)).and(record_merges::kind.eq(kind));
    type Stored = (Uuid, Uuid, DateTime<Utc>, Option<DateTime<Utc>>, Value, Value);
    let (winner_id, loser_id, at, undone_at, row, moved): Stored = record_merges::table
        .filter(this)
        .select((
            record_merges::winner_id,
            record_merges::loser_id,
            record_merges::created_at,
            record_merges::undone_at,
            record_merges::loser,
            record_merges::moved,
        ))
        .for_update()
        .first(t.conn()?)
        .await?;
    let conflict = |message: &'static str| Err(Error::Refused(Code::Conflict, message.into()));
    hanging::lock(t, table, &[winner_id, loser_id]).await?;
    match target.check_view(t, winner_id).await {
        Err(Error::Merged { .. }) => {
            return conflict("the record that stayed was merged itself: undo that merge first");
        }
        seen => seen?,
    }
    target.check(t, target.change, winner_id).await?;
    if undone_at.is_some() {
        return conflict("this merge was undone already");
    }
    if t.now() - at > TimeDelta::days(UNDO_DAYS) {
        return conflict("a merge can be undone for 30 days");
    }
    let moved: Moved = serde_json::from_value(moved).map_err(Error::internal)?;
    let winner = whole::<M>(t, winner_id).await?;
    let mut emptied = winner.clone();
    M::take_back(&mut emptied, &moved.given)?;
    let keys = M::custom_mut(&mut emptied).take_back(&moved.given_custom);
    if !keys.is_empty() {
        hanging::drop_values(t, winner_id, module(&target)?.as_str(), &keys).await?;
    }
    *M::base_mut(&mut emptied) = M::base(&winner).next(t);
    M::write(t, &emptied).await?;
    let row = restored::<M>(t, row).await?;
    hanging::put_row(t, table, row, M::taken).await?;
    moved.bring_back(t, M::POINTERS, winner_id, loser_id).await?;
    diesel::update(record_merges::table.filter(this))
        .set((record_merges::undone_at.eq(t.now()), record_merges::undone_by.eq(t.actor())))
        .execute(t.conn()?)
        .await?;
    target.check(t, target.change, loser_id).await.map_err(|error| match error {
        Error::NotFound => Error::Forbidden("the record that went was not yours to see".into()),
        other => other,
    })?;
    let (parted, loser) = (whole::<M>(t, winner_id).await?, whole::<M>(t, loser_id).await?);
    tally::moved(t, kind, [M::tally(&winner)], [M::tally(&parted), M::tally(&loser)]).await?;
    let fields = changed::<M>(&winner, &parted, json!([loser_id, null]))?;
    log::<M>(t, &parted, "unmerged", fields).await?;
    let back = [("merged_into".to_owned(), json!([winner_id, null]))].into_iter().collect();
    log::<M>(t, &loser, "unmerged", back).await?;
    M::find(t, loser_id).await
}

/// Lists the merges into a record, newest first.
///
/// # Errors
/// `NotFound` for a record that the caller can't see; 400 for parameters.
pub async fn list(
    t: &mut TenantTx,
    target: &Target,
    record: Uuid,
    params: &Params,
) -> Result<Page<Shaped<Merge>>> {
    target.check_view(t, record).await?;
    let mut selection = MERGES.select(params, t.caller(), Scope::All)?;
    selection.and(MERGES.compare("winner_id", "=", list::Value::Uuid(record)));
    let name = "coalesce(record_merges.loser->>'name', concat_ws(' ', record_merges.loser->>'first_name', \
                record_merges.loser->>'last_name'))";
    let page = selection
        .run(t, async |t, f| {
            let columns = (
                record_merges::id,
                record_merges::winner_id,
                record_merges::loser_id,
                diesel::dsl::sql::<Text>(name),
                record_merges::created_at,
                record_merges::created_by,
                record_merges::undone_at,
                record_merges::undone_by,
            );
            let query =
                record_merges::table.filter(f.filter).order_by(f.slice).select((columns, selection.keys()));
            Ok(query.load(t.conn()?).await?)
        })
        .await?;
    selection.shape.page(t, page).await
}

/// The kind of the job that ends what can't be undone any more.
pub const SETTLE: &str = "merges.settle";

/// What is done regularly here.
pub const SCHEDULES: &[Schedule] =
    &[Schedule { name: SETTLE, cron: "23 4 * * *", kind: SETTLE, per_org: true }];

/// Forgets what only undoing a merge would need, once that is too late: the loser's row, and what its record is still linked to. Its id
/// leads to the winner all the same.
///
/// # Errors
/// Those of the database.
pub async fn settle(t: &mut TenantTx) -> Result<()> {
    let late = record_merges::created_at.lt(t.now() - TimeDelta::days(UNDO_DAYS));
    let these = record_merges::org_id.eq(t.org()).and(late).and(record_merges::loser.ne(json!({})));
    let settled: Vec<(Uuid, Option<DateTime<Utc>>)> = diesel::update(record_merges::table.filter(these))
        .set((record_merges::loser.eq(json!({})), record_merges::moved.eq(json!({}))))
        .returning((record_merges::loser_id, record_merges::undone_at))
        .get_results(t.conn()?)
        .await?;
    let losers: Vec<Uuid> =
        settled.into_iter().filter(|(_, undone_at)| undone_at.is_none()).map(|(loser, _)| loser).collect();
    hanging::unlink(t, &losers).await
}

/// Takes away the records that were merged into one that is about to be deleted: nothing of them may outlast it.
pub(crate) async fn forget(t: &mut TenantTx, winner: Uuid) -> Result<()> {
    let (mut winners, mut all) = (vec![winner], Vec::new());
    while !winners.is_empty() {
        let into = record_merges::winner_id.eq_any(winners).and(record_merges::undone_at.is_null());
        winners = record_merges::table
            .filter(record_merges::org_id.eq(t.org()).and(into))
            .select(record_merges::loser_id)
            .load(t.conn()?)
            .await?;
        all.extend(winners.iter().copied());
    }
    if !all.is_empty() {
        let these = records::org_id.eq(t.org()).and(records::id.eq_any(all));
        diesel::delete(records::table.filter(these)).execute(t.conn()?).await?;
    }
    Ok(())
}

/// What a merge did to the winner.
fn changed<M: Mergeable>(old: &M::Record, new: &M::Record, merged: Value) -> Result<Object> {
    let mut fields = diff(old, new)?;
    fields.retain(|field, _| !M::NARROWED.contains(&field.as_str()));
    fields.insert("merged".into(), merged);
    Ok(fields)
}

async fn log<M: Mergeable>(t: &mut TenantTx, record: &M::Record, action: &str, fields: Object) -> Result<()> {
    let (base, described) = (M::base(record), M::described(record));
    let kind = M::TARGET.resource.kind;
    logged(t, kind, base.id, Some(base.version), action, fields, Some(&described)).await
}

/// A record whose row is locked.
async fn whole<M: Mergeable>(t: &mut TenantTx, id: Uuid) -> Result<M::Record> {
    let resource = M::TARGET.resource;
    let only = resource.compare("id", "=", list::Value::Uuid(id));
    M::load(t, Where(vec![resource.in_org(t.org()), only])).await
}

fn module(target: &Target) -> Result<CustomTarget> {
    let kind = target.resource.kind;
    CustomTarget::of(kind).ok_or_else(|| Error::internal(format!("{kind} has no custom fields")))
}

/// The stored row as it comes back: at a version of its own, without custom fields that were deleted since.
async fn restored<M: Mergeable>(t: &mut TenantTx, row: Value) -> Result<Object> {
    let Value::Object(mut row) = row else { return Err(Error::internal("a row is a JSON object")) };
    let version = row.get("version").and_then(Value::as_i64).unwrap_or_default();
    row.insert("version".into(), json!(version + 1));
    row.insert("updated_at".into(), json!(t.now()));
    row.insert("updated_by".into(), json!(t.actor()));
    let of_module = custom_fields::target.eq(module(&M::TARGET)?.as_str());
    let keys: Vec<String> = custom_fields::table
        .filter(custom_fields::org_id.eq(t.org()).and(of_module))
        .select(custom_fields::key)
        .load(t.conn()?)
        .await?;
    if let Some(Value::Object(values)) = row.get_mut(CUSTOM_FIELDS) {
        values.retain(|key, _| keys.contains(key));
    }
    M::mend(t, &mut row).await?;
    Ok(row)
}
