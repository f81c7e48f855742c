use std::io::Write;

use crm_core::body::nearest;
use crm_core::{FieldCode, FieldError, Result, TenantTx};
use crm_schema::custom_fields;
use diesel::deserialize::{FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::prelude::*;
use diesel::serialize::{IsNull, Output, ToSql};
use diesel::sql_types::Jsonb;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::number::exact_number;
use super::{CUSTOM_FIELDS, CustomTarget, PREFIX};
use crate::list::{Kind, Params, day};

crm_core::text_enum!(
    /// What the values of a custom field are.
    FieldType {
        /// One line of up to 255 characters.
        Text = "text",
        /// Up to 10,000 characters.
        Textarea = "textarea",
        /// A decimal number of up to 15 significant digits.
        Number = "number",
        /// One of the field's options.
        Dropdown = "dropdown",
        /// A calendar day.
        Date = "date",
        /// True or false.
        Checkbox = "checkbox",
    }
);

/// One option of a dropdown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// What records store; 1 to 255 characters, unique in its field.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    pub value: String,
    /// What people read; 1 to 128 characters.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    pub label: String,
}

/// The options of a dropdown, in the order in which they are offered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AsExpression, FromSqlRow, utoipa::ToSchema)]
#[diesel(sql_type = Jsonb)]
#[serde(transparent)]
pub struct Choices(pub Vec<Choice>);

impl ToSql<Jsonb, Pg> for Choices {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> diesel::serialize::Result {
        write_jsonb(out, self)
    }
}

impl FromSql<Jsonb, Pg> for Choices {
    fn from_sql(bytes: PgValue<'_>) -> diesel::deserialize::Result<Self> {
        Ok(serde_json::from_value(<Value as FromSql<Jsonb, Pg>>::from_sql(bytes)?)?)
    }
}

/// A `jsonb` as PostgreSQL takes it: its version, then the text.
pub(super) fn write_jsonb(out: &mut Output<'_, '_, Pg>, value: &impl Serialize) -> diesel::serialize::Result {
    out.write_all(&[1])?;
    serde_json::to_writer(out, value)?;
    Ok(IsNull::No)
}

/// What the values of one custom field must be, and where they go.
#[derive(Debug, Clone, Queryable, Selectable, Deserialize)]
#[diesel(table_name = custom_fields)]
pub(crate) struct Definition {
    pub(crate) id: Uuid,
    pub(crate) key: String,
    pub(crate) field_type: FieldType,
    pub(crate) options: Option<Choices>,
    pub(crate) is_required: bool,
    pub(crate) is_filterable: bool,
    pub(crate) is_active: bool,
    /// While it is there, `custom_values` is not complete yet.
    pub(crate) backfill_id: Option<Uuid>,
}

impl Definition {
    /// A fault of the value that a body gives it.
    pub(super) fn fault(&self, code: FieldCode, message: impl Into<String>) -> FieldError {
        FieldError::new(format!("{CUSTOM_FIELDS}.{}", self.key), code, message)
    }

    /// The words of a dropdown.
    pub(crate) fn words(&self) -> Vec<&str> {
        self.options.iter().flat_map(|options| &options.0).map(|choice| choice.value.as_str()).collect()
    }

