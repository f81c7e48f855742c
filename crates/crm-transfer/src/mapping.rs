//! Which column of a file goes into which field.

use std::collections::BTreeMap;

use crm_core::body::nearest;
use crm_core::{Error, FieldCode, Result};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::Column;

/// A column of a file, as the preview shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MappedColumn {
    /// What stands above it.
    pub header: String,
    /// Where it goes; null where it is left out.
    pub field: Option<String>,
    /// Of a column that is left out: the field that its header most resembles.
    pub suggestion: Option<String>,
}

/// What people write above a column, and the fields that may be meant: the first that the module has.
const SYNONYMS: &[(&str, &[&str])] = &[
    ("emailaddress", &["email"]),
    ("mail", &["email"]),
    ("emailadresse", &["email"]),
    ("phonenumber", &["phone"]),
    ("telephone", &["phone"]),
    ("telefon", &["phone"]),
    ("tel", &["phone"]),
    ("mobile", &["phone"]),
    ("mobilephone", &["phone"]),
    ("company", &["company_name", "account", "organization", "name"]),
    ("companyname", &["company_name", "account", "organization", "name"]),
    ("firma", &["company_name", "account", "organization", "name"]),
    ("organisation", &["company_name", "organization", "name"]),
    ("organization", &["company_name", "organization", "name"]),
    ("account", &["account", "company_name", "name"]),
    ("accountname", &["account", "company_name", "name"]),
    ("givenname", &["first_name"]),
    ("forename", &["first_name"]),
    ("vorname", &["first_name"]),
    ("surname", &["last_name"]),
    ("familyname", &["last_name"]),
    ("nachname", &["last_name"]),
    ("jobtitle", &["job_title", "title"]),
    ("position", &["job_title", "title"]),
    ("role", &["job_title", "title"]),
    ("subject", &["title", "name"]),
    ("leadtitle", &["title"]),
    ("zip", &["postcode"]),
    ("zipcode", &["postcode"]),
    ("postalcode", &["postcode"]),
    ("plz", &["postcode"]),
    ("street", &["address_line"]),
    ("address", &["address_line"]),
    ("streetaddress", &["address_line"]),
    ("town", &["city"]),
    ("province", &["state"]),
    ("region", &["state"]),
    ("countrycode", &["country"]),
    ("homepage", &["website"]),
    ("web", &["website"]),
    ("url", &["website"]),
    ("linkedin", &["linkedin_url"]),
    ("linkedinprofile", &["linkedin_url"]),
    ("owner", &["assigned_to"]),
    ("assignee", &["assigned_to"]),
    ("assignees", &["assigned_to"]),
    ("assignedemails", &["assigned_to"]),
    ("team", &["teams"]),
    ("teamnames", &["teams"]),
    ("tag", &["tags"]),
    ("labels", &["tags"]),
    ("leadsource", &["source", "lead_source"]),
    ("source", &["source", "lead_source"]),
    ("value", &["opportunity_amount", "amount"]),
    ("amount", &["opportunity_amount", "amount"]),
    ("dealname", &["name"]),
    ("opportunityname", &["name"]),
    ("closedate", &["close_date", "closed_on"]),
    ("notes", &["description"]),
    ("note", &["description"]),
    ("comments", &["description"]),
    ("employees", &["number_of_employees"]),
    ("revenue", &["annual_revenue"]),
];

/// The letters and digits of a name in lower case: `First Name`, `first_name` and `FIRST-NAME` are the same.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Finds out where each column of a file goes: as `given` says, and by its header otherwise.
///
/// # Errors
/// 400 naming `mapping` for a header or a field that is not there, and for two columns that go into the same field.
pub fn map_columns(header: &[String], columns: &[Column], given: Option<&str>) -> Result<Vec<MappedColumn>> {
    let given = given.map(read_mapping).transpose()?.unwrap_or_default();
    let writable: Vec<&Column> = columns.iter().filter(|column| column.writable).collect();
    let refused = |message: String| Error::parameter("mapping", FieldCode::InvalidValue, message);
    if let Some(strange) = given.keys().find(|name| !header.contains(name)) {
        let near = nearest(strange, header.iter().map(String::as_str));
        let near = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        return Err(refused(format!("the file has no column {strange:?}{near}")));
    }
    let mut mapped: Vec<MappedColumn> = Vec::with_capacity(header.len());
    let mut taken: Vec<&str> = Vec::new();
    for field in given.values().flatten() {
        let Some(column) = writable.iter().find(|column| is_named(column, field)) else {
            let near = nearest(field, writable.iter().map(|column| column.name.as_str()));
            let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            return Err(refused(format!("there is no field {field} to import into{near}")));
        };
        if taken.contains(&column.name.as_str()) {
            return Err(refused(format!("two columns go into {}", column.name)));
        }
        taken.push(&column.name);
    }
    for name in header {
        let found = match given.get(name) {
            Some(None) => None,
            Some(Some(field)) => writable.iter().find(|column| is_named(column, field)).copied(),
            None => guess(name, &writable).filter(|column| !taken.contains(&column.name.as_str())),
        };
        // Of two columns of the same name the first one counts.
        let found = found.filter(|column| {
            mapped.iter().all(|earlier| earlier.field.as_deref() != Some(column.name.as_str()))
        });
        let is_known = columns.iter().any(|column| column.name == *name);
        let suggestion = || {
            let near = nearest(&plain_words(name), writable.iter().map(|column| column.name.as_str()));
            near.map(str::to_owned)
        };
        mapped.push(MappedColumn {
            header: name.clone(),
            field: found.map(|column| column.name.clone()),
            suggestion: if found.is_some() || is_known || name.is_empty() { None } else { suggestion() },
        });
    }
    Ok(mapped)
}

