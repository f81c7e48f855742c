//! Which kinds of record somebody may follow as a whole.

use crm_access::scope_of;
use crm_core::body::nearest;
use crm_core::{Caller, Error, FieldCode, Result, Scope};
use crm_records::Target;

use crate::events::TEST;

fn sees_all(caller: &Caller, target: &Target) -> bool {
    scope_of(&caller.principal, target.view) == Some(Scope::All)
}

/// Makes sure that the caller may look at every record of a kind: whose a deleted one was, nobody can tell any more.
///
/// # Errors
/// `Forbidden`, naming the permission.
pub(crate) fn require_all(caller: &Caller, target: &Target) -> Result<()> {
    if sees_all(caller, target) {
        return Ok(());
    }
    let message = format!("this needs the permission {} with the scope {}", target.view, Scope::All);
    Err(Error::Forbidden(message.into()))
}

/// The same for the kind that an event is of. A test tells nothing of any.
///
/// # Errors
/// `Forbidden`, also where there is no such kind any more.
pub(crate) fn require_event(caller: &Caller, targets: &[Target], event: &str) -> Result<()> {
    if event == TEST {
        return Ok(());
    }
    let target = targets.iter().find(|target| event.split('.').next() == Some(target.resource.kind));
    let gone = || Error::Forbidden("this event is of a kind of record that there is no more".into());
    require_all(caller, target.ok_or_else(gone)?)
}

/// The kinds named in `list`, or all that the caller may follow.
///
/// # Errors
/// 400 for a kind that is none; `Forbidden` for one that the caller may not follow, and where there is none at all.
pub(crate) fn followed(caller: &Caller, targets: &[Target], list: Option<&str>) -> Result<Vec<&'static str>> {
    let Some(list) = list else {
        let kinds: Vec<_> = targets.iter().filter(|target| sees_all(caller, target)).collect();
        if kinds.is_empty() {
            let message =
                format!("this needs a permission such as leads.view_lead with the scope {}", Scope::All);
            return Err(Error::Forbidden(message.into()));
        }
        return Ok(kinds.into_iter().map(|target| target.resource.kind).collect());
    };
    let mut kinds = Vec::new();
    for word in list.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let known = targets.iter().map(|target| target.resource.kind);
        let target = targets.iter().find(|target| target.resource.kind == word).ok_or_else(|| {
            let hint = nearest(word, known).map(|kind| format!("; did you mean {kind}?")).unwrap_or_default();
            Error::parameter("kinds", FieldCode::NotAChoice, format!("there is no kind {word:?}{hint}"))
        })?;
        require_all(caller, target)?;
        kinds.push(target.resource.kind);
    }
    if kinds.is_empty() {
        return Err(Error::parameter("kinds", FieldCode::Required, "at least one kind is needed"));
    }
    Ok(kinds)
}
