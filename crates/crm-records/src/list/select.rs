use chrono::{DateTime, Datelike, Days, NaiveDate, TimeZone, Utc};
use crm_core::body::{is_common_era, nearest};
use crm_core::{Caller, Code, Decimal, Error, FieldCode, Result, Scope};
use iso_currency::Currency;

use super::clause::{Clause, OrderBy, SortKeys, Value, Where};
use super::cursor::Cursor;
use super::field::{Field, Kind, Resource};
use super::{Params, Rel, Shape};

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 200;
const MAX_OFFSET: usize = 10_000;
/// What one query may ask for.
const MAX_PARAMETERS: usize = 30;
const MAX_TERMS: usize = 10;
const MAX_VALUES: usize = 1000;
const RESERVED: &[&str] = &["limit", "offset", "cursor", "ordering", "search", "count", "fields", "expand"];

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

impl Resource {
    /// Judges a query string for `caller`, whose grant reaches as far as `scope`.
    ///
    /// # Errors
    /// 400 naming the parameter, with the nearest valid one, for anything that is not understood.
    pub fn select(&self, params: &Params, caller: &Caller, scope: Scope) -> Result<Selection> {
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
                _ => {
                    let condition = self.filter(key, value, caller)?;
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
        match (scope, caller.member) {
            (Scope::All, _) => None,
            (Scope::Own, Some(member)) => Some(Clause::Own {
                table: self.table,
                org: caller.org.id.0,
                member: member.0,
                teams: Value::Uuids(caller.teams.iter().map(|team| team.0).collect()),
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

    fn filter(&self, key: &str, value: &str, caller: &Caller) -> Result<Clause> {
        let (name, operator) = key.split_once("__").unwrap_or((key, "eq"));
        let Some(field) = self.field(name) else {
            let reserved = RESERVED.iter().copied().filter(|word| self.searchable || *word != "search");
            let names = self.all_fields().map(|f| f.name).chain(reserved);
            let hint = nearest(name, names).map(|n| format!("; did you mean {n}?")).unwrap_or_default();
            return Err(Error::parameter(
                key,
                FieldCode::UnknownParameter,
                format!("there is no parameter {key}{hint}"),
            ));
        };
        if operator != "eq" && !field.operators().contains(&operator) {
            let known = field.operators();
            let hint =
                nearest(operator, known.iter().copied()).map_or_else(|| known.join(", "), str::to_owned);
            let message = format!("{name} has no operator {operator:?}; use {hint}");
            return Err(Error::parameter(key, FieldCode::UnknownParameter, message));
        }
        self.condition(field, operator, key, value, caller)
    }

    fn condition(
        &self,
        field: &Field,
        operator: &str,
        key: &str,
        text: &str,
        caller: &Caller,
    ) -> Result<Clause> {
        let (table, column) = (self.table, field.column);
        if let Kind::Link(link) = field.kind {
            let has = |ids| Clause::Linked { link, org: caller.org.id.0, ids };
            return Ok(match operator {
                "isnull" if boolean(key, text)? => Clause::Not(Box::new(has(None))),
                "isnull" => has(None),
                "ne" => Clause::Not(Box::new(has(Some(many(field, key, text, caller)?)))),
                _ => has(Some(many(field, key, text, caller)?)),
            });
        }
        if operator == "isnull" {
            return Ok(Clause::Null(table, column, boolean(key, text)?));
        }
        if let (Kind::Timestamp, Some(day)) = (field.kind, day(text)) {
            return day_of(table, column, operator, key, day, caller);
        }
        Ok(match operator {
            "in" => Clause::Any(table, column, many(field, key, text, caller)?),
            "icontains" => Clause::Like(table, column, format!("%{}%", escape_like(text))),
            "istartswith" => Clause::Like(table, column, format!("{}%", escape_like(text))),
            _ => {
                let sql = match operator {
                    // So that "not this" includes what has no value at all.
                    "ne" => "IS DISTINCT FROM",
                    "lt" => "<",
                    "lte" => "<=",
                    "gt" => ">",
                    "gte" => ">=",
                    _ => "=",
                };
                Clause::compare(table, column, sql, one(field, key, text, caller)?)
            }
        })
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
fn stored(kind: Kind, text: &str) -> Option<Value> {
    Some(match kind {
        Kind::Text | Kind::Email | Kind::Choice(_) if text.contains('\0') => return None,
        Kind::Text | Kind::Email | Kind::Choice(_) => Value::Text(text.to_owned()),
        Kind::Integer => Value::Int(text.parse().ok()?),
        Kind::BigInt | Kind::Money => Value::BigInt(text.parse().ok()?),
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

fn day(text: &str) -> Option<NaiveDate> {
    text.parse().ok().filter(|day: &NaiveDate| is_common_era(day.year()))
}

impl Value {
    fn common_era(self) -> Option<Self> {
        matches!(&self, Self::Time(at) if is_common_era(at.year())).then_some(self)
    }
}

fn one(field: &Field, key: &str, text: &str, caller: &Caller) -> Result<Value> {
    let wrong = |expected: &str| {
        Error::parameter(key, FieldCode::InvalidValue, format!("{text:?} is not {expected}"))
    };
    Ok(match field.kind {
        Kind::Text => Value::Text(text.to_owned()),
        Kind::Email => Value::Text(crm_core::rules::normalize_email(text)),
        Kind::Choice(words) => {
            if !words.contains(&text) {
                let hint = nearest(text, words.iter().copied())
                    .map(|w| format!("did you mean {w:?}? "))
                    .unwrap_or_default();
                let message = format!("{text:?} is not a choice; {hint}choices: {}", words.join(", "));
                return Err(Error::parameter(key, FieldCode::NotAChoice, message));
            }
            Value::Text(text.to_owned())
        }
        Kind::Integer => Value::Int(text.parse().map_err(|_| wrong("a whole number"))?),
        Kind::BigInt => Value::BigInt(text.parse().map_err(|_| wrong("a whole number"))?),
        Kind::Money => {
            let exponent = Currency::from_code(&caller.org.currency).and_then(|c| c.exponent()).unwrap_or(2);
            let units = text.parse().ok().and_then(|d: Decimal| d.in_units(u32::from(exponent)));
            Value::BigInt(units.ok_or_else(|| wrong("an amount in the organization's currency"))?)
        }
        Kind::Bool => Value::Bool(boolean(key, text)?),
        Kind::Date => Value::Date(day(text).ok_or_else(|| wrong("a date such as 2026-01-31"))?),
        Kind::Timestamp => {
            // A plus sign in a query string arrives as a space.
            let instant = DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok();
            let value = instant.and_then(|at| Value::Time(at.with_timezone(&Utc)).common_era());
            value.ok_or_else(|| wrong("a date or an RFC 3339 instant"))?
        }
        Kind::Id | Kind::Link(..) => Value::Uuid(text.parse().map_err(|_| wrong("an id"))?),
    })
}

fn many(field: &Field, key: &str, text: &str, caller: &Caller) -> Result<Value> {
    let values = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let values = values.map(|part| one(field, key, part, caller)).collect::<Result<Vec<_>>>()?;
    if values.len() > MAX_VALUES {
        return Err(Error::parameter(key, FieldCode::TooLong, format!("{MAX_VALUES} values at most")));
    }
    Value::array(values)
        .ok_or_else(|| Error::parameter(key, FieldCode::Required, "at least one value is needed"))
}

/// A whole day of the organization's time zone against an instant.
fn day_of(
    table: &'static str,
    column: &'static str,
    operator: &str,
    key: &str,
    day: NaiveDate,
    caller: &Caller,
) -> Result<Clause> {
    let start = |day: NaiveDate| start_of_day(caller.org.timezone, day);
    let next = day.checked_add_days(Days::new(1)).unwrap_or(day);
    let compare = |sql, at| Clause::compare(table, column, sql, Value::Time(at));
    Ok(match operator {
        "gte" => compare(">=", start(day)),
        "gt" => compare(">=", start(next)),
        "lt" => compare("<", start(day)),
        "lte" => compare("<", start(next)),
        "eq" => Clause::All(vec![compare(">=", start(day)), compare("<", start(next))]),
        "ne" => Clause::AnyOf(vec![compare("<", start(day)), compare(">=", start(next))]),
        _ => return Err(Error::parameter(key, FieldCode::InvalidValue, "takes RFC 3339 instants, not days")),
    })
}

/// The first instant of a day: where the clocks skip midnight, the first that there is.
fn start_of_day(zone: chrono_tz::Tz, day: NaiveDate) -> DateTime<Utc> {
    (0..24)
        .filter_map(|hour| day.and_hms_opt(hour, 0, 0))
        .find_map(|local| zone.from_local_datetime(&local).earliest())
        .map_or_else(|| day.and_time(chrono::NaiveTime::MIN).and_utc(), |at| at.with_timezone(&Utc))
}

fn escape_like(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

fn number(key: &str, text: &str, min: usize, max: usize) -> Result<usize> {
    let value = text.parse().ok().filter(|value| (min..=max).contains(value));
    value.ok_or_else(|| {
        Error::parameter(key, FieldCode::OutOfRange, format!("must be a whole number from {min} to {max}"))
    })
}

fn boolean(key: &str, text: &str) -> Result<bool> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(Error::parameter(key, FieldCode::InvalidValue, format!("{text:?} is not true or false"))),
    }
}

impl Shape {
    /// Reads `fields` and `expand`.
    ///
    /// # Errors
    /// 400 for a relation that is not there.
    pub fn parse(params: &Params, resource: &Resource) -> Result<Self> {
        let words =
            |key| params.get(key).map(|text| text.split(',').map(str::trim).filter(|w| !w.is_empty()));
        let mut expand: Vec<(&'static str, Rel)> = Vec::new();
        for word in words("expand").into_iter().flatten() {
            let relations = resource.all_fields().filter_map(|f| Some((f.name, f.rel?)));
            let found = relations.clone().find(|(name, _)| *name == word).ok_or_else(|| {
                let names = relations.map(|(name, _)| name);
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
