//! What somebody does again and again is counted and not written each time: nobody fills the audit trail by hammering.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::events::{Client, Event};

/// For how long the same thing is only counted.
const QUIET: TimeDelta = TimeDelta::minutes(1);

/// How many different things are told apart at once; what comes beyond shares one count.
const MAX_KEYS: usize = 10_000;
const BEYOND: &str = "";

/// An event with where it came from.
pub(crate) type Written = (Event, Client);

/// How often everything is looked through for what has been quiet, at most.
const SWEPT_EVERY: TimeDelta = TimeDelta::seconds(1);

/// Counts, in the memory of this process, what was written less than a minute ago.
#[derive(Debug, Default)]
pub(crate) struct Repeats(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    counted: HashMap<String, Counted>,
    swept: DateTime<Utc>,
}

#[derive(Debug)]
struct Counted {
    since: DateTime<Utc>,
    again: u64,
    first: Option<Written>,
}

/// What to do about something that happened.
pub(crate) struct Verdict {
    /// Under which name to remember it once it is written; none when it was only counted.
    pub(crate) write_as: Option<String>,
    /// What was repeated before and is to be written now, with its count.
    pub(crate) due: Vec<Written>,
}

impl Repeats {
    /// Counts what was seen less than a minute ago already.
    pub(crate) fn judge(&self, key: &str, now: DateTime<Utc>) -> Verdict {
        let mut state = self.state();
        if state.count(key, now) {
            return Verdict { write_as: None, due: Vec::new() };
        }
        let mut due: Vec<_> = state.counted.remove(key).and_then(Counted::summary).into_iter().collect();
        if now - state.swept >= SWEPT_EVERY {
            due.extend(state.take_due(now));
        }
        let key = if state.counted.len() < MAX_KEYS { key } else { BEYOND };
        if state.count(key, now) {
            return Verdict { write_as: None, due };
        }
        let replaced = state.counted.insert(key.to_owned(), Counted { since: now, again: 0, first: None });
        due.extend(replaced.and_then(Counted::summary));
        Verdict { write_as: Some(key.to_owned()), due }
    }

    /// Remembers what was written, to be written again with the count of its repetitions.
    pub(crate) fn remember(&self, key: &str, written: Written) {
        if let Some(counted) = self.state().counted.get_mut(key) {
            counted.first = Some(written);
        }
    }

    /// Takes what was repeated and is to be written now.
    pub(crate) fn due(&self, now: DateTime<Utc>) -> Vec<Written> {
        self.state().take_due(now)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts a repetition, and answers whether it was one.
    fn count(&mut self, key: &str, now: DateTime<Utc>) -> bool {
        let fresh = self.counted.get_mut(key).filter(|counted| now - counted.since < QUIET);
        fresh.map(|counted| counted.again += 1).is_some()
    }

    fn take_due(&mut self, now: DateTime<Utc>) -> Vec<Written> {
        self.swept = now;
        let over = self.counted.extract_if(|_, counted| now - counted.since >= QUIET);
        over.filter_map(|(_, counted)| counted.summary()).collect()
    }
}

impl Counted {
    /// What was written, with how often it was repeated since; none if it was not.
    fn summary(self) -> Option<Written> {
        let (event, client) = self.first.filter(|_| self.again > 0)?;
        Some((event.detail("repeated", self.again), client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::EventKind;

    fn event() -> Written {
        (Event::refused(EventKind::PermissionDenied, "forbidden"), Client::default())
    }

    /// Lets something happen, and answers whether it was written and how often what is due was repeated.
    fn happens(repeats: &Repeats, key: &str, now: DateTime<Utc>) -> (bool, Vec<u64>) {
        let Verdict { write_as, due } = repeats.judge(key, now);
        if let Some(key) = &write_as {
            repeats.remember(key, event());
        }
        (write_as.is_some(), counts(due))
    }

    fn counts(due: Vec<Written>) -> Vec<u64> {
        let mut counts: Vec<_> = due.into_iter().map(|(event, _)| event.repeated()).collect();
        counts.sort_unstable();
        counts
    }

    #[test]
    fn the_same_is_written_once_a_minute_and_then_its_count() {
        let (repeats, start) = (Repeats::default(), DateTime::<Utc>::UNIX_EPOCH);
        let at = |seconds| start + TimeDelta::seconds(seconds);
        assert_eq!(happens(&repeats, "a", at(0)), (true, vec![]));
        assert_eq!(happens(&repeats, "a", at(1)), (false, vec![]));
        assert_eq!(happens(&repeats, "b", at(1)), (true, vec![]));
        assert_eq!(happens(&repeats, "a", at(59)), (false, vec![]));
        assert_eq!(happens(&repeats, "a", at(60)), (true, vec![2]), "b was not repeated");
        assert_eq!(happens(&repeats, "a", at(61)), (false, vec![]));
        assert_eq!(counts(repeats.due(at(119))), Vec::<u64>::new());
        assert_eq!(counts(repeats.due(at(120))), [1]);
        assert_eq!(counts(repeats.due(at(500))), Vec::<u64>::new());
    }

    #[test]
    fn inventing_new_things_does_not_help() {
        let (repeats, now) = (Repeats::default(), DateTime::<Utc>::UNIX_EPOCH);
        let written = (0..MAX_KEYS * 2).filter(|n| happens(&repeats, &n.to_string(), now).0).count();
        assert_eq!(written, MAX_KEYS + 1);
        let rest = u64::try_from(MAX_KEYS).unwrap() - 1;
        assert_eq!(counts(repeats.due(now + QUIET)), [rest]);
    }
}
