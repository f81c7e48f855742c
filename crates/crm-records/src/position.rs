//! Places of cards in a column that somebody puts in order by hand.
//!
//! A place is a text of hexadecimal digits that sorts byte by byte and does not end in 0, so between any two there is always another,
//! and moving a card writes that card alone. New cards come first: their place is made from the time, turned round. Based on the
//! fractional indexing that David Greenspan described in "Implementing Fractional Indexing" (2020).

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// A place that has grown longer than this is reason to [`spread`] the cards around it.
pub const LONG: usize = 64;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The place of a new card: before every older one. `id` is a UUIDv7, which begins with the time and a counter.
pub fn newest(id: Uuid) -> String {
    format!("{:024x}8", !id.as_u128() >> 32)
}

/// The place before `first`, the first card of a column, at the time of `now`.
pub fn top(first: Option<&str>, now: DateTime<Utc>) -> String {
    let fresh = format!("{:012x}08", 0xffff_ffff_ffff_u64 - millis(now));
    match first {
        Some(first) if fresh.as_str() >= first => middle("", Some(first)),
        _ => fresh,
    }
}

/// The place after `last`, the last card of a column, at the time of `now`.
pub fn bottom(last: Option<&str>, now: DateTime<Utc>) -> String {
    // Behind every place made by `newest` and `top`, which begin with fe until the year 2039 and with less afterwards.
    let fresh = format!("ff{:012x}8", millis(now));
    match last {
        Some(last) if fresh.as_str() <= last => middle(last, None),
        _ => fresh,
    }
}

fn millis(now: DateTime<Utc>) -> u64 {
    now.timestamp_millis().unsigned_abs() & 0xffff_ffff_ffff
}

/// A place between two others, or none where the first does not come before the second.
pub fn between(above: &str, below: &str) -> Option<String> {
    (above < below && is_valid(above) && is_valid(below)).then(|| middle(above, Some(below)))
}

/// `count` places between two others, or beyond one where there is no other, as evenly as may be: short ones again.
pub fn spread(above: Option<&str>, below: Option<&str>, count: usize) -> Vec<String> {
    let mut places = Vec::with_capacity(count);
    halve(above.unwrap_or_default(), below, count, &mut places);
    places
}

fn halve(above: &str, below: Option<&str>, count: usize, into: &mut Vec<String>) {
    if count == 0 {
        return;
    }
    let half = (count - 1) / 2;
    let middle = middle(above, below);
    halve(above, Some(&middle), half, into);
    let at = middle.clone();
    into.push(middle);
    halve(&at, below, count - 1 - half, into);
}

fn is_valid(place: &str) -> bool {
    !place.is_empty() && !place.ends_with('0') && place.bytes().all(|b| DIGITS.contains(&b))
}

/// A text between the two, the first of which may be empty and the second of which may be open.
fn middle(above: &str, below: Option<&str>) -> String {
    let digit = |text: &str, at: usize| text.as_bytes().get(at).map_or(0, |b| value(*b));
    let mut place = String::new();
    let (mut at, mut below) = (0, below);
    loop {
        let low = digit(above, at);
        let high = below.map_or(16, |text| digit(text, at));
        if high > low + 1 {
            place.push(char::from(DIGITS.get((low + high) / 2).copied().unwrap_or(b'8')));
            return place;
        }
        if high == low + 1 {
            // Below the second one from here on, whatever follows.
            if below.is_some_and(|text| text.len() > at + 1) {
                place.push(char::from(DIGITS.get(high).copied().unwrap_or(b'f')));
                return place;
            }
            below = None;
        }
        place.push(char::from(DIGITS.get(low).copied().unwrap_or(b'0')));
        at += 1;
    }
}

fn value(digit: u8) -> usize {
    DIGITS.iter().position(|known| *known == digit).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn there_is_always_a_place_between_two() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut places: Vec<String> = (0..3).map(|_| newest(Uuid::now_v7())).collect();
        places.sort();
        for _ in 0..3_000 {
            let at = rng.random_range(1..places.len());
            let (above, below) = (&places[at - 1], &places[at]);
            let place = between(above, below).unwrap();
            assert!(*above < place && place < *below && is_valid(&place), "{above} {place} {below}");
            places.insert(at, place);
        }
        assert!(places.is_sorted());
    }

    #[test]
    fn the_same_gap_takes_any_number_and_spreading_makes_places_short_again() {
        let (first, mut last) = (newest(Uuid::now_v7()), bottom(None, Utc::now()));
        for _ in 0..2_000 {
            last = between(&first, &last).unwrap();
        }
        assert!(last.len() > LONG);
        let spread = spread(Some(&first), None, 500);
        assert!(
            spread.is_sorted_by(|a, b| a < b)
                && spread.iter().all(|place| place.len() < LONG && is_valid(place))
        );
        assert!(spread.iter().all(|place| *place > first));
    }

    #[test]
    fn new_cards_come_first_and_the_ends_are_ends() {
        let now = Utc::now();
        let old = newest(Uuid::now_v7());
        let new = newest(Uuid::now_v7());
        assert!(new < old);
        let top = top(Some(&new), now);
        assert!(top < new, "{top} {new}");
        let above = super::top(Some(&top), now);
        assert!(above < top && is_valid(&above));
        let last = bottom(Some(&old), now);
        assert!(last > old);
        assert!(bottom(Some(&last), now) > last);
        assert_eq!(between(&old, &new), None);
        assert_eq!(between(&old, &old), None);
        assert_eq!(between("", "x"), None);
    }
}
