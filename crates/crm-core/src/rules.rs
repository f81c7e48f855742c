//! Rules about single values that several domains share, in the form the validator's derive calls.

use std::borrow::Cow;

use chrono_tz::Tz;
use iso_currency::Currency;
use validator::ValidationError;

use crate::FieldCode;

fn refuse(code: FieldCode, message: &'static str) -> Result<(), ValidationError> {
    let mut error = ValidationError::new(code.as_str());
    error.message = Some(Cow::Borrowed(message));
    Err(error)
}

/// A phone number: 7 to 25 characters of digits, space, `-`, `(`, `)`, `+` and `.`.
///
/// # Errors
/// `invalid_phone`.
pub fn phone(text: &str) -> Result<(), ValidationError> {
    let allowed = |c: char| c.is_ascii_digit() || " -()+.".contains(c);
    if (7..=25).contains(&text.len()) && text.chars().all(allowed) && text.chars().any(|c| c.is_ascii_digit())
    {
        return Ok(());
    }
    refuse(FieldCode::InvalidPhone, "must have 7 to 25 characters: digits, spaces and - ( ) + .")
}

/// An ISO 4217 currency code in capitals.
///
/// # Errors
/// `not_a_choice`.
pub fn currency(text: &str) -> Result<(), ValidationError> {
    match Currency::from_code(text) {
        Some(_) => Ok(()),
        None => refuse(FieldCode::NotAChoice, "must be an ISO 4217 currency code such as EUR"),
    }
}

/// An ISO 3166-1 alpha-2 country code in capitals.
///
/// # Errors
/// `not_a_choice`.
pub fn country(text: &str) -> Result<(), ValidationError> {
    match rust_iso3166::from_alpha2(text) {
        Some(_) => Ok(()),
        None => refuse(FieldCode::NotAChoice, "must be an ISO 3166 country code of two letters such as DE"),
    }
}

/// A name of the IANA time zone database.
///
/// # Errors
/// `not_a_choice`.
pub fn timezone(text: &str) -> Result<(), ValidationError> {
    match text.parse::<Tz>() {
        Ok(_) => Ok(()),
        Err(_) => refuse(FieldCode::NotAChoice, "must be an IANA time zone name such as Europe/Berlin"),
    }
}

/// A link that a browser may follow: http or https with a host, nothing else.
///
/// # Errors
/// `invalid_url`.
pub fn web_url(text: &str) -> Result<(), ValidationError> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control() || "<>\"\\".contains(c)) {
        return refuse(FieldCode::InvalidUrl, "must be a URL starting with http:// or https://");
    }
    Ok(())
}

/// A password worth the name: 8 to 128 characters, not one character repeated.
///
/// # Errors
/// `too_short`, `too_long` or `invalid_value`.
pub fn password(text: &str) -> Result<(), ValidationError> {
    match text.chars().count() {
        ..8 => refuse(FieldCode::TooShort, "must have 8 characters at least"),
        129.. => refuse(FieldCode::TooLong, "must have 128 characters at most"),
        _ if text.chars().all(|c| text.starts_with(c)) => {
            refuse(FieldCode::InvalidValue, "must not be one character repeated")
        }
        _ => Ok(()),
    }
}

/// No control characters: what will stand in a subject line or a list.
///
/// # Errors
/// `invalid_value`.
pub fn one_line(text: &str) -> Result<(), ValidationError> {
    if text.chars().any(char::is_control) {
        return refuse(FieldCode::InvalidValue, "must be a single line without control characters");
    }
    Ok(())
}

/// An e-mail address as it is compared: one spelling per person.
pub fn normalize_email(email: &str) -> String {
    email.trim().to_lowercase()
}
