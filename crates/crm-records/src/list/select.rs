use chrono::{DateTime, Utc};
use crm_core::body::nearest;
use crm_core::{Caller, Code, Error, FieldCode, Result, Scope};

use super::clause::{Clause, Value, Where};
use super::cursor::Cursor;
use super::field::{Kind, Resource};
use super::filter::{boolean, day, number};
use super::order::{OrderBy, SortKeys};
use super::{Neighbours, Params, Rel, Shape};
use crate::custom::Definition;

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 200;
const MAX_OFFSET: usize = 10_000;
/// What one query may ask for.
const MAX_PARAMETERS: usize = 30;
const MAX_TERMS: usize = 10;
pub(super) const RESERVED: &[&str] =
    &["limit", "offset", "cursor", "ordering", "search", "count", "fields", "expand"];
/// Those of them that say which page is wanted, and how it is written.
pub(crate) const PAGE_WORDS: &[&str] =
    &["limit", "offset", "cursor", "ordering", "count", "fields", "expand"];

/// A query string judged: which rows, in which order, which page of them, in which shape.
#[derive(Debug, Clone)]
pub struct Selection {
    pub(super) resource: Resource,
    pub(super) params: Params,
    pub(super) conditions: Vec<Clause>,
    pub(super) order: OrderBy,
    pub(super) cursor: Option<Cursor>,
    pub(super) limit: usize,
    pub(super) offset: usize,
    pub(super) count: bool,
    pub(super) terms: Vec<String>,
    /// In which shape the rows are wanted.
    pub shape: Shape,
}

/// What a list takes beside the fields of its resource.
#[derive(Debug, Clone, Copy, Default)]
pub struct More<'a> {
    pub(super) own: &'a [&'a str],
    pub(super) custom: &'a [Definition],
}

impl<'a> More<'a> {
    /// Parameters that the module judges itself.
    pub const fn own(own: &'a [&'a str]) -> Self {
        Self { own, custom: &[] }
    }

    /// Filters by the organization's own fields too.
    pub(crate) const fn and_custom(self, custom: &'a [Definition]) -> Self {
        Self { custom, ..self }
    }
}

impl Resource {
    /// Judges a query string for `caller`, whose grant reaches as far as `scope`.
    ///
    /// # Errors
    /// 400 naming the parameter, with the nearest valid one, for anything that is not understood.
    pub fn select(&self, params: &Params, caller: &Caller, scope: Scope) -> Result<Selection> {
        self.select_more(params, caller, scope, More::default())
    }

    /// The same for a list that takes more than the fields of its resource.
    ///
    /// # Errors
    /// As [`Resource::select`].
    pub fn select_more(
        &self,
        params: &Params,
        caller: &Caller,
        scope: Scope,
        more: More<'_>,
    ) -> Result<Selection> {
        let mut conditions = vec![self.in_org(caller.org.id)];
        conditions.extend(self.visible(caller, scope));
        let mut order = None;
        let (mut limit, mut offset, mut count) = (DEFAULT_LIMIT, 0, false);
        let mut terms = Vec::new();
        if params.pairs.len() > MAX_PARAMETERS {
            let message = format!("{MAX_PARAMETERS} parameters at most");
            return Err(Error::Refused(Code::InvalidParameter, message.into()));
        }
        for (key, value) in &params.pairs {
            if value.contains('\0') {
                return Err(Error::parameter(
                    key,
                    FieldCode::InvalidValue,
                    "must not contain the character U+0000",
                ));
            }
            match key.as_str() {
                "limit" => limit = number(key, value, 1, MAX_LIMIT)?,
                "offset" => offset = number(key, value, 0, MAX_OFFSET)?,
                "count" => count = boolean(key, value)?,
                "ordering" => order = Some(self.ordering(value)?),
                "search" if self.searchable => terms.extend(value.split_whitespace().map(str::to_owned)),
                "cursor" | "fields" | "expand" => {}
                own if more.own.contains(&own) => {}
                _ => {
                    let condition = self.filter(key, value, caller, more)?;
                    // Said twice, a condition means nothing more and costs its planning again.
                    if !conditions.contains(&condition) {
                        conditions.push(condition);
                    }
                }
            }
        }
        if terms.len() > MAX_TERMS {
            let message = format!("{MAX_TERMS} words at most");
            return Err(Error::parameter("search", FieldCode::TooLong, message));
        }
        let order = order.unwrap_or_else(|| OrderBy { table: self.table, keys: vec![("id", true)] });
        let cursor = params.get("cursor").map(|text| Cursor::read(text, params)).transpose()?;
        if cursor.is_some() && offset > 0 {
            return Err(Error::parameter(
                "offset",
                FieldCode::NotAllowed,
                "offset and cursor exclude each other",
            ));
        }
        let shape = Shape::parse(params, self)?;
        Ok(Selection {
            resource: *self,
            params: params.clone(),
            conditions,
            order,
            cursor,
            limit,
            offset,
            count,
            terms,
            shape,
        })
    }

