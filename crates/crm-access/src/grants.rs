use std::collections::BTreeSet;

use crm_core::body::nearest;
use crm_core::{FieldCode, FieldError, Grant, Grants, Scope};

use crate::{ACTIONS, MODULES};

/// Checks what a custom role is to allow.
///
/// # Errors
/// Every fault, under its path in a body that carries the grants as `grants`.
pub fn validate_grants(grants: &Grants) -> Result<(), Vec<FieldError>> {
    let faults: Vec<_> = grants
        .iter()
        .flat_map(|(module, grant)| {
            let path = format!("grants.{module}");
            let mut faults: Vec<_> = module_fault(&path, module, grant.scope).into_iter().collect();
            faults.extend(action_faults(&format!("{path}.actions"), grant));
            faults
        })
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn module_fault(path: &str, name: &str, scope: Scope) -> Option<FieldError> {
    let Some(module) = MODULES.iter().find(|module| module.name == name) else {
        let near = nearest(name, MODULES.iter().map(|module| module.name));
        let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        return Some(FieldError::new(
            path,
            FieldCode::NotAChoice,
            format!("there is no module {name}{hint}"),
        ));
    };
    (!module.has_owners() && scope != Scope::All).then(|| {
        let message = format!("{name} can only be granted with the scope {}", Scope::All);
        FieldError::new(format!("{path}.scope"), FieldCode::NotAllowed, message)
    })
}

fn action_faults(path: &str, grant: &Grant) -> Vec<FieldError> {
    if grant.actions.is_empty() {
        let message = format!("must name at least one of {}", ACTIONS.join(", "));
        return vec![FieldError::new(path, FieldCode::Required, message)];
    }
    let mut seen = BTreeSet::new();
    let named = grant.actions.iter().enumerate();
    let faulty = named.filter_map(|(index, action)| {
        let (code, message) = if !ACTIONS.contains(&action.as_str()) {
            (FieldCode::NotAChoice, format!("{action:?} is not one of {}", ACTIONS.join(", ")))
        } else if !seen.insert(action) {
            (FieldCode::InvalidValue, format!("{action} is named twice"))
        } else {
            return None;
        };
        Some(FieldError::new(format!("{path}.{index}"), code, message))
    });
    faulty.collect()
}
