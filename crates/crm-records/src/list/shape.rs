use std::collections::{BTreeSet, HashMap};

use crm_core::{Result, TenantTx};
use crm_schema::{memberships, tags, teams, users};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Page;

/// What an id of a relation points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rel {
    /// A membership.
    Member,
    /// A team.
    Team,
    /// A tag.
    Tag,
}

/// How records are to be written: which fields, and which relations as small objects instead of ids.
#[derive(Debug, Clone, Default)]
pub struct Shape {
    pub(super) fields: Option<Vec<String>>,
    pub(super) expand: Vec<(&'static str, Rel)>,
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
        for rel in [Rel::Member, Rel::Team, Rel::Tag] {
            let keys: Vec<_> = self.expand.iter().filter(|(_, r)| *r == rel).map(|(key, _)| *key).collect();
            if keys.is_empty() {
                continue;
            }
            let ids: BTreeSet<Uuid> =
                values.iter().flat_map(|v| keys.iter().flat_map(move |k| ids_in(v.get(k)))).collect();
            let found = rel.load(t, ids.into_iter().collect()).await?;
            for object in values.iter_mut().filter_map(Value::as_object_mut) {
                for (_, value) in object.iter_mut().filter(|(key, _)| keys.contains(&key.as_str())) {
                    replace(value, &found);
                }
            }
        }
        if let Some(fields) = &self.fields {
            for object in values.iter_mut().filter_map(Value::as_object_mut) {
                object.retain(|key, _| fields.iter().any(|field| field == key));
            }
        }
        Ok(())
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
        Value::Array(items) => items.iter_mut().for_each(|item| *item = small(item).unwrap_or(Value::Null)),
        single => *single = small(single).unwrap_or(Value::Null),
    }
}

impl Rel {
    async fn load(self, t: &mut TenantTx, ids: Vec<Uuid>) -> Result<HashMap<Uuid, Value>> {
        let org = t.org();
        let conn = t.conn()?;
        Ok(match self {
            Self::Member => memberships::table
                .left_join(users::table.on(users::id.nullable().eq(memberships::user_id)))
                .filter(memberships::org_id.eq(org).and(memberships::id.eq_any(ids)))
                .select((memberships::id, memberships::email, users::name.nullable(), users::profile_pic.nullable()))
                .load::<(Uuid, String, Option<String>, Option<String>)>(conn)
                .await?
                .into_iter()
                .map(|(id, email, name, pic)| {
                    (id, json!({"id": id, "email": email, "name": name.unwrap_or_default(), "profile_pic": pic}))
                })
                .collect(),
            Self::Team => teams::table
                .filter(teams::org_id.eq(org).and(teams::id.eq_any(ids)))
                .select((teams::id, teams::name))
                .load::<(Uuid, String)>(conn)
                .await?
                .into_iter()
                .map(|(id, name)| (id, json!({"id": id, "name": name})))
                .collect(),
            Self::Tag => tags::table
                .filter(tags::org_id.eq(org).and(tags::id.eq_any(ids)))
                .select((tags::id, tags::name, tags::slug, tags::color))
                .load::<(Uuid, String, String, String)>(conn)
                .await?
                .into_iter()
                .map(|(id, name, slug, color)| (id, json!({"id": id, "name": name, "slug": slug, "color": color})))
                .collect(),
        })
    }
}
