use std::collections::{BTreeSet, HashMap};

use crm_core::{Result, TenantTx};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{Page, Rel};

/// How records are to be written: which fields, and which relations as small objects instead of ids.
#[derive(Debug, Clone, Default)]
pub struct Shape {
    pub(super) fields: Option<Vec<String>>,
    /// Field, what takes its place, and what its ids point at.
    pub(super) expand: Vec<(&'static str, &'static str, Rel)>,
}

/// Records as they are, or as `fields` and `expand` want them.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Shaped<T> {
    /// As they are.
    Plain(T),
    /// Reshaped.
    Value(Value),
}

impl Shape {
    /// Reshapes one record.
    ///
    /// # Errors
    /// Those of the look-ups.
    pub async fn one<T: Serialize>(&self, t: &mut TenantTx, record: T) -> Result<Shaped<T>> {
        if self.fields.is_none() && self.expand.is_empty() {
            return Ok(Shaped::Plain(record));
        }
        let mut values = [serde_json::to_value(record).map_err(crm_core::Error::internal)?];
        self.apply(t, &mut values).await?;
        let [value] = values;
        Ok(Shaped::Value(value))
    }

    /// Reshapes a page, with one query per kind of relation.
    ///
    /// # Errors
    /// Those of the look-ups.
    pub async fn page<T: Serialize>(&self, t: &mut TenantTx, page: Page<T>) -> Result<Page<Shaped<T>>> {
        if self.fields.is_none() && self.expand.is_empty() {
            return Ok(page.map(Shaped::Plain));
        }
        let Page { count, next, previous, results } = page;
        let values = results.iter().map(serde_json::to_value).collect::<serde_json::Result<Vec<_>>>();
        let mut values = values.map_err(crm_core::Error::internal)?;
        self.apply(t, &mut values).await?;
        Ok(Page { count, next, previous, results: values.into_iter().map(Shaped::Value).collect() })
    }

    async fn apply(&self, t: &mut TenantTx, values: &mut [Value]) -> Result<()> {
        for rel in Rel::ALL {
            let keys: Vec<_> = self.expand.iter().filter(|(_, _, r)| *r == rel).collect();
            if keys.is_empty() {
                continue;
            }
            let ids: BTreeSet<Uuid> = values
                .iter()
                .flat_map(|v| keys.iter().flat_map(move |(key, ..)| ids_in(v.get(key))))
                .collect();
            let found = rel.load(t, ids.into_iter().collect()).await?;
            for object in values.iter_mut().filter_map(Value::as_object_mut) {
                for (key, expanded, _) in &keys {
                    if let Some(mut value) = object.remove(*key) {
                        replace(&mut value, &found);
                        object.insert((*expanded).to_owned(), value);
                    }
                }
            }
        }
        if let Some(fields) = &self.fields {
            for object in values.iter_mut().filter_map(Value::as_object_mut) {
                object
                    .retain(|key, _| fields.iter().any(|field| field == key || self.stands_for(key, field)));
            }
        }
        Ok(())
    }

    /// Whether `shown` is what `expand` put in the place of `field`.
    fn stands_for(&self, shown: &str, field: &str) -> bool {
        self.expand.iter().any(|(key, expanded, _)| *expanded == shown && *key == field)
    }
}

fn ids_in(value: Option<&Value>) -> Vec<Uuid> {
    let id = |v: &Value| v.as_str().and_then(|text| text.parse().ok());
    match value {
        Some(Value::Array(items)) => items.iter().filter_map(id).collect(),
        Some(single) => id(single).into_iter().collect(),
        None => Vec::new(),
    }
}

fn replace(value: &mut Value, found: &HashMap<Uuid, Value>) {
    let small = |v: &Value| {
        v.as_str().and_then(|text| text.parse().ok()).and_then(|id: Uuid| found.get(&id)).cloned()
    };
    match value {
        // What the caller may not look at is left out.
        Value::Array(items) => *items = items.iter().filter_map(small).collect(),
        single => *single = small(single).unwrap_or(Value::Null),
    }
}
