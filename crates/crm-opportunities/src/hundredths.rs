use std::fmt;

use crm_core::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number with two decimals, exact: `"2.50"` on the wire, 250 in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hundredths(pub i64);

impl fmt::Display for Hundredths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let all = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:02}", all / 100, all % 100)
    }
}

impl Serialize for Hundredths {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hundredths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written(decimal) = Written::deserialize(deserializer)?;
        let hundredths = decimal.in_units(2);
        hundredths
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("has two decimals at most, and is not too large"))
    }
}

impl utoipa::PartialSchema for Hundredths {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::schema::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .pattern(Some(r"^\d+(\.\d{1,2})?$"))
            .description(Some("A decimal number with two decimals at most, such as \"2.50\"."))
            .into()
    }
}
impl utoipa::ToSchema for Hundredths {}

/// A decimal number as a body gives it, of which it is not known yet what it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written(pub Decimal);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "invalid type: expected a decimal string such as \"2.50\"")]
        enum Wire {
            Text(String),
            Number(serde_json::Number),
        }
        let text = match Wire::deserialize(deserializer)? {
            Wire::Text(text) => text,
            Wire::Number(number) => number.to_string(),
        };
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}
