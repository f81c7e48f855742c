//! Reading a JSON body: one place that turns whatever is wrong with it into an error with the field and what would be right.

use chrono::{Datelike, NaiveDate};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use validator::{Validate, ValidationErrors, ValidationErrorsKind};

use crate::{Code, Error, FieldCode, FieldError, Result};

/// A JSON object, not yet judged.
pub type Object = Map<String, Value>;

/// Fields that the server owns on every record. A body may repeat them as they are stored, so that what was read can be
/// written back.
pub const SERVER_OWNED: &[&str] =
    &["id", "org_id", "version", "created_at", "updated_at", "created_by", "updated_by"];

/// Reads `object` as a `T` and checks the rules about its single fields.
///
/// # Errors
/// `MalformedRequest` (400) for an unknown field or a wrong JSON type, `ValidationFailed` (422) for a value that is not right.
pub fn parse<T: DeserializeOwned + Validate>(object: Object) -> Result<T> {
    let value: T = read(object)?;
    value.validate().map_err(invalid)?;
    Ok(value)
}

/// Reads `object` as a `T` without further rules.
///
/// # Errors
/// As [`parse`].
pub fn read<T: DeserializeOwned>(object: Object) -> Result<T> {
    if let Some((field, _)) = object.iter().find(|(_, value)| has_nul(value)) {
        return Err(Error::field(field, FieldCode::InvalidValue, "must not contain the character U+0000"));
    }
    serde_path_to_error::deserialize(Value::Object(object)).map_err(|e| {
        let path = e.path().to_string();
        misread(&path, &e.into_inner().to_string())
    })
}

/// PostgreSQL stores every character but this one.
fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(object) => object.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        _ => false,
    }
}

/// The object with `patch` laid over it as RFC 7396 says: `null` clears, absent leaves alone.
pub fn merge(mut stored: Object, patch: Object) -> Object {
    for (key, value) in patch {
        match (stored.get_mut(&key), value) {
            (Some(Value::Object(old)), Value::Object(new)) => {
                let cleared: Vec<_> =
                    new.iter().filter(|(_, v)| v.is_null()).map(|(k, _)| k.clone()).collect();
                *old = merge(std::mem::take(old), new);
                old.retain(|key, _| !cleared.contains(key));
            }
            // At the top a cleared field stays null, so that one which can't be empty says so.
            (_, value) => drop(stored.insert(key, value)),
        }
    }
    stored
}

/// Takes the server-owned fields out of a body.
pub fn take_server_owned(object: &mut Object, further: &[&str]) -> Object {
    SERVER_OWNED.iter().chain(further).filter_map(|key| object.remove_entry(*key)).collect()
}

/// Refuses server-owned fields that differ from what is stored.
///
/// # Errors
/// `ReadOnlyField` (400) naming them.
pub fn check_echo(echo: &Object, stored: &Object) -> Result<()> {
    let wrong: Vec<_> = echo
        .iter()
        .filter(|(key, value)| stored.get(*key) != Some(value))
        .map(|(key, _)| FieldError::new(key, FieldCode::ReadOnly, format!("{key} is set by the server")))
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(Error::Fields(Code::ReadOnlyField, wrong)) }
}

/// A text that may be left out: trimmed, and none when nothing remains.
///
/// # Errors
/// The deserializer's.
pub fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()))
}

/// A text, or one that may be left out, without the space around it; whether it may be blank is for its length rule to say.
///
/// # Errors
/// The deserializer's.
pub fn trimmed<'de, D: Deserializer<'de>, T: Trim>(deserializer: D) -> Result<T, D::Error> {
    T::deserialize(deserializer).map(T::trim)
}

/// What [`trimmed`] reads.
pub trait Trim: DeserializeOwned {
    /// The same without the space around it.
    fn trim(self) -> Self;
}

impl Trim for String {
    fn trim(self) -> Self {
        str::trim(&self).to_owned()
    }
}

impl Trim for Option<String> {
    fn trim(self) -> Self {
        self.map(Trim::trim)
    }
}

