use chrono::{DateTime, NaiveDate, Utc};
use diesel::expression::{AppearsOnTable, Expression, SelectableExpression, ValidGrouping, is_aggregate};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types;
use uuid::Uuid;

use super::own::{Neighbours, own_ids};
use crate::LinkIds;

/// A typed value to bind.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `text`
    Text(String),
    /// `integer`
    Int(i32),
    /// `bigint`
    BigInt(i64),
    /// `boolean`
    Bool(bool),
    /// `date`
    Date(NaiveDate),
    /// `timestamptz`
    Time(DateTime<Utc>),
    /// `uuid`
    Uuid(Uuid),
    /// `text[]`
    Texts(Vec<String>),
    /// `integer[]`
    Ints(Vec<i32>),
    /// `bigint[]`
    BigInts(Vec<i64>),
    /// `date[]`
    Dates(Vec<NaiveDate>),
    /// `timestamptz[]`
    Times(Vec<DateTime<Utc>>),
    /// `uuid[]`
    Uuids(Vec<Uuid>),
}

impl Value {
    pub(super) fn bind<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        use sql_types::{Array, BigInt, Bool, Date, Integer, Text, Timestamptz};
        match self {
            Self::Text(v) => out.push_bind_param::<Text, _>(v),
            Self::Int(v) => out.push_bind_param::<Integer, _>(v),
            Self::BigInt(v) => out.push_bind_param::<BigInt, _>(v),
            Self::Bool(v) => out.push_bind_param::<Bool, _>(v),
            Self::Date(v) => out.push_bind_param::<Date, _>(v),
            Self::Time(v) => out.push_bind_param::<Timestamptz, _>(v),
            Self::Uuid(v) => out.push_bind_param::<sql_types::Uuid, _>(v),
            Self::Texts(v) => out.push_bind_param::<Array<Text>, _>(v),
            Self::Ints(v) => out.push_bind_param::<Array<Integer>, _>(v),
            Self::BigInts(v) => out.push_bind_param::<Array<BigInt>, _>(v),
            Self::Dates(v) => out.push_bind_param::<Array<Date>, _>(v),
            Self::Times(v) => out.push_bind_param::<Array<Timestamptz>, _>(v),
            Self::Uuids(v) => out.push_bind_param::<Array<sql_types::Uuid>, _>(v),
        }
    }

    /// One array of many values of a kind, for `= ANY($1)`: the statement's text stays the same for any number.
    pub(super) fn array(values: Vec<Self>) -> Option<Self> {
        macro_rules! gather {
            ($one:ident, $many:ident) => {
                values
                    .into_iter()
                    .map(|v| if let Self::$one(v) = v { Some(v) } else { None })
                    .collect::<Option<_>>()
                    .map(Self::$many)
            };
        }
        match values.first()? {
            Self::Text(_) => gather!(Text, Texts),
            Self::Int(_) => gather!(Int, Ints),
            Self::BigInt(_) => gather!(BigInt, BigInts),
            Self::Date(_) => gather!(Date, Dates),
            Self::Time(_) => gather!(Time, Times),
            Self::Uuid(_) => gather!(Uuid, Uuids),
            _ => None,
        }
    }
}

