//! What an import would do, found out without doing it.

use std::fs::File;

use crm_core::body::Object;
use crm_core::{FieldError, Result, TenantTx};
use crm_records::Module;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::columns_of;
use crate::judge::{Judge, Step};
use crate::mapping::{MappedColumn, map_columns};
use crate::model::{Duplicates, Examined, ImportOptions, may_import};
use crate::rows::Outcome;
use crate::source::Source;
use crate::write::write;

/// Rows that are judged together.
pub(crate) const BATCH: usize = 500;

/// Rows that a preview judges; the others it counts.
pub(crate) const MOST_JUDGED: usize = 5_000;

/// Rows that a preview shows unless told otherwise.
const SHOWN: usize = 20;

/// What an import would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct Preview {
    /// What separates the cells.
    pub delimiter: char,
    /// How the text is written.
    pub encoding: &'static str,
    /// The columns and where they go.
    pub columns: Vec<MappedColumn>,
    /// Rows of data in the file.
    pub rows_total: u32,
    /// The first of them.
    pub verdicts: Vec<RowVerdict>,
    /// How many of them would do what.
    pub summary: PreviewSummary,
}

/// What one row would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct RowVerdict {
    /// Its place among the rows of data, from 1.
    pub row: u32,
    /// Whether it would not be refused.
    pub ok: bool,
    /// `create`, `update`, `skip` or `error`.
    pub action: &'static str,
    /// What it says of its record.
    #[schema(value_type = Object)]
    pub values: Object,
    /// What is wrong with it.
    pub errors: Vec<FieldError>,
    /// The record that is there already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate_of: Option<Uuid>,
}

/// How many rows would do what.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct PreviewSummary {
    /// Rows that were judged: the first 5,000 of a file.
    pub judged: u32,
    /// Those that would make a record.
    pub create: u32,
    /// Those that would change one.
    pub update: u32,
    /// Those that would be left out.
    pub skip: u32,
    /// Those that would be refused.
    pub error: u32,
}

/// Finds out what importing a file would do. It writes nothing.
///
/// # Errors
/// As [`may_import`]; 400 and 422 for a file or a mapping that is not understood.
pub async fn preview<M: Module>(
    t: &mut TenantTx,
    source: &mut Source,
    options: &ImportOptions,
) -> Result<Preview> {
    let duplicates = options.duplicates.unwrap_or(Duplicates::Error);
    may_import::<M>(t, duplicates)?;
    let columns = map_columns(&source.header, &columns_of::<M>(t).await?, options.mapping.as_deref())?;
    let fields = columns.iter().map(|column| column.field.as_deref());
    let mut judge = Judge::new::<M>(t, fields, options.habits, duplicates, true).await?;
    let (mut verdicts, mut summary) = (Vec::new(), PreviewSummary::default());
    let shown = options.limit.unwrap_or(SHOWN);
    while (summary.judged as usize) < MOST_JUDGED {
        let rows = source.next_rows(BATCH)?;
        if rows.is_empty() {
            break;
        }
        let items = judge.judge::<M>(t, rows).await?;
        let seen: Vec<_> = items
            .iter()
            .map(|item| {
                let there =
                    if let Step::Update(id) | Step::Skip(Some(id)) = &item.step { Some(*id) } else { None };
                (item.object.clone(), there)
            })
            .collect();
        // They come back in the order of their numbers, which is that of the file.
        let worked = write::<M>(t, &judge, items).await?;
        for (row, (values, duplicate_of)) in worked.into_iter().zip(seen) {
            summary.judged += 1;
            let (count, action, errors) = match row.outcome {
                Outcome::Created(..) => (&mut summary.create, "create", Vec::new()),
                Outcome::Updated(..) => (&mut summary.update, "update", Vec::new()),
                Outcome::Skipped(_) => (&mut summary.skip, "skip", Vec::new()),
                Outcome::Failed(faults) => (&mut summary.error, "error", faults),
            };
            *count += 1;
            if verdicts.len() < shown {
                let ok = errors.is_empty();
                verdicts.push(RowVerdict { row: row.number, ok, action, values, errors, duplicate_of });
            }
        }
    }
    while source.next_row()?.is_some() {}
    Ok(Preview {
        delimiter: source.delimiter,
        encoding: source.encoding,
        columns,
        rows_total: source.read_so_far(),
        verdicts,
        summary,
    })
}

/// Looks at a whole file before it is imported: a fault of the file is told at once.
///
/// # Errors
/// As [`preview`]; 422 for a file without rows.
pub async fn examine<M: Module>(t: &mut TenantTx, file: File, options: &ImportOptions) -> Result<Examined> {
    may_import::<M>(t, options.duplicates.unwrap_or(Duplicates::Error))?;
    let mut source = Source::open(file, options.delimiter.as_deref())?;
    let columns = map_columns(&source.header, &columns_of::<M>(t).await?, options.mapping.as_deref())?;
    let refused = |message| crm_core::Error::field("file", crm_core::FieldCode::InvalidValue, message);
    if columns.iter().all(|column| column.field.is_none()) {
        return Err(refused("no column of the file goes into a field"));
    }
    let mut rows = 0;
    while source.next_row()?.is_some() {
        rows += 1;
    }
    if rows == 0 {
        return Err(refused("the file has no rows below its header"));
    }
    let total_rows = i32::try_from(source.read_so_far()).unwrap_or(i32::MAX);
    Ok(Examined { delimiter: source.delimiter, encoding: source.encoding, columns, total_rows })
}
