//! The events that a webhook may ask for: `lead.created`, `lead.*`, `*`.

use crm_core::body::nearest;
use crm_core::{FieldCode, FieldError};
use crm_records::Target;
use crm_records::history::HISTORY;
use crm_records::list::Kind;

/// Everything.
pub(crate) const ANY: &str = "*";

/// What is sent to try a webhook, whatever it asks for.
pub(crate) const TEST: &str = "webhook.test";

/// What may happen to a record: the change log's own words, and what ends it.
fn actions() -> impl Iterator<Item = &'static str> {
    let logged = HISTORY.fields.iter().find_map(|field| match field.kind() {
        Kind::Choice(words) if field.name() == "action" => Some(words),
        _ => None,
    });
    logged.unwrap_or_default().iter().copied().chain(["deleted"])
}

/// Every word there is.
fn words(targets: &[Target]) -> Vec<String> {
    let of_kind = |target: &Target| {
        let kind = target.resource.kind;
        actions().chain([ANY]).map(move |action| format!("{kind}.{action}")).collect::<Vec<_>>()
    };
    targets.iter().flat_map(of_kind).chain([ANY.to_owned()]).collect()
}

/// Checks what a webhook asks for.
///
/// # Errors
/// Every fault, with the nearest word.
pub(crate) fn check(targets: &[Target], asked: &[String]) -> Result<(), Vec<FieldError>> {
    let known = words(targets);
    let faults: Vec<_> = asked
        .iter()
        .enumerate()
        .filter(|(_, word)| !known.contains(word))
        .map(|(index, word)| {
            let near = nearest(word, known.iter().map(String::as_str));
            let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            let word: String = word.chars().take(100).collect();
            FieldError::new(
                format!("events.{index}"),
                FieldCode::NotAChoice,
                format!("there is no event {word:?}{hint}"),
            )
        })
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// The kinds whose events are asked for.
pub(crate) fn kinds<'a>(targets: &'a [Target], asked: &[String]) -> impl Iterator<Item = &'a Target> {
    targets.iter().filter(|target| {
        asked.iter().any(|word| word == ANY || word.split('.').next() == Some(target.resource.kind))
    })
}

/// Whether one of the words means what happened.
pub(crate) fn matches(asked: &[String], kind: &str, action: &str) -> bool {
    asked.iter().any(|word| match word.split_once('.') {
        Some((of, what)) => of == kind && (what == ANY || what == action),
        None => word == ANY,
    })
}

#[cfg(test)]
mod tests {
    use crm_records::list::Resource;

    use super::*;

    const fn target(kind: &'static str) -> Target {
        let resource = Resource {
            kind,
            table: "leads",
            fields: &[],
            searchable: false,
            mutable: true,
            neighbours: None,
        };
        Target { resource, view: "leads.view_lead", change: "leads.change_lead" }
    }

    const TARGETS: &[Target] = &[target("lead"), target("case")];

    fn list(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn what_is_not_there_is_refused_with_the_nearest() {
        for good in ["*", "lead.*", "lead.created", "case.deleted", "case.comment_edited", "lead.file_added"]
        {
            assert_eq!(check(TARGETS, &list(&[good])), Ok(()), "{good}");
        }
        for (bad, near) in [
            ("led.created", "; did you mean lead.created?"),
            ("lead.updatd", "; did you mean lead.updated?"),
            ("case", "; did you mean case.*?"),
            ("*.created", "; did you mean case.created?"),
            ("webhook.test", ""),
            ("nonsense", ""),
        ] {
            let faults = check(TARGETS, &list(&["*", bad])).unwrap_err();
            let message = format!("there is no event {bad:?}{near}");
            assert_eq!(faults, [FieldError::new("events.1", FieldCode::NotAChoice, message)]);
        }
    }

    #[test]
    fn an_event_reaches_whoever_asked_for_it() {
        for (asked, want) in [
            (&["*"][..], true),
            (&["lead.*"], true),
            (&["case.*", "lead.updated"], true),
            (&["case.*"], false),
            (&["lead.created", "lead.deleted"], false),
        ] {
            assert_eq!(matches(&list(asked), "lead", "updated"), want, "{asked:?}");
        }
        let kinds = |asked: &[&str]| -> Vec<_> {
            kinds(TARGETS, &list(asked)).map(|target| target.resource.kind).collect()
        };
        assert_eq!(kinds(&["*"]), ["lead", "case"]);
        assert_eq!(kinds(&["case.created"]), ["case"]);
    }
}
