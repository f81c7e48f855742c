use std::fmt;
use std::str::FromStr;

use iso_currency::Currency;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A decimal number as written, exact: digits and how many of them stand behind the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal {
    digits: i64,
    scale: u32,
}

impl FromStr for Decimal {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "must be a decimal number such as \"1250.00\"";
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let unsigned = whole.strip_prefix('-').unwrap_or(whole);
        let digits_only = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if unsigned.is_empty() || !digits_only(unsigned) || !digits_only(fraction) || text.ends_with('.') {
            return Err(WRONG);
        }
        let fraction = fraction.trim_end_matches('0');
        let digits = format!("{whole}{fraction}").parse().map_err(|_| "is too large")?;
        Ok(Self { digits, scale: u32::try_from(fraction.len()).map_err(|_| WRONG)? })
    }
}

impl Decimal {
    /// The number in units of 10^-`exponent`, or none if it has more decimals than that or is too large.
    pub fn in_units(self, exponent: u32) -> Option<i64> {
        10_i64
            .checked_pow(exponent.checked_sub(self.scale)?)
            .and_then(|factor| self.digits.checked_mul(factor))
    }
}

/// An amount of money in a column of its own, beside the column of its currency.
///
/// Stored as minor units, written on the wire as a decimal string. The two only meet where the currency is known, so a
/// value read from either side has to be [settled](Money::settle) before it is used.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, diesel::expression::AsExpression, diesel::deserialize::FromSqlRow,
)]
#[diesel(sql_type = diesel::sql_types::BigInt)]
pub enum Money {
    /// As it came in, currency unknown.
    Written(Decimal),
    /// As stored, in minor units of a currency not yet looked at.
    Stored(i64),
    /// In minor units of a currency with this many decimals.
    Settled {
        /// Minor units: cents of a dollar, whole yen.
        minor: i64,
        /// Decimals of the currency.
        exponent: u32,
    },
}

impl Money {
    /// The most that is accepted, in minor units: twelve digits.
    pub const MAX_MINOR: i64 = 999_999_999_999;

    /// Relates the amount to its currency.
    ///
    /// # Errors
    /// What is wrong, for a person: too many decimals for the currency, negative, or too large.
    pub fn settle(self, currency: Currency) -> Result<Self, String> {
        self.settle_within(Self::MAX_MINOR, currency)
    }

    /// The same for what may be larger, such as the revenue of a company.
    ///
    /// # Errors
    /// As [`Money::settle`].
    pub fn settle_within(self, max_minor: i64, currency: Currency) -> Result<Self, String> {
        let exponent = u32::from(currency.exponent().unwrap_or(0));
        let minor = match self {
            Self::Stored(minor) => minor,
            Self::Written(decimal) if decimal.scale > exponent => {
                return Err(format!("{} amounts have {exponent} decimals at most", currency.code()));
            }
            Self::Written(decimal) => decimal.in_units(exponent).unwrap_or(i64::MAX),
            Self::Settled { minor, exponent: old } if old == exponent => minor,
            Self::Settled { minor, exponent: old } => Decimal { digits: minor, scale: old }
                .reduced()
                .in_units(exponent)
                .ok_or_else(|| format!("{} amounts have {exponent} decimals at most", currency.code()))?,
        };
        match minor {
            ..0 => Err("must not be negative".into()),
            _ if minor <= max_minor => Ok(Self::Settled { minor, exponent }),
            _ => Err(format!("is too large: {} digits at most", max_minor.to_string().len())),
        }
    }

    /// The minor units, once known.
    pub fn minor(self) -> Option<i64> {
        match self {
            Self::Stored(minor) | Self::Settled { minor, .. } => Some(minor),
            Self::Written(_) => None,
        }
    }
}

