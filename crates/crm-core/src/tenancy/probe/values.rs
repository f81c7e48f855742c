//! Values out of thin air.

use uuid::Uuid;

use crate::tenancy::catalog::{Check, Column};

/// Values of the column's type, the words of its CHECK constraints first.
pub(super) fn invented(column: &Column, checks: &[Check]) -> Vec<String> {
    let rules = || checks.iter().filter(|check| check.is_on(column)).map(|check| &check.expression);
    let strings = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    let base = column.sql_type.split('(').next().unwrap_or_default();
    match base {
        "uuid" => vec![Uuid::now_v7().to_string()],
        "text" | "citext" | "character" | "character varying" => {
            let words = rules().flat_map(|rule| rule.split('\'').skip(1).step_by(2)).map(str::to_owned);
            words.chain(texts()).collect()
        }
        "smallint" | "integer" | "bigint" | "numeric" | "real" | "double precision" => {
            let numbers = rules().flat_map(|rule| rule.split(|c: char| !c.is_ascii_digit()));
            let numbers = numbers.filter(|number| number.parse::<i16>().is_ok()).map(str::to_owned);
            ["1", "0"].map(str::to_owned).into_iter().chain(numbers).collect()
        }
        "boolean" => strings(&["true", "false"]),
        "date" => strings(&["today", "tomorrow"]),
        "interval" => strings(&["1 day"]),
        "json" | "jsonb" => strings(&["{}", "[]"]),
        "bytea" => vec![format!("\\x{}", Uuid::new_v4().simple())],
        "inet" | "cidr" => strings(&["192.0.2.1"]),
        _ if base.starts_with("timestamp") => strings(&["now", "tomorrow"]),
        _ if base.starts_with("time") => strings(&["12:00", "13:00"]),
        _ if base.ends_with("[]") => strings(&["{}"]),
        _ => Vec::new(),
    }
}

/// Texts of many lengths and shapes that nothing else in the database equals.
fn texts() -> Vec<String> {
    let hex = Uuid::new_v4().simple().to_string();
    // Letters only, for rules that allow no digits.
    let letters: String =
        hex.chars().filter_map(|c| c.to_digit(16)).filter_map(|d| char::from_digit(d + 10, 36)).collect();
    let mut texts: Vec<String> =
        [32, 20, 10, 6, 4, 3, 2, 1].iter().filter_map(|n| letters.get(..*n)).map(str::to_owned).collect();
    texts.extend(texts.iter().map(|text| text.to_uppercase()).collect::<Vec<_>>());
    texts.extend([
        hex.clone(),
        hex.repeat(2),
        format!("{letters}@example.com"),
        format!("https://example.com/{letters}"),
        "+15550123456".into(),
        "#336699".into(),
        "12345".into(),
        "2026-01-01".into(),
    ]);
    texts
}
