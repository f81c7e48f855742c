use crm_core::OrgId;
use crm_core::body::Object;
use diesel::expression::{AppearsOnTable, Expression, SelectableExpression, ValidGrouping, is_aggregate};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::serialize::{Output, ToSql};
use diesel::sql_types::{self, Array, Jsonb, Text};
use serde::{Serialize, Serializer};
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use super::definition::write_jsonb;
use super::{CUSTOM_FIELDS, CustomTarget};
use crate::{Described, Target};

/// The custom fields of a record: key -> value, those of inactive definitions kept but not shown.
#[derive(Debug, Clone, Default, PartialEq, diesel::expression::AsExpression)]
#[diesel(sql_type = Jsonb)]
pub struct CustomValues {
    pub(super) values: Object,
    pub(super) hidden: Vec<String>,
}

impl CustomValues {
    /// Selects them beside each row of a module's records.
    pub fn of(target: &Target, org: OrgId) -> (Column, HiddenKeys) {
        let module = CustomTarget::of(target.resource.kind).map_or("", CustomTarget::as_str);
        (Column(target.resource.table), HiddenKeys { org: org.0, module })
    }

    /// The value of one that is shown.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.shown().find(|(known, _)| *known == key).map(|(_, value)| value)
    }

    /// Takes those over that are missing here; answers them.
    pub(crate) fn fill(&mut self, others: &Self) -> Object {
        let missing = others.values.iter().filter(|(key, _)| !self.values.contains_key(*key));
        let given: Object = missing.map(|(key, value)| (key.clone(), value.clone())).collect();
        self.values.extend(given.clone());
        given
    }

    /// Clears those that still are as they were given; answers their keys.
    pub(crate) fn take_back(&mut self, given: &Object) -> Vec<String> {
        let still = given.iter().filter(|(key, value)| self.values.get(*key) == Some(*value));
        let keys: Vec<String> = still.map(|(key, _)| key.clone()).collect();
        keys.iter().for_each(|key| drop(self.values.remove(key)));
        keys
    }

    fn shown(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.values.iter().filter(|(key, _)| !self.hidden.contains(key))
    }

    /// Has the record found by its texts too.
    pub fn describe(&self, mut described: Described) -> Described {
        for text in self.shown().filter_map(|(_, value)| value.as_str()) {
            described.text.push(' ');
            described.text.push_str(text);
        }
        described
    }
}

impl Serialize for CustomValues {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.shown())
    }
}

/// As they are stored: all of them.
impl ToSql<Jsonb, Pg> for CustomValues {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> diesel::serialize::Result {
        write_jsonb(out, &self.values)
    }
}

impl Queryable<(Jsonb, Array<Text>), Pg> for CustomValues {
    type Row = (Value, Vec<String>);

    fn build((values, hidden): Self::Row) -> diesel::deserialize::Result<Self> {
        match values {
            Value::Object(values) => Ok(Self { values, hidden }),
            _ => Err("custom_fields is a JSON object".into()),
        }
    }
}

impl PartialSchema for CustomValues {
    fn schema() -> RefOr<Schema> {
        let scalar = |scalar| ObjectBuilder::new().schema_type(scalar);
        let value = OneOfBuilder::new()
            .item(scalar(Type::String))
            .item(scalar(Type::Number))
            .item(scalar(Type::Boolean))
            .item(scalar(Type::Null));
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some(
                "The organization's own fields, by the keys of their definitions at /api/custom-fields/: a text for text, \
                 textarea and dropdown, a number, true or false for a checkbox, a day such as 2026-01-31 for a date. In a \
                 body null or an empty text clears one; PATCH leaves alone what is left out, PUT clears it.",
            ))
            .additional_properties(Some(AdditionalProperties::RefOr(RefOr::T(value.build().into()))))
            .into()
    }
}
impl ToSchema for CustomValues {}

/// What a body says of them, beside a module's fields.
#[derive(ToSchema)]
pub struct CustomBody {
    /// The organization's own fields.
    pub custom_fields: Option<CustomValues>,
}

/// The column of a table of records.
#[derive(Debug, Clone, Copy)]
pub struct Column(&'static str);

crate::list::expression!(Column, Jsonb);

impl QueryFragment<Pg> for Column {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_identifier(self.0)?;
        out.push_sql(".");
        out.push_identifier(CUSTOM_FIELDS)
    }
}

/// The keys of a module that are not shown: looked up once a statement, whatever the number of its rows.
#[derive(Debug, Clone, Copy)]
pub struct HiddenKeys {
    org: Uuid,
    module: &'static str,
}

crate::list::expression!(HiddenKeys, Array<Text>);

impl QueryFragment<Pg> for HiddenKeys {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("ARRAY(SELECT c.key FROM custom_fields c WHERE c.org_id = ");
        out.push_bind_param::<sql_types::Uuid, _>(&self.org)?;
        out.push_sql(" AND c.target = ");
        out.push_bind_param::<Text, _>(self.module)?;
        out.push_sql(" AND NOT c.is_active)");
        Ok(())
    }
}

/// In the changes of a record, one entry for each custom field instead of one for all.
pub(crate) fn by_key(changed: &mut Object) {
    let Some(Value::Array(pair)) = changed.remove(CUSTOM_FIELDS) else { return };
    let mut sides =
        pair.into_iter().map(|side| if let Value::Object(side) = side { side } else { Object::new() });
    let (mut old, new) = (sides.next().unwrap_or_default(), sides.next().unwrap_or_default());
    let mut add = |key: &str, before: Value, after: Value| {
        if before != after {
            changed.insert(format!("{CUSTOM_FIELDS}.{key}"), Value::Array(vec![before, after]));
        }
    };
    for (key, after) in new {
        add(&key, old.remove(&key).unwrap_or_default(), after);
    }
    for (key, before) in old {
        add(&key, before, Value::Null);
    }
}
