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

/// A web address as people write it: `example.com/shop`, or the same behind `https://`, `http://` or `ftp://`.
///
/// # Errors
/// `invalid_url`.
pub fn website(text: &str) -> Result<(), ValidationError> {
    let strange = |c: char| c.is_whitespace() || c.is_control() || "<>\"\\".contains(c);
    if host_of(text).is_none() || text.chars().any(strange) {
        return refuse(FieldCode::InvalidUrl, "must be a web address such as https://www.example.com");
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

/// A name as it is compared: in lower case, with single spaces between its words.
pub fn normalize_name(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// A phone number as it is compared: its digits, behind a plus where it says its country. What is dialled only at home, the zero in
/// `+49 (0)30`, is left out; nothing is guessed, so a number with its country is not one without.
pub fn normalize_phone(phone: &str) -> String {
    let dialled = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let abroad = |rest: &str| format!("+{}", dialled(&rest.replace("(0)", "")));
    let trimmed = phone.trim();
    if let Some(rest) = trimmed.trim_start_matches('(').strip_prefix('+') {
        return abroad(rest);
    }
    let digits = dialled(trimmed);
    if digits.starts_with("00") { abroad(trimmed).replacen("+00", "+", 1) } else { digits }
}

/// Mail providers of everybody: an address with them says nothing of a company.
const FREE_MAIL: &[&str] = &[
    "163.com",
    "126.com",
    "aol.com",
    "fastmail.com",
    "free.fr",
    "freenet.de",
    "gmail.com",
    "gmx.at",
    "gmx.ch",
    "gmx.com",
    "gmx.de",
    "gmx.net",
    "googlemail.com",
    "hotmail.com",
    "hotmail.co.uk",
    "hotmail.de",
    "hotmail.fr",
    "icloud.com",
    "laposte.net",
    "libero.it",
    "live.com",
    "mac.com",
    "mail.com",
    "mail.ru",
    "me.com",
    "msn.com",
    "orange.fr",
    "outlook.com",
    "outlook.de",
    "proton.me",
    "protonmail.com",
    "qq.com",
    "rediffmail.com",
    "t-online.de",
    "wanadoo.fr",
    "web.de",
    "yahoo.com",
    "yahoo.co.in",
    "yahoo.co.jp",
    "yahoo.co.uk",
    "yahoo.de",
    "yahoo.fr",
    "yandex.ru",
    "zoho.com",
];

/// The domain by which a company is recognised: of its website, or else of its e-mail address where that is not with a provider of
/// everybody's.
pub fn domain_of(website: Option<&str>, email: Option<&str>) -> Option<String> {
    let of_email = || {
        let domain = email?.rsplit_once('@')?.1.trim().to_lowercase();
        (!domain.is_empty() && !FREE_MAIL.contains(&domain.as_str())).then_some(domain)
    };
    let of_website =
        website.and_then(host_of).map(|host| host.strip_prefix("www.").map_or(host.clone(), str::to_owned));
    of_website.or_else(of_email).filter(|domain| domain.len() <= 254)
}

/// The host of a web address with or without a scheme, in lower case.
fn host_of(website: &str) -> Option<String> {
    let website = website.trim().to_lowercase();
    let rest =
        ["https://", "http://", "ftps://", "ftp://"].iter().find_map(|scheme| website.strip_prefix(scheme));
    let authority = rest.unwrap_or(&website).split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = authority.split_once(':').unwrap_or((authority, "80"));
    let is_host = |c: char| c.is_alphanumeric() || c == '.' || c == '-';
    let fits = host.contains('.')
        && host.chars().all(is_host)
        && !host.starts_with(['.', '-'])
        && !host.ends_with(['.', '-'])
        && !port.is_empty()
        && port.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_number_is_compared_by_its_digits_and_its_country() {
        for (phone, want) in [
            ("+49 (0)30 901820", "+4930901820"),
            ("0049 30 901820", "+4930901820"),
            ("0049 (0)30 901820", "+4930901820"),
            ("+1 (555) 010-0100", "+15550100100"),
            ("(+1) 555.010.0100", "+15550100100"),
            ("555 010 0100", "5550100100"),
            ("030 901820", "030901820"),
        ] {
            assert_eq!(normalize_phone(phone), want, "{phone}");
        }
    }

    #[test]
    fn a_company_is_recognised_by_its_website_or_else_by_its_mail() {
        for (website, email, want) in [
            (Some("https://www.Example.com/shop?x=1"), None, Some("example.com")),
            (Some("example.com:8080"), Some("a@other.example"), Some("example.com")),
            (Some("shop.example.com"), None, Some("shop.example.com")),
            (None, Some("Ann@Example.com"), Some("example.com")),
            (None, Some("ann@gmail.com"), None),
            (None, None, None),
        ] {
            assert_eq!(domain_of(website, email).as_deref(), want, "{website:?} {email:?}");
        }
    }

    #[test]
    fn a_website_is_an_address_that_a_browser_may_be_sent_to() {
        for good in
            ["example.com", "https://example.com/x?y#z", "http://sub.example.co.uk:8080", "münchen.example"]
        {
            assert!(website(good).is_ok(), "{good}");
        }
        for bad in [
            "javascript:alert(1)",
            "example",
            "https://",
            "data:text/html,x.y",
            "a b.com",
            "https://exa\"mple.com",
            "//x.y",
            ".com",
        ] {
            assert!(website(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_is_compared_without_regard_to_case_and_spaces() {
        assert_eq!(normalize_name("  ACME \t Chairs  Ltd "), "acme chairs ltd");
    }
}
