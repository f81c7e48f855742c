//! One lead of the demonstration data: from the seed and its number alone, so that the same seed makes the same lead.

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use crm_core::{Money, rules};
use crm_leads::{Industry, LeadFields, LeadRating, LeadSource, LeadStatus};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::words;

/// Who and what the leads of an organization are shared among.
#[derive(Debug, Clone)]
pub(super) struct Office {
    pub(super) members: Vec<Uuid>,
    pub(super) teams: Vec<Uuid>,
    pub(super) tags: Vec<Uuid>,
    /// The pipelines of the leads, the default one first.
    pub(super) boards: Vec<Board>,
    pub(super) currency: &'static str,
    pub(super) country: &'static str,
}

/// The stages of a pipeline, each with the status of the leads in it.
pub(super) type Board = Vec<(Uuid, LeadStatus)>;

/// The leads of one organization: how many, and between which instants they came in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stream {
    pub(super) seed: u64,
    pub(super) leads: u64,
    pub(super) from: DateTime<Utc>,
    pub(super) until: DateTime<Utc>,
}

/// A lead with all that hangs on it.
#[derive(Debug, Clone)]
pub(super) struct DemoLead {
    pub(super) id: Uuid,
    pub(super) created_at: DateTime<Utc>,
    pub(super) created_by: Option<Uuid>,
    pub(super) created_change: Uuid,
    pub(super) fields: LeadFields,
    /// Where it stands on the board of a pipeline; the others are on that of statuses.
    pub(super) stage: Option<Uuid>,
    pub(super) update: Option<Update>,
    pub(super) assignees: Vec<Uuid>,
    pub(super) team: Option<Uuid>,
    pub(super) tags: Vec<Uuid>,
    pub(super) comment: Option<Comment>,
}

/// What happened to a lead after it came in.
#[derive(Debug, Clone)]
pub(super) struct Update {
    pub(super) at: DateTime<Utc>,
    pub(super) by: Option<Uuid>,
    pub(super) change: Uuid,
    pub(super) fields: Value,
}

/// What somebody said about a lead.
#[derive(Debug, Clone)]
pub(super) struct Comment {
    pub(super) id: Uuid,
    pub(super) at: DateTime<Utc>,
    pub(super) by: Option<Uuid>,
    pub(super) change: Uuid,
    pub(super) text: &'static str,
}

impl Stream {
    /// The lead number `index`, counted from 0. A later number has a later time and a greater id.
    pub(super) fn lead(&self, office: &Office, index: u64) -> DemoLead {
        Draw { rng: StdRng::seed_from_u64(self.seed.wrapping_add(index)), stream: self }.lead(office, index)
    }

    /// The instant of number `index`: one in each of as many equal spans as there are leads.
    fn instant(&self, index: u64, rng: &mut StdRng) -> DateTime<Utc> {
        const PARTS: u128 = 1 << 16;
        let span = u128::from((self.until - self.from).num_milliseconds().unsigned_abs());
        let part = u128::from(index) * PARTS + rng.random_range(0..PARTS);
        let offset = span * part / (u128::from(self.leads.max(1)) * PARTS);
        self.from + TimeDelta::milliseconds(i64::try_from(offset).unwrap_or(0))
    }
}

/// The dice of one lead.
struct Draw<'a> {
    rng: StdRng,
    stream: &'a Stream,
}

