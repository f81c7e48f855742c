//! What a line comes to: whole numbers of minor units, rounded half up where a hundredth of something is left.

use crm_core::{Error, FieldCode, Money, Result};

use super::DiscountType;

/// What a line is worth, in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) subtotal: i64,
    pub(super) discount_amount: i64,
    pub(super) total: i64,
}

impl Figures {
    /// Of a quantity in hundredths, a price in minor units, and a discount in hundredths of a percent or in minor units.
    ///
    /// # Errors
    /// 422 naming the field that is out of bounds.
    pub(super) fn of(quantity: i64, unit_price: i64, discount: Option<(DiscountType, i64)>) -> Result<Self> {
        let out = |field, message| Err(Error::field(field, FieldCode::OutOfRange, message));
        if quantity <= 0 {
            return out("quantity", "must be greater than nothing");
        }
        let subtotal = hundredth(i128::from(quantity) * i128::from(unit_price), 100);
        let Some(subtotal) = subtotal.filter(|subtotal| *subtotal <= Money::MAX_MINOR) else {
            return out("quantity", "times the price is too large: twelve digits at most");
        };
        let discount_amount = match discount {
            None => 0,
            Some((_, ..0)) => return out("discount_value", "must not be negative"),
            Some((DiscountType::Percentage, 10_001..)) => {
                return out("discount_value", "is at most 100 percent");
            }
            Some((DiscountType::Percentage, value)) => {
                hundredth(i128::from(subtotal) * i128::from(value), 10_000).unwrap_or(subtotal)
            }
            Some((DiscountType::Fixed, value)) if value > subtotal => {
                return out("discount_value", "is at most what the line costs without it");
            }
            Some((DiscountType::Fixed, value)) => value,
        };
        Ok(Self { subtotal, discount_amount, total: subtotal - discount_amount })
    }
}

/// A number that is not negative, divided and rounded half up.
fn hundredth(number: i128, by: i128) -> Option<i64> {
    i64::try_from((number + by / 2) / by).ok()
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn a_line_is_rounded_half_up_once_for_the_price_and_once_for_the_discount() {
        use DiscountType::{Fixed, Percentage};
        for (quantity, price, discount, want) in [
            (100, 4990, None, (4990, 0, 4990)),
            (150, 1, None, (2, 0, 2)),
            (149, 1, None, (1, 0, 1)),
            (333, 1000, Some((Percentage, 1250)), (3330, 416, 2914)),
            (100, 1, Some((Percentage, 5000)), (1, 1, 0)),
            (100, 1000, Some((Percentage, 10_000)), (1000, 1000, 0)),
            (200, 1000, Some((Fixed, 2000)), (2000, 2000, 0)),
            (100, 0, Some((Fixed, 0)), (0, 0, 0)),
        ] {
            let figures = Figures::of(quantity, price, discount).unwrap();
            assert_eq!((figures.subtotal, figures.discount_amount, figures.total), want);
        }
        for (quantity, price, discount, field) in [
            (0, 100, None, "quantity"),
            (-100, 100, None, "quantity"),
            (i64::MAX, Money::MAX_MINOR, None, "quantity"),
            (100, 100, Some((Percentage, 10_001)), "discount_value"),
            (100, 100, Some((Fixed, 101)), "discount_value"),
            (100, 100, Some((Fixed, -1)), "discount_value"),
        ] {
            let Error::Fields(_, errors) = Figures::of(quantity, price, discount).unwrap_err() else {
                panic!()
            };
            assert_eq!(errors[0].field, field);
        }
    }

    #[test]
    fn no_line_is_worth_less_than_nothing_or_more_than_without_its_discount() {
        let mut rng = StdRng::seed_from_u64(11);
        for _ in 0..20_000 {
            let (quantity, price) = (rng.random_range(1..1_000_000), rng.random_range(0..100_000_000));
            let discount = match rng.random_range(0..3) {
                0 => None,
                1 => Some((DiscountType::Percentage, rng.random_range(0..=10_000))),
                _ => Some((DiscountType::Fixed, rng.random_range(0..1_000_000))),
            };
            if let Ok(figures) = Figures::of(quantity, price, discount) {
                assert!(0 <= figures.total && figures.total <= figures.subtotal);
                assert_eq!(figures.total, figures.subtotal - figures.discount_amount);
            }
        }
    }
}
