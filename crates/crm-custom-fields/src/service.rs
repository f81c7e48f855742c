use crm_access::{Require, scope_of};
use crm_core::{Caller, Code, Error, FieldCode, Result, Scope, TenantTx};
use crm_records::custom::{CustomTarget, MAX_ACTIVE, forget, lock};
use crm_records::list::{Clause, More, Page, Params, Shaped, SortValues, Value, Where};
use crm_records::{
    Base, Edit, Precondition, base_changes, base_columns, base_values, created, diff, updated,
};
use crm_schema::custom_fields;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::backfill;
use crate::missing::count_missing;
use crate::model::{CUSTOM_FIELDS, CustomField, CustomFieldFields};

const VIEW: &str = "custom_fields.view_custom_field";
const CHANGE: &str = "custom_fields.change_custom_field";
const INCLUDE_COUNTS: &str = "include_counts";

type Row = (Base, CustomFieldFields);

fn definition((base, fields): Row) -> CustomField {
    CustomField { base, fields, records_missing_value: None }
}

/// Lists the definitions of the modules whose records the caller may look at. `include_counts=true` has the records without a value
/// counted, for whoever may look at all definitions.
///
/// # Errors
/// 400 for parameters; `Forbidden` for counts.
pub async fn list(t: &mut TenantTx, params: &Params) -> Result<Page<Shaped<CustomField>>> {
    let counts = includes_counts(t, params)?;
    let more = More::own(&[INCLUDE_COUNTS]);
    let mut selection = CUSTOM_FIELDS.select_more(params, t.caller(), Scope::All, more)?;
    selection.and(readable(t.caller()));
    let mut page = selection
        .run(t, async |t, f| {
            let rows: Vec<(Base, CustomFieldFields, SortValues)> = custom_fields::table
                .filter(f.filter)
                .order_by(f.slice)
                .select((base_columns!(custom_fields), CustomFieldFields::as_select(), selection.keys()))
                .load(t.conn()?)
                .await?;
            Ok(rows.into_iter().map(|(base, fields, keys)| (definition((base, fields)), keys)).collect())
        })
        .await?;
    if counts {
        count_missing(t, &mut page.results).await?;
    }
    selection.shape.page(t, page).await
}

/// One definition, with its records counted where `include_counts=true` asks for it.
///
/// # Errors
/// `NotFound`, also for a module whose records the caller may not look at; `Forbidden` for counts.
pub async fn find(t: &mut TenantTx, id: Uuid, params: &Params) -> Result<CustomField> {
    let counts = includes_counts(t, params)?;
    let one = CUSTOM_FIELDS.compare("id", "=", Value::Uuid(id));
    let filter = Where(vec![CUSTOM_FIELDS.in_org(t.org()), one, readable(t.caller())]);
    let row = custom_fields::table
        .filter(filter)
        .select((base_columns!(custom_fields), CustomFieldFields::as_select()))
        .first::<Row>(t.conn()?)
        .await?;
    let mut found = [definition(row)];
    if counts {
        count_missing(t, &mut found).await?;
    }
    let [found] = found;
    Ok(found)
}

/// Defines a field.
///
/// # Errors
/// `Forbidden` without `custom_fields.add_custom_field`; `Duplicate` for a key that is there, active or not; `Conflict` when the module
/// has as many as it may; 422.
pub async fn create(t: &mut TenantTx, fields: CustomFieldFields) -> Result<CustomField> {
    t.require("custom_fields.add_custom_field")?;
    fields.check()?;
    lock(t, fields.target).await?;
    if fields.is_active {
        check_room(t, fields.target).await?;
    }
    let base = Base::new(t);
    created(t, CUSTOM_FIELDS.kind, &base, None).await?;
    diesel::insert_into(custom_fields::table)
        .values((base_values!(custom_fields, base), &fields))
        .execute(t.conn()?)
        .await
        .map_err(|error| {
            let message = "the module has a field of this key already, active or not";
            Error::unique(error, "custom_fields_org_id_target_key_key", "key", message)
        })?;
    Ok(definition((base, fields)))
}

