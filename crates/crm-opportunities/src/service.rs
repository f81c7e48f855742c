use chrono::{DateTime, Utc};
use crm_access::Require;
use crm_core::body::Object;
use crm_core::{Error, FieldCode, MemberId, Result, Scope, TenantTx};
use crm_records::custom::{CustomValues, Filtered};
use crm_records::list::{Clause, Page, Params, Rel, Shaped, SortValues, Value, Where, check_related};
use crm_records::{
    Base, Described, Edit, LinkIds, Links, Module, Precondition, RecordInput, base_changes, base_columns,
    base_values, contacts, created, deleted, diff, position, tally, tell_assignees, updated,
};
use crm_schema::opportunities;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::aging::Aging;
use crate::model::{AmountSource, Kept, OPPORTUNITIES, Opportunity, OpportunityFields, OpportunityRow};
use crate::stage::{Said, Stage, settle_stage};

/// The kind of record and its module.
pub(crate) const OPPORTUNITY: (&str, &str) = (OPPORTUNITIES.resource.kind, "opportunities");

crm_records::module!(
    /// Opportunities, for what serves every module alike.
    Opportunities {
        name: OPPORTUNITY.1,
        target: OPPORTUNITIES,
        add: "opportunities.add_opportunity",
        delete: "opportunities.delete_opportunity",
        fields: OpportunityFields,
        record: Opportunity,
        many: crate::many::create_many,
        moment: Opportunity::moment,
        restore: restore,
        of: &["closed_by", "stage_changed_at"]
    }
);

/// Parameters of lists and of what is made of them, beside the fields.
pub const FILTERS: [(&str, &str); 2] = [
    ("open", "`true` for deals that are still to be had, `false` for closed ones."),
    (
        "rotten",
        "`true` for deals that have been in their stage for too long, those shown red; `false` for all others.",
    ),
];

/// What makes an opportunity, to select into an [`OpportunityRow`], and what is wanted beside it.
macro_rules! opportunity_columns {
    ($t:expr $(, $beside:expr)?) => {
        (
            base_columns!(opportunities),
            OpportunityFields::as_select(),
            Kept::as_select(),
            LinkIds::of("opportunities"),
            CustomValues::of(&OPPORTUNITIES, $t.org()),
            $($beside,)?
        )
    };
}
pub(crate) use opportunity_columns;

/// Lists the opportunities that the caller may see, newest first.
///
/// # Errors
/// `Forbidden` without `opportunities.view_opportunity`; 400 for parameters.
pub async fn list(t: &mut TenantTx, params: &Params) -> Result<Page<Shaped<Opportunity>>> {
    let scope = t.require(OPPORTUNITIES.view)?;
    let aging = Aging::read(t).await?;
    let own = FILTERS.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    let mut selection = OPPORTUNITIES.select_more(t, params, scope, &own).await?;
    for clause in own_filters(t, params, &aging)? {
        selection.and(clause);
    }
    let page = selection
        .run(t, async |t, f| {
            let rows: Vec<(Base, OpportunityFields, Kept, Links, CustomValues, SortValues)> =
                opportunities::table
                    .filter(f.filter)
                    .order_by(f.slice)
                    .select(opportunity_columns!(t, selection.keys()))
                    .load(t.conn()?)
                    .await?;
            rows.into_iter()
                .map(|(base, fields, kept, links, custom, keys)| {
                    Ok((Opportunity::stored(t, &aging, (base, fields, kept, links, custom))?, keys))
                })
                .collect()
        })
        .await?;
    selection.shape.page(t, page).await
}

/// The rows that the filters of a list leave, for what is made of all of them; `own` are further parameters of whoever asks.
pub(crate) async fn narrowed(
    t: &mut TenantTx,
    params: &Params,
    aging: &Aging,
    own: &[&str],
) -> Result<Where> {
    let scope = t.require(OPPORTUNITIES.view)?;
    let own: Vec<_> = FILTERS.iter().map(|(name, _)| *name).chain(own.iter().copied()).collect();
    let mut selection = OPPORTUNITIES.narrow(t, params, scope, &own).await?;
    for clause in own_filters(t, params, aging)? {
        selection.and(clause);
    }
    selection.everything(t).await
}

/// Reads [`FILTERS`].
fn own_filters(t: &TenantTx, params: &Params, aging: &Aging) -> Result<Vec<Clause>> {
    let mut clauses = Vec::new();
    for (name, _) in FILTERS {
        let Some(text) = params.get(name) else { continue };
        let clause = match name {
            "open" => open(),
            _ => aging.rotten(t.now()),
        };
        clauses.push(match text {
            "true" | "1" => clause,
            "false" | "0" => Clause::Not(Box::new(clause)),
            _ => {
                return Err(Error::parameter(name, FieldCode::InvalidValue, "must be true or false"));
            }
        });
    }
    Ok(clauses)
}