impl Draw<'_> {
    fn lead(mut self, office: &Office, index: u64) -> DemoLead {
        let created_at = self.stream.instant(index, &mut self.rng);
        let id = self.id_at(created_at);
        let created_change = self.id_at(created_at);
        let created_by = self.one(&office.members);
        let percents = [
            (LeadStatus::Assigned, 40),
            (LeadStatus::InProcess, 30),
            (LeadStatus::Converted, 15),
            (LeadStatus::Recycled, 10),
        ];
        let status = self.one_of(&percents, LeadStatus::Closed);
        let stage = self.stage(office, status);
        let is_worked = status != LeadStatus::Assigned;
        // A lead comes onto the board of a pipeline by a move.
        let update_at = (is_worked || stage.is_some()).then(|| self.later(created_at));
        let fields = self.fields(office, index, created_at, status, update_at.filter(|_| is_worked));
        let update = update_at.map(|at| {
            let mut changed = Map::new();
            if is_worked {
                changed.insert("status".into(), json!([LeadStatus::Assigned, status]));
                changed.insert("last_contacted".into(), json!([null, fields.last_contacted]));
                changed.insert("probability".into(), json!([FIRST_PROBABILITY, fields.probability]));
            }
            if let Some(stage) = stage {
                changed.insert("stage_id".into(), json!([null, stage]));
            }
            Update { at, by: self.one(&office.members), change: self.id_at(at), fields: changed.into() }
        });
        let assigned = self.one_of(&[(1, 70), (2, 20)], 0);
        let tagged = self.one_of(&[(1, 35), (2, 20), (3, 5)], 0);
        DemoLead {
            assignees: self.some(&office.members, assigned),
            team: if self.chance(20) { self.one(&office.teams) } else { None },
            tags: self.some(&office.tags, tagged),
            comment: if self.chance(15) { Some(self.comment(office, created_at)) } else { None },
            id,
            created_at,
            created_by,
            created_change,
            fields,
            stage,
            update,
        }
    }

    /// A stage for leads of that status, if the lead is on the board of a pipeline that has one.
    fn stage(&mut self, office: &Office, status: LeadStatus) -> Option<Uuid> {
        let board = office.boards.get(self.one_of(&[(Some(0_usize), 40), (Some(1), 15)], None)?)?;
        let fitting: Vec<_> = board.iter().filter(|(_, of)| *of == status).map(|(id, _)| *id).collect();
        self.one(&fitting)
    }

    fn fields(
        &mut self,
        office: &Office,
        index: u64,
        created_at: DateTime<Utc>,
        status: LeadStatus,
        contacted_at: Option<DateTime<Utc>>,
    ) -> LeadFields {
        let first_name = self.word(words::FIRST_NAMES);
        let last_name = self.word(words::LAST_NAMES);
        let (head, tail) = (self.word(words::COMPANY_HEADS), self.word(words::COMPANY_TAILS));
        let company_name = format!("{head} {tail}");
        let domain = format!("{}.example", ascii(&company_name));
        // Numbered, because an address is unique in its organization.
        let email = format!("{}.{}{}@{domain}", ascii(first_name), ascii(last_name), index + 1);
        let email = self.chance(90).then_some(email);
        let topic = self.word(words::TOPICS);
        let amount = self.chance(70).then(|| self.amount());
        let (city, state, postcode) = self.place(office.country);
        let is_open = matches!(status, LeadStatus::Assigned | LeadStatus::InProcess);
        let last_day = self.stream.until.date_naive();
        LeadFields {
            title: Some(format!("{topic}, {company_name}")),
            salutation: self.chance(30).then(|| self.word(words::SALUTATIONS).to_owned()),
            first_name: Some(first_name.to_owned()),
            last_name: Some(last_name.to_owned()),
            email_normalized: email.as_deref().map(rules::normalize_email),
            email,
            phone: self.chance(80).then(|| self.phone()),
            job_title: self.chance(75).then(|| self.word(words::JOB_TITLES).to_owned()),
            website: self.chance(50).then(|| format!("https://www.{domain}")),
            linkedin_url: None,
            company_name: Some(company_name),
            status: Some(status),
            source: LeadSource::from_word(self.word(LeadSource::WORDS)),
            industry: Industry::from_word(self.word(Industry::WORDS)),
            rating: self.one_of(
                &[(Some(LeadRating::Hot), 20), (Some(LeadRating::Warm), 45), (Some(LeadRating::Cold), 25)],
                None,
            ),
            opportunity_amount: amount.map(Money::Stored),
            currency: amount.map(|_| office.currency.to_owned()),
            probability: Some(match status {
                LeadStatus::Assigned => FIRST_PROBABILITY,
                LeadStatus::InProcess => self.rng.random_range(4..=8) * 10,
                LeadStatus::Converted => 100,
                LeadStatus::Recycled => 10,
                LeadStatus::Closed => 0,
            }),
            close_date: amount.map(|_| self.day_after(created_at.date_naive(), 30, 200)),
            address_line: self.chance(60).then(|| {
                let number = self.rng.random_range(1..200);
                format!("{number} {}", self.word(words::STREETS))
            }),
            city: Some(city.to_owned()),
            state: Some(state.to_owned()).filter(|state| !state.is_empty()),
            postcode: Some(postcode),
            country: Some(office.country.to_owned()),
            last_contacted: contacted_at.map(|at| at.date_naive()),
            next_follow_up: (is_open && self.chance(70)).then(|| {
                // Some are overdue.
                let earliest = last_day.checked_sub_days(Days::new(10)).unwrap_or(last_day);
                self.day_after(earliest, 0, 55)
            }),
            description: self.chance(60).then(|| self.word(words::DESCRIPTIONS).to_owned()),
            is_active: true,
            contacts: Vec::new(),
        }
    }

    fn comment(&mut self, office: &Office, created_at: DateTime<Utc>) -> Comment {
        let at = self.later(created_at);
        Comment {
            id: self.id_at(at),
            at,
            by: self.one(&office.members),
            change: self.id_at(at),
            text: self.word(words::COMMENTS),
        }
    }

    /// A UUIDv7 of that instant.
    fn id_at(&mut self, at: DateTime<Utc>) -> Uuid {
        let millis = at.timestamp_millis().unsigned_abs();
        uuid::Builder::from_unix_timestamp_millis(millis, &self.rng.random()).into_uuid()
    }

    /// Within six weeks, but not after the end of the stream.
    fn later(&mut self, than: DateTime<Utc>) -> DateTime<Utc> {
        let minutes = self.rng.random_range(60..=45 * 24 * 60);
        (than + TimeDelta::minutes(minutes)).min(self.stream.until)
    }

    fn day_after(&mut self, day: NaiveDate, least: u64, most: u64) -> NaiveDate {
        day.checked_add_days(Days::new(self.rng.random_range(least..=most))).unwrap_or(day)
    }

    /// From 500 to 99,000 in whole units, in minor ones: small amounts are frequent.
    fn amount(&mut self) -> i64 {
        self.rng.random_range(5..=99) * self.one_of(&[(10_000, 60), (20_000, 25)], 100_000)
    }

    /// One of the numbers that are reserved for fiction.
    fn phone(&mut self) -> String {
        format!("+1 {}-555-01{:02}", self.rng.random_range(201..=989), self.rng.random_range(0..100))
    }

    /// A city of the country with its state and a postal code.
    fn place(&mut self, country: &str) -> (&'static str, &'static str, String) {
        let cities =
            words::CITIES.iter().find(|(code, _)| *code == country).map_or(&[][..], |(_, cities)| *cities);
        let (city, state, prefix) = cities.choose(&mut self.rng).copied().unwrap_or_default();
        let number = self.rng.random_range(0..100);
        let code = if country == "GB" {
            format!("{prefix}{}AB", number % 10)
        } else {
            format!("{prefix}{number:02}")
        };
        (city, state, code)
    }

    fn word(&mut self, words: &'static [&'static str]) -> &'static str {
        words.choose(&mut self.rng).copied().unwrap_or_default()
    }

    fn one(&mut self, ids: &[Uuid]) -> Option<Uuid> {
        ids.choose(&mut self.rng).copied()
    }

    /// Different ones, in the order of the list.
    fn some(&mut self, ids: &[Uuid], number: usize) -> Vec<Uuid> {
        let mut places: Vec<_> = ids.iter().enumerate().collect();
        places.shuffle(&mut self.rng);
        places.truncate(number);
        places.sort_unstable();
        places.into_iter().map(|(_, id)| *id).collect()
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_ratio(percent, 100)
    }

    /// One of the choices, each in so many percent of all cases, or else the last one.
    fn one_of<T: Copy>(&mut self, percents: &[(T, u32)], otherwise: T) -> T {
        let mut roll = self.rng.random_range(0..100);
        for (choice, percent) in percents {
            if roll < *percent {
                return *choice;
            }
            roll -= percent;
        }
        otherwise
    }
}

