//! Rows as what they would do: which record they make or change, or why not.

use std::collections::{BTreeSet, HashMap};

use crm_core::body::Object;
use crm_core::{Error, FieldCode, FieldError, Result, TenantTx, rules};
use crm_records::list::Rel;
use crm_records::{Module, RecordInput};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{Array, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

use crate::convert::{Habits, value_of};
use crate::model::Duplicates;
use crate::names::{Names, is_ours};
use crate::rows::{Outcome, Worked};
use crate::source::Row;
use crate::{Column, Holds, columns_of, split};

/// How many rows are remembered by what they say, where nothing is written.
const MOST_DRAFTS: usize = 10_000;

/// How the rows of one file are judged.
pub(crate) struct Judge {
    /// Where each column goes.
    columns: Vec<Option<Column>>,
    habits: Habits,
    pub(crate) duplicates: Duplicates,
    names: Names,
    key: Option<Key>,
    /// Rows that make a record, by what their records are told apart by.
    seen: HashMap<String, u32>,
    /// What those say of which nothing is written, for the rows that change them.
    drafts: HashMap<String, Object>,
    /// The first row of the batch: of those from here on it is not known yet whether their records can be made.
    batch_from: u32,
    /// Whether nothing is written.
    pub(crate) dry: bool,
}

/// What tells the records of a module apart.
#[derive(Debug, Clone, Copy)]
struct Key {
    field: &'static str,
    column: &'static str,
    plain: fn(&str) -> String,
}

const EMAIL: Key = Key { field: "email", column: "email_normalized", plain: rules::normalize_email };
const NAME: Key = Key { field: "name", column: "name_normalized", plain: rules::normalize_name };
/// The spaces within the name of a deal count.
const DEAL: Key = Key { field: "name", column: "name_normalized", plain: |name| name.trim().to_lowercase() };

impl Key {
    fn of(module: &str) -> Option<Self> {
        match module {
            "leads" | "contacts" => Some(EMAIL),
            "accounts" => Some(NAME),
            "opportunities" => Some(DEAL),
            _ => None,
        }
    }

    fn read(self, object: &Object) -> Option<String> {
        let text = object.get(self.field)?.as_str()?;
        Some((self.plain)(text)).filter(|key| !key.is_empty())
    }
}

/// A row and what it would do.
pub(crate) struct Item<F> {
    pub(crate) number: u32,
    pub(crate) cells: Vec<String>,
    pub(crate) object: Object,
    /// What its record is told apart by.
    pub(crate) key: Option<String>,
    pub(crate) step: Step<F>,
}

/// What a row would do.
pub(crate) enum Step<F> {
    /// Nothing: this is wrong with it.
    Refused(Vec<FieldError>),
    /// Nothing: its record is there, or an earlier row has it.
    Skip(Option<Uuid>),
    /// Make a record.
    Create(Box<RecordInput<F>>),
    /// Change one.
    Update(Uuid),
    /// Whatever becomes of a record that is there, once it is known whether an earlier row has made it; otherwise make it.
    Follow(String),
}

impl Judge {
    pub(crate) async fn new<M: Module>(
        t: &mut TenantTx,
        fields: impl Iterator<Item = Option<&str>>,
        habits: Habits,
        duplicates: Duplicates,
        dry: bool,
    ) -> Result<Self> {
        let known = columns_of::<M>(t).await?;
        let column =
            |field: &str| known.iter().find(|column| column.writable && column.name == field).cloned();
        Ok(Self {
            columns: fields.map(|field| field.and_then(column)).collect(),
            habits,
            duplicates,
            names: Names::load(t).await?,
            key: Key::of(M::NAME),
            seen: HashMap::new(),
            drafts: HashMap::new(),
            batch_from: 0,
            dry,
        })
    }

    /// Judges rows as far as that can be done before anything is written.
    pub(crate) async fn judge<M: Module>(
        &mut self,
        t: &mut TenantTx,
        rows: Vec<Row>,
    ) -> Result<Vec<Item<M::Fields>>> {
        self.batch_from = rows.as_slice().first().map_or(u32::MAX, |row| row.number);
        let mut accounts = BTreeSet::new();
        for row in &rows {
            for (cell, column) in row.cells.iter().zip(&self.columns).filter(|(cell, _)| !cell.is_empty()) {
                if column.as_ref().is_some_and(|column| column.holds == Holds::Related(Rel::Account)) {
                    accounts.insert(cell.clone());
                }
            }
        }
        self.names.find_accounts(t, accounts).await?;
        let read: Vec<_> = rows
            .into_iter()
            .map(|row| {
                let (object, faults) = self.read(&row, true);
                (row, object, faults)
            })
            .collect();
        let keys: Vec<String> = match self.key {
            Some(key) => read.iter().filter_map(|(_, object, _)| key.read(object)).collect(),
            None => Vec::new(),
        };
        let known = self.known::<M>(t, keys).await?;
        let mut items: Vec<_> =
            read.into_iter().map(|(row, object, faults)| self.decide(row, object, faults, &known)).collect();
        if !self.dry {
            self.make_tags(t, &mut items).await?;
        }
        Ok(items)
    }

    /// Makes the tags that are not there, for rows with which nothing else is wrong.
    async fn make_tags<F>(&mut self, t: &mut TenantTx, items: &mut [Item<F>]) -> Result<()>
    where
        F: serde::de::DeserializeOwned + validator::Validate,
    {
        self.names.forget_made();
        let missing = |names: &Names, item: &Item<F>| -> Vec<String> {
            if matches!(item.step, Step::Refused(_) | Step::Skip(_)) {
                return Vec::new();
            }
            let of_tags = |column: &Option<Column>| {
                column.as_ref().is_some_and(|column| column.holds == Holds::Related(Rel::Tag))
            };
            let cells = item.cells.iter().zip(&self.columns).filter(|(_, column)| of_tags(column));
            cells.flat_map(|(cell, _)| split(cell)).filter(|name| names.lacks_tag(name)).collect()
        };
        let (mut wanted, mut places) = (BTreeSet::new(), Vec::new());
        for (place, item) in items.iter().enumerate() {
            let names = missing(&self.names, item);
            if !names.is_empty() {
                wanted.extend(names);
                places.push(place);
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        self.names.make_tags(t, &wanted).await?;
        for place in places {
            let Some(item) = items.get_mut(place) else { continue };
            let row = Row { number: item.number, cells: std::mem::take(&mut item.cells), is_ragged: false };
            let (object, faults) = self.read(&row, false);
            item.cells = row.cells;
            let refused = match (&item.step, faults.is_empty()) {
                (_, false) => Some(faults),
                (Step::Create(_), true) => match RecordInput::parse(object.clone()) {
                    Ok(input) => {
                        item.step = Step::Create(Box::new(RecordInput { allow_duplicate: true, ..input }));
                        None
                    }
                    Err(error) => Some(faults_of(&error)),
                },
                _ => None,
            };
            item.object = object;
            if let Some(faults) = refused {
                item.step = Step::Refused(faults);
                self.forget(item.key.as_deref(), item.number);
            }
        }
        Ok(())
    }

    /// Takes the tags away again that were made for rows which were refused all the same.
    pub(crate) async fn tidy(&mut self, t: &mut TenantTx, worked: &[Worked]) -> Result<()> {
        if worked.iter().any(|row| matches!(row.outcome, Outcome::Failed(_))) {
            self.names.drop_unused(t).await?;
        }
        Ok(())
    }

    /// The row that makes the record of this key.
    pub(crate) fn seen(&self, key: &str) -> Option<u32> {
        self.seen.get(key).copied()
    }

    /// A row makes the record of this key after all, whatever an earlier one would have made.
    pub(crate) fn see(&mut self, key: String, row: u32) {
        self.seen.insert(key, row);
    }

    /// A row does not make the record of this key after all: a later one may.
    pub(crate) fn forget(&mut self, key: Option<&str>, row: u32) {
        if let Some(key) = key.filter(|key| self.seen.get(*key) == Some(&row)) {
            self.seen.remove(key);
        }
    }

    /// Remembers what is known of a record that is not written.
    pub(crate) fn draft(&mut self, key: String, object: Object) {
        if self.dry && (self.drafts.len() < MOST_DRAFTS || self.drafts.contains_key(&key)) {
            self.drafts.insert(key, object);
        }
    }

    /// What is known of a record that is not written, with a row's changes; none where that is not remembered.
    pub(crate) fn redrafted(&self, key: &str, change: Object) -> Option<Object> {
        self.drafts.get(key).map(|draft| crm_core::body::merge(draft.clone(), change))
    }

    /// What is wrong with a row whose record an earlier one makes.
    pub(crate) fn twin(&self, earlier: u32) -> Vec<FieldError> {
        let field = self.key.map_or("", |key| key.field);
        let message = format!("row {earlier} of the file has the same {field}");
        vec![FieldError::new(field, FieldCode::Taken, message)]
    }

    /// The records that are there, by what they are told apart by.
    pub(crate) async fn known<M: Module>(
        &self,
        t: &mut TenantTx,
        keys: Vec<String>,
    ) -> Result<HashMap<String, Uuid>> {
        let Some(key) = self.key.filter(|_| !keys.is_empty()) else { return Ok(HashMap::new()) };
        let known = Known { table: M::TARGET.resource.table, column: key.column, org: t.org().0, keys };
        Ok(known.load::<(String, Uuid)>(t.conn()?).await?.into_iter().collect())
    }

    /// The row as a body. `lenient` takes tags that could be made for ones that are there.
    fn read(&self, row: &Row, lenient: bool) -> (Object, Vec<FieldError>) {
        let (mut object, mut own, mut faults) = (Object::new(), Object::new(), Vec::new());
        if row.is_ragged {
            let message = format!("the row has more cells than the header, which has {}", self.columns.len());
            faults.push(FieldError::new("", FieldCode::InvalidValue, message));
            return (object, faults);
        }
        for (cell, column) in row.cells.iter().zip(&self.columns) {
            let Some(column) = column.as_ref().filter(|_| !cell.is_empty()) else { continue };
            let value = match column.holds {
                Holds::Related(rel) => self.related(column, rel, cell, lenient),
                _ => value_of(column, cell, self.habits),
            };
            match value {
                Err(fault) => faults.push(fault),
                Ok(value) if matches!(column.holds, Holds::Custom(_)) => {
                    drop(own.insert(column.field.clone(), value))
                }
                Ok(value) => drop(object.insert(column.field.clone(), value)),
            }
        }
        if !own.is_empty() {
            object.insert("custom_fields".into(), Value::Object(own));
        }
        (object, faults)
    }

    fn related(&self, column: &Column, rel: Rel, cell: &str, lenient: bool) -> Result<Value, FieldError> {
        let find = |name: &str| self.names.find(rel, name, &column.name, lenient);
        let id = |id: Option<Uuid>| id.map(|id| Value::String(id.to_string()));
        // A field of one id is shown without its ending.
        if column.name != column.field {
            return Ok(id(find(cell)?).unwrap_or(Value::Null));
        }
        let ids = split(cell)
            .iter()
            .filter_map(|name| find(name).map(id).transpose())
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Value::Array(ids))
    }

    fn decide<F>(
        &mut self,
        row: Row,
        object: Object,
        mut faults: Vec<FieldError>,
        known: &HashMap<String, Uuid>,
    ) -> Item<F>
    where
        F: serde::de::DeserializeOwned + validator::Validate,
    {
        let Row { number, cells, .. } = row;
        let key = self.key.and_then(|key| Some((key, key.read(&object)?)));
        let there = key.as_ref().and_then(|(_, key)| known.get(key)).copied();
        let earlier = key.as_ref().and_then(|(_, key)| self.seen.get(key)).copied();
        let step = match (there, earlier, self.duplicates, &key) {
            _ if !faults.is_empty() && (there.is_some() || earlier.is_some()) => Step::Refused(faults),
            // Whether that one can be made shows only when it is written.
            (None, Some(earlier), _, Some((_, key))) if earlier >= self.batch_from => {
                Step::Follow(key.clone())
            }
            (_, Some(earlier), Duplicates::Error, _) => Step::Refused(self.twin(earlier)),
            (Some(_), None, Duplicates::Error, Some((key, _))) => {
                let message = format!("another record of the organization has this {}", key.field);
                Step::Refused(vec![FieldError::new(key.field, FieldCode::Taken, message)])
            }
            (Some(_), _, Duplicates::Skip, _) | (_, Some(_), Duplicates::Skip, _) => Step::Skip(there),
            (Some(id), _, Duplicates::Update, _) => Step::Update(id),
            (None, Some(_), Duplicates::Update, Some((_, key))) => Step::Follow(key.clone()),
            _ => match RecordInput::parse(object.clone()) {
                Ok(input) if faults.is_empty() => {
                    if let Some((_, key)) = &key {
                        self.seen.insert(key.clone(), number);
                    }
                    // What merely looks like another record is for a person to judge, not for a file.
                    Step::Create(Box::new(RecordInput { allow_duplicate: true, ..input }))
                }
                Ok(_) => Step::Refused(faults),
                Err(error) => {
                    faults.extend(faults_of(&error));
                    Step::Refused(faults)
                }
            },
        };
        Item { number, cells, object, key: key.map(|(_, key)| key), step }
    }
}

/// The refusal of a row as what is wrong with its fields.
pub(crate) fn faults_of(error: &Error) -> Vec<FieldError> {
    match error {
        Error::Fields(_, faults) => faults.clone(),
        error if is_ours(error) => vec![FieldError::new("", FieldCode::InvalidValue, "could not be judged")],
        other => vec![FieldError::new("", FieldCode::NotAllowed, other.to_string())],
    }
}

/// `SELECT key, id FROM table WHERE org_id = … AND key = ANY(…)`.
struct Known {
    table: &'static str,
    column: &'static str,
    org: Uuid,
    keys: Vec<String>,
}

impl Query for Known {
    type SqlType = (Text, SqlUuid);
}

impl QueryId for Known {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Known {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT ");
        out.push_identifier(self.column)?;
        out.push_sql(", id FROM ");
        out.push_identifier(self.table)?;
        out.push_sql(" WHERE org_id = ");
        out.push_bind_param::<SqlUuid, _>(&self.org)?;
        out.push_sql(" AND ");
        out.push_identifier(self.column)?;
        out.push_sql(" = ANY(");
        out.push_bind_param::<Array<Text>, _>(&self.keys)?;
        out.push_sql(")");
        Ok(())
    }
}
