//! The text of a cell as a value of its field.

use chrono::{Datelike, NaiveDate};
use crm_core::{FieldCode, FieldError};
use crm_records::custom::FieldType;
use serde_json::{Number, Value};

use crate::{Column, Holds, split};

crm_core::text_enum!(
    /// How the days of a file are written, beside `2026-01-31` and `31.01.2026`, which are always understood.
    DateFormat {
        /// Nothing else.
        Iso = "yyyy-mm-dd",
        /// 31.01.2026.
        Dotted = "dd.mm.yyyy",
        /// 31/01/2026.
        DayFirst = "dd/mm/yyyy",
        /// 01/31/2026.
        MonthFirst = "mm/dd/yyyy",
    }
);

crm_core::text_enum!(
    /// What stands before the cents.
    DecimalMark {
        /// 1,250.50.
        Point = ".",
        /// 1.250,50.
        Comma = ",",
    }
);

/// What a file says nothing about itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Habits {
    /// How days are written.
    pub dates: Option<DateFormat>,
    /// What stands before the cents; found out number by number otherwise.
    pub decimal: Option<DecimalMark>,
}

/// The value of a cell that is not blank, but for names, which are looked up.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn value_of(column: &Column, text: &str, habits: Habits) -> Result<Value, FieldError> {
    let fault = |code, message: &str| FieldError::new(&column.name, code, message);
    match &column.holds {
        Holds::Text | Holds::Timestamp | Holds::Id => Ok(Value::String(text.to_owned())),
        Holds::Choice(words) => Ok(Value::String(choice(words, text).unwrap_or(text).to_owned())),
        Holds::Integer => whole(text, habits.decimal)
            .map(|number| Value::Number(number.into()))
            .map_err(|why| fault(FieldCode::WrongType, why)),
        Holds::Money => decimal(text, habits.decimal)
            .map(Value::String)
            .map_err(|why| fault(FieldCode::InvalidValue, why)),
        Holds::Bool | Holds::Custom(FieldType::Checkbox) => {
            boolean(text).map(Value::Bool).ok_or_else(|| fault(FieldCode::WrongType, "must be yes or no"))
        }
        Holds::Date | Holds::Custom(FieldType::Date) => day(text, habits.dates)
            .map(|day| Value::String(day.to_string()))
            .map_err(|why| fault(FieldCode::InvalidValue, why)),
        Holds::Custom(FieldType::Number) => {
            let number = decimal(text, habits.decimal).map_err(|why| fault(FieldCode::InvalidValue, why))?;
            let number: Result<Number, _> = serde_json::from_str(&number);
            number
                .map(Value::Number)
                .map_err(|_| fault(FieldCode::WrongType, "must be a number such as 12.5"))
        }
        Holds::Custom(FieldType::Text | FieldType::Textarea | FieldType::Dropdown) => {
            Ok(Value::String(text.to_owned()))
        }
        Holds::Ids | Holds::Related(_) => Ok(split(text).into_iter().map(Value::String).collect()),
    }
}

/// The word that is meant, however it is spelled.
fn choice<'a>(words: &[&'a str], text: &str) -> Option<&'a str> {
    let plain = |word: &str| -> String {
        word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let meant = plain(text);
    words.iter().copied().find(|word| plain(word) == meant)
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "1" | "x" | "on" | "ja" | "j" | "wahr" => Some(true),
        "false" | "f" | "no" | "n" | "0" | "off" | "nein" | "falsch" => Some(false),
        _ => None,
    }
}

fn whole(text: &str, mark: Option<DecimalMark>) -> Result<i64, &'static str> {
    const WRONG: &str = "must be a whole number";
    let text = text.trim_end_matches('%').trim_end();
    let number = decimal(text, mark).map_err(|why| if why == AMBIGUOUS { why } else { WRONG })?;
    // A spreadsheet shows whole numbers with decimals where it is told to.
    let (number, decimals) = number.split_once('.').unwrap_or((&number, ""));
    if decimals.bytes().any(|b| b != b'0') {
        return Err(WRONG);
    }
    number.parse().map_err(|_| WRONG)
}

/// What is told of a number that can be read in two ways.
const AMBIGUOUS: &str = "could be thousands or decimals: say decimal=. or decimal=,";

