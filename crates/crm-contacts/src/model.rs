use crm_core::rules;
use crm_records::contacts::ACCOUNTS_FIELD;
use crm_records::custom::CustomValues;
use crm_records::duplicates::Likeness;
use crm_records::list::{Field, Kind, Neighbours, Rel, Resource};
use crm_records::tally::Tally;
use crm_records::{Base, Described, Links, Target, link_fields, moment};
use crm_schema::contacts;
use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use validator::Validate;

const LINKS: [Field; 3] = link_fields("contacts");

/// Contacts as a list, and as something that comments, files and history hang on. Whoever may see an account of one's own may look at
/// its people.
pub const CONTACTS: Target = Target {
    resource: Resource {
        kind: "contact",
        table: "contacts",
        fields: &[
            Field::new("first_name", Kind::Text).ordered().required(),
            Field::new("last_name", Kind::Text).ordered().required(),
            Field::email("email", "email_normalized"),
            Field::new("phone", Kind::Text),
            Field::new("organization", Kind::Text),
            Field::new("title", Kind::Text),
            Field::new("department", Kind::Text),
            Field::new("do_not_call", Kind::Bool).required(),
            Field::new("linkedin_url", Kind::Text),
            Field::new("address_line", Kind::Text),
            Field::new("city", Kind::Text),
            Field::new("state", Kind::Text),
            Field::new("postcode", Kind::Text),
            Field::new("country", Kind::Text),
            Field::relation("account_id", Rel::Account),
            Field::new("is_active", Kind::Bool).required(),
            Field::new("is_sample", Kind::Bool).required(),
            Field::new("auto_created", Kind::Bool).required(),
            LINKS[0],
            LINKS[1],
            LINKS[2],
            ACCOUNTS_FIELD,
        ],
        searchable: true,
        mutable: true,
        neighbours: Some(Neighbours::OF_ACCOUNTS),
    },
    view: "contacts.view_contact",
    change: "contacts.change_contact",
};

/// What a client writes of a contact. Blank texts are stored as null.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Serialize,
    Deserialize,
    Validate,
    Queryable,
    Selectable,
    Insertable,
    AsChangeset,
    utoipa::ToSchema,
)]
#[serde(default, deny_unknown_fields)]
#[diesel(table_name = contacts, treat_none_as_null = true, treat_none_as_default_value = false)]
pub struct ContactFields {
    /// First name.
    #[schema(required)]
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(min = 1, max = 255), custom(function = "rules::one_line"))]
    pub first_name: String,
    /// Last name.
    #[schema(required)]
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(min = 1, max = 255), custom(function = "rules::one_line"))]
    pub last_name: String,
    /// Both names as they are compared.
    #[serde(skip)]
    pub name_normalized: String,
    /// Unique in the organization, ignoring case.
    #[serde(deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 254), email)]
    pub email: Option<String>,
    /// The address as it is compared.
    #[serde(skip)]
    pub email_normalized: Option<String>,
    /// 7 to 25 characters: digits, spaces and - ( ) + .
    #[serde(deserialize_with = "crm_core::body::text")]
    #[validate(custom(function = "rules::phone"))]
    pub phone: Option<String>,
    /// The number as it is compared.
    #[serde(skip)]
    pub phone_normalized: Option<String>,
    /// Where the person works, as a text.
    #[serde(deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 255), custom(function = "rules::one_line"))]
    pub organization: Option<String>,
    /// What the person does.
    #[serde(deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 255))]
    pub title: Option<String>,
    /// In which department.
    #[serde(deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 255))]
    pub department: Option<String>,
    /// Whether the person does not want to be called.
    pub do_not_call: bool,
    /// A web address.
    #[serde(deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 500), custom(function = "rules::web_url"))]
    pub linkedin_url: Option<String>,
    /// Street and number.
    #[serde(deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 255))]
    pub address_line: Option<String>,
    /// City.
    #[serde(deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 255))]
    pub city: Option<String>,
    /// State or province.
    #[serde(deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 255))]
    pub state: Option<String>,
    /// Postal code.
    #[serde(deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 64))]
    pub postcode: Option<String>,
    /// ISO 3166 code of two letters.
    #[serde(deserialize_with = "crm_core::body::text")]
    #[validate(custom(function = "rules::country"))]
    pub country: Option<String>,
    /// Anything else.
    #[serde(deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 100_000))]
    pub description: Option<String>,
    /// The primary account. Setting it adds the person to the account; clearing it leaves the person there.
    pub account_id: Option<Uuid>,
    /// False hides it from pickers.
    pub is_active: bool,
}

