use crm_core::{Error, FieldCode, Money, Result, rules};
use crm_records::Base;
use crm_records::list::{Field, Kind, Rel, Resource};
use crm_schema::{opportunity_lines as lines, products};
use diesel::prelude::*;
use iso_currency::Currency;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use validator::Validate;

use super::figures::Figures;
use crate::hundredths::{Hundredths, Written};

crm_core::text_enum!(
    /// How a discount is told.
    DiscountType { Percentage = "PERCENTAGE", Fixed = "FIXED" }
);

/// The lines of an opportunity as a list.
pub const LINES: Resource = Resource {
    kind: "opportunity_line",
    table: "opportunity_lines",
    fields: &[
        Field::relation("product_id", Rel::Product),
        Field::new("name", Kind::Text).required(),
        Field::new("sort_order", Kind::Integer).ordered().required(),
    ],
    searchable: false,
    mutable: true,
    neighbours: None,
};

/// What a client writes of a line.
#[derive(Debug, Clone, PartialEq, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LineFields {
    /// What is sold. A new one is on sale, and in the deal's currency.
    #[serde(default)]
    pub product_id: Option<Uuid>,
    /// What the line says; the product's name unless told.
    #[serde(default, deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 255), custom(function = "rules::one_line"))]
    pub name: Option<String>,
    /// More about it.
    #[serde(default, deserialize_with = "crm_core::body::text")]
    #[validate(length(max = 500))]
    pub description: Option<String>,
    /// How many; 1 unless told.
    #[serde(default = "one")]
    pub quantity: Hundredths,
    /// For one, in the deal's currency; the product's price unless told. 0 is free.
    #[serde(default)]
    pub unit_price: Option<Money>,
    /// How `discount_value` is meant.
    #[serde(default)]
    pub discount_type: Option<DiscountType>,
    /// Percent with two decimals at most, or an amount in the deal's currency.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub discount_value: Option<Written>,
    /// Where it stands among the lines; the older one first where two say the same.
    #[serde(default)]
    #[validate(range(min = 0))]
    pub sort_order: i32,
}

const fn one() -> Hundredths {
    Hundredths(100)
}

/// What a line takes from its product.
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = products)]
pub(super) struct Product {
    name: String,
    price: i64,
    pub(super) currency: String,
    is_active: bool,
}

impl Product {
    /// Whether a line of a deal in this currency may be made of it.
    pub(super) fn check(&self, code: &str) -> Result<()> {
        if !self.is_active {
            return Err(Error::field("product_id", FieldCode::Inactive, "this product is not on sale"));
        }
        if self.currency != code {
            let message =
                format!("this product is priced in {}, the opportunity is in {code}", self.currency);
            return Err(Error::field("product_id", FieldCode::Mismatch, message));
        }
        Ok(())
    }
}

impl LineFields {
    /// The row of the line: what is left out comes from the product, and the rest is worked out.
    ///
    /// # Errors
    /// 422 naming the field.
    pub(super) fn settle(self, deal: Uuid, product: Option<&Product>, currency: Currency) -> Result<LineRow> {
        let name = self.name.or_else(|| product.map(|product| product.name.clone())).ok_or_else(|| {
            Error::field("name", FieldCode::Required, "a line without a product needs a name")
        })?;
        let price = self.unit_price.unwrap_or(Money::Stored(product.map_or(0, |product| product.price)));
        let price =
            price.settle(currency).map_err(|why| Error::field("unit_price", FieldCode::InvalidValue, why))?;
        let unit_price = price.minor().unwrap_or_default();
        let value = self.discount_value.map(|Written(decimal)| decimal);
        let wrong = |message: &'static str| Error::field("discount_value", FieldCode::InvalidValue, message);
        let discount_value = match (self.discount_type, value) {
            (_, None) => 0,
            (Some(DiscountType::Fixed), Some(value)) => {
                let exponent = u32::from(currency.exponent().unwrap_or(0));
                value
                    .in_units(exponent)
                    .ok_or_else(|| wrong("has more decimals than its currency, or is too large"))?
            }
            (_, Some(value)) => value.in_units(2).ok_or_else(|| wrong("has two decimals at most"))?,
        };
        if self.discount_type.is_none() && discount_value != 0 {
            let message = "is needed with a discount: PERCENTAGE or FIXED";
            return Err(Error::field("discount_type", FieldCode::Required, message));
        }
        let discount = self.discount_type.map(|kind| (kind, discount_value));
        let Figures { subtotal, discount_amount, total } =
            Figures::of(self.quantity.0, unit_price, discount)?;
        Ok(LineRow {
            opportunity_id: deal,
            product_id: self.product_id,
            name,
            description: self.description,
            quantity: self.quantity.0,
            unit_price,
            discount_type: self.discount_type,
            discount_value,
            subtotal,
            discount_amount,
            total,
            sort_order: self.sort_order,
        })
    }
}

/// A line as it is stored.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = lines, treat_none_as_null = true)]
pub(super) struct LineRow {
    pub(super) opportunity_id: Uuid,
    product_id: Option<Uuid>,
    name: String,
    description: Option<String>,
    quantity: i64,
    unit_price: i64,
    discount_type: Option<DiscountType>,
    discount_value: i64,
    subtotal: i64,
    discount_amount: i64,
    total: i64,
    sort_order: i32,
}

/// A line of an opportunity.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Line {
    /// What every record begins with.
    #[serde(flatten)]
    pub base: Base,
    /// The deal that it is part of.
    pub opportunity_id: Uuid,
    /// What is sold; null for something else, and once the product is deleted.
    pub product_id: Option<Uuid>,
    /// What the line says.
    pub name: String,
    /// More about it.
    pub description: Option<String>,
    /// How many.
    pub quantity: Hundredths,
    /// For one.
    pub unit_price: Money,
    /// Of all amounts here: the deal's.
    pub currency: String,
    /// How `discount_value` is meant.
    pub discount_type: Option<DiscountType>,
    /// Percent, or an amount.
    pub discount_value: String,
    /// What it costs without the discount.
    pub subtotal: Money,
    /// What the discount takes from that.
    pub discount_amount: Money,
    /// What it costs.
    pub total: Money,
    /// Where it stands among the lines.
    pub sort_order: i32,
}

impl Line {
    /// The fields of a line that the server owns beside those of every record.
    pub(super) const READ_ONLY: &'static [&'static str] =
        &["opportunity_id", "currency", "subtotal", "discount_amount", "total"];

    /// A line as it was stored, of a deal in this currency.
    pub(super) fn stored(base: Base, row: LineRow, currency: Currency) -> Result<Self> {
        let money = |minor| Money::Stored(minor).settle(currency).map_err(Error::internal);
        let discount_value = match row.discount_type {
            Some(DiscountType::Fixed) => money(row.discount_value)?.to_string(),
            _ => Hundredths(row.discount_value).to_string(),
        };
        Ok(Self {
            base,
            opportunity_id: row.opportunity_id,
            product_id: row.product_id,
            name: row.name,
            description: row.description,
            quantity: Hundredths(row.quantity),
            unit_price: money(row.unit_price)?,
            currency: currency.code().to_owned(),
            discount_type: row.discount_type,
            discount_value,
            subtotal: money(row.subtotal)?,
            discount_amount: money(row.discount_amount)?,
            total: money(row.total)?,
            sort_order: row.sort_order,
        })
    }
}
