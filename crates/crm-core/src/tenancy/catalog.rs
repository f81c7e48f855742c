//! What PostgreSQL knows of the tables, read in one query.

use diesel::QueryableByName;
use diesel::sql_types::Json;
use diesel_async::AsyncPgConnection;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{EXCEPTIONS, ORG};
use crate::{Error, Result};

/// A table, view or the like of schema public.
#[derive(Debug, Deserialize)]
pub(super) struct Relation {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) row_security: bool,
    pub(super) forced: bool,
    pub(super) security_invoker: bool,
    pub(super) columns: Vec<Column>,
    pub(super) policies: Vec<Policy>,
    pub(super) indexes: Vec<Index>,
    pub(super) foreign_keys: Vec<ForeignKey>,
    pub(super) checks: Vec<Check>,
    pub(super) triggers: Vec<String>,
    pub(super) grants: Vec<Grant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Kind {
    #[serde(rename = "r")]
    Table,
    #[serde(rename = "p")]
    Partitioned,
    #[serde(rename = "v")]
    View,
    #[serde(rename = "m")]
    MaterializedView,
    #[serde(rename = "f")]
    Foreign,
}

#[derive(Debug, Deserialize)]
pub(super) struct Column {
    pub(super) name: String,
    /// As a cast names it; a domain's base type.
    #[serde(rename = "type")]
    pub(super) sql_type: String,
    pub(super) not_null: bool,
    /// By a default, an identity or an expression.
    pub(super) filled: bool,
    pub(super) default: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Policy {
    pub(super) name: String,
    pub(super) permissive: bool,
    pub(super) all_verbs: bool,
    pub(super) everyone: bool,
    pub(super) using: Option<String>,
    pub(super) with_check: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Index {
    pub(super) name: String,
    pub(super) primary: bool,
    pub(super) unique: bool,
    /// None stands for an expression.
    pub(super) columns: Vec<Option<String>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ForeignKey {
    pub(super) name: String,
    pub(super) target: String,
    /// Column here, column there.
    pub(super) columns: Vec<(String, String)>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Check {
    pub(super) expression: String,
    pub(super) columns: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Grant {
    pub(super) to: String,
    pub(super) verb: String,
}

impl Relation {
    /// Why it is no tenant's, if it stands among the exceptions.
    pub(super) fn exemption(&self) -> Option<&'static str> {
        EXCEPTIONS.iter().find(|exception| exception.table == self.name).map(|exception| exception.reason)
    }

    pub(super) fn is_table(&self) -> bool {
        matches!(self.kind, Kind::Table | Kind::Partitioned)
    }

    /// Whether every row of it belongs to one organization.
    pub(super) fn is_tenant(&self) -> bool {
        self.is_table() && self.exemption().is_none() && self.column(ORG).is_some()
    }

    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    pub(super) fn primary_key(&self) -> Option<&Index> {
        self.indexes.iter().find(|index| index.primary)
    }
}

impl Column {
    /// Whether an INSERT has to name it.
    pub(super) fn is_required(&self) -> bool {
        self.not_null && !self.filled
    }

    /// Whether an INSERT may name it.
    pub(super) fn is_writable(&self) -> bool {
        !self.filled || self.default.is_some()
    }
}

impl Check {
    pub(super) fn is_on(&self, column: &Column) -> bool {
        self.columns.contains(&column.name)
    }

    /// Whether it is about several columns at once.
    pub(super) fn is_joint(&self) -> bool {
        self.columns.len() > 1
    }
}

impl Index {
    pub(super) fn leads_with_org(&self) -> bool {
        self.columns.first().is_some_and(|column| column.as_deref() == Some(ORG))
    }
}

impl ForeignKey {
    /// Whether it carries the organization on both sides.
    pub(super) fn carries_org(&self) -> bool {
        self.columns.iter().any(|(here, there)| here == ORG && there == ORG)
    }
}

/// Whether `name` is a table whose rows belong to one organization each.
pub(super) fn is_tenant(all: &[Relation], name: &str) -> bool {
    all.iter().any(|relation| relation.name == name && relation.is_tenant())
}

/// Everything of schema public that holds or shows rows.
pub(super) async fn relations(conn: &mut AsyncPgConnection) -> Result<Vec<Relation>> {
    rows(conn, include_str!("catalog.sql")).await
}

/// The JSON values that `sql` answers in a column named `row`.
#[expect(clippy::disallowed_methods, reason = "catalog queries, run once")]
pub(super) async fn rows<T: DeserializeOwned>(conn: &mut AsyncPgConnection, sql: &str) -> Result<Vec<T>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Json)]
        row: Value,
    }
    let rows: Vec<Row> = diesel_async::RunQueryDsl::load(diesel::sql_query(sql), conn).await?;
    rows.into_iter().map(|Row { row }| serde_json::from_value(row).map_err(Error::internal)).collect()
}

/// An identifier as SQL writes it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string as SQL writes it.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
