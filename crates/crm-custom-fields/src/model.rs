use std::collections::BTreeSet;

use crm_core::{Code, Error, FieldCode, FieldError, Result, rules};
use crm_records::Base;
use crm_records::custom::{Choice, Choices, CustomTarget, FieldType};
use crm_records::list::{Field, Kind, Resource};
use crm_schema::custom_fields;
use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use validator::{Validate, ValidationError};

/// The most options of a dropdown.
const MAX_OPTIONS: usize = 50;

/// Definitions as a list.
pub const CUSTOM_FIELDS: Resource = Resource {
    kind: "custom_field",
    table: "custom_fields",
    fields: &[
        Field::new("target", Kind::Choice(CustomTarget::WORDS)).ordered().required(),
        Field::new("key", Kind::Text).ordered().required(),
        Field::new("label", Kind::Text).ordered().required(),
        Field::new("field_type", Kind::Choice(FieldType::WORDS)).required(),
        Field::new("is_required", Kind::Bool).required(),
        Field::new("is_filterable", Kind::Bool).required(),
        Field::new("display_order", Kind::Integer).ordered().required(),
        Field::new("is_active", Kind::Bool).required(),
    ],
    searchable: false,
    mutable: true,
    neighbours: None,
};

/// What a client writes of a definition. `target`, `key` and `field_type` stay as they were made.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    Validate,
    Queryable,
    Selectable,
    Insertable,
    AsChangeset,
    utoipa::ToSchema,
)]
#[serde(deny_unknown_fields)]
#[diesel(table_name = custom_fields, treat_none_as_null = true, treat_none_as_default_value = false)]
pub struct CustomFieldFields {
    /// The module whose records have it.
    pub target: CustomTarget,
    /// Its name in `custom_fields` of a record and, after `cf_`, in filters: lower-case letters, digits and `_`, up to 64, a letter first.
    #[validate(custom(function = "key"))]
    pub key: String,
    /// What people read.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(min = 1, max = 128), custom(function = "rules::one_line"))]
    pub label: String,
    /// What its values are.
    pub field_type: FieldType,
    /// What a dropdown offers, up to 50; null for every other type. Records keep a value whose option is taken away.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Choice>>)]
    pub options: Option<Choices>,
    /// Whether a record must have a value when it is made, and whenever its custom fields are written.
    #[serde(default)]
    pub is_required: bool,
    /// Whether lists take `cf_<key>`. A textarea can't: `search=` finds its words.
    #[serde(default)]
    pub is_filterable: bool,
    /// Where it stands in forms.
    #[serde(default)]
    #[validate(range(min = 0))]
    pub display_order: i32,
    /// False hides it with its values, which are kept.
    #[serde(default = "yes")]
    pub is_active: bool,
}

const fn yes() -> bool {
    true
}

fn key(key: &str) -> Result<(), ValidationError> {
    let plain = key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if (1..=64).contains(&key.len()) && key.starts_with(|c: char| c.is_ascii_lowercase()) && plain {
        return Ok(());
    }
    let mut error = ValidationError::new(FieldCode::InvalidValue.as_str());
    error.message = Some("must be 1 to 64 lower-case letters, digits and _, a letter first".into());
    Err(error)
}

impl CustomFieldFields {
    /// Judges what only shows when the fields are seen together.
    ///
    /// # Errors
    /// 422 for options, and for a filter by what can't be filtered by.
    pub(crate) fn check(&self) -> Result<()> {
        let mut faults = self.option_faults();
        if self.is_filterable && self.field_type == FieldType::Textarea {
            let message = "a textarea can't be filtered by: search= finds its words";
            faults.push(FieldError::new("is_filterable", FieldCode::NotAllowed, message));
        }
        if faults.is_empty() { Ok(()) } else { Err(Error::Fields(Code::ValidationFailed, faults)) }
    }

    fn option_faults(&self) -> Vec<FieldError> {
        let fault = |code, message: &str| vec![FieldError::new("options", code, message)];
        let options = match (self.field_type, &self.options) {
            (FieldType::Dropdown, Some(Choices(options))) if !options.is_empty() => options,
            (FieldType::Dropdown, _) => return fault(FieldCode::Required, "a dropdown needs options"),
            (_, Some(_)) => return fault(FieldCode::NotAllowed, "only a dropdown has options"),
            (_, None) => return Vec::new(),
        };
        if options.len() > MAX_OPTIONS {
            return fault(FieldCode::TooLong, &format!("{MAX_OPTIONS} options at most"));
        }
        let mut seen = BTreeSet::new();
        let mut faults = Vec::new();
        for (index, Choice { value, label }) in options.iter().enumerate() {
            for (name, text, max) in [("value", value, 255), ("label", label, 128)] {
                let path = format!("options.{index}.{name}");
                if text.is_empty() {
                    faults.push(FieldError::new(path, FieldCode::Required, "must not be empty"));
                } else if text.chars().count() > max {
                    let message = format!("must have {max} characters at most");
                    faults.push(FieldError::new(path, FieldCode::TooLong, message));
                } else if text.chars().any(char::is_control) {
                    let message = "must be a single line without control characters";
                    faults.push(FieldError::new(path, FieldCode::InvalidValue, message));
                } else if name == "value" && !seen.insert(text) {
                    faults.push(FieldError::new(path, FieldCode::Taken, "another option has this value"));
                }
            }
        }
        faults
    }

    /// Makes sure that what is frozen is as it was.
    ///
    /// # Errors
    /// `ReadOnlyField` (400) naming what was changed.
    pub(crate) fn check_frozen(&self, old: &Self) -> Result<()> {
        let changed = [
            ("target", self.target != old.target),
            ("key", self.key != old.key),
            ("field_type", self.field_type != old.field_type),
        ];
        let fault = |name| FieldError::new(name, FieldCode::ReadOnly, format!("{name} stays as it was made"));
        let faults: Vec<_> =
            changed.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| fault(name)).collect();
        if faults.is_empty() { Ok(()) } else { Err(Error::Fields(Code::ReadOnlyField, faults)) }
    }
}

/// A definition.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct CustomField {
    /// What every record begins with.
    #[serde(flatten)]
    pub base: Base,
    /// What a client writes.
    #[serde(flatten)]
    pub fields: CustomFieldFields,
    /// How many records of the module have no value; there only where `include_counts=true` asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records_missing_value: Option<i64>,
}

impl CustomField {
    /// The field of a definition that the server owns beside those of every record.
    pub(crate) const READ_ONLY: &'static [&'static str] = &["records_missing_value"];
}