/// One condition on a row, made of column names known at compile time and bound values.
#[derive(Debug, Clone, PartialEq)]
pub enum Clause {
    /// `table.column op value`; `op` is one of SQL's comparison operators.
    Compare {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The operator.
        operator: &'static str,
        /// The right side.
        value: Value,
    },
    /// `table.column = ANY(values)`.
    Any(&'static str, &'static str, Value),
    /// `table.column IS [NOT] NULL`.
    Null(&'static str, &'static str, bool),
    /// `table.column ILIKE pattern`, the pattern's own characters escaped by whoever made it.
    Like(&'static str, &'static str, String),
    /// The row has a link, to one of the ids where any are given.
    Linked {
        /// The links of the listed table.
        link: LinkIds,
        /// The organization, which the link table is filtered by too.
        org: Uuid,
        /// The ids; any link where none are given.
        ids: Option<Value>,
    },
    /// The row has a value of a custom field, one of which the condition holds where there is one.
    Custom {
        /// The listed table.
        table: &'static str,
        /// The organization, which the values are filtered by too.
        org: Uuid,
        /// The field's definition.
        definition: Uuid,
        /// A condition on a row of `custom_values`.
        value: Option<Box<Clause>>,
    },
    /// Created by the member, assigned to the member, or on one of the teams; or else among closed neighbours, and only there.
    Own {
        /// The listed table.
        table: &'static str,
        /// The organization.
        org: Uuid,
        /// The member.
        member: Uuid,
        /// The member's teams.
        teams: Value,
        /// What may be looked at beside that.
        neighbours: Option<Neighbours>,
    },
    /// Created by the member, assigned to the member, or on one of the teams: asked of each row by itself, where few rows are met.
    OwnEach {
        /// The table.
        table: &'static str,
        /// The organization.
        org: Uuid,
        /// The member.
        member: Uuid,
        /// The member's teams.
        teams: Value,
    },
    /// `(table.a, table.b, …) op (…)`.
    Tuple(&'static str, Vec<&'static str>, &'static str, Vec<Value>),
    /// Not so.
    Not(Box<Clause>),
    /// All of these.
    All(Vec<Clause>),
    /// One of these.
    AnyOf(Vec<Clause>),
}

impl Clause {
    /// A comparison.
    pub const fn compare(
        table: &'static str,
        column: &'static str,
        operator: &'static str,
        value: Value,
    ) -> Self {
        Self::Compare { table, column, operator, value }
    }

    /// The same condition for a row that another one leads to: a member's records are not gathered for the sake of a few.
    pub(super) fn each(self) -> Self {
        match self {
            Self::Own { table, org, member, teams, neighbours: None } => {
                Self::OwnEach { table, org, member, teams }
            }
            other => other,
        }
    }