    /// The value as it is kept; none for what clears it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(&self, value: &Value) -> Result<Option<Value>, FieldError> {
        let wrong_type = |message: &str| Err(self.fault(FieldCode::WrongType, message));
        let text = match value {
            Value::Null => return Ok(None),
            Value::String(text) if text.trim().is_empty() => return Ok(None),
            Value::String(text) => Some(text.trim()),
            _ => None,
        };
        let kept = match (self.field_type, value, text) {
            (FieldType::Text, _, Some(text)) => self.line(text)?,
            (FieldType::Textarea, _, Some(text)) => self.page(text)?,
            (FieldType::Dropdown, _, Some(text)) => self.option(text)?,
            (FieldType::Text | FieldType::Textarea | FieldType::Dropdown, ..) => {
                return wrong_type("must be a text");
            }
            (FieldType::Date, _, Some(text)) => match day(text) {
                Some(day) => Value::String(day.to_string()),
                None => return Err(self.fault(FieldCode::InvalidValue, "must be a date such as 2026-01-31")),
            },
            (FieldType::Date, ..) => return wrong_type("must be a date such as \"2026-01-31\""),
            (FieldType::Number, Value::Number(number), _) => match exact_number(number) {
                Some(number) => Value::Number(number),
                None => {
                    return Err(self.fault(FieldCode::OutOfRange, "must have 15 significant digits at most"));
                }
            },
            (FieldType::Number, ..) => return wrong_type("must be a number such as 12.5"),
            (FieldType::Checkbox, Value::Bool(_), _) => value.clone(),
            (FieldType::Checkbox, ..) => return wrong_type("must be true or false"),
        };
        Ok(Some(kept))
    }

    fn line(&self, text: &str) -> Result<Value, FieldError> {
        if text.chars().any(char::is_control) {
            let message = "must be a single line without control characters";
            return Err(self.fault(FieldCode::InvalidValue, message));
        }
        self.short(text, 255)
    }

    fn page(&self, text: &str) -> Result<Value, FieldError> {
        if text.contains('\0') {
            return Err(self.fault(FieldCode::InvalidValue, "must not contain the character U+0000"));
        }
        self.short(text, 10_000)
    }

    fn short(&self, text: &str, max: usize) -> Result<Value, FieldError> {
        if text.chars().count() > max {
            return Err(self.fault(FieldCode::TooLong, format!("must have {max} characters at most")));
        }
        Ok(Value::String(text.to_owned()))
    }

    fn option(&self, text: &str) -> Result<Value, FieldError> {
        let words = self.words();
        if !words.contains(&text) {
            let near = nearest(text, words.iter().copied());
            let near = near.map(|word| format!("did you mean {word:?}? ")).unwrap_or_default();
            let message = format!("is not an option; {near}options: {}", words.join(", "));
            return Err(self.fault(FieldCode::NotAChoice, message));
        }
        Ok(Value::String(text.to_owned()))
    }

    /// The name of its filter.
    pub(crate) fn parameter(&self) -> String {
        format!("{PREFIX}{}", self.key)
    }

    /// The column of `custom_values` that has its values, if it is filterable.
    pub(crate) const fn column(&self) -> &'static str {
        match self.field_type {
            FieldType::Text | FieldType::Textarea | FieldType::Dropdown => "text_value",
            FieldType::Number => "number_rank",
            FieldType::Date => "date_value",
            FieldType::Checkbox => "bool_value",
        }
    }

    /// How a list is filtered by it; `words` are its own.
    pub(crate) const fn kind<'a>(&self, words: &'a [&'a str]) -> Kind<'a> {
        match self.field_type {
            FieldType::Text | FieldType::Textarea => Kind::Text,
            FieldType::Dropdown => Kind::Choice(words),
            FieldType::Number => Kind::Number,
            FieldType::Date => Kind::Date,
            FieldType::Checkbox => Kind::Bool,
        }
    }
}

/// What a list of records of this kind can be filtered by, looked up only where a parameter asks for it.
pub(crate) async fn filters(t: &mut TenantTx, kind: &str, params: &Params) -> Result<Vec<Definition>> {
    let asked = params.pairs.iter().any(|(key, _)| key.starts_with(PREFIX));
    let Some(target) = CustomTarget::of(kind).filter(|_| asked) else { return Ok(Vec::new()) };
    Ok(custom_fields::table
        .filter(custom_fields::org_id.eq(t.org()).and(custom_fields::target.eq(target)))
        .filter(custom_fields::is_active.and(custom_fields::is_filterable))
        .select(Definition::as_select())
        .load(t.conn()?)
        .await?)
}