fn is_named(column: &Column, field: &str) -> bool {
    column.name == field || column.label.is_none() && column.field == field
}

fn plain_words(name: &str) -> String {
    name.trim().to_lowercase().replace([' ', '-', '.'], "_")
}

fn guess<'a>(name: &str, writable: &[&'a Column]) -> Option<&'a Column> {
    let spelled = plain(name);
    if spelled.is_empty() {
        return None;
    }
    let by = |is: &dyn Fn(&Column) -> bool| writable.iter().copied().find(|column| is(column));
    by(&|column| column.name == name)
        .or_else(|| {
            by(&|column| column.label.as_deref().is_some_and(|label| label.eq_ignore_ascii_case(name)))
        })
        .or_else(|| by(&|column| plain(&column.name) == spelled || plain(&column.field) == spelled))
        .or_else(|| by(&|column| column.label.as_deref().is_some_and(|label| plain(label) == spelled)))
        .or_else(|| {
            let (_, meant) = SYNONYMS.iter().find(|(synonym, _)| *synonym == spelled)?;
            meant.iter().find_map(|field| by(&|column| column.name == *field))
        })
}

/// `{"Header": "field", "Other header": null}`.
fn read_mapping(text: &str) -> Result<BTreeMap<String, Option<String>>> {
    let wrong = || {
        let message =
            "must be a JSON object of headers and fields, such as {\"Mail\": \"email\", \"Fax\": null}";
        Error::parameter("mapping", FieldCode::InvalidValue, message)
    };
    let Ok(Value::Object(object)) = serde_json::from_str(text) else { return Err(wrong()) };
    object
        .into_iter()
        .map(|(header, field)| match field {
            Value::Null => Ok((header, None)),
            Value::String(field) => Ok((header, Some(field))),
            _ => Err(wrong()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Holds;
    use crm_records::custom::FieldType;

    fn columns() -> Vec<Column> {
        let column = |name: &str, label: Option<&str>, holds| Column {
            name: name.into(),
            field: name.trim_start_matches("cf_").into(),
            label: label.map(str::to_owned),
            holds,
            writable: name != "id",
        };
        vec![
            column("id", None, Holds::Id),
            column("first_name", None, Holds::Text),
            column("email", None, Holds::Text),
            column("company_name", None, Holds::Text),
            column("postcode", None, Holds::Text),
            column("cf_size", Some("Company size"), Holds::Custom(FieldType::Number)),
        ]
    }

    fn mapped(header: &[&str], given: Option<&str>) -> Result<Vec<Option<String>>> {
        let header: Vec<_> = header.iter().map(|name| (*name).to_owned()).collect();
        Ok(map_columns(&header, &columns(), given)?.into_iter().map(|column| column.field).collect())
    }

    #[test]
    fn a_header_finds_its_field_however_it_is_spelled() {
        for (header, field) in [
            ("first_name", Some("first_name")),
            ("First Name", Some("first_name")),
            ("FIRST-NAME", Some("first_name")),
            ("Vorname", Some("first_name")),
            ("E-Mail", Some("email")),
            ("E-mail address", Some("email")),
            ("Company", Some("company_name")),
            ("ZIP code", Some("postcode")),
            ("cf_size", Some("cf_size")),
            ("company SIZE", Some("cf_size")),
            ("size", Some("cf_size")),
            ("id", None),
            ("Fax", None),
            ("", None),
        ] {
            assert_eq!(mapped(&[header], None).unwrap(), [field.map(str::to_owned)], "{header}");
        }
        let two = mapped(&["Email", "E-Mail"], None).unwrap();
        assert_eq!(two, [Some("email".into()), None], "the first one counts");
        let near = map_columns(&["first nmae".into()], &columns(), None).unwrap();
        assert_eq!(near[0].suggestion.as_deref(), Some("first_name"));
    }

    #[test]
    fn a_mapping_says_otherwise_and_names_what_is_there() {
        let given = r#"{"Mail of the boss": "email", "Company": null}"#;
        let got = mapped(&["Mail of the boss", "Company", "Email"], Some(given)).unwrap();
        assert_eq!(got, [Some("email".into()), None, None]);
        for wrong in [
            "no JSON",
            "[]",
            r#"{"Company": 1}"#,
            r#"{"Fax": "email"}"#,
            r#"{"Company": "emial"}"#,
            r#"{"Company": "id"}"#,
            r#"{"Company": "email", "Email": "email"}"#,
        ] {
            assert!(mapped(&["Company", "Email"], Some(wrong)).is_err(), "{wrong}");
        }
    }
}