/// Changes a definition. Turned filterable, its values are brought together by jobs, until which the filter is refused.
///
/// # Errors
/// `Forbidden` without `custom_fields.change_custom_field`; `NotFound`; `Stale`; 400 for what is frozen; `Conflict` when it is to be
/// activated and the module has as many as it may; 422.
pub async fn update(t: &mut TenantTx, id: Uuid, edit: Edit) -> Result<CustomField> {
    t.require(CHANGE)?;
    let old = locked(t, id).await?;
    let fields: CustomFieldFields = edit.fields(&old, &old.base, CustomField::READ_ONLY)?;
    fields.check_frozen(&old.fields)?;
    fields.check()?;
    store(t, old, fields).await
}

/// Hides a field with its values, which are kept.
///
/// # Errors
/// `Forbidden` without `custom_fields.delete_custom_field`; `NotFound`; `Stale`.
pub async fn deactivate(t: &mut TenantTx, id: Uuid, precondition: &Precondition) -> Result<()> {
    t.require("custom_fields.delete_custom_field")?;
    let old = locked(t, id).await?;
    precondition.check(&old.base)?;
    let fields = CustomFieldFields { is_active: false, ..old.fields.clone() };
    store(t, old, fields).await.map(drop)
}

async fn store(t: &mut TenantTx, old: CustomField, fields: CustomFieldFields) -> Result<CustomField> {
    if fields == old.fields {
        return Ok(old);
    }
    if fields.is_active && !old.fields.is_active {
        check_room(t, fields.target).await?;
    }
    let new = definition((old.base.next(t), fields));
    let id = new.base.id;
    if old.fields.is_filterable && !new.fields.is_filterable {
        // Before the definition's row is locked: a job that is bringing the values together locks it last.
        forget(t, id).await?;
    }
    diesel::update(
        custom_fields::table.filter(custom_fields::org_id.eq(t.org()).and(custom_fields::id.eq(id))),
    )
    .set((base_changes!(custom_fields, new.base), &new.fields))
    .execute(t.conn()?)
    .await?;
    if new.fields.is_filterable && !old.fields.is_filterable {
        backfill::begin(t, id).await?;
    }
    updated(t, CUSTOM_FIELDS.kind, &new.base, diff(&old, &new)?, None).await?;
    Ok(new)
}

/// The definition, with nobody else changing any of its module or writing records by them.
async fn locked(t: &mut TenantTx, id: Uuid) -> Result<CustomField> {
    let this = custom_fields::table.filter(custom_fields::org_id.eq(t.org()).and(custom_fields::id.eq(id)));
    let target = this.select(custom_fields::target).first(t.conn()?).await?;
    lock(t, target).await?;
    let row = this.select((base_columns!(custom_fields), CustomFieldFields::as_select()));
    Ok(definition(row.first::<Row>(t.conn()?).await?))
}

/// Under the module's lock.
async fn check_room(t: &mut TenantTx, target: CustomTarget) -> Result<()> {
    let active: i64 = custom_fields::table
        .filter(custom_fields::org_id.eq(t.org()).and(custom_fields::target.eq(target)))
        .filter(custom_fields::is_active)
        .count()
        .get_result(t.conn()?)
        .await?;
    if usize::try_from(active).is_ok_and(|active| active < MAX_ACTIVE) {
        return Ok(());
    }
    let message = format!("{target} may have {MAX_ACTIVE} active fields: deactivate one first");
    Err(Error::Refused(Code::Conflict, message.into()))
}

/// Definitions of modules whose records the caller may look at; all of them for whoever may look at definitions as such.
fn readable(caller: &Caller) -> Clause {
    let may = |permission| scope_of(&caller.principal, permission).is_some();
    let targets = CustomTarget::ALL.into_iter().filter(|target| may(VIEW) || may(target.view()));
    let words = targets.map(|target| target.as_str().to_owned()).collect();
    Clause::Any(CUSTOM_FIELDS.table, "target", Value::Texts(words))
}

/// Whether counts are asked for, by somebody who may know how many records there are.
fn includes_counts(t: &TenantTx, params: &Params) -> Result<bool> {
    let asked = match params.get(INCLUDE_COUNTS) {
        None | Some("false" | "0") => false,
        Some("true" | "1") => true,
        Some(other) => {
            let message = format!("{other:?} is not true or false");
            return Err(Error::parameter(INCLUDE_COUNTS, FieldCode::InvalidValue, message));
        }
    };
    if asked {
        t.require(VIEW)?;
    }
    Ok(asked)
}
