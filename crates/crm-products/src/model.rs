use crm_core::{Error, FieldCode, Money, Result, rules};
use crm_records::list::{Field, Kind, Resource};
use crm_records::{Base, Described, Links, Target, link_fields};
use crm_schema::products;
use diesel::prelude::*;
use iso_currency::Currency;
use serde::{Deserialize, Serialize};
use validator::Validate;

const LINKS: [Field; 3] = link_fields("products");

/// Products as a list, and as something that comments, files and history hang on.
pub const PRODUCTS: Target = Target {
    resource: Resource {
        kind: "product",
        table: "products",
        fields: &[
            Field::new("name", Kind::Text).ordered().required(),
            Field::new("sku", Kind::Text),
            Field::new("price", Kind::Money).required(),
            Field::new("currency", Kind::Text).required(),
            Field::new("category", Kind::Text).ordered(),
            Field::new("is_active", Kind::Bool).required(),
            Field::new("is_sample", Kind::Bool).required(),
            LINKS[0],
            LINKS[1],
            LINKS[2],
        ],
        searchable: true,
        mutable: true,
        neighbours: None,
    },
    view: "products.view_product",
    change: "products.change_product",
};

/// What a client writes of a product. Blank texts are stored as null.
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
#[serde(deny_unknown_fields)]
#[diesel(table_name = products, treat_none_as_null = true, treat_none_as_default_value = false)]
pub struct ProductFields {
    /// What it is called.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(min = 1, max = 255), custom(function = "rules::one_line"))]
    pub name: String,
    /// What it is.
    #[serde(default, deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 100_000))]
    pub description: Option<String>,
    /// The article number; unique in the organization.
    #[serde(default, deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 100), custom(function = "rules::one_line"))]
    pub sku: Option<String>,
    /// For one; 0 unless told.
    #[serde(default = "free")]
    pub price: Money,
    /// Of the price; the organization's own unless told.
    #[serde(default)]
    #[validate(custom(function = "rules::currency"))]
    #[diesel(select_expression = products::currency.nullable())]
    #[diesel(select_expression_type = diesel::dsl::Nullable<products::currency>)]
    #[diesel(skip_insertion, skip_update)]
    pub currency: Option<String>,
    /// What it is grouped under.
    #[serde(default, deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 100), custom(function = "rules::one_line"))]
    pub category: Option<String>,
    /// False takes it from sale: no new line of a deal may have it.
    #[serde(default = "on")]
    pub is_active: bool,
}

const fn free() -> Money {
    Money::Stored(0)
}

const fn on() -> bool {
    true
}

impl ProductFields {
    /// Fills in the currency, and relates the price to it.
    ///
    /// # Errors
    /// 422 for a price that its currency can't have.
    pub(crate) fn settle(mut self, default_currency: &str) -> Result<Self> {
        let code = self.currency.get_or_insert_with(|| default_currency.to_owned());
        let currency = Currency::from_code(code).ok_or_else(|| {
            Error::field("currency", FieldCode::NotAChoice, "must be an ISO 4217 currency code such as EUR")
        })?;
        let settled = self.price.settle(currency);
        self.price = settled.map_err(|why| Error::field("price", FieldCode::InvalidValue, why))?;
        Ok(self)
    }

    /// How the product is found, and what it is called there.
    pub(crate) fn described(&self) -> Described {
        let texts = [Some(&self.name), self.sku.as_ref(), self.category.as_ref(), self.description.as_ref()];
        let text = texts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ");
        Described { title: self.name.clone(), subtitle: self.sku.clone().unwrap_or_default(), text }
    }
}

/// A product.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Product {
    /// What every record begins with.
    #[serde(flatten)]
    pub base: Base,
    /// What a client writes.
    #[serde(flatten)]
    pub fields: ProductFields,
    /// Whether it is part of the demonstration data.
    pub is_sample: bool,
    /// Who looks after it, and its labels.
    #[serde(flatten)]
    pub links: Links,
}

impl Product {
    /// The fields of a product that the server owns beside those of every record.
    pub(crate) const READ_ONLY: &'static [&'static str] = &["is_sample"];

    /// A product as it was stored.
    pub(crate) fn stored((base, fields, is_sample, links): ProductRow) -> Result<Self> {
        // The currency is never null.
        Ok(Self { base, fields: fields.settle("USD")?, is_sample, links })
    }
}

/// A product as it is selected.
pub(crate) type ProductRow = (Base, ProductFields, bool, Links);
