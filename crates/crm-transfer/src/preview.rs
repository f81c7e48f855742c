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
use crate::names::is_ours;
use crate::rows::{Outcome, number};
use crate::source::Source;
use crate::write::write;

/// Rows that are judged together.
pub(crate) const BATCH: usize = 500;

/// Rows that a preview judges; the others it counts.
pub(crate) const MOST_JUDGED: usize = 5_000;

/// Changes that a preview tries out: they take longer than what is new.
const MOST_TRIED: usize = 1_000;

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
    /// The record that is there already, if you may look at it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate_of: Option<Uuid>,
}

/// How many rows would do what.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct PreviewSummary {
    /// Rows that were judged: the first 5,000 of a file, fewer where more than 1,000 of them change a record.
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
    t.keep_quiet();
    let columns = map_columns(&source.header, &columns_of::<M>(t).await?, options.mapping.as_deref())?;
    let fields = columns.iter().map(|column| column.field.as_deref());
    let mut judge = Judge::new::<M>(t, fields, options.habits, duplicates, true).await?;
    let (mut verdicts, mut summary) = (Vec::new(), PreviewSummary::default());
    let shown = options.limit.unwrap_or(SHOWN);
    let mut tried = 0;
    while (summary.judged as usize) < MOST_JUDGED && tried < MOST_TRIED {
        let rows = source.next_rows(BATCH)?;
        if rows.is_empty() {
            break;
        }
        let items = judge.judge::<M>(t, rows).await?;
        let seen: Vec<_> = items
            .iter()
            .map(|item| {
                tried += usize::from(matches!(item.step, Step::Update(_)));
                let there =
                    if let Step::Update(id) | Step::Skip(Some(id)) = &item.step { Some(*id) } else { None };
                (item.object.clone(), there)
            })
            .collect();
        // They come back in the order of their numbers, which is that of the file.
        let worked = write::<M>(t, &mut judge, items).await?;
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
                let duplicate_of = visible::<M>(t, duplicate_of).await?;
                let ok = errors.is_empty();
                verdicts.push(RowVerdict { row: row.number, ok, action, values, errors, duplicate_of });
            }
        }
    }
    let rows_total = match source.last_row() {
        Some(last) => last,
        None => {
            while source.next_row()?.is_some() {}
            source.read_so_far()
        }
    };
    Ok(Preview {
        delimiter: source.delimiter,
        encoding: source.encoding,
        columns,
        rows_total,
        verdicts,
        summary,
    })
}

/// The record, if the caller may look at it: that there is one must be told, which one need not.
async fn visible<M: Module>(t: &mut TenantTx, record: Option<Uuid>) -> Result<Option<Uuid>> {
    let Some(id) = record else { return Ok(None) };
    match M::TARGET.check_view(t, id).await {
        Ok(()) => Ok(record),
        Err(error) if is_ours(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Looks at a whole file before it is imported: a fault of the file is told at once.
///
/// # Errors
/// As [`preview`]; 422 for a file without rows.
pub async fn examine<M: Module>(t: &mut TenantTx, file: File, options: &ImportOptions) -> Result<Examined> {
    may_import::<M>(t, options.duplicates.unwrap_or(Duplicates::Error))?;
    let source = Source::survey(file, options.delimiter.as_deref())?;
    understand::<M>(t, &source, options).await
}

/// The same for a file that has been [surveyed](Source::survey).
///
/// # Errors
/// As [`examine`].
pub async fn understand<M: Module>(
    t: &mut TenantTx,
    source: &Source,
    options: &ImportOptions,
) -> Result<Examined> {
    may_import::<M>(t, options.duplicates.unwrap_or(Duplicates::Error))?;
    let columns = map_columns(&source.header, &columns_of::<M>(t).await?, options.mapping.as_deref())?;
    let refused = |message| crm_core::Error::field("file", crm_core::FieldCode::InvalidValue, message);
    if columns.iter().all(|column| column.field.is_none()) {
        return Err(refused("no column of the file goes into a field"));
    }
    if source.has_no_rows() {
        return Err(refused("the file has no rows below its header"));
    }
    let total_rows = number(source.last_row().unwrap_or_default());
    Ok(Examined { delimiter: source.delimiter, encoding: source.encoding, columns, total_rows })
}