/// The condition of a deal that is still to be had.
pub(crate) fn open() -> Clause {
    let words = Stage::OPEN.iter().map(|stage| stage.as_str().to_owned()).collect();
    Clause::Any(OPPORTUNITIES.resource.table, "stage", Value::Texts(words))
}

/// One opportunity that the caller may see.
///
/// # Errors
/// `Forbidden` without `opportunities.view_opportunity`; `NotFound`.
pub async fn find(t: &mut TenantTx, id: Uuid) -> Result<Opportunity> {
    let scope = t.require(OPPORTUNITIES.view)?;
    let filter = OPPORTUNITIES.one(t, scope, id);
    load(t, filter).await
}

/// Adds an opportunity.
///
/// # Errors
/// `Forbidden` without `opportunities.add_opportunity`; `Duplicate` for a name that another one has; 422.
pub async fn create(t: &mut TenantTx, input: RecordInput<OpportunityFields>) -> Result<Opportunity> {
    t.require(Opportunities::ADD)?;
    let (base, fields, kept) = settled(t, input.fields)?;
    check_related(t, Rel::Account, "account_id", &Vec::from_iter(fields.account_id)).await?;
    let (custom_fields, values) = input.custom.settle(t, &OPPORTUNITIES, &CustomValues::default()).await?;
    let deal = Opportunity::made(base, fields, kept, input.links, custom_fields);
    let id = deal.base.id;
    created(t, OPPORTUNITY.0, &deal.base, Some(&deal.described())).await?;
    diesel::insert_into(opportunities::table)
        .values((
            base_values!(opportunities, deal.base),
            &deal.fields,
            &deal.kept,
            opportunities::name_normalized.eq(normalized(&deal.fields.name)),
            opportunities::probability.eq(deal.fields.probability.unwrap_or_default()),
            opportunities::custom_fields.eq(&deal.custom_fields),
        ))
        .execute(t.conn()?)
        .await
        .map_err(name_taken)?;
    let none = Links::default();
    deal.links.store(t, id, &none).await?;
    contacts::store(t, id, &[], &deal.fields.contacts).await?;
    tally::moved(t, OPPORTUNITY.0, None, [deal.fields.tally()]).await?;
    values.store(t, id).await?;
    tell_assignees(t, OPPORTUNITY, id, deal.fields.name.clone(), (&none, &deal.links)).await?;
    Ok(deal)
}

/// What a new deal comes to, by every rule that needs no look at other records.
pub(crate) fn settled(t: &TenantTx, fields: OpportunityFields) -> Result<(Base, OpportunityFields, Kept)> {
    let mut fields = fields.settle(&t.caller().org.currency)?;
    let base = Base::new(t);
    let mut kept = Kept {
        amount_source: AmountSource::Manual,
        probability_is_manual: false,
        closed_by: None,
        stage_changed_at: t.now(),
        position: position::newest(base.id),
        is_sample: false,
    };
    let said = Said { probability: fields.probability.is_some(), closed_on: fields.closed_on.is_some() };
    settle_stage(t, None, &mut fields, &mut kept, said)?;
    Ok((base, fields, kept))
}

/// Changes an opportunity. What the edit leaves as it is makes no new version.
///
/// # Errors
/// `Forbidden` without `opportunities.change_opportunity` or beyond its scope; `NotFound`; `Stale`; `Duplicate`; 400 and 422 for the body.
pub async fn update(t: &mut TenantTx, id: Uuid, edit: Edit) -> Result<Opportunity> {
    change(t, id, edit, Was::default()).await
}

/// What the server kept of a deal whose former state is put back; none of what stays as it is.
#[derive(Debug, Default)]
struct Was {
    closed_by: Option<Option<MemberId>>,
    stage_changed_at: Option<DateTime<Utc>>,
}

/// Changes an opportunity back to what it was: who closed it and since when it has been in its stage among it.
async fn restore(t: &mut TenantTx, id: Uuid, mut edit: Edit) -> Result<Opportunity> {
    let closed_by = edit.body.remove("closed_by").map(serde_json::from_value).transpose();
    let stage_changed_at = edit.body.remove("stage_changed_at").map(serde_json::from_value).transpose();
    let was = Was {
        closed_by: closed_by.map_err(Error::internal)?,
        stage_changed_at: stage_changed_at.map_err(Error::internal)?,
    };
    change(t, id, edit, was).await
}

