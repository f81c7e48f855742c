//! A list as a file: every row that the filters let through, page by page, each page in a transaction of its own.

use std::marker::PhantomData;

use crm_core::body::nearest;
use crm_core::{Error, FieldCode, Result, TenantTx};
use crm_records::Module;
use crm_records::list::{Params, Rel};
use serde_json::{Map, Value};

use crate::cell::{Cell, join};
use crate::columns::{Column, Holds, columns_of};

/// Rows of a page: as many as a list gives at once.
const PAGE: &str = "200";

/// The parameters of a list that mean nothing to a file.
const PAGING: [&str; 5] = ["limit", "offset", "cursor", "count", "expand"];

crm_core::text_enum!(
    /// What kind of file.
    Format {
        /// Comma-separated values in UTF-8.
        Csv = "csv",
        /// A workbook of Excel.
        Xlsx = "xlsx",
    }
);

impl Format {
    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        }
    }
}

/// An export under way.
#[derive(Debug)]
pub struct Export<M> {
    /// The kind of file that was asked for.
    pub format: Format,
    columns: Vec<Column>,
    next: Option<Params>,
    begun: bool,
    module: PhantomData<M>,
}

impl<M: Module> Export<M> {
    /// Judges what is asked for.
    ///
    /// # Errors
    /// `Forbidden`; 400 for a parameter that an export does not take. The filters are judged with the first page.
    pub async fn begin(t: &mut TenantTx, params: &Params) -> Result<Self> {
        let mut params = params.clone();
        let format = match params.get("format") {
            None => Format::Csv,
            Some(word) => Format::from_word(word).ok_or_else(|| {
                Error::parameter("format", FieldCode::NotAChoice, format!("{word:?} is not one of csv, xlsx"))
            })?,
        };
        if let Some((key, _)) = params.pairs.iter().find(|(key, _)| PAGING.contains(&key.as_str())) {
            let message = format!("an export has every row and takes no {key}");
            return Err(Error::parameter(key, FieldCode::UnknownParameter, message));
        }
        let mut columns = columns_of::<M>(t).await?;
        if let Some(list) = params.get("fields") {
            columns = chosen(columns, list)?;
        }
        params.pairs.retain(|(key, _)| key != "format" && key != "fields");
        params.pairs.push(("limit".into(), PAGE.into()));
        let shown: Vec<_> = columns
            .iter()
            .filter(|column| matches!(column.holds, Holds::Related(_)))
            .map(|column| column.name.as_str())
            .collect();
        if !shown.is_empty() {
            params.pairs.push(("expand".into(), shown.join(",")));
        }
        Ok(Self { format, columns, next: Some(params), begun: false, module: PhantomData })
    }

    /// How many rows there are in all.
    ///
    /// # Errors
    /// Those of the list.
    pub async fn total(&self, t: &mut TenantTx) -> Result<u64> {
        let Some(params) = &self.next else { return Ok(0) };
        let mut params = params.clone();
        params.pairs.retain(|(key, _)| key != "limit" && key != "expand");
        params
            .pairs
            .extend([("limit", "1"), ("count", "true")].map(|(key, value)| (key.into(), value.into())));
        let count = M::list(t, &params).await?.count;
        Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or_default())
    }

    /// What stands above the columns, once the first page is there.
    pub fn header(&self) -> Vec<&str> {
        self.columns.iter().map(|column| column.name.as_str()).collect()
    }

    /// The next rows; none after the last ones.
    ///
    /// # Errors
    /// Those of the list.
    pub async fn page(&mut self, t: &mut TenantTx) -> Result<Option<Vec<Vec<Cell>>>> {
        let Some(params) = self.next.take() else { return Ok(None) };
        let page = M::list(t, &params).await?;
        if let Some(link) = page.next {
            let query = link.split_once('?').map_or("", |(_, query)| query);
            let pairs = serde_urlencoded::from_str(query).map_err(Error::internal)?;
            self.next = Some(Params { path: params.path, pairs });
        }
        let mut rows = Vec::with_capacity(page.results.len());
        for record in page.results {
            match serde_json::to_value(record).map_err(Error::internal)? {
                Value::Object(record) => rows.push(record),
                _ => return Err(Error::internal("a record is a JSON object")),
            }
        }
        if !self.begun
            && let Some(first) = rows.first()
        {
            // A list may be filtered by more than its records show.
            let shown = |column: &Column| column.writable || first.contains_key(&column.name);
            self.columns.retain(shown);
        }
        self.begun = true;
        Ok(Some(
            rows.iter().map(|row| self.columns.iter().map(|column| cell(column, row)).collect()).collect(),
        ))
    }
}

