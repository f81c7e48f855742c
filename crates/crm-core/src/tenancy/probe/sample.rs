//! One row of every tenant table for a throw-away organization, made from nothing but the catalog.

use std::collections::{BTreeMap, BTreeSet};

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use uuid::Uuid;

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

    /// A row that `table` should take, with `fixed` values, not stored: PostgreSQL itself looks among the candidates of every
    /// column for a combination that satisfies the CHECK constraints.
    pub(super) async fn draft(
        &self,
        conn: &mut AsyncPgConnection,
        table: &Relation,
        fixed: &Row,
    ) -> Result<Result<Row, String>> {
        let (joint, single): (Vec<&Check>, Vec<&Check>) =
            table.checks.iter().partition(|check| check.columns.len() > 1);
        let on = |checks: &[&Check], column: &Column| {
            checks.iter().any(|check| check.columns.contains(&column.name))
        };
        let mut sources = Vec::new();
        for column in &table.columns {
            let in_joint = on(&joint, column);
            if !column.is_writable()
                || !(column.is_required() || in_joint || fixed.contains_key(&column.name))
            {
                continue;
            }
            let values = match self.candidates(table, column, fixed) {
                Ok(values) => values,
                Err(reason) => return Ok(Err(reason)),
            };
            let own = single.iter().filter(|check| check.columns.contains(&column.name)).copied();
            // One is enough where no other column has a say in it.
            let limit = if in_joint { "ALL" } else { "1" };
            sources.push(format!(
                "(SELECT * FROM ({values}) c WHERE {} LIMIT {limit}) c{}",
                all_hold(own),
                sources.len()
            ));
        }
        let sources = sources.join(", ");
        let rule = all_hold(joint.into_iter());
        let search =
            format!("SELECT to_json(d) AS row FROM (SELECT * FROM {sources} WHERE {rule} LIMIT 1) d");
        first_row(conn, &search).await
    }

    /// A query of the values that `column` may have, most welcome first.
    fn candidates(&self, table: &Relation, column: &Column, fixed: &Row) -> Result<String, String> {
        let Column { name, sql_type, .. } = column;
        let is_org = name == ORG || (table.name == ORGANIZATIONS && name == "id");
        let keys = table.foreign_keys.iter().filter(|key| key.columns.iter().any(|(here, _)| here == name));
        let mut values = Vec::new();
        if let Some(value) = fixed.get(name) {
            values.push(value.clone());
        } else if is_org {
            values.push(json!(self.org));
        } else {
            if !column.not_null {
                values.push(Value::Null);
            }
            let mut refers = false;
            for key in keys {
                refers = true;
                match self.reference(key) {
                    Ok(reference) => values.extend(reference.get(name).cloned()),
                    Err(_) if !column.not_null => {}
                    Err(reason) => return Err(reason),
                }
            }
            if let (false, Some(default)) = (refers, &column.default) {
                return Ok(format!("SELECT ({default})::{sql_type} AS {}", quoted(name)));
            }
            if !refers {
                values.extend(invented(column, &table.checks).into_iter().map(Value::from));
            }
        }
        let values = literal(&Value::from(values).to_string());
        Ok(format!("SELECT v::{sql_type} AS {} FROM json_array_elements_text({values}) v", quoted(name)))
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

/// The tenant tables and what their rows can't do without, each after the tables it refers to: without fail where it must
/// refer, and otherwise unless they go in a circle.
pub(super) fn parents_first(all: &[Relation]) -> Vec<&Relation> {
    let mut left = needed(all);
    let mut ordered = Vec::new();
    while !left.is_empty() {
        let still_left = |targets: BTreeSet<&str>| {
            left.iter().filter(|table| targets.contains(table.name.as_str())).count()
        };
        let cost =
            |(_, table): &(usize, &&Relation)| (still_left(must_refer(table)), still_left(may_refer(table)));
        let next = left.iter().enumerate().min_by_key(cost).map_or(0, |(position, _)| position);
        ordered.push(left.remove(next));
    }
    ordered
}

/// The tenant tables, and every table that a row of theirs must refer to, directly or not.
fn needed(all: &[Relation]) -> Vec<&Relation> {
    let mut found: Vec<&Relation> = all.iter().filter(|table| table.is_tenant()).collect();
    let mut seen = 0;
    while let Some(table) = found.get(seen).copied() {
        let parents = must_refer(table);
        let is_new = |other: &&Relation| !found.iter().any(|table| table.name == other.name);
        let new: Vec<_> =
            all.iter().filter(|other| parents.contains(other.name.as_str())).filter(is_new).collect();
        found.extend(new);
        seen += 1;
    }
    found
}

/// The other tables that a row of `table` must refer to.
fn must_refer(table: &Relation) -> BTreeSet<&str> {
    let is_required = |(here, _): &(String, String)| table.column(here).is_some_and(|column| column.not_null);
    targets(table, |key| key.columns.iter().all(is_required))
}

/// The other tables that a row of `table` may refer to.
fn may_refer(table: &Relation) -> BTreeSet<&str> {
    targets(table, |_| true)
}

fn targets(table: &Relation, which: impl Fn(&ForeignKey) -> bool) -> BTreeSet<&str> {
    let keys = table.foreign_keys.iter().filter(|key| key.target != table.name && which(key));
    keys.map(|key| key.target.as_str()).collect()
}

/// Values of the column's type, the words of its CHECK constraints first.
fn invented(column: &Column, checks: &[Check]) -> Vec<String> {
    let rules =
        || checks.iter().filter(|check| check.columns.contains(&column.name)).map(|check| &check.expression);
    let strings = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    let base = column.sql_type.split('(').next().unwrap_or_default();
    match base {
        "uuid" => vec![Uuid::now_v7().to_string()],
        "text" | "citext" | "character" | "character varying" => {
            let words = rules().flat_map(|rule| rule.split('\'').skip(1).step_by(2)).map(str::to_owned);
            words.chain(texts()).collect()
        }
        "smallint" | "integer" | "bigint" | "numeric" | "real" | "double precision" => {
            let numbers = rules().flat_map(|rule| rule.split(|c: char| !c.is_ascii_digit()));
            let numbers = numbers.filter(|number| number.parse::<i16>().is_ok()).map(str::to_owned);
            ["1", "0"].map(str::to_owned).into_iter().chain(numbers).collect()
        }
        "boolean" => strings(&["true", "false"]),
        "date" => strings(&["today", "tomorrow"]),
        "interval" => strings(&["1 day"]),
        "json" | "jsonb" => strings(&["{}", "[]"]),
        "bytea" => vec![format!("\\x{}", Uuid::new_v4().simple())],
        "inet" | "cidr" => strings(&["192.0.2.1"]),
        _ if base.starts_with("timestamp") => strings(&["now", "tomorrow"]),
        _ if base.starts_with("time") => strings(&["12:00", "13:00"]),
        _ if base.ends_with("[]") => strings(&["{}"]),
        _ => Vec::new(),
    }
}

/// Texts of many lengths and shapes that nothing else in the database equals.
fn texts() -> Vec<String> {
    let hex = Uuid::new_v4().simple().to_string();
    // Letters only, for rules that allow no digits.
    let letters: String =
        hex.chars().filter_map(|c| c.to_digit(16)).filter_map(|d| char::from_digit(d + 10, 36)).collect();
    let mut texts: Vec<String> =
        [32, 20, 10, 6, 4, 3, 2, 1].iter().filter_map(|n| letters.get(..*n)).map(str::to_owned).collect();
    texts.extend(texts.iter().map(|text| text.to_uppercase()).collect::<Vec<_>>());
    texts.extend([
        hex.clone(),
        hex.repeat(2),
        format!("{letters}@example.com"),
        format!("https://example.com/{letters}"),
        "+15550123456".into(),
        "#336699".into(),
        "12345".into(),
        "2026-01-01".into(),
    ]);
    texts
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
            .ok_or_else(|| "no value that is tried satisfies its CHECK constraints".into()),
        Err(Error::Internal(cause)) => Err(cause.to_string()),
        Err(other) => Err(other.to_string()),
    })
}