/// A day of the years 1 to 9999, those that every part of the system can write.
///
/// # Errors
/// The deserializer's.
pub fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NaiveDate>, D::Error> {
    let date = Option::<NaiveDate>::deserialize(deserializer)?;
    if date.is_some_and(|date| !is_common_era(date.year())) {
        return Err(serde::de::Error::custom("must be a day of the years 1 to 9999"));
    }
    Ok(date)
}

/// Whether a year is one of those that [`date`] takes.
pub fn is_common_era(year: i32) -> bool {
    (1..=9999).contains(&year)
}

fn misread(path: &str, message: &str) -> Error {
    // What is echoed is cut: it may be as long as the body.
    let message = &message.chars().take(2000).collect::<String>();
    let quoted = message.split('`').nth(1).unwrap_or_default();
    let join = |last: &str| {
        let parent = path.rsplit_once('.').map_or("", |(parent, _)| parent);
        match path {
            "" | "." => last.to_owned(),
            _ if path == last || path.ends_with(&format!(".{last}")) => path.to_owned(),
            _ if parent.is_empty() => format!("{path}.{last}"),
            _ => format!("{parent}.{last}"),
        }
    };
    let field = |code, status, name: String, text: String| {
        Error::Fields(status, vec![FieldError::new(name, code, text)])
    };
    if message.starts_with("unknown field") {
        let known: Vec<_> = message.split('`').skip(3).step_by(2).collect();
        let hint = nearest(quoted, known.iter().copied())
            .map(|n| format!("; did you mean {n}?"))
            .unwrap_or_default();
        return field(
            FieldCode::UnknownField,
            Code::MalformedRequest,
            join(quoted),
            format!("there is no field {quoted}{hint}"),
        );
    }
    if message.starts_with("missing field") {
        // The path is that of the object which lacks it.
        let whole = if matches!(path, "" | ".") { quoted.to_owned() } else { format!("{path}.{quoted}") };
        return field(FieldCode::Required, Code::ValidationFailed, whole, format!("{quoted} is required"));
    }
    let name = if path == "." { String::new() } else { path.to_owned() };
    if message.starts_with("unknown variant") {
        let choices: Vec<_> = message.split('`').skip(3).step_by(2).collect();
        return field(
            FieldCode::NotAChoice,
            Code::ValidationFailed,
            name,
            format!("{quoted:?} is not one of {}", choices.join(", ")),
        );
    }
    if message.starts_with("invalid type") || message.starts_with("invalid length") {
        return field(FieldCode::WrongType, Code::MalformedRequest, name, message.to_owned());
    }
    field(FieldCode::InvalidValue, Code::ValidationFailed, name, message.to_owned())
}

/// The candidate that a mistyped word most likely meant.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // The distance costs the product of the lengths, and nobody mistypes this much.
    if word.len() > 64 {
        return None;
    }
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.len().max(3) / 2)
        .map(|(_, candidate)| candidate)
}

/// The validator's findings in our words.
pub fn invalid(errors: ValidationErrors) -> Error {
    let mut fields = Vec::new();
    collect("", &errors, &mut fields);
    fields.sort_by(|a, b| a.field.cmp(&b.field));
    Error::Fields(Code::ValidationFailed, fields)
}

fn collect(prefix: &str, errors: &ValidationErrors, into: &mut Vec<FieldError>) {
    for (name, kind) in errors.errors() {
        let path = if prefix.is_empty() { name.to_string() } else { format!("{prefix}.{name}") };
        match kind {
            ValidationErrorsKind::Field(found) => {
                into.extend(found.iter().map(|e| {
                    let (code, fallback) = describe(&e.code, &e.params);
                    let message = e.message.as_ref().map_or(fallback, ToString::to_string);
                    FieldError::new(&path, code, message)
                }));
            }
            ValidationErrorsKind::Struct(inner) => collect(&path, inner, into),
            ValidationErrorsKind::List(items) => {
                for (index, inner) in items {
                    collect(&format!("{path}.{index}"), inner, into);
                }
            }
        }
    }
}