async fn change(t: &mut TenantTx, id: Uuid, mut edit: Edit, was: Was) -> Result<Opportunity> {
    let old = locked(t, OPPORTUNITIES.change, id).await?;
    for field in Opportunity::OF_THE_MOMENT {
        edit.body.remove(*field);
    }
    let sent = |field| edit.body.get(field);
    // Who writes back what was read chooses nothing.
    let echoed = sent("probability") == Some(&serde_json::json!(old.fields.probability));
    let said = Said {
        // A whole new state without one has it follow the stage again.
        probability: if edit.partial { sent("probability").is_some() } else { !echoed },
        // What was, was no hope.
        closed_on: sent("closed_on").is_some() || was.stage_changed_at.is_some(),
    };
    let (names_amount, names_currency) = (sent("amount").is_some(), sent("currency").is_some());
    let (partial, had_currency) = (edit.partial, old.fields.currency.is_some());
    let mut input: RecordInput<OpportunityFields> = edit.input(&old, &old.base, Opportunity::READ_ONLY)?;
    let with_lines = old.kept.amount_source == AmountSource::Calculated;
    if with_lines && !names_amount {
        input.fields.amount = old.fields.amount;
    }
    if with_lines && !names_currency {
        input.fields.currency.clone_from(&old.fields.currency);
    }
    if partial && had_currency && input.fields.currency.is_none() && input.fields.amount.is_some() {
        return Err(Error::field("currency", FieldCode::Required, "an amount needs its currency"));
    }
    if with_lines && input.fields.currency != old.fields.currency {
        let message = "stays as it is while there are line items, whose prices are in it";
        return Err(Error::field("currency", FieldCode::NotAllowed, message));
    }
    let mut fields = input.fields.settle(&t.caller().org.currency)?;
    if with_lines && fields.amount != old.fields.amount {
        let message = "is the sum of the line items: change those";
        return Err(Error::field("amount", FieldCode::NotAllowed, message));
    }
    if fields.account_id != old.fields.account_id {
        check_related(t, Rel::Account, "account_id", &Vec::from_iter(fields.account_id)).await?;
    }
    if !said.probability {
        fields.probability = old.fields.probability;
    }
    let mut kept = old.kept.clone();
    settle_stage(t, Some((&old.fields, &old.kept)), &mut fields, &mut kept, said)?;
    kept.closed_by = was.closed_by.unwrap_or(kept.closed_by);
    kept.stage_changed_at = was.stage_changed_at.unwrap_or(kept.stage_changed_at);
    let (custom_fields, values) = input.custom.settle(t, &OPPORTUNITIES, &old.custom_fields).await?;
    let new = Opportunity { fields, kept, links: input.links, custom_fields, ..old.clone() };
    write(t, &old, new, values, Object::new()).await
}

/// Writes what became of a deal, unless nothing did. `further` changes are not among its fields.
pub(crate) async fn write(
    t: &mut TenantTx,
    old: &Opportunity,
    mut new: Opportunity,
    values: Filtered,
    further: Object,
) -> Result<Opportunity> {
    let same = new.fields == old.fields
        && Kept { position: String::new(), ..new.kept.clone() }
            == Kept { position: String::new(), ..old.kept.clone() }
        && new.links == old.links
        && new.custom_fields == old.custom_fields;
    // A place on the board is no fact about the deal.
    if !(same && further.is_empty()) {
        new.base = old.base.next(t);
    } else if new.kept.position == old.kept.position {
        return Ok(new);
    }
    let id = new.base.id;
    diesel::update(
        opportunities::table.filter(opportunities::org_id.eq(t.org()).and(opportunities::id.eq(id))),
    )
    .set((
        base_changes!(opportunities, new.base),
        &new.fields,
        &new.kept,
        opportunities::name_normalized.eq(normalized(&new.fields.name)),
        opportunities::probability.eq(new.fields.probability.unwrap_or_default()),
        opportunities::custom_fields.eq(&new.custom_fields),
    ))
    .execute(t.conn()?)
    .await
    .map_err(name_taken)?;
    if new.kept.stage_changed_at != old.kept.stage_changed_at {
        let aging = Aging::read(t).await?;
        new.age(t.now(), &aging);
    }
    if same && further.is_empty() {
        return Ok(new);
    }
    new.links.store(t, id, &old.links).await?;
    contacts::store(t, id, &old.fields.contacts, &new.fields.contacts).await?;
    tally::moved(t, OPPORTUNITY.0, [old.fields.tally()], [new.fields.tally()]).await?;
    values.store(t, id).await?;
    tell_assignees(t, OPPORTUNITY, id, new.fields.name.clone(), (&old.links, &new.links)).await?;
    let described = new.described();
    let described = (described != old.described()).then_some(described);
    let mut changes = diff(old, &new)?;
    for field in Opportunity::OF_THE_MOMENT {
        changes.remove(*field);
    }
    changes.extend(further);
    updated(t, OPPORTUNITY.0, &new.base, changes, described.as_ref()).await?;
    Ok(new)
}