    /// What the scope of a grant leaves to see: the one rule of visibility for lists and single records alike.
    pub fn visible(&self, caller: &Caller, scope: Scope) -> Option<Clause> {
        match self.neighbours {
            Some(Neighbours::Everybody) => None,
            neighbours => self.own(caller, scope, neighbours),
        }
    }

    /// What it leaves to change: the same without what is only looked at.
    pub fn changeable(&self, caller: &Caller, scope: Scope) -> Option<Clause> {
        self.own(caller, scope, self.neighbours.filter(Neighbours::are_closed))
    }

    fn own(&self, caller: &Caller, scope: Scope, neighbours: Option<Neighbours>) -> Option<Clause> {
        let closed = neighbours.as_ref().is_some_and(Neighbours::are_closed);
        // The program itself is kept from nothing.
        let scope = if closed && caller.member.is_some() { Scope::Own } else { scope };
        match (scope, caller.member) {
            (Scope::All, _) => None,
            (Scope::Own, Some(member)) => Some(Clause::Own {
                table: self.table,
                org: caller.org.id.0,
                member: member.0,
                teams: Value::Uuids(caller.teams.iter().map(|team| team.0).collect()),
                neighbours,
            }),
            (Scope::Own, None) => Some(Clause::AnyOf(Vec::new())),
        }
    }

    fn ordering(&self, value: &str) -> Result<OrderBy> {
        let mut keys: Vec<(&'static str, bool)> = Vec::new();
        for part in value.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, descending) = part.strip_prefix('-').map_or((part, false), |name| (name, true));
            let field = self.field(name).filter(|field| field.orderable).ok_or_else(|| {
                let names = self.all_fields().filter(|f| f.orderable).map(|f| f.name);
                let hint = nearest(name, names.clone()).map_or_else(
                    || format!("one of {}", names.collect::<Vec<_>>().join(", ")),
                    str::to_owned,
                );
                Error::parameter(
                    "ordering",
                    FieldCode::NotAChoice,
                    format!("can't order by {name:?}; use {hint}"),
                )
            })?;
            if !keys.iter().any(|(column, _)| *column == field.column) {
                keys.push((field.column, descending));
            }
        }
        let last = keys.last().is_none_or(|(_, descending)| *descending);
        keys.push(("id", last));
        Ok(OrderBy { table: self.table, keys })
    }
}

impl Selection {
    /// Adds a condition of the module's own.
    pub fn and(&mut self, clause: Clause) {
        self.conditions.push(clause);
    }

    /// Whether the query filters by `field` itself.
    pub fn mentions(&self, field: &str) -> bool {
        self.params.mentions(field)
    }

    /// The values a row is sorted by: to be selected beside it.
    pub fn keys(&self) -> SortKeys {
        SortKeys(self.order.clone())
    }

    pub(super) fn newest_first(&self) -> bool {
        matches!(self.order.keys.as_slice(), [("id", true)])
    }

    pub(super) fn backward(&self) -> bool {
        self.cursor.as_ref().is_some_and(|cursor| cursor.backward)
    }

    /// Every condition, and where the page begins.
    pub(super) fn condition(&self) -> Result<Where> {
        let mut clauses = self.conditions.clone();
        if let Some(cursor) = &self.cursor {
            clauses.push(self.beyond(cursor)?);
        }
        Ok(Where(clauses))
    }

    /// The order in which this page is read: reversed on the way back.
    pub(super) fn reading_order(&self) -> OrderBy {
        let flip = self.backward();
        OrderBy {
            table: self.order.table,
            keys: self.order.keys.iter().map(|(c, desc)| (*c, *desc != flip)).collect(),
        }
    }