/// A number with a point before its decimals and nothing between its thousands.
fn decimal(text: &str, mark: Option<DecimalMark>) -> Result<String, &'static str> {
    const WRONG: &str = "must be a number such as 1250.50";
    let bare: String = text
        .chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '\'' | '\u{2019}' | '$' | '€' | '£' | '¥'))
        .collect();
    let (sign, digits) = bare.strip_prefix('-').map_or(("", bare.as_str()), |rest| ("-", rest));
    if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | ',')) {
        return Err(WRONG);
    }
    let point = match (mark, digits.rfind('.'), digits.rfind(',')) {
        (Some(DecimalMark::Point), ..) => '.',
        (Some(DecimalMark::Comma), ..) => ',',
        (None, Some(dot), Some(comma)) => {
            if dot > comma {
                '.'
            } else {
                ','
            }
        }
        (None, None, None) => '.',
        (None, Some(at), None) | (None, None, Some(at)) => {
            let (only, other) = if digits.contains('.') { ('.', ',') } else { (',', '.') };
            let thousands = digits.len() - at == 4 && (1..=3).contains(&digits.find(only).unwrap_or(0));
            match digits.matches(only).count() {
                // Said twice it separates thousands.
                2.. => other,
                _ if thousands && !digits.starts_with('0') => {
                    return Err(AMBIGUOUS);
                }
                _ => only,
            }
        }
    };
    let (whole, fraction) = digits.split_once(point).unwrap_or((digits, ""));
    let thousands = if point == '.' { ',' } else { '.' };
    let mut groups = whole.split(thousands);
    let first = groups.next().unwrap_or_default();
    let grouped = whole.contains(thousands);
    if grouped && (first.is_empty() || first.len() > 3 || groups.any(|group| group.len() != 3)) {
        return Err(WRONG);
    }
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(WRONG);
    }
    let whole: String = whole.chars().filter(char::is_ascii_digit).collect();
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    Ok(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

fn day(text: &str, format: Option<DateFormat>) -> Result<NaiveDate, &'static str> {
    // Spreadsheets put a time behind a day.
    let date = text.split(['T', ' ']).next().unwrap_or_default();
    let numbers = |mark: char| -> Option<[u32; 3]> {
        let parts: Vec<u32> = date.split(mark).map(|part| part.parse().ok()).collect::<Option<_>>()?;
        parts.try_into().ok()
    };
    let made = |year: u32, month, day| {
        let year = i32::try_from(year).ok().filter(|year| (1000..=9999).contains(year));
        year.and_then(|year| NaiveDate::from_ymd_opt(year, month, day)).filter(|day| day.year() > 0)
    };
    let found = if let Some([year, month, day]) = numbers('-').filter(|[year, ..]| *year > 999) {
        made(year, month, day)
    } else if let Some([day, month, year]) = numbers('.') {
        made(year, month, day)
    } else if let Some([one, other, year]) = numbers('/').or_else(|| numbers('-')) {
        match format {
            Some(DateFormat::DayFirst | DateFormat::Dotted) => made(year, other, one),
            Some(DateFormat::MonthFirst) => made(year, one, other),
            _ if one > 12 => made(year, other, one),
            _ if other > 12 => made(year, one, other),
            _ if one == other => made(year, one, other),
            _ => {
                return Err(
                    "could be day or month first: say date_format=dd/mm/yyyy or date_format=mm/dd/yyyy",
                );
            }
        }
    } else {
        None
    };
    found.ok_or("must be a date such as 2026-01-31")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_are_written_and_never_guessed() {
        use DecimalMark::{Comma, Point};
        for (text, mark, want) in [
            ("1250", None, Some("1250")),
            ("1250.5", None, Some("1250.5")),
            ("1250,50", None, Some("1250.50")),
            ("1.250,50", None, Some("1250.50")),
            ("1,250.50", None, Some("1250.50")),
            ("1.250.000", None, Some("1250000")),
            ("1 250,50 €", None, Some("1250.50")),
            ("$1,250,000.00", None, Some("1250000.00")),
            ("0.125", None, Some("0.125")),
            ("-12,5", None, Some("-12.5")),
            ("007", None, Some("7")),
            ("1,250", None, None),
            ("1.250", None, None),
            ("1,250", Some(Point), Some("1250")),
            ("1,250", Some(Comma), Some("1.250")),
            ("1.250", Some(Comma), Some("1250")),
            ("12,50.3", None, None),
            ("1,2,3", None, None),
            ("abc", None, None),
            ("1e5", None, None),
            ("", None, None),
            ("-", None, None),
        ] {
            assert_eq!(decimal(text, mark).ok().as_deref(), want, "{text} {mark:?}");
        }
        for (text, mark, want) in [
            ("42", None, Some(42)),
            ("42.0", None, Some(42)),
            ("42,00", None, Some(42)),
            ("-7", None, Some(-7)),
            ("75 %", None, Some(75)),
            ("1 250", None, Some(1250)),
            ("1.250.000", None, Some(1_250_000)),
            ("1.000", None, None),
            ("1,250", Some(Point), Some(1250)),
            ("1.250", Some(Comma), Some(1250)),
            ("1.250", Some(Point), None),
            ("1,250.00", Some(Point), Some(1250)),
            ("12.5", None, None),
            ("99999999999999999999", None, None),
            ("x", None, None),
            ("", None, None),
        ] {
            assert_eq!(whole(text, mark).ok(), want, "{text} {mark:?}");
        }
    }

    #[test]
    fn days_are_read_as_they_are_written_and_never_guessed() {
        use DateFormat::{DayFirst, MonthFirst};
        for (text, format, want) in [
            ("2026-01-31", None, Some("2026-01-31")),
            ("2026-01-31T10:00:00Z", None, Some("2026-01-31")),
            ("31.01.2026", None, Some("2026-01-31")),
            ("3.2.2026", None, Some("2026-02-03")),
            ("31.01.2026 10:15", None, Some("2026-01-31")),
            ("31/01/2026", None, Some("2026-01-31")),
            ("01/31/2026", None, Some("2026-01-31")),
            ("03/02/2026", None, None),
            ("03/02/2026", Some(DayFirst), Some("2026-02-03")),
            ("03/02/2026", Some(MonthFirst), Some("2026-03-02")),
            ("31/01/26", None, None),
            ("30.02.2026", None, None),
            ("soon", None, None),
        ] {
            let got = day(text, format).ok().map(|day| day.to_string());
            assert_eq!(got.as_deref(), want, "{text} {format:?}");
        }
    }

    #[test]
    fn words_are_found_however_they_are_spelled() {
        assert_eq!(choice(&["in process", "HOT"], "In Process"), Some("in process"));
        assert_eq!(choice(&["in process", "HOT"], "hot"), Some("HOT"));
        assert_eq!(choice(&["in process"], "converted"), None);
        for (text, want) in [
            ("Yes", Some(true)),
            ("NEIN", Some(false)),
            ("0", Some(false)),
            ("x", Some(true)),
            ("maybe", None),
        ] {
            assert_eq!(boolean(text), want, "{text}");
        }
    }
}
