use std::collections::HashSet;

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use uuid::Uuid;

/// Something to do.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct TodayItem {
    /// Names the entry: kind and id of the record.
    pub id: String,
    /// What it is about: a `lead`, an `opportunity`.
    pub kind: &'static str,
    /// Its id.
    pub record_id: Uuid,
    /// How pressing it is: the lowest first.
    pub rank: i32,
    /// Why: `overdue_follow_up` (0), `rotten_deal` (1), `overdue_deal` (2), `follow_up_today` (3), `slow_deal` (4), `quiet_hot_lead` (5),
    /// `untouched_hot_lead` (6).
    pub reason: &'static str,
    /// What the record is called.
    pub title: String,
    /// What tells it from others; may be empty.
    pub detail: String,
    /// The day that was set for it: of a lead's follow-up, of a deal's closing.
    pub due: Option<NaiveDate>,
    /// Where it is read.
    pub link: String,
}

/// Something that is to come.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct LaterItem {
    /// Names the entry: kind and id of the record.
    pub id: String,
    /// What it is about: a `lead`, an `opportunity`.
    pub kind: &'static str,
    /// Its id.
    pub record_id: Uuid,
    /// What will be due: `follow_up` or `closing`.
    pub reason: &'static str,
    /// What the record is called.
    pub title: String,
    /// What tells it from others; may be empty.
    pub detail: String,
    /// When.
    pub day: NaiveDate,
    /// Where it is read.
    pub link: String,
}

/// How much there is to do.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct TodaySummary {
    /// The sum over all sources.
    pub count: i64,
    /// How many entries the queue shows.
    pub shown: usize,
    /// Where they come from, without those that have none. A record that is there for two reasons counts for each, and is shown once, for
    /// the more pressing one.
    pub sources: Vec<TodaySource>,
}

/// One reason to do something; where it means something else in each stage of a deal, one for each stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct TodaySource {
    /// The reason, as in the queue.
    pub reason: &'static str,
    /// How many records.
    pub count: i64,
    /// Which: a path with its query.
    pub list: String,
}

/// Why something is to be done, the most pressing reason first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Reason {
    OverdueFollowUp,
    RottenDeal,
    OverdueDeal,
    FollowUpToday,
    SlowDeal,
    QuietHotLead,
    UntouchedHotLead,
    /// Not to be done today.
    Later,
}

impl Reason {
    const ALL: [Self; 7] = [
        Self::OverdueFollowUp,
        Self::RottenDeal,
        Self::OverdueDeal,
        Self::FollowUpToday,
        Self::SlowDeal,
        Self::QuietHotLead,
        Self::UntouchedHotLead,
    ];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::OverdueFollowUp => "overdue_follow_up",
            Self::RottenDeal => "rotten_deal",
            Self::OverdueDeal => "overdue_deal",
            Self::FollowUpToday => "follow_up_today",
            Self::SlowDeal => "slow_deal",
            Self::QuietHotLead => "quiet_hot_lead",
            Self::UntouchedHotLead => "untouched_hot_lead",
            Self::Later => "later",
        }
    }

    pub(crate) fn of_word(word: &str) -> Self {
        Self::ALL.into_iter().find(|reason| reason.word() == word).unwrap_or(Self::Later)
    }

    fn rank(self) -> i32 {
        Self::ALL.iter().zip(0..).find(|(reason, _)| **reason == self).map_or(i32::MAX, |(_, rank)| rank)
    }

    /// Whether an instant decides what comes first among those of the reason; a day otherwise.
    const fn by_instant(self) -> bool {
        matches!(self, Self::RottenDeal | Self::SlowDeal | Self::UntouchedHotLead)
    }
}

/// What a source has found.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) reason: Reason,
    pub(crate) kind: &'static str,
    /// In paths: `leads`.
    pub(crate) module: &'static str,
    pub(crate) id: Uuid,
    pub(crate) day: Option<NaiveDate>,
    pub(crate) at: DateTime<Utc>,
    pub(crate) title: String,
    pub(crate) detail: String,
}

impl Entry {
    fn key(&self) -> (Reason, Option<NaiveDate>, DateTime<Utc>, Uuid) {
        if self.reason.by_instant() {
            (self.reason, None, self.at, self.id)
        } else {
            (self.reason, self.day, DateTime::UNIX_EPOCH, self.id)
        }
    }

    fn name(&self) -> String {
        format!("{}-{}", self.kind, self.id)
    }

    fn link(&self) -> String {
        format!("/api/{}/{}/", self.module, self.id)
    }
}

/// The first `limit` things to do, and the first `few` that are to come: each record once.
pub(crate) fn ranked(mut entries: Vec<Entry>, limit: usize, few: usize) -> (Vec<TodayItem>, Vec<LaterItem>) {
    entries.sort_by_cached_key(Entry::key);
    let (later, now): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.reason == Reason::Later);
    let mut seen = HashSet::new();
    let queue = now.into_iter().filter(|entry| seen.insert(entry.id)).take(limit).map(|entry| TodayItem {
        id: entry.name(),
        kind: entry.kind,
        record_id: entry.id,
        rank: entry.reason.rank(),
        reason: entry.reason.word(),
        due: entry.day.filter(|_| entry.reason != Reason::QuietHotLead),
        link: entry.link(),
        title: entry.title,
        detail: entry.detail,
    });
    let queue = queue.collect();
    let later = later.into_iter().filter_map(|entry| {
        Some(LaterItem {
            id: entry.name(),
            kind: entry.kind,
            record_id: entry.id,
            reason: if entry.kind == "lead" { "follow_up" } else { "closing" },
            day: entry.day?,
            link: entry.link(),
            title: entry.title,
            detail: entry.detail,
        })
    });
    (queue, later.take(few).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(reason: Reason, id: u128, day: &str, hour: i64) -> Entry {
        Entry {
            reason,
            kind: "lead",
            module: "leads",
            id: Uuid::from_u128(id),
            day: day.parse().ok(),
            at: DateTime::from_timestamp(hour * 3600, 0).unwrap(),
            title: String::new(),
            detail: String::new(),
        }
    }

    #[test]
    fn the_most_pressing_comes_first_and_each_record_once() {
        let entries = vec![
            entry(Reason::UntouchedHotLead, 1, "", 1),
            entry(Reason::FollowUpToday, 2, "2026-11-28", 9),
            entry(Reason::RottenDeal, 3, "2026-01-01", 8),
            entry(Reason::RottenDeal, 4, "2026-12-01", 2),
            entry(Reason::OverdueFollowUp, 5, "2026-11-02", 1),
            entry(Reason::OverdueFollowUp, 1, "2026-11-01", 5),
            entry(Reason::Later, 7, "2026-12-02", 5),
            entry(Reason::Later, 6, "2026-12-01", 5),
        ];
        let (queue, later) = ranked(entries.clone(), 50, 6);
        let order: Vec<_> = queue.iter().map(|item| (item.record_id.as_u128(), item.rank)).collect();
        assert_eq!(order, [(1, 0), (5, 0), (4, 1), (3, 1), (2, 3)]);
        assert_eq!(later.iter().map(|item| item.record_id.as_u128()).collect::<Vec<_>>(), [6, 7]);
        let (queue, later) = ranked(entries, 2, 1);
        assert_eq!((queue.len(), later.len()), (2, 1));
    }

    #[test]
    fn every_reason_has_its_word_and_its_rank() {
        for (reason, rank) in Reason::ALL.into_iter().zip(0..) {
            assert_eq!((Reason::of_word(reason.word()), reason.rank()), (reason, rank));
        }
    }
}
