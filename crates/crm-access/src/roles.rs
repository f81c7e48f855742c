use std::sync::{Arc, LazyLock};

use crm_core::{Grant, Grants, Principal, Scope};

use crate::{ACTIONS, Family, MODULES, Module};

crm_core::text_enum!(
    /// A role that every organization has and none can change.
    BuiltinRole {
        /// Administers the organization.
        Admin = "ADMIN",
        /// Works in the CRM on their own records.
        User = "USER",
        /// Owns the shop.
        Owner = "OWNER",
        /// Runs the shop.
        Manager = "MANAGER",
        /// Prepares the shop's orders.
        Florist = "FLORIST",
        /// Delivers the shop's orders.
        Courier = "COURIER",
    }
);

impl BuiltinRole {
    /// Whether its holders may do everything in their organization, whatever the grants say.
    pub fn is_superuser(self) -> bool {
        self == Self::Admin
    }

    /// What it allows; for a superuser role, everything, so that a person can see it listed.
    pub fn grants(self) -> Grants {
        match self {
            Self::Admin => MODULES.iter().map(|module| entry(module.name, &ACTIONS, Scope::All)).collect(),
            Self::User => {
                // Deals are made of what the shop sells.
                let products = entry("products", &["view"], Scope::All);
                let crm = MODULES.iter().filter(|module| module.family == Family::Crm).map(users_share);
                crm.chain([products]).collect()
            }
            Self::Owner => MODULES
                .iter()
                .filter(|module| module.family == Family::Shop)
                .map(|module| entry(module.name, &ACTIONS, Scope::All))
                .collect(),
            Self::Manager => shop(&[
                ("products", &ACTIONS),
                ("inventory", &ACTIONS),
                ("orders", &ACTIONS),
                ("clients", &ACTIONS),
                ("suppliers", &["view", "add", "change"]),
                ("payments", &["view"]),
            ]),
            Self::Florist => shop(&[
                ("products", &["view"]),
                ("inventory", &["view", "change"]),
                ("orders", &["view", "change"]),
            ]),
            Self::Courier => shop(&[("orders", &["view", "change"])]),
        }
    }
}

/// What the backends judge the holder of a role by: the grants of a built-in role stand in code, those of a custom one are `stored`.
pub fn role_principal(is_builtin: bool, name: &str, stored: Grants) -> Principal {
    static BUILTIN: LazyLock<Vec<(BuiltinRole, Arc<Grants>)>> = LazyLock::new(|| {
        let roles = BuiltinRole::WORDS.iter().filter_map(|word| BuiltinRole::from_word(word));
        roles.map(|role| (role, Arc::new(role.grants()))).collect()
    });
    let builtin = BUILTIN.iter().find(|(role, _)| is_builtin && role.as_str() == name);
    let grants = builtin.map_or_else(|| Arc::new(stored), |(_, grants)| grants.clone());
    let is_superuser = builtin.is_some_and(|(role, _)| role.is_superuser());
    Principal::User { is_superuser, in_tenant: true, grants: Some(grants) }
}

/// Teams, tags and pipelines are vocabulary that everybody shares, so a USER reads all of them and writes none, like the hours and targets
/// that everybody works by; goals are set for a USER, who reads their own and their teams'.
fn users_share(module: &Module) -> (String, Grant) {
    match module.name {
        "teams" | "tags" | "pipelines" | "service_settings" => entry(module.name, &["view"], Scope::All),
        "goals" => entry(module.name, &["view"], Scope::Own),
        own => entry(own, &ACTIONS, Scope::Own),
    }
}

fn shop(grants: &[(&str, &[&str])]) -> Grants {
    grants.iter().map(|(module, actions)| entry(module, actions, Scope::All)).collect()
}

fn entry(module: &str, actions: &[&str], scope: Scope) -> (String, Grant) {
    (module.to_owned(), Grant { actions: actions.iter().map(ToString::to_string).collect(), scope })
}
