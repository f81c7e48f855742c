//! One row of every tenant table for a throw-away organization, made from nothing but the catalog.

use std::collections::BTreeMap;

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::values::invented;
use crate::tenancy::ORG;
use crate::tenancy::catalog::{Check, Column, ForeignKey, Relation, literal, quoted, rows};
use crate::{Error, Result};

/// Column -> value, as PostgreSQL turns rows into JSON and back.
pub(super) type Row = Map<String, Value>;

/// The table whose ids `org_id` refers to.
const ORGANIZATIONS: &str = "organizations";

/// A throw-away organization with the rows made for it so far.
pub(super) struct Sample {
    pub(super) org: Uuid,
    /// Table -> its row, or why none could be made.
    rows: BTreeMap<String, Result<Row, String>>,
}

impl Sample {
    pub(super) fn new() -> Self {
        Self { org: Uuid::now_v7(), rows: BTreeMap::new() }
    }

    /// The row made in `table`, or why there is none.
    pub(super) fn row(&self, table: &str) -> Result<&Row, String> {
        match self.rows.get(table) {
            Some(Ok(row)) => Ok(row),
            Some(Err(reason)) => Err(reason.clone()),
            None => Err(format!("there is no row of {table} yet")),
        }
    }

    /// The values that make a row refer to the row at the other end of `key`; none beside the organization, perhaps.
    pub(super) fn reference(&self, key: &ForeignKey) -> Result<Row, String> {
        let target = self.row(&key.target)?;
        let value = |there: &String| target.get(there).cloned().unwrap_or_default();
        let columns = key.columns.iter().filter(|(here, _)| here != ORG);
        Ok(columns.map(|(here, there)| (here.clone(), value(there))).collect())
    }

    /// Makes a row in `table` and remembers it, or why that failed.
    pub(super) async fn add(&mut self, conn: &mut AsyncPgConnection, table: &Relation) -> Result<()> {
        conn.batch_execute(&format!("SET LOCAL app.current_org = '{}'", self.org)).await?;
        let row = match self.draft(conn, table, &Row::new()).await? {
            Ok(draft) => {
                let store =
                    format!("{} RETURNING to_json({}.*) AS row", insert(table, &draft), quoted(&table.name));
                first_row(conn, &store).await?
            }
            Err(reason) => Err(reason),
        };
        let row = row.map_err(|reason| format!("no row of {} could be made: {reason}", table.name));
        self.rows.insert(table.name.clone(), row);
        Ok(())
    }

    /// A row that `table` should take, with `fixed` values, not stored: PostgreSQL itself looks among the values that every
    /// column may have for a combination that satisfies the CHECK constraints.
    pub(super) async fn draft(
        &self,
        conn: &mut AsyncPgConnection,
        table: &Relation,
        fixed: &Row,
    ) -> Result<Result<Row, String>> {
        let has_a_say = |column: &Column| joint(table).any(|check| check.is_on(column));
        let is_named = |column: &Column| {
            column.is_writable()
                && (column.is_required() || has_a_say(column) || fixed.contains_key(&column.name))
        };
        let columns = table.columns.iter().filter(|column| is_named(column));
        let sources: Result<Vec<_>, String> =
            columns.map(|column| self.source(table, column, fixed)).collect();
        match sources {
            Ok(sources) => {
                let (sources, rules) = (sources.join(", "), all_hold(joint(table)));
                let search = format!("SELECT * FROM {sources} WHERE {rules} LIMIT 1");
                first_row(conn, &format!("SELECT to_json(d) AS row FROM ({search}) d")).await
            }
            Err(reason) => Ok(Err(reason)),
        }
    }

    /// A subquery of the values that `column` may have as far as its own CHECK constraints go.
    fn source(&self, table: &Relation, column: &Column, fixed: &Row) -> Result<String, String> {
        let (name, sql_type) = (quoted(&column.name), &column.sql_type);
        let values = match &column.default {
            Some(default) if !fixed.contains_key(&column.name) => {
                format!("SELECT ({default})::{sql_type} AS {name}")
            }
            _ => {
                let values = Value::from(self.values(table, column, fixed)?).to_string();
                format!(
                    "SELECT v::{sql_type} AS {name} FROM json_array_elements_text({}) v",
                    literal(&values)
                )
            }
        };
        let rules = all_hold(table.checks.iter().filter(|check| !check.is_joint() && check.is_on(column)));
        // One is enough where no other column has a say in it.
        let limit = if joint(table).any(|check| check.is_on(column)) { "ALL" } else { "1" };
        Ok(format!("(SELECT * FROM ({values}) {name} WHERE {rules} LIMIT {limit}) {name}"))
    }

    /// The values that `column` may have, most welcome first.
    fn values(&self, table: &Relation, column: &Column, fixed: &Row) -> Result<Vec<Value>, String> {
        let name = &column.name;
        if let Some(value) = fixed.get(name) {
            return Ok(vec![value.clone()]);
        }
        if name == ORG || (table.name == ORGANIZATIONS && name == "id") {
            return Ok(vec![json!(self.org)]);
        }
        let mut values = if column.not_null { Vec::new() } else { vec![Value::Null] };
        let mut keys = table
            .foreign_keys
            .iter()
            .filter(|key| key.columns.iter().any(|(here, _)| here == name))
            .peekable();
        if keys.peek().is_none() {
            values.extend(invented(column, &table.checks).into_iter().map(Value::from));
        }
        for key in keys {
            match self.reference(key) {
                Ok(reference) => values.extend(reference.get(name).cloned()),
                Err(reason) if column.not_null => return Err(reason),
                Err(_) => {}
            }
        }
        Ok(values)
    }
}

/// An INSERT of `row`.
pub(super) fn insert(table: &Relation, row: &Row) -> String {
    let written =
        table.columns.iter().filter(|column| column.is_writable() && row.contains_key(&column.name));
    let columns = written.map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ");
    let name = quoted(&table.name);
    let row = literal(&Value::Object(row.clone()).to_string());
    format!("INSERT INTO {name} ({columns}) SELECT {columns} FROM json_populate_record(NULL::{name}, {row})")
}

/// The CHECK constraints on several columns at once.
fn joint(table: &Relation) -> impl Iterator<Item = &Check> {
    table.checks.iter().filter(|check| check.is_joint())
}

fn all_hold<'a>(checks: impl Iterator<Item = &'a Check>) -> String {
    let rules = checks.map(|check| format!("({}) IS NOT FALSE", check.expression));
    std::iter::once("true".to_owned()).chain(rules).collect::<Vec<_>>().join(" AND ")
}

/// The first row that `sql` answers. What the server has against it is the inner error and leaves the transaction usable.
async fn first_row<T: DeserializeOwned>(
    conn: &mut AsyncPgConnection,
    sql: &str,
) -> Result<Result<T, String>> {
    conn.batch_execute("SAVEPOINT sample").await?;
    let answer = rows::<T>(conn, sql).await;
    conn.batch_execute(if answer.is_ok() { "RELEASE sample" } else { "ROLLBACK TO sample; RELEASE sample" })
        .await?;
    Ok(match answer {
        Ok(rows) => rows
            .into_iter()
            .next()
            .ok_or_else(|| "nothing that is tried fits its types and CHECK constraints".into()),
        Err(Error::Internal(cause)) => Err(cause.to_string()),
        Err(other) => Err(other.to_string()),
    })
}