fn describe(
    code: &str,
    params: &std::collections::HashMap<std::borrow::Cow<'static, str>, Value>,
) -> (FieldCode, String) {
    let number = |key: &str| params.get(key).and_then(Value::as_f64);
    match code {
        "length" => {
            let length = params.get("value").and_then(Value::as_str).map_or(0, |v| v.chars().count());
            match (number("min"), number("max")) {
                (Some(min), _) if min == 1.0 && length == 0 => {
                    (FieldCode::Required, "must not be empty".into())
                }
                (Some(min), _) if (length as f64) < min => {
                    (FieldCode::TooShort, format!("must have {min} characters at least"))
                }
                (_, Some(max)) => (FieldCode::TooLong, format!("must have {max} characters at most")),
                _ => (FieldCode::InvalidValue, "has the wrong length".into()),
            }
        }
        "range" => {
            let bounds = match (number("min"), number("max")) {
                (Some(min), Some(max)) => format!("must be between {min} and {max}"),
                (Some(min), None) => format!("must be {min} or more"),
                (None, Some(max)) => format!("must be {max} or less"),
                (None, None) => "is out of range".into(),
            };
            (FieldCode::OutOfRange, bounds)
        }
        "email" => (FieldCode::InvalidEmail, "must be an e-mail address".into()),
        "url" => (FieldCode::InvalidUrl, "must be a URL starting with http:// or https://".into()),
        "must_match" => (FieldCode::Mismatch, "the two do not match".into()),
        other => (FieldCode::from_word(other).unwrap_or(FieldCode::InvalidValue), "is not valid".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Debug, Deserialize, Validate)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[serde(deserialize_with = "trimmed", default)]
        #[validate(length(min = 1, max = 5))]
        name: Option<String>,
        #[validate(range(min = 0, max = 100))]
        probability: i32,
    }

    fn verdict(body: Value) -> Option<(Code, String, FieldCode)> {
        let Value::Object(object) = body else { panic!("not an object") };
        match parse::<Sample>(object) {
            Ok(sample) => {
                assert_eq!(sample.probability, 5);
                assert_eq!(sample.name.as_deref(), Some("Ann"));
                None
            }
            Err(Error::Fields(code, mut fields)) => {
                let first = fields.remove(0);
                Some((code, first.field, first.code))
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_fault_names_its_field() {
        use {Code as C, FieldCode as F};
        for (body, want) in [
            (json!({"name": " Ann ", "probability": 5}), None),
            (json!({"nmae": "x", "probability": 5}), Some((C::MalformedRequest, "nmae", F::UnknownField))),
            (json!({"probability": "5"}), Some((C::MalformedRequest, "probability", F::WrongType))),
            (json!({"probability": null}), Some((C::MalformedRequest, "probability", F::WrongType))),
            (json!({"name": "Ann"}), Some((C::ValidationFailed, "probability", F::Required))),
            (json!({"name": "  ", "probability": 5}), Some((C::ValidationFailed, "name", F::Required))),
            (json!({"name": "Annabel", "probability": 5}), Some((C::ValidationFailed, "name", F::TooLong))),
            (json!({"probability": 101}), Some((C::ValidationFailed, "probability", F::OutOfRange))),
        ] {
            let want = want.map(|(code, field, what): (C, &str, F)| (code, field.to_owned(), what));
            assert_eq!(verdict(body.clone()), want, "{body}");
        }
    }

    #[test]
    fn merging_follows_rfc_7396() {
        let (Value::Object(stored), Value::Object(patch)) =
            (json!({"a": 1, "b": {"c": 1, "d": 2}}), json!({"a": null, "b": {"c": 3, "d": null}, "e": [1]}))
        else {
            panic!("not objects")
        };
        assert_eq!(Value::Object(merge(stored, patch)), json!({"a": null, "b": {"c": 3}, "e": [1]}));
    }
}