impl Default for ContactFields {
    fn default() -> Self {
        Self {
            first_name: String::new(),
            last_name: String::new(),
            name_normalized: String::new(),
            email: None,
            email_normalized: None,
            phone: None,
            phone_normalized: None,
            organization: None,
            title: None,
            department: None,
            do_not_call: false,
            linkedin_url: None,
            address_line: None,
            city: None,
            state: None,
            postcode: None,
            country: None,
            description: None,
            account_id: None,
            is_active: true,
        }
    }
}

impl ContactFields {
    /// Fills in what follows from the fields.
    pub(crate) fn settle(mut self) -> Self {
        self.name_normalized = rules::normalize_name(&self.display_name());
        self.email_normalized = self.email.as_deref().map(rules::normalize_email);
        self.phone_normalized = self.phone.as_deref().map(rules::normalize_phone);
        self
    }

    /// By what it may be a person who is there already.
    pub(crate) fn likenesses(&self) -> [Likeness; 3] {
        [
            Likeness::unique("email", "email_normalized", self.email_normalized.clone()),
            Likeness::odd("phone", "phone_normalized", self.phone_normalized.clone()),
            Likeness::odd("last_name", "name_normalized", Some(self.name_normalized.clone())),
        ]
    }

    /// Where it counts: in use or not.
    pub fn tally(&self) -> Tally {
        Tally::one(if self.is_active { "active" } else { "inactive" })
    }

    /// What the person is called.
    pub fn display_name(&self) -> String {
        format!("{} {}", self.first_name, self.last_name)
    }

    /// How the contact is found, and what it is called there.
    pub fn described(&self) -> Described {
        let title = self.display_name();
        let texts = [&self.email, &self.phone, &self.organization, &self.title, &self.department, &self.city];
        let texts = texts.into_iter().flatten().map(String::as_str);
        let text = std::iter::once(title.as_str()).chain(texts).collect::<Vec<_>>().join(" ");
        let subtitle = self.organization.as_ref().or(self.email.as_ref()).cloned().unwrap_or_default();
        Described { title, subtitle, text }
    }
}

/// A contact.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Contact {
    /// What every record begins with.
    #[serde(flatten)]
    pub base: Base,
    /// What a client writes.
    #[serde(flatten)]
    pub fields: ContactFields,
    /// The accounts that the person belongs to: those that the caller may look at.
    pub accounts: Vec<Uuid>,
    /// Whether it is part of the demonstration data.
    pub is_sample: bool,
    /// Whether it was made of a mail that came in.
    pub auto_created: bool,
    /// Who works on it, and its labels.
    #[serde(flatten)]
    pub links: Links,
    /// The organization's own fields.
    pub custom_fields: CustomValues,
}

impl Contact {
    /// The fields of a contact that the server owns beside those of every record.
    pub(crate) const READ_ONLY: &'static [&'static str] = &["accounts", "is_sample", "auto_created"];

    /// A contact as it was stored.
    pub(crate) fn stored((base, fields, own, links, custom_fields): ContactRow) -> Self {
        let (accounts, is_sample, auto_created) = own;
        Self { base, fields, accounts, is_sample, auto_created, links, custom_fields }
    }

    /// Its accounts, as far as they are others than the primary one: that is in its version.
    pub(crate) fn moment(&self) -> Option<String> {
        moment(self.accounts == self.fields.account_id.as_slice(), &self.accounts)
    }

    /// How the contact is found, and what it is called there.
    pub(crate) fn described(&self) -> Described {
        self.custom_fields.describe(self.fields.described())
    }
}

/// A contact as it is selected.
pub(crate) type ContactRow = (Base, ContactFields, Own, Links, CustomValues);

/// What the server keeps of a contact: its accounts, whether it is sample data, whether a mail made it.
pub(crate) type Own = (Vec<Uuid>, bool, bool);