/// How promising a lead is when it comes in, in percent.
const FIRST_PROBABILITY: i32 = 10;

/// A name as it stands in an address: small letters without accents, nothing else.
pub(super) fn ascii(name: &str) -> String {
    let fold = |c: char| match c {
        'á' => 'a',
        'ç' => 'c',
        'é' | 'ë' => 'e',
        'í' => 'i',
        'ł' => 'l',
        'ó' | 'ö' | 'ø' => 'o',
        'ú' | 'ü' => 'u',
        other => other,
    };
    name.to_lowercase().chars().map(fold).filter(char::is_ascii_alphanumeric).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::NaiveDate;
    use validator::Validate;

    use super::*;

    fn stream(seed: u64) -> Stream {
        let day = |y, m, d| NaiveDate::from_ymd_opt(y, m, d).unwrap().and_hms_opt(0, 0, 0).unwrap().and_utc();
        Stream { seed, leads: 2000, from: day(2024, 11, 1), until: day(2026, 11, 1) }
    }

    fn office() -> Office {
        let ids = |from: u128| (from..from + 4).map(Uuid::from_u128).collect();
        let board = |from: u128, statuses: &[LeadStatus]| {
            (from..).zip(statuses).map(|(id, status)| (Uuid::from_u128(id), *status)).collect()
        };
        let boards = vec![
            board(40, &[LeadStatus::Assigned, LeadStatus::InProcess, LeadStatus::InProcess]),
            board(50, &[LeadStatus::Recycled, LeadStatus::Assigned]),
        ];
        Office { members: ids(10), teams: ids(20), tags: ids(30), boards, currency: "EUR", country: "DE" }
    }

    #[test]
    fn every_lead_is_one_that_the_api_would_take() {
        let (stream, office) = (stream(1), office());
        let mut addresses = BTreeSet::new();
        for index in 0..stream.leads {
            let lead = stream.lead(&office, index);
            lead.fields.validate().unwrap();
            assert_eq!(lead.fields.currency.is_some(), lead.fields.opportunity_amount.is_some());
            assert!(
                lead.fields
                    .email_normalized
                    .is_none_or(|email| email.ends_with(".example") && addresses.insert(email))
            );
        }
        assert!(addresses.len() > 1700);
    }

    #[test]
    fn later_leads_have_later_times_and_greater_ids() {
        let (stream, office) = (stream(1), office());
        let leads: Vec<_> = (0..stream.leads).map(|index| stream.lead(&office, index)).collect();
        assert!(leads.is_sorted_by(|one, next| one.id < next.id && one.created_at < next.created_at));
        for lead in &leads {
            assert_eq!(lead.id.get_version_num(), 7);
            assert!((stream.from..stream.until).contains(&lead.created_at));
            let later = [lead.update.as_ref().map(|u| u.at), lead.comment.as_ref().map(|c| c.at)];
            assert!(later.into_iter().flatten().all(|at| (lead.created_at..=stream.until).contains(&at)));
        }
    }

    #[test]
    fn a_lead_on_a_board_has_come_into_a_stage_of_its_status() {
        let (stream, office) = (stream(1), office());
        let mut seen = BTreeSet::new();
        for lead in (0..stream.leads).map(|index| stream.lead(&office, index)) {
            let Some(stage) = lead.stage else { continue };
            let (_, status) = office.boards.iter().flatten().find(|(id, _)| *id == stage).unwrap();
            assert_eq!(lead.fields.status, Some(*status));
            assert_eq!(lead.update.unwrap().fields["stage_id"], json!([null, stage]));
            // Whoever was only put onto a board has not been spoken to.
            assert_eq!(lead.fields.last_contacted.is_some(), *status != LeadStatus::Assigned);
            seen.insert(stage);
        }
        assert_eq!(seen.len(), 5, "each stage has leads");
    }

    #[test]
    fn a_lead_depends_on_its_seed_and_number_alone() {
        let (one, other, office) = (stream(1), stream(2), office());
        let [first, again, different] =
            [(one, 5), (one, 5), (other, 5)].map(|(s, index)| s.lead(&office, index));
        assert_eq!((first.id, &first.fields, &first.tags), (again.id, &again.fields, &again.tags));
        assert_ne!(first.fields, different.fields);
    }
}