    fn walk<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        match self {
            Self::Compare { table, column, operator, value } => {
                name(out, table, column)?;
                out.push_sql(" ");
                out.push_sql(operator);
                out.push_sql(" ");
                value.bind(out)
            }
            Self::Any(table, column, values) => {
                name(out, table, column)?;
                out.push_sql(" = ANY(");
                values.bind(out)?;
                out.push_sql(")");
                Ok(())
            }
            Self::Null(table, column, is) => {
                name(out, table, column)?;
                out.push_sql(if *is { " IS NULL" } else { " IS NOT NULL" });
                Ok(())
            }
            Self::Like(table, column, pattern) => {
                name(out, table, column)?;
                out.push_sql(" ILIKE ");
                out.push_bind_param::<sql_types::Text, _>(pattern)
            }
            Self::Linked { link, org, ids } => {
                out.push_sql("EXISTS (SELECT FROM ");
                out.push_identifier(link.link)?;
                out.push_sql(" k");
                link.walk_within(out)?;
                out.push_sql(" WHERE k.org_id = ");
                out.push_bind_param::<sql_types::Uuid, _>(org)?;
                out.push_sql(" AND k.");
                out.push_identifier(link.owner)?;
                out.push_sql(" = ");
                name(out, link.table, "id")?;
                if let Some(ids) = ids {
                    out.push_sql(" AND k.");
                    out.push_identifier(link.column)?;
                    out.push_sql(" = ANY(");
                    ids.bind(out)?;
                    out.push_sql(")");
                }
                out.push_sql(")");
                Ok(())
            }
            Self::Custom { table, org, definition, value } => {
                // Planned for its values each time: what is rare in one field is common in another.
                out.unsafe_to_cache_prepared();
                out.push_sql("EXISTS (SELECT FROM custom_values WHERE custom_values.org_id = ");
                out.push_bind_param::<sql_types::Uuid, _>(org)?;
                out.push_sql(" AND custom_values.definition_id = ");
                out.push_bind_param::<sql_types::Uuid, _>(definition)?;
                out.push_sql(" AND custom_values.record_id = ");
                name(out, table, "id")?;
                if let Some(value) = value {
                    out.push_sql(" AND ");
                    value.walk(out)?;
                }
                out.push_sql(")");
                Ok(())
            }
            // A union, so that the planner can start from the member's few records as well as from the list.
            Self::Own { table, org, member, teams, neighbours } => {
                name(out, table, "id")?;
                out.push_sql(" IN (");
                let closed = neighbours.as_ref().is_some_and(Neighbours::are_closed);
                if !closed {
                    own_ids(table, org, member, teams, out)?;
                }
                if let Some(neighbours) = neighbours {
                    if !closed {
                        out.push_sql(" UNION ALL ");
                    }
                    neighbours.walk(table, org, member, teams, out)?;
                }
                out.push_sql(")");
                Ok(())
            }
            Self::OwnEach { table, org, member, teams } => {
                out.push_sql("(");
                name(out, table, "created_by")?;
                out.push_sql(" = ");
                out.push_bind_param::<sql_types::Uuid, _>(member)?;
                for (link, column) in [("record_assignees", "membership_id"), ("record_teams", "team_id")] {
                    out.push_sql(" OR EXISTS (SELECT FROM ");
                    out.push_identifier(link)?;
                    out.push_sql(" own WHERE own.org_id = ");
                    out.push_bind_param::<sql_types::Uuid, _>(org)?;
                    out.push_sql(" AND own.record_id = ");
                    name(out, table, "id")?;
                    out.push_sql(" AND own.");
                    out.push_identifier(column)?;
                    if column == "team_id" {
                        out.push_sql(" = ANY(");
                        teams.bind(out)?;
                        out.push_sql(")");
                    } else {
                        out.push_sql(" = ");
                        out.push_bind_param::<sql_types::Uuid, _>(member)?;
                    }
                    out.push_sql(")");
                }
                out.push_sql(")");
                Ok(())
            }
            Self::Tuple(table, columns, operator, values) => {
                out.push_sql("(");
                for (i, column) in columns.iter().enumerate() {
                    out.push_sql(if i == 0 { "" } else { ", " });
                    name(out, table, column)?;
                }
                out.push_sql(") ");
                out.push_sql(operator);
                out.push_sql(" (");
                for (i, value) in values.iter().enumerate() {
                    out.push_sql(if i == 0 { "" } else { ", " });
                    value.bind(out)?;
                }
                out.push_sql(")");
                Ok(())
            }
            Self::Not(inner) => {
                out.push_sql("NOT (");
                inner.walk(out)?;
                out.push_sql(")");
                Ok(())
            }
            Self::All(clauses) => joined(clauses, " AND ", "TRUE", out),
            Self::AnyOf(clauses) => joined(clauses, " OR ", "FALSE", out),
        }
    }
}

pub(super) fn name(out: &mut AstPass<'_, '_, Pg>, table: &str, column: &str) -> QueryResult<()> {
    out.push_identifier(table)?;
    out.push_sql(".");
    out.push_identifier(column)
}

fn joined<'b>(
    clauses: &'b [Clause],
    word: &str,
    none: &str,
    out: &mut AstPass<'_, 'b, Pg>,
) -> QueryResult<()> {
    if clauses.is_empty() {
        out.push_sql(none);
        return Ok(());
    }
    out.push_sql("(");
    for (i, clause) in clauses.iter().enumerate() {
        out.push_sql(if i == 0 { "" } else { word });
        clause.walk(out)?;
    }
    out.push_sql(")");
    Ok(())
}

/// Lets a type of ours stand as an expression of one SQL type in any diesel query: its names are checked by the tests of
/// the module that declares them, not by the compiler.
macro_rules! expression {
    ($name:ty, $sql:ty) => {
        impl Expression for $name {
            type SqlType = $sql;
        }
        impl<T> AppearsOnTable<T> for $name {}
        impl<T> SelectableExpression<T> for $name {}
        impl<G> ValidGrouping<G> for $name {
            type IsAggregate = is_aggregate::Never;
        }
        // The text depends on the value, so statements are cached by their text.
        impl QueryId for $name {
            type QueryId = ();
            const HAS_STATIC_QUERY_ID: bool = false;
        }
    };
}
pub(crate) use expression;

/// The whole condition of a list: every clause holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Where(pub Vec<Clause>);

expression!(Where, sql_types::Bool);

impl QueryFragment<Pg> for Where {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        joined(&self.0, " AND ", "TRUE", &mut out)
    }
}