impl Decimal {
    fn reduced(mut self) -> Self {
        while self.scale > 0 && self.digits % 10 == 0 {
            self.digits /= 10;
            self.scale -= 1;
        }
        self
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Settled { minor, exponent: 0 } => write!(f, "{minor}"),
            Self::Settled { minor, exponent } => {
                let unit = 10_i64.pow(exponent);
                write!(f, "{}.{:0width$}", minor / unit, minor % unit, width = exponent as usize)
            }
            Self::Stored(minor) => write!(f, "{minor} minor units"),
            Self::Written(Decimal { digits, scale }) => write!(f, "{digits}e-{scale}"),
        }
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Settled { .. } => serializer.collect_str(self),
            _ => Err(serde::ser::Error::custom("amount without its currency")),
        }
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "invalid type: expected a decimal string such as \"1250.00\"")]
        enum Wire {
            Text(String),
            Number(serde_json::Number),
        }
        let text = match Wire::deserialize(deserializer)? {
            Wire::Text(text) => text,
            Wire::Number(number) => number.to_string(),
        };
        text.parse().map(Self::Written).map_err(serde::de::Error::custom)
    }
}

impl diesel::serialize::ToSql<diesel::sql_types::BigInt, diesel::pg::Pg> for Money {
    fn to_sql<'b>(
        &'b self,
        out: &mut diesel::serialize::Output<'b, '_, diesel::pg::Pg>,
    ) -> diesel::serialize::Result {
        let minor = self.minor().ok_or("amount without its currency")?;
        diesel::serialize::ToSql::<diesel::sql_types::BigInt, diesel::pg::Pg>::to_sql(
            &minor,
            &mut out.reborrow(),
        )
    }
}

impl diesel::deserialize::FromSql<diesel::sql_types::BigInt, diesel::pg::Pg> for Money {
    fn from_sql(bytes: diesel::pg::PgValue<'_>) -> diesel::deserialize::Result<Self> {
        diesel::deserialize::FromSql::<diesel::sql_types::BigInt, diesel::pg::Pg>::from_sql(bytes)
            .map(Self::Stored)
    }
}

impl utoipa::PartialSchema for Money {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::schema::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .pattern(Some(r"^\d+(\.\d+)?$"))
            .description(Some("A decimal amount in the currency of the sibling field, such as \"1250.00\"."))
            .into()
    }
}
impl utoipa::ToSchema for Money {}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(text: &str, currency: Currency) -> Result<String, String> {
        let money: Money = serde_json::from_value(serde_json::json!(text)).map_err(|e| e.to_string())?;
        money.settle(currency).map(|m| m.to_string())
    }

    #[test]
    fn amounts_keep_the_decimals_of_their_currency() {
        for (text, currency, want) in [
            ("1250", Currency::USD, Ok("1250.00")),
            ("0.5", Currency::EUR, Ok("0.50")),
            ("12.340", Currency::EUR, Ok("12.34")),
            ("1500.00", Currency::JPY, Ok("1500")),
            ("1.234", Currency::KWD, Ok("1.234")),
            ("1.5", Currency::JPY, Err("JPY amounts have 0 decimals at most")),
            ("1.234", Currency::USD, Err("USD amounts have 2 decimals at most")),
            ("-1", Currency::USD, Err("must not be negative")),
            ("10000000000", Currency::USD, Err("is too large: 12 digits at most")),
        ] {
            assert_eq!(settled(text, currency), want.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
        for wrong in
            ["", "abc", "1,5", "1e5", "NaN", "Infinity", ".5", "5.", "99999999999999999999", "+1", "1-2"]
        {
            assert!(settled(wrong, Currency::USD).is_err(), "{wrong}");
        }
    }

    #[test]
    fn another_currency_keeps_the_amount_or_refuses() {
        let money = Money::Stored(1200).settle(Currency::EUR).unwrap();
        assert_eq!(money.settle(Currency::JPY).unwrap().to_string(), "12");
        let odd = Money::Stored(1250).settle(Currency::EUR).unwrap();
        assert!(odd.settle(Currency::JPY).is_err());
        assert_eq!(odd.settle(Currency::KWD).unwrap().to_string(), "12.500");
    }
}
