use serde_json::Number;

/// More digits than these a 64-bit floating-point number can't keep.
const SIGNIFICANT_DIGITS: usize = 15;

/// The number as it is kept: exactly as it was written, zero without a sign, and a whole number without a point. None for what has
/// too many digits.
pub(super) fn exact(number: f64) -> Option<Number> {
    // The shortest text that stands for this number and for no other.
    let text = format!("{number:e}");
    let (mantissa, _) = text.split_once('e')?;
    if mantissa.bytes().filter(u8::is_ascii_digit).count() > SIGNIFICANT_DIGITS {
        return None;
    }
    if number == 0.0 {
        return Some(Number::from(0));
    }
    // As it will be read back from the database.
    if number.fract() == 0.0 { format!("{number:.0}").parse().ok() } else { Number::from_f64(number) }
}

/// The same for a number of a body, which must not have been rounded on the way.
pub(super) fn exact_number(number: &Number) -> Option<Number> {
    let kept = exact(number.as_f64()?)?;
    (number.is_f64() || kept == *number).then_some(kept)
}

/// The place of a number among all of them: compares as they do, and equal ones have the same.
pub(super) fn rank(number: f64) -> i64 {
    let bits = number.to_bits().cast_signed();
    if bits < 0 { bits ^ i64::MAX } else { bits }
}

/// The place of a number as it stands in a query string; none if no value can be that.
pub(crate) fn rank_of(text: &str) -> Option<i64> {
    let number = text.parse().ok().and_then(exact)?;
    number.as_f64().map(rank)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{exact, exact_number, rank, rank_of};

    #[test]
    fn fifteen_digits_are_kept_as_they_were_written() {
        for (text, want) in [
            ("0", Some(json!(0))),
            ("-0", Some(json!(0))),
            ("-0.0", Some(json!(0))),
            ("5.0", Some(json!(5))),
            ("1e3", Some(json!(1000))),
            ("0.1", Some(json!(0.1))),
            ("-1234567890.12345", Some(json!(-1_234_567_890.123_45))),
            ("999999999999999", Some(json!(999_999_999_999_999_i64))),
            ("0.1234567890123456", None),
            ("1e18", Some(json!(1_000_000_000_000_000_000_i64))),
            ("1e19", Some(json!(10_000_000_000_000_000_000_u64))),
            ("1e-300", Some(json!(1e-300))),
        ] {
            let number: f64 = text.parse().unwrap();
            assert_eq!(exact(number).map(Value::Number), want, "{text}");
        }
        assert_eq!(exact(1e300).and_then(|n| n.as_f64()), Some(1e300));
    }

    #[test]
    fn a_whole_number_is_not_rounded() {
        for (text, kept) in [
            ("9999999999999999", false),
            ("10000000000000000", true),
            ("9007199254740993", false),
            ("-999999999999999", true),
            ("18446744073709551615", false),
            ("2.5", true),
        ] {
            let number = serde_json::from_str(text).unwrap();
            assert_eq!(exact_number(&number).is_some(), kept, "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in ["NaN", "inf", "-inf", "1e400", "-1e999", "", "one", "1,5"] {
            assert_eq!(rank_of(text), None, "{text}");
        }
    }

    #[test]
    fn ranks_compare_as_numbers_do() {
        let numbers = [f64::MIN, -1e15, -2.5, -1.0, -1e-300, 0.0, 1e-300, 0.1, 1.0, 2.0, 2.5, 1e15, f64::MAX];
        assert!(numbers.windows(2).all(|pair| rank(pair[0]) < rank(pair[1])));
        assert_eq!(rank_of("-0"), rank_of("0.00"));
    }
}
