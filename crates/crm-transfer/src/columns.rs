//! The columns of a module's table: its fields, the links of every record, the organization's own fields.

use crm_core::{Result, TenantTx};
use crm_records::Module;
use crm_records::custom::{CustomTarget, FieldType};
use crm_records::list::{Kind, Rel};
use crm_schema::custom_fields;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::de::{DeserializeOwned, Deserializer, Visitor, value};

/// What the name of a column begins with whose field is one of the organization's own.
pub(crate) const CUSTOM: &str = "cf_";

/// What the cells of a column hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holds {
    /// Text.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number.
    Integer,
    /// An amount of money.
    Money,
    /// Yes or no.
    Bool,
    /// A calendar day.
    Date,
    /// An instant.
    Timestamp,
    /// An id.
    Id,
    /// Several.
    Ids,
    /// What a relation points at, by address or name.
    Related(Rel),
    /// One of the organization's own fields.
    Custom(FieldType),
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// What stands above it: `account` for a field `account_id` that is shown by name, `cf_<key>` for one of the organization's own.
    pub name: String,
    /// The field of the record.
    pub field: String,
    /// What people call it, where that is told.
    pub label: Option<String>,
    /// What its cells hold.
    pub holds: Holds,
    /// Whether a client writes it.
    pub writable: bool,
}

/// The columns that every record begins with.
const BASE: [&str; 6] = ["id", "version", "created_at", "updated_at", "created_by", "updated_by"];

/// The links of every record, which come last.
const LINKS: [(&str, Rel); 3] = [("assigned_to", Rel::Member), ("teams", Rel::Team), ("tags", Rel::Tag)];

/// Every column of a module, in the order of its record.
///
/// # Errors
/// Those of the database.
pub async fn columns_of<M: Module>(t: &mut TenantTx) -> Result<Vec<Column>> {
    let resource = M::TARGET.resource;
    let column = |field: &str, writable: bool| {
        let known = resource.all_fields().find(|known| known.name() == field);
        let holds = known.map_or(Holds::Text, |known| match (known.kind(), known.rel()) {
            (Kind::Id, Some(rel @ (Rel::Account | Rel::Member))) => Holds::Related(rel),
            (Kind::Choice(words), _) => Holds::Choice(words),
            (Kind::Integer | Kind::BigInt | Kind::Number, _) => Holds::Integer,
            (Kind::Money, _) => Holds::Money,
            (Kind::Bool, _) => Holds::Bool,
            (Kind::Date, _) => Holds::Date,
            (Kind::Timestamp, _) => Holds::Timestamp,
            (Kind::Id, _) => Holds::Id,
            (Kind::Link(_), _) => Holds::Ids,
            (Kind::Text | Kind::Email, _) => Holds::Text,
        });
        let name = match (&holds, known) {
            (Holds::Related(_), Some(known)) => known.expanded(),
            _ => field,
        };
        Column { name: name.to_owned(), field: field.to_owned(), label: None, holds, writable }
    };
    let written = field_names::<M::Fields>();
    let mut columns: Vec<_> = BASE.iter().map(|field| column(field, false)).collect();
    columns.extend(written.iter().map(|field| column(field, true)));
    let is_link = |field: &str| LINKS.iter().any(|(link, _)| *link == field);
    for field in resource.fields.iter().map(|field| field.name()).filter(|field| !is_link(field)) {
        if columns.iter().all(|known| known.field != field) {
            columns.push(column(field, false));
        }
    }
    columns.extend(LINKS.map(|(field, rel)| Column {
        name: field.to_owned(),
        field: field.to_owned(),
        label: None,
        holds: Holds::Related(rel),
        writable: true,
    }));
    columns.extend(own_fields(t, resource.kind).await?);
    Ok(columns)
}

async fn own_fields(t: &mut TenantTx, kind: &str) -> Result<Vec<Column>> {
    let Some(target) = CustomTarget::of(kind) else { return Ok(Vec::new()) };
    let rows: Vec<(String, String, FieldType)> = custom_fields::table
        .filter(custom_fields::org_id.eq(t.org()).and(custom_fields::target.eq(target)))
        .filter(custom_fields::is_active)
        .order_by((custom_fields::display_order, custom_fields::id))
        .select((custom_fields::key, custom_fields::label, custom_fields::field_type))
        .load(t.conn()?)
        .await?;
    let column = |(key, label, field_type)| Column {
        name: format!("{CUSTOM}{key}"),
        field: key,
        label: Some(label),
        holds: Holds::Custom(field_type),
        writable: true,
    };
    Ok(rows.into_iter().map(column).collect())
}

/// The names of a struct's fields as they are read, in their order; none for what is no struct.
pub fn field_names<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // It ends in an error, because there is nothing to be read: on its way the struct has said what it is made of.
    drop(T::deserialize(Listening(&mut names)));
    names
}

struct Listening<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Listening<'_> {
    type Error = value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(serde::de::Error::custom("nothing to read"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        Err(serde::de::Error::custom("nothing to read"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct
        seq tuple tuple_struct map enum identifier ignored_any
    }
}