/// Deletes an opportunity with its line items, comments, files and history. Within a scope of *own* only its creator may.
///
/// # Errors
/// `Forbidden` without `opportunities.delete_opportunity` or for somebody else's; `NotFound`; `Stale`.
pub async fn delete(t: &mut TenantTx, id: Uuid, precondition: &Precondition) -> Result<()> {
    let old = locked(t, Opportunities::DELETE, id).await?;
    if t.require(Opportunities::DELETE)? == Scope::Own && old.base.created_by != t.actor() {
        let message = "only its creator or an administrator may delete an opportunity";
        return Err(Error::Forbidden(message.into()));
    }
    precondition.check(&old.base)?;
    tally::moved(t, OPPORTUNITY.0, [old.fields.tally()], None).await?;
    deleted(t, OPPORTUNITY.0, id).await
}

/// At most `limit` opportunities behind an id, by id, with how each is found; locked against changes until the transaction ends.
///
/// # Errors
/// Those of the database.
pub async fn describe(t: &mut TenantTx, after: Option<Uuid>, limit: i64) -> Result<Vec<(Uuid, Described)>> {
    let custom = CustomValues::of(&OPPORTUNITIES, t.org());
    let rows: Vec<(Uuid, OpportunityFields, CustomValues)> = opportunities::table
        .filter(opportunities::org_id.eq(t.org()).and(opportunities::id.gt(after.unwrap_or_default())))
        .order_by(opportunities::id)
        .limit(limit)
        .select((opportunities::id, OpportunityFields::as_select(), custom))
        .for_share()
        .load(t.conn()?)
        .await?;
    Ok(rows.into_iter().map(|(id, fields, custom)| (id, custom.describe(fields.described()))).collect())
}

/// A name that no other opportunity of the organization has: this one, cut where it is too long, with a number where it is taken.
/// Somebody may take it before this transaction ends.
///
/// # Errors
/// `Duplicate` where a hundred numbers are taken too; those of the database.
pub async fn free_name(t: &mut TenantTx, wanted: &str) -> Result<String> {
    let wanted: String = wanted.chars().filter(|c| !c.is_control()).take(245).collect();
    let wanted = wanted.trim();
    let names = (2..=100).map(|number| format!("{wanted} ({number})"));
    let names: Vec<String> = [wanted.to_owned()].into_iter().chain(names).collect();
    let taken: Vec<String> = opportunities::table
        .filter(opportunities::org_id.eq(t.org()))
        .filter(opportunities::name_normalized.eq_any(names.iter().map(|name| normalized(name))))
        .select(opportunities::name_normalized)
        .load(t.conn()?)
        .await?;
    let free = names.into_iter().find(|name| !taken.contains(&normalized(name)));
    free.ok_or_else(|| Error::taken("name", NAME_TAKEN))
}

async fn load(t: &mut TenantTx, filter: Where) -> Result<Opportunity> {
    let aging = Aging::read(t).await?;
    let row = opportunities::table
        .filter(filter)
        .select(opportunity_columns!(t))
        .first::<OpportunityRow>(t.conn()?)
        .await?;
    Opportunity::stored(t, &aging, row)
}

/// The opportunity with its row locked before the permission for it is judged, so that what is judged is what is changed.
pub(crate) async fn locked(t: &mut TenantTx, permission: &'static str, id: Uuid) -> Result<Opportunity> {
    let row = opportunities::table.filter(opportunities::org_id.eq(t.org()).and(opportunities::id.eq(id)));
    row.select(opportunities::id).for_update().first::<Uuid>(t.conn()?).await?;
    OPPORTUNITIES.check(t, permission, id).await?;
    let only: Clause = OPPORTUNITIES.resource.compare("id", "=", Value::Uuid(id));
    load(t, Where(vec![OPPORTUNITIES.resource.in_org(t.org()), only])).await
}

/// A name as it is compared.
pub(crate) fn normalized(name: &str) -> String {
    name.to_lowercase()
}

const NAME_TAKEN: &str = "another opportunity of the organization has this name";

pub(crate) fn name_taken(error: diesel::result::Error) -> Error {
    Error::unique(error, "opportunities_org_id_name_normalized_key", "name", NAME_TAKEN)
}
