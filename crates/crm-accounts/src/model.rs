use crm_core::{Error, FieldCode, Industry, Money, Result, rules};
use crm_records::custom::CustomValues;
use crm_records::duplicates::Likeness;
use crm_records::list::{Field, Kind, Resource};
use crm_records::tally::Tally;
use crm_records::{Base, Described, LinkIds, Links, Target, contact_ids, contacts_field, link_fields};
use crm_schema::accounts;
use diesel::prelude::*;
use iso_currency::Currency;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use validator::Validate;

/// The most that a company may turn over, in minor units: fifteen digits.
const MAX_REVENUE: i64 = 999_999_999_999_999;

const LINKS: [Field; 3] = link_fields("accounts");

/// Accounts as a list, and as something that comments, files and history hang on.
pub const ACCOUNTS: Target = Target {
    resource: Resource {
        kind: "account",
        table: "accounts",
        fields: &[
            Field::new("name", Kind::Text).ordered().required(),
            Field::email("email", "email_normalized"),
            Field::new("phone", Kind::Text),
            Field::new("website", Kind::Text),
            Field::new("industry", Kind::Choice(Industry::WORDS)).ordered(),
            Field::new("number_of_employees", Kind::Integer),
            Field::new("annual_revenue", Kind::Money),
            Field::new("currency", Kind::Text),
            Field::new("address_line", Kind::Text),
            Field::new("city", Kind::Text),
            Field::new("state", Kind::Text),
            Field::new("postcode", Kind::Text),
            Field::new("country", Kind::Text),
            Field::new("is_active", Kind::Bool).required(),
            Field::new("is_sample", Kind::Bool).required(),
            LINKS[0],
            LINKS[1],
            LINKS[2],
            contacts_field("accounts"),
        ],
        searchable: true,
        mutable: true,
        neighbours: None,
    },
    view: "accounts.view_account",
    change: "accounts.change_account",
};

/// What a client writes of an account. Blank texts are stored as null.
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
#[diesel(table_name = accounts, treat_none_as_null = true, treat_none_as_default_value = false)]
pub struct AccountFields {
    /// Unique in the organization, ignoring case and spaces.
    #[schema(required)]
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(min = 1, max = 255), custom(function = "rules::one_line"))]
    pub name: String,
    /// The name as it is compared.
    #[serde(skip)]
    pub name_normalized: String,
    /// Of the company.
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
    /// A web address, with or without a scheme.
    #[serde(deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 200), custom(function = "rules::website"))]
    pub website: Option<String>,
    /// The domain by which the company is recognised.
    #[serde(skip)]
    pub domain: Option<String>,
    /// The line of business.
    pub industry: Option<Industry>,
    /// How many work there.
    #[validate(range(min = 0))]
    pub number_of_employees: Option<i32>,
    /// What it turns over in a year.
    pub annual_revenue: Option<Money>,
    /// Of the revenue; the organization's own when a revenue comes without one.
    #[serde(deserialize_with = "crm_core::body::text")]
    #[validate(custom(function = "rules::currency"))]
    pub currency: Option<String>,
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
    /// False hides it from pickers.
    pub is_active: bool,
    /// Its people: ids of contacts.
    #[diesel(skip_insertion, skip_update)]
    #[diesel(select_expression = contact_ids("accounts"), select_expression_type = LinkIds)]
    pub contacts: Vec<Uuid>,
}

impl Default for AccountFields {
    fn default() -> Self {
        Self {
            name: String::new(),
            name_normalized: String::new(),
            email: None,
            email_normalized: None,
            phone: None,
            phone_normalized: None,
            website: None,
            domain: None,
            industry: None,
            number_of_employees: None,
            annual_revenue: None,
            currency: None,
            address_line: None,
            city: None,
            state: None,
            postcode: None,
            country: None,
            description: None,
            is_active: true,
            contacts: Vec::new(),
        }
    }
}

impl AccountFields {
    /// Fills in what follows from the fields, and judges what only shows when they are seen together.
    ///
    /// # Errors
    /// 422 for a revenue that its currency can't have.
    pub(crate) fn settle(mut self, default_currency: &str) -> Result<Self> {
        self.name_normalized = rules::normalize_name(&self.name);
        self.email_normalized = self.email.as_deref().map(rules::normalize_email);
        self.phone_normalized = self.phone.as_deref().map(rules::normalize_phone);
        self.domain = rules::domain_of(self.website.as_deref(), self.email_normalized.as_deref());
        self.contacts.sort();
        self.contacts.dedup();
        if let Some(revenue) = self.annual_revenue {
            let code = self.currency.get_or_insert_with(|| default_currency.to_owned());
            let currency = Currency::from_code(code).ok_or_else(|| {
                Error::field(
                    "currency",
                    FieldCode::NotAChoice,
                    "must be an ISO 4217 currency code such as EUR",
                )
            })?;
            let settled = revenue
                .settle_within(MAX_REVENUE, currency)
                .map_err(|why| Error::field("annual_revenue", FieldCode::InvalidValue, why))?;
            self.annual_revenue = Some(settled);
        }
        Ok(self)
    }

    /// By what it may be an account that is there already.
    pub(crate) fn likenesses(&self) -> [Likeness; 4] {
        [
            Likeness::unique("name", "name_normalized", Some(self.name_normalized.clone())),
            Likeness::odd("email", "email_normalized", self.email_normalized.clone()),
            Likeness::odd("phone", "phone_normalized", self.phone_normalized.clone()),
            Likeness::odd(
                if self.website.is_some() { "website" } else { "email" },
                "domain",
                self.domain.clone(),
            ),
        ]
    }

    /// Where it counts: in use or not.
    pub fn tally(&self) -> Tally {
        Tally::one(if self.is_active { "active" } else { "inactive" })
    }

    /// How the account is found, and what it is called there.
    pub fn described(&self) -> Described {
        let texts = [&self.email, &self.phone, &self.website, &self.domain, &self.city];
        let texts = texts.into_iter().flatten().map(String::as_str);
        let text = std::iter::once(self.name.as_str()).chain(texts).collect::<Vec<_>>().join(" ");
        let subtitle = self.website.as_ref().or(self.email.as_ref()).or(self.city.as_ref());
        Described { title: self.name.clone(), subtitle: subtitle.cloned().unwrap_or_default(), text }
    }
}

/// An account.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Account {
    /// What every record begins with.
    #[serde(flatten)]
    pub base: Base,
    /// What a client writes.
    #[serde(flatten)]
    pub fields: AccountFields,
    /// Whether it is part of the demonstration data.
    pub is_sample: bool,
    /// Who works on it, and its labels.
    #[serde(flatten)]
    pub links: Links,
    /// The organization's own fields.
    pub custom_fields: CustomValues,
}

impl Account {
    /// The fields of an account that the server owns beside those of every record.
    pub(crate) const READ_ONLY: &'static [&'static str] = &["is_sample"];

    /// An account as it was stored.
    pub(crate) fn stored((base, fields, is_sample, links, custom_fields): AccountRow) -> Result<Self> {
        // A revenue never stands without its currency: a constraint sees to that.
        let fields = fields.settle("USD")?;
        Ok(Self { base, fields, is_sample, links, custom_fields })
    }

    /// How the account is found, and what it is called there.
    pub(crate) fn described(&self) -> Described {
        self.custom_fields.describe(self.fields.described())
    }
}

/// An account as it is selected.
pub(crate) type AccountRow = (Base, AccountFields, bool, Links, CustomValues);
