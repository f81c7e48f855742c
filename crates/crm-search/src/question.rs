use crm_core::body::nearest;
use crm_core::{Error, FieldCode, Result, TenantTx};
use crm_records::list::Params;
use serde::Serialize;
use uuid::Uuid;

use crate::Searchable;
use crate::ranked::ranked;

const MIN_CHARACTERS: usize = 2;
const MAX_CHARACTERS: usize = 200;
const MAX_WORDS: usize = 10;
const DEFAULT_LIMIT: usize = 6;
const MAX_LIMIT: usize = 20;

/// What is searched for.
#[derive(Debug, Clone)]
pub struct Question {
    text: String,
    kinds: Option<Vec<&'static str>>,
    limit: usize,
}

impl Question {
    /// The parameters with their meaning.
    pub const PARAMETERS: &'static [(&'static str, &'static str)] = &[
        (
            "q",
            "Words that all must be found, anywhere in a record's text, whatever their case and accents; 10 words and 200 characters at \
             most. A word of one or two characters is looked for at the beginning of words. Less than 2 characters find nothing",
        ),
        ("kinds", "Only these kinds of record, separated by commas"),
        ("limit", "How many records of each kind: 1 to 20, 6 if left out"),
    ];

    /// Judges a query string against the kinds there are.
    ///
    /// # Errors
    /// 400 naming the parameter; with the nearest kind for one that is not there.
    pub fn read(params: &Params, all: &[Searchable]) -> Result<Self> {
        let text = params.get("q").unwrap_or_default().trim().to_owned();
        let wrong = |code, message: String| Err(Error::parameter("q", code, message));
        if text.contains('\0') {
            return wrong(FieldCode::InvalidValue, "must not contain the character U+0000".into());
        }
        if text.chars().count() > MAX_CHARACTERS {
            return wrong(FieldCode::TooLong, format!("{MAX_CHARACTERS} characters at most"));
        }
        if text.split_whitespace().count() > MAX_WORDS {
            return wrong(FieldCode::TooLong, format!("{MAX_WORDS} words at most"));
        }
        let kinds = params.get("kinds").map(|words| {
            let words = words.split(',').map(str::trim).filter(|word| !word.is_empty());
            words.map(|word| kind(word, all)).collect::<Result<Vec<_>>>()
        });
        let limit = params.get("limit").map(|text| {
            let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
            let message = format!("must be a whole number from 1 to {MAX_LIMIT}");
            limit.ok_or_else(|| Error::parameter("limit", FieldCode::OutOfRange, message))
        });
        Ok(Self { text, kinds: kinds.transpose()?, limit: limit.transpose()?.unwrap_or(DEFAULT_LIMIT) })
    }

    fn wants(&self, kind: &str) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.is_empty() || kinds.contains(&kind))
    }
}

fn kind(word: &str, all: &[Searchable]) -> Result<&'static str> {
    let kinds = all.iter().map(Searchable::kind);
    kinds.clone().find(|kind| *kind == word).ok_or_else(|| {
        let hint = nearest(word, kinds.clone()).map_or_else(
            || format!("kinds: {}", kinds.collect::<Vec<_>>().join(", ")),
            |kind| format!("did you mean {kind}?"),
        );
        Error::parameter("kinds", FieldCode::NotAChoice, format!("there is no kind {word:?}; {hint}"))
    })
}

/// A record that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Hit {
    /// What it is: a `lead`, …
    pub kind: &'static str,
    /// Its id.
    pub id: Uuid,
    /// What it is called.
    pub title: String,
    /// What tells it from others of that name; may be empty.
    pub subtitle: String,
    /// How well it fits. 0: it is called just that; 1: its title begins with it; 2: every word begins a word of the title; 3: of its
    /// text; 4: every word is somewhere in the text.
    pub rank: i32,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Found {
    /// What was searched for, without spaces around it.
    pub query: String,
    /// Kind by kind in a fixed order, of each kind what fits best first, and the newest first of what fits alike.
    pub results: Vec<Hit>,
}

/// Searches all kinds of record that the caller may look at.
///
/// # Errors
/// Those of the database.
pub async fn search(t: &mut TenantTx, all: &[Searchable], question: &Question) -> Result<Found> {
    let mut results = Vec::new();
    if question.text.chars().count() >= MIN_CHARACTERS {
        let words: Vec<&str> = question.text.split_whitespace().collect();
        for searchable in all.iter().filter(|searchable| question.wants(searchable.kind())) {
            results.extend(ranked(t, &searchable.target, &words, question.limit).await?);
        }
    }
    Ok(Found { query: question.text.clone(), results })
}
