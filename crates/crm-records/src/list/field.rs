use super::{Clause, Neighbours, Rel};
use crate::LinkIds;

/// What a field holds, which decides its operators and how a value is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    /// Free text.
    Text,
    /// Text compared without regard to case, through a normalised column.
    Email,
    /// One of these words.
    Choice(&'a [&'a str]),
    /// A whole number.
    Integer,
    /// A 64-bit whole number.
    BigInt,
    /// A floating-point number, in the column by its place among all of them.
    Number,
    /// Minor units in the column, a decimal in the organization's currency on the wire.
    Money,
    /// `true` or `false`.
    Bool,
    /// A calendar day.
    Date,
    /// An instant; a day in the organization's time zone is accepted too.
    Timestamp,
    /// An id.
    Id,
    /// A set of ids in a link table.
    Link(LinkIds),
}

impl Kind<'_> {
    /// The operators it takes beside plain equality.
    pub const fn operators(self) -> &'static [&'static str] {
        match self {
            Self::Text => &["ne", "lt", "lte", "gt", "gte", "in", "isnull", "icontains", "istartswith"],
            Self::Email => &["ne", "in", "isnull", "icontains", "istartswith"],
            Self::Choice(_) | Self::Id | Self::Link(..) => &["ne", "in", "isnull"],
            Self::Bool => &["ne", "isnull"],
            Self::Integer | Self::BigInt | Self::Number | Self::Money | Self::Date | Self::Timestamp => {
                &["ne", "lt", "lte", "gt", "gte", "in", "isnull"]
            }
        }
    }
}

/// A field that lists of a module can be filtered or ordered by.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    pub(super) name: &'static str,
    pub(super) column: &'static str,
    pub(super) kind: Kind<'static>,
    pub(super) nullable: bool,
    pub(super) orderable: bool,
    pub(super) rel: Option<Rel>,
}

impl Field {
    /// A filterable field whose column bears its name and may be null.
    pub const fn new(name: &'static str, kind: Kind<'static>) -> Self {
        Self { name, column: name, kind, nullable: true, orderable: false, rel: None }
    }

    /// Text compared without regard to case, stored normalised in `column`.
    pub const fn email(name: &'static str, column: &'static str) -> Self {
        Self { column, ..Self::new(name, Kind::Email) }
    }

    /// A set of ids that `expand` can turn into small objects.
    pub const fn link(name: &'static str, ids: LinkIds, rel: Rel) -> Self {
        Self { rel: Some(rel), ..Self::new(name, Kind::Link(ids)) }
    }

    /// An id that `expand` can turn into a small object.
    pub const fn relation(name: &'static str, rel: Rel) -> Self {
        Self { rel: Some(rel), ..Self::new(name, Kind::Id) }
    }

    /// Its column bears another name.
    pub const fn stored_in(self, column: &'static str) -> Self {
        Self { column, ..self }
    }

    /// May be ordered by. On a large organization that wants an index on `(org_id, column, id)`.
    pub const fn ordered(self) -> Self {
        Self { orderable: true, ..self }
    }

    /// Its column is NOT NULL.
    pub const fn required(self) -> Self {
        Self { nullable: false, ..self }
    }

    /// The operators it takes beside plain equality.
    pub const fn operators(&self) -> &'static [&'static str] {
        self.kind.operators()
    }

    /// Its name in parameters.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What it holds.
    pub const fn kind(&self) -> Kind<'static> {
        self.kind
    }

    /// Whether it may be ordered by.
    pub const fn is_orderable(&self) -> bool {
        self.orderable
    }

    /// The relation that `expand` follows.
    pub const fn rel(&self) -> Option<Rel> {
        self.rel
    }

    /// What `expand` calls it, and the small object that it puts in its place: `account` for `account_id`.
    pub fn expanded(&self) -> &'static str {
        self.name.strip_suffix("_id").unwrap_or(self.name)
    }
}

/// The fields of the base of every record.
const BASE: &[Field] = &[
    Field::new("id", Kind::Id).required(),
    Field::new("created_at", Kind::Timestamp).ordered().required(),
    Field::relation("created_by", Rel::Member),
];

/// Those of a record that can change.
const MUTABLE: &[Field] = &[
    Field::new("updated_at", Kind::Timestamp).ordered().required(),
    Field::relation("updated_by", Rel::Member),
];

/// What can be listed, and how.
#[derive(Debug, Clone, Copy)]
pub struct Resource {
    /// The supertype's word for it, also the key of its search text.
    pub kind: &'static str,
    /// Its table.
    pub table: &'static str,
    /// Its fields beside those of every record.
    pub fields: &'static [Field],
    /// Whether `search=` finds it.
    pub searchable: bool,
    /// Whether its rows change: then they have `updated_at` and `updated_by`.
    pub mutable: bool,
    /// What may be looked at beside one's own.
    pub neighbours: Option<Neighbours>,
}

impl Resource {
    /// Every field: its own and those of every record.
    pub fn all_fields(&self) -> impl Iterator<Item = &'static Field> + Clone + use<> {
        self.fields.iter().chain(BASE).chain(if self.mutable { MUTABLE } else { &[] })
    }

    pub(super) fn field(&self, name: &str) -> Option<&'static Field> {
        self.all_fields().find(|field| field.name == name)
    }

    /// The clause that keeps a row to one organization: the first floor of tenancy.
    pub fn in_org(&self, org: crm_core::OrgId) -> Clause {
        Clause::compare(self.table, "org_id", "=", super::Value::Uuid(org.0))
    }

    /// The condition that one of its columns holds one of the ids.
    pub const fn among(&self, column: &'static str, ids: Vec<uuid::Uuid>) -> Clause {
        Clause::Any(self.table, column, super::Value::Uuids(ids))
    }

    /// A comparison of one of its columns.
    pub const fn compare(&self, column: &'static str, operator: &'static str, value: super::Value) -> Clause {
        Clause::compare(self.table, column, operator, value)
    }
}