    /// Rows on the far side of the cursor. PostgreSQL sorts nulls last ascending and first descending.
    fn beyond(&self, cursor: &Cursor) -> Result<Clause> {
        let order = self.reading_order();
        let malformed = || Error::Refused(crm_core::Code::InvalidCursor, "cursor is malformed".into());
        if cursor.keys.len() != order.keys.len() {
            return Err(malformed());
        }
        let mut keys = Vec::new();
        for ((column, descending), text) in order.keys.iter().zip(&cursor.keys) {
            let field = self.resource.all_fields().find(|f| f.column == *column).ok_or_else(malformed)?;
            let value =
                text.as_deref().map(|text| stored(field.kind, text).ok_or_else(malformed)).transpose()?;
            if value.is_none() && !field.nullable {
                return Err(malformed());
            }
            keys.push((*column, *descending, field.nullable, value));
        }
        let table = order.table;
        let same = keys.windows(2).all(|pair| matches!(pair, [a, b] if a.1 == b.1));
        if same && keys.iter().all(|(_, _, nullable, value)| !nullable && value.is_some()) {
            // A row comparison walks the index straight to the place.
            let operator = if keys.first().is_some_and(|key| key.1) { "<" } else { ">" };
            let columns = keys.iter().map(|key| key.0).collect();
            return Ok(Clause::Tuple(
                table,
                columns,
                operator,
                keys.into_iter().filter_map(|key| key.3).collect(),
            ));
        }
        let mut ways = Vec::new();
        for (i, (column, descending, nullable, value)) in keys.iter().enumerate() {
            let mut way: Vec<Clause> =
                keys.iter().take(i).map(|(c, _, _, v)| equal(table, c, v.as_ref())).collect();
            way.push(match (value, descending) {
                (Some(value), true) => Clause::compare(table, column, "<", value.clone()),
                (Some(value), false) if *nullable => Clause::AnyOf(vec![
                    Clause::compare(table, column, ">", value.clone()),
                    Clause::Null(table, column, true),
                ]),
                (Some(value), false) => Clause::compare(table, column, ">", value.clone()),
                (None, true) => Clause::Null(table, column, false),
                (None, false) => Clause::AnyOf(Vec::new()),
            });
            ways.push(Clause::All(way));
        }
        Ok(Clause::AnyOf(ways))
    }
}

fn equal(table: &'static str, column: &'static str, value: Option<&Value>) -> Clause {
    value
        .map_or(Clause::Null(table, column, true), |value| Clause::compare(table, column, "=", value.clone()))
}

/// A sort key as PostgreSQL writes it.
fn stored(kind: Kind<'_>, text: &str) -> Option<Value> {
    Some(match kind {
        Kind::Text | Kind::Email | Kind::Choice(_) if text.contains('\0') => return None,
        Kind::Text | Kind::Email | Kind::Choice(_) => Value::Text(text.to_owned()),
        Kind::Integer => Value::Int(text.parse().ok()?),
        Kind::BigInt | Kind::Number | Kind::Money => Value::BigInt(text.parse().ok()?),
        Kind::Bool => Value::Bool(text.parse().ok()?),
        Kind::Date => Value::Date(day(text)?),
        Kind::Timestamp => {
            let at = DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z").ok()?;
            Value::Time(at.with_timezone(&Utc)).common_era()?
        }
        Kind::Id => Value::Uuid(text.parse().ok()?),
        Kind::Link(..) => return None,
    })
}

impl Shape {
    /// Reads `fields` and `expand`.
    ///
    /// # Errors
    /// 400 for a relation that is not there.
    pub fn parse(params: &Params, resource: &Resource) -> Result<Self> {
        let words =
            |key| params.get(key).map(|text| text.split(',').map(str::trim).filter(|w| !w.is_empty()));
        let mut expand: Vec<(&'static str, &'static str, Rel)> = Vec::new();
        for word in words("expand").into_iter().flatten() {
            let relations = resource.all_fields().filter_map(|f| Some((f.name, f.expanded(), f.rel?)));
            let found = relations.clone().find(|(_, name, _)| *name == word).ok_or_else(|| {
                let names = relations.map(|(_, name, _)| name);
                let hint = nearest(word, names.clone()).map_or_else(
                    || format!("one of {}", names.collect::<Vec<_>>().join(", ")),
                    str::to_owned,
                );
                Error::parameter(
                    "expand",
                    FieldCode::NotAChoice,
                    format!("can't expand {word:?}; use {hint}"),
                )
            })?;
            expand.push(found);
        }
        Ok(Self { fields: words("fields").map(|words| words.map(str::to_owned).collect()), expand })
    }
}
