//! The values once more, each in a column of its type: what filters look at.

use chrono::NaiveDate;
use crm_core::{Result, TenantTx};
use crm_schema::{custom_fields, custom_values};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{self, Jsonb, Nullable};
use diesel::upsert::excluded;
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

use super::CustomTarget;
use super::definition::{Definition, FieldType};
use super::number::rank;
use crate::list::day;

/// Records of one batch of [`fill`].
const BATCH: usize = 1000;

/// The value of a filterable field, but for the record that has it.
#[derive(Debug, Insertable)]
#[diesel(table_name = custom_values, treat_none_as_default_value = false)]
pub(super) struct Row {
    definition_id: Uuid,
    text_value: Option<String>,
    number_rank: Option<i64>,
    date_value: Option<NaiveDate>,
    bool_value: Option<bool>,
}

impl Row {
    /// None for a field that is not filterable.
    pub(super) fn of(definition: &Definition, value: &Value) -> Option<Self> {
        let definition_id = definition.id;
        let none =
            Self { definition_id, text_value: None, number_rank: None, date_value: None, bool_value: None };
        let text = || value.as_str().map(str::to_owned);
        Some(match definition.field_type {
            _ if !definition.is_filterable => return None,
            FieldType::Text | FieldType::Dropdown => Self { text_value: text(), ..none },
            FieldType::Number => Self { number_rank: value.as_f64().map(rank), ..none },
            FieldType::Date => Self { date_value: value.as_str().and_then(day), ..none },
            FieldType::Checkbox => Self { bool_value: value.as_bool(), ..none },
            FieldType::Textarea => return None,
        })
    }
}

/// Puts the values of one record in, and takes out those that were cleared.
pub(super) async fn put(t: &mut TenantTx, record: Uuid, rows: Vec<Row>, cleared: &[Uuid]) -> Result<()> {
    if !cleared.is_empty() {
        let gone = custom_values::table
            .filter(custom_values::org_id.eq(t.org()).and(custom_values::record_id.eq(record)))
            .filter(custom_values::definition_id.eq_any(cleared));
        diesel::delete(gone).execute(t.conn()?).await?;
    }
    upsert(t, rows.into_iter().map(|row| (record, row))).await
}

pub(super) async fn upsert(t: &mut TenantTx, rows: impl Iterator<Item = (Uuid, Row)>) -> Result<()> {
    let org = t.org();
    let rows: Vec<_> = rows
        .map(|(record, row)| (custom_values::org_id.eq(org), custom_values::record_id.eq(record), row))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    diesel::insert_into(custom_values::table)
        .values(rows)
        .on_conflict((custom_values::org_id, custom_values::definition_id, custom_values::record_id))
        .do_update()
        .set((
            custom_values::text_value.eq(excluded(custom_values::text_value)),
            custom_values::number_rank.eq(excluded(custom_values::number_rank)),
            custom_values::date_value.eq(excluded(custom_values::date_value)),
            custom_values::bool_value.eq(excluded(custom_values::bool_value)),
        ))
        .execute(t.conn()?)
        .await?;
    Ok(())
}

/// Brings a batch of records, those with ids after `after`, among the values that a field is filtered by. Answers where to go on,
/// if there is more. It may be done twice: what is there is put right.
///
/// # Errors
/// `NotFound` without such a definition; those of the database.
pub async fn fill(t: &mut TenantTx, definition: Uuid, after: Option<Uuid>) -> Result<Option<Uuid>> {
    let org = t.org();
    let (target, definition): (CustomTarget, Definition) = custom_fields::table
        .filter(custom_fields::org_id.eq(org).and(custom_fields::id.eq(definition)))
        .select((custom_fields::target, Definition::as_select()))
        .first(t.conn()?)
        .await?;
    let Some((_, table)) = target.records() else { return Ok(None) };
    let batch = Batch { table, key: &definition.key, org: org.0, after: after.unwrap_or_default() };
    let found: Vec<(Uuid, Option<Value>)> = batch.load(t.conn()?).await?;
    let last = found.last().map(|(id, _)| *id).filter(|_| found.len() == BATCH);
    let without: Vec<Uuid> = found.iter().filter(|(_, value)| value.is_none()).map(|(id, _)| *id).collect();
    let gone = custom_values::table
        .filter(custom_values::org_id.eq(org).and(custom_values::definition_id.eq(definition.id)))
        .filter(custom_values::record_id.eq_any(without));
    diesel::delete(gone).execute(t.conn()?).await?;
    let rows = found.into_iter().filter_map(|(id, value)| Some((id, Row::of(&definition, &value?)?)));
    upsert(t, rows).await?;
    Ok(last)
}

/// Takes out all values that a field is filtered by; the records keep theirs.
///
/// # Errors
/// Those of the database.
pub async fn forget(t: &mut TenantTx, definition: Uuid) -> Result<()> {
    let values = custom_values::table
        .filter(custom_values::org_id.eq(t.org()).and(custom_values::definition_id.eq(definition)));
    diesel::delete(values).execute(t.conn()?).await?;
    Ok(())
}

/// The values of one key in the next records of a module, by their ids, whose rows stay as they are until the transaction ends.
struct Batch<'a> {
    table: &'static str,
    key: &'a str,
    org: Uuid,
    after: Uuid,
}

impl Query for Batch<'_> {
    type SqlType = (sql_types::Uuid, Nullable<Jsonb>);
}

impl QueryId for Batch<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Batch<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT id, custom_fields -> ");
        out.push_bind_param::<sql_types::Text, _>(self.key)?;
        out.push_sql(" FROM ");
        out.push_identifier(self.table)?;
        out.push_sql(" WHERE org_id = ");
        out.push_bind_param::<sql_types::Uuid, _>(&self.org)?;
        out.push_sql(" AND id > ");
        out.push_bind_param::<sql_types::Uuid, _>(&self.after)?;
        out.push_sql(&format!(" ORDER BY id LIMIT {BATCH} FOR SHARE"));
        Ok(())
    }
}
