//! What came of each row: written, and read again as a file of what was refused.

use crm_core::{Error, FieldError, OrgId, Result, TenantTx};
use crm_schema::import_rows;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::cell::{Cell, join};
use crate::model::{self, Kept};

/// Rows of one page of [`refused`].
const PAGE: i64 = 500;

/// What came of a row.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It made a record: with what its version does not tell of how it was made.
    Created(Uuid, i64, Option<Value>),
    /// It changed one: with the fields that it changed, as they were.
    Updated(Uuid, i64, Value),
    /// It did nothing, because its record is there.
    Skipped(Option<Uuid>),
    /// It was refused.
    Failed(Vec<FieldError>),
}

/// A row that has been worked on.
#[derive(Debug)]
pub(crate) struct Worked {
    pub(crate) number: u32,
    pub(crate) cells: Vec<String>,
    pub(crate) outcome: Outcome,
}

#[derive(Insertable)]
#[diesel(table_name = import_rows, treat_none_as_default_value = false)]
struct NewRow {
    org_id: OrgId,
    import_id: Uuid,
    row_number: i32,
    outcome: &'static str,
    record_id: Option<Uuid>,
    record_version: Option<i64>,
    before: Option<Value>,
    errors: Option<Value>,
    cells: Option<Value>,
}

/// Writes what came of rows.
pub(crate) async fn put(t: &mut TenantTx, import: Uuid, rows: &[Worked]) -> Result<()> {
    let org = t.org();
    let row = |worked: &Worked| -> Result<NewRow> {
        let none = NewRow {
            org_id: org,
            import_id: import,
            row_number: number(worked.number),
            outcome: "skipped",
            record_id: None,
            record_version: None,
            before: None,
            errors: None,
            cells: None,
        };
        Ok(match &worked.outcome {
            Outcome::Created(id, version, made) => NewRow {
                outcome: "created",
                record_id: Some(*id),
                record_version: Some(*version),
                before: made.clone(),
                ..none
            },
            Outcome::Updated(id, version, before) => NewRow {
                outcome: "updated",
                record_id: Some(*id),
                record_version: Some(*version),
                before: Some(before.clone()),
                ..none
            },
            Outcome::Skipped(id) => NewRow { record_id: *id, ..none },
            Outcome::Failed(faults) => NewRow {
                outcome: "failed",
                errors: Some(serde_json::to_value(faults).map_err(Error::internal)?),
                cells: Some(json!(worked.cells)),
                ..none
            },
        })
    };
    for batch in rows.chunks(1_000) {
        let batch = batch.iter().map(row).collect::<Result<Vec<_>>>()?;
        diesel::insert_into(import_rows::table).values(batch).execute(t.conn()?).await?;
    }
    Ok(())
}

pub(crate) fn number(row: u32) -> i32 {
    i32::try_from(row).unwrap_or(i32::MAX)
}

/// A page of the rows that were refused, as cells: number, fields, messages and what stood in the file.
#[derive(Debug)]
pub struct Refused {
    import: Uuid,
    after: Option<i32>,
    header: Vec<String>,
}

impl Refused {
    /// Those of an import that the caller may see.
    ///
    /// # Errors
    /// As [`find`](crate::find).
    pub async fn begin(t: &mut TenantTx, import: Uuid) -> Result<Self> {
        let found = model::find(t, import).await?;
        let kept = Kept::of(&found.fields)?;
        let own = kept.columns.into_iter().map(|column| column.header);
        let header = ["row", "field", "message"].map(str::to_owned).into_iter().chain(own).collect();
        Ok(Self { import, after: Some(0), header })
    }

    /// What stands above the columns.
    pub fn header(&self) -> Vec<&str> {
        self.header.iter().map(String::as_str).collect()
    }

    /// The next rows; none after the last ones.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn page(&mut self, t: &mut TenantTx) -> Result<Option<Vec<Vec<Cell>>>> {
        let Some(after) = self.after.take() else { return Ok(None) };
        let rows: Vec<(i32, Option<Value>, Option<Value>)> = import_rows::table
            .filter(import_rows::org_id.eq(t.org()).and(import_rows::import_id.eq(self.import)))
            .filter(import_rows::outcome.eq("failed").and(import_rows::row_number.gt(after)))
            .order_by(import_rows::row_number)
            .limit(PAGE)
            .select((import_rows::row_number, import_rows::errors, import_rows::cells))
            .load(t.conn()?)
            .await?;
        if rows.len() as i64 == PAGE {
            self.after = rows.last().map(|(number, ..)| *number);
        }
        Ok(Some(rows.into_iter().map(|(number, errors, cells)| self.cells(number, errors, cells)).collect()))
    }

    fn cells(&self, number: i32, errors: Option<Value>, cells: Option<Value>) -> Vec<Cell> {
        let list = |value: Option<Value>| match value {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        };
        let errors = list(errors);
        let told = |key: &str| errors.iter().filter_map(|fault| fault.get(key)?.as_str()).collect::<Vec<_>>();
        let mut all = vec![
            Cell::Number(number.to_string()),
            Cell::Text(join(told("field"))),
            Cell::Text(told("message").join("; ")),
        ];
        all.extend(list(cells).iter().map(|cell| Cell::Text(cell.as_str().unwrap_or_default().to_owned())));
        // A row may have had more cells than the header, or fewer.
        all.resize(all.len().max(self.header.len()), Cell::Empty);
        all
    }
}
