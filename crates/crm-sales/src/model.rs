use chrono::{DateTime, Utc};
use crm_core::MemberId;
use crm_core::body::Object;
use crm_leads::LeadStatus;
use crm_records::Links;
use crm_schema::conversions;
use diesel::prelude::*;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use uuid::Uuid;
use validator::Validate;

/// What became of a lead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Queryable, Selectable, utoipa::ToSchema)]
#[diesel(table_name = conversions)]
pub struct Conversion {
    /// The lead.
    pub lead_id: Uuid,
    /// The account that was made or found; null once it is gone.
    pub account_id: Option<Uuid>,
    /// The contact; null where none was wanted, or once it is gone.
    pub contact_id: Option<Uuid>,
    /// The opportunity; null where there was none to make, or once it is gone.
    pub opportunity_id: Option<Uuid>,
    /// When that was.
    pub converted_at: DateTime<Utc>,
    /// Who did it; null for the program itself.
    pub converted_by: Option<MemberId>,
}

/// What a lead is to become. What is left out is made of the lead, or found.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Validate, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConversionRequest {
    /// `{"id": …}` for an account that is there, or fields that go before those of the lead. Left out, the account of the lead's company,
    /// person or e-mail address: the one that has this name already, or a new one.
    #[schema(value_type = Option<Object>)]
    pub account: Wish,
    /// `{"id": …}`, fields, or `false` for none. Left out, the contact with the lead's e-mail address, or a new one.
    #[schema(value_type = Option<Object>)]
    pub contact: Wish,
    /// `{"id": …}`, fields, or `false` for none. Left out, a new one where the lead has an amount, a first name or a company.
    #[schema(value_type = Option<Object>)]
    pub opportunity: Wish,
}

/// What is wanted of one of the three.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Wish {
    /// What the lead leads to.
    #[default]
    Usual,
    /// None.
    Omit,
    /// One that is there.
    This(Uuid),
    /// One with these fields.
    With(Object),
}

impl<'de> Deserialize<'de> for Wish {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Null => Ok(Self::Usual),
            Value::Bool(false) => Ok(Self::Omit),
            Value::Bool(true) => Ok(Self::With(Object::new())),
            Value::Object(object) => match object.get("id") {
                None => Ok(Self::With(object)),
                Some(_) if object.len() > 1 => {
                    Err(D::Error::custom("an id stands alone: a record that is there keeps its fields"))
                }
                Some(id) => {
                    let id = id.as_str().and_then(|id| id.parse().ok());
                    id.map(Self::This).ok_or_else(|| D::Error::custom("id must be an id"))
                }
            },
            _ => Err(D::Error::custom("must be an object with an id or with fields, or false for none")),
        }
    }
}

/// What it takes to undo a conversion.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Undo {
    /// The lead's status before.
    pub(crate) status: Option<LeadStatus>,
    pub(crate) account: Part,
    pub(crate) contact: Option<Part>,
    pub(crate) opportunity: Option<Part>,
}

/// What a conversion did to one of the three.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) id: Uuid,
    /// The version it was made at; none for one that was there.
    pub(crate) made: Option<i64>,
    /// The links that were added to one that was there.
    pub(crate) added: Links,
    /// Whether the contact was added to it, or it to the account.
    pub(crate) joined: bool,
    /// Whether it was given the account.
    pub(crate) given_account: bool,
}

impl Part {
    pub(crate) fn made(id: Uuid, version: i64) -> Self {
        Self { made: Some(version), ..Self::found(id) }
    }

    pub(crate) fn found(id: Uuid) -> Self {
        Self { id, made: None, added: Links::default(), joined: false, given_account: false }
    }
}
