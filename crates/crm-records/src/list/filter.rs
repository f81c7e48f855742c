//! Filters: one parameter of a query string as a condition on a row.

use chrono::{DateTime, Datelike, Days, NaiveDate, TimeZone, Utc};
use crm_core::body::{is_common_era, nearest};
use crm_core::{Caller, Decimal, Error, FieldCode, Result};
use iso_currency::Currency;

use super::clause::{Clause, Value};
use super::field::{Kind, Resource};
use super::select::{More, RESERVED};
use crate::custom::{Definition, PREFIX, rank_of};

const MAX_VALUES: usize = 1000;

/// What a filter looks at.
#[derive(Clone, Copy)]
struct Place<'a> {
    table: &'static str,
    column: &'static str,
    kind: Kind<'a>,
}

impl Resource {
    pub(super) fn filter(&self, key: &str, value: &str, caller: &Caller, more: More<'_>) -> Result<Clause> {
        if let Some((definition, operator)) = named(key, more.custom) {
            return self.custom(definition, operator, key, value, caller);
        }
        let (name, operator) = key.split_once("__").unwrap_or((key, "eq"));
        let Some(field) = self.field(name) else {
            let reserved = RESERVED.iter().copied().filter(|word| self.searchable || *word != "search");
            let custom: Vec<_> = more.custom.iter().map(Definition::parameter).collect();
            let names = self.all_fields().map(|f| f.name).chain(reserved).chain(more.own.iter().copied());
            let names = names.chain(custom.iter().map(String::as_str));
            let hint = nearest(name, names).map(|n| format!("; did you mean {n}?")).unwrap_or_default();
            return Err(Error::parameter(
                key,
                FieldCode::UnknownParameter,
                format!("there is no parameter {key}{hint}"),
            ));
        };
        check_operator(name, operator, key, field.operators())?;
        let place = Place { table: self.table, column: field.column, kind: field.kind };
        place.condition(operator, key, value, caller)
    }

    /// A condition on the values of a custom field, which stand in a table of their own.
    fn custom(
        &self,
        definition: &Definition,
        operator: &str,
        key: &str,
        text: &str,
        caller: &Caller,
    ) -> Result<Clause> {
        let words = definition.words();
        let kind = definition.kind(&words);
        check_operator(&definition.parameter(), operator, key, kind.operators())?;
        if definition.backfill_id.is_some() {
            let message = "its values are still being prepared for filters: try again in a moment";
            return Err(Error::parameter(key, FieldCode::NotAllowed, message));
        }
        let place = Place { table: "custom_values", column: definition.column(), kind };
        let has = |value: Option<Clause>| Clause::Custom {
            table: self.table,
            org: caller.org.id.0,
            definition: definition.id,
            value: value.map(Box::new),
        };
        Ok(match operator {
            "isnull" if boolean(key, text)? => Clause::Not(Box::new(has(None))),
            "isnull" => has(None),
            "ne" => Clause::Not(Box::new(has(Some(place.condition("eq", key, text, caller)?)))),
            _ => has(Some(place.condition(operator, key, text, caller)?)),
        })
    }
}

/// The custom field that a parameter names, and the operator. A key may itself end like an operator: the whole name goes first.
fn named<'a>(key: &'a str, custom: &'a [Definition]) -> Option<(&'a Definition, &'a str)> {
    let find = |name: &str| {
        let name = name.strip_prefix(PREFIX)?;
        custom.iter().find(|definition| definition.key == name)
    };
    let whole = find(key).map(|definition| (definition, "eq"));
    whole.or_else(|| key.rsplit_once("__").and_then(|(name, operator)| Some((find(name)?, operator))))
}

fn check_operator(name: &str, operator: &str, key: &str, known: &[&str]) -> Result<()> {
    if operator == "eq" || known.contains(&operator) {
        return Ok(());
    }
    let hint = nearest(operator, known.iter().copied()).map_or_else(|| known.join(", "), str::to_owned);
    let message = format!("{name} has no operator {operator:?}; use {hint}");
    Err(Error::parameter(key, FieldCode::UnknownParameter, message))
}

impl Place<'_> {
    fn condition(self, operator: &str, key: &str, text: &str, caller: &Caller) -> Result<Clause> {
        let Self { table, column, kind } = self;
        if let Kind::Link(link) = kind {
            let has = |ids| Clause::Linked { link, org: caller.org.id.0, ids };
            return Ok(match operator {
                "isnull" if boolean(key, text)? => Clause::Not(Box::new(has(None))),
                "isnull" => has(None),
                "ne" => Clause::Not(Box::new(has(Some(many(kind, key, text, caller)?)))),
                _ => has(Some(many(kind, key, text, caller)?)),
            });
        }
        if operator == "isnull" {
            return Ok(Clause::Null(table, column, boolean(key, text)?));
        }
        if let (Kind::Timestamp, Some(day)) = (kind, day(text)) {
            return day_of(table, column, operator, key, day, caller);
        }
        Ok(match operator {
            "in" => Clause::Any(table, column, many(kind, key, text, caller)?),
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
                Clause::compare(table, column, sql, one(kind, key, text, caller)?)
            }
        })
    }
}

/// A day of the years that every part of the system can write.
pub(crate) fn day(text: &str) -> Option<NaiveDate> {
    text.parse().ok().filter(|day: &NaiveDate| is_common_era(day.year()))
}

impl Value {
    pub(super) fn common_era(self) -> Option<Self> {
        matches!(&self, Self::Time(at) if is_common_era(at.year())).then_some(self)
    }
}

fn one(kind: Kind<'_>, key: &str, text: &str, caller: &Caller) -> Result<Value> {
    let wrong = |expected: &str| {
        Error::parameter(key, FieldCode::InvalidValue, format!("{text:?} is not {expected}"))
    };
    Ok(match kind {
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
        Kind::Number => Value::BigInt(rank_of(text).ok_or_else(|| wrong("a number of 15 digits at most"))?),
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

fn many(kind: Kind<'_>, key: &str, text: &str, caller: &Caller) -> Result<Value> {
    let values = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let values = values.map(|part| one(kind, key, part, caller)).collect::<Result<Vec<_>>>()?;
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
pub fn start_of_day(zone: chrono_tz::Tz, day: NaiveDate) -> DateTime<Utc> {
    (0..24)
        .filter_map(|hour| day.and_hms_opt(hour, 0, 0))
        .find_map(|local| zone.from_local_datetime(&local).earliest())
        .map_or_else(|| day.and_time(chrono::NaiveTime::MIN).and_utc(), |at| at.with_timezone(&Utc))
}

fn escape_like(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

pub(super) fn number(key: &str, text: &str, min: usize, max: usize) -> Result<usize> {
    let value = text.parse().ok().filter(|value| (min..=max).contains(value));
    value.ok_or_else(|| {
        Error::parameter(key, FieldCode::OutOfRange, format!("must be a whole number from {min} to {max}"))
    })
}

pub(super) fn boolean(key: &str, text: &str) -> Result<bool> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(Error::parameter(key, FieldCode::InvalidValue, format!("{text:?} is not true or false"))),
    }
}