/// Those of the columns that `fields` names, in its order.
fn chosen(columns: Vec<Column>, list: &str) -> Result<Vec<Column>> {
    let named = |column: &Column, word: &str| {
        column.name == word || column.field == word && !matches!(column.holds, Holds::Custom(_))
    };
    let mut chosen: Vec<Column> = Vec::new();
    for word in list.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let Some(column) = columns.iter().find(|column| named(column, word)) else {
            let hint = nearest(word, columns.iter().map(|column| column.name.as_str()));
            let hint = hint.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            let message = format!("there is no field {word} here{hint}");
            return Err(Error::parameter("fields", FieldCode::NotAChoice, message));
        };
        if !chosen.contains(column) {
            chosen.push(column.clone());
        }
    }
    if chosen.is_empty() {
        return Err(Error::parameter("fields", FieldCode::Required, "at least one field is needed"));
    }
    Ok(chosen)
}

fn cell(column: &Column, row: &Map<String, Value>) -> Cell {
    let value = match &column.holds {
        Holds::Custom(_) => row.get("custom_fields").and_then(|own| own.get(&column.field)),
        _ => row.get(&column.name),
    };
    match (value, &column.holds) {
        (None | Some(Value::Null), _) => Cell::Empty,
        (Some(Value::Bool(value)), _) => Cell::Bool(*value),
        (Some(Value::Number(number)), _) => Cell::Number(number.to_string()),
        (Some(Value::String(amount)), Holds::Money) => Cell::Number(amount.clone()),
        (Some(Value::String(text)), _) => Cell::Text(text.clone()),
        (Some(Value::Array(items)), holds) if items.iter().all(is_told) => {
            match join(items.iter().map(|item| told(item, holds))) {
                none if none.is_empty() => Cell::Empty,
                joined => Cell::Text(joined),
            }
        }
        (Some(item @ Value::Object(_)), holds) if is_told(item) => Cell::Text(told(item, holds).to_owned()),
        // What has no place in one cell stands there as it is sent.
        (Some(other), _) => Cell::Text(other.to_string()),
    }
}

fn is_told(item: &Value) -> bool {
    item.is_string() || item.get("id").is_some() && item.get("name").is_some()
}

/// What a relation is called: members by their address, everything else by its name.
fn told<'a>(item: &'a Value, holds: &Holds) -> &'a str {
    let key = if *holds == Holds::Related(Rel::Member) { "email" } else { "name" };
    item.as_str().or_else(|| item.get(key)?.as_str()).unwrap_or_default()
}

/// Rows as lines of a CSV file, below `header` at its beginning.
///
/// # Errors
/// `Internal`.
pub fn csv_chunk(header: Option<&[&str]>, rows: &[Vec<Cell>]) -> Result<Vec<u8>> {
    let mut csv = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    if let Some(header) = header {
        csv.write_record(header.iter().map(|name| crate::guard(name))).map_err(Error::internal)?;
    }
    for row in rows {
        csv.write_record(row.iter().map(Cell::csv)).map_err(Error::internal)?;
    }
    csv.into_inner().map_err(|e| Error::internal(e.to_string()))
}
