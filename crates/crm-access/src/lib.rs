//! Who may do what: permissions, the backends that judge them, the built-in roles and the rules for custom ones.
//!
//! Nothing here reads the database. A [`crm_core::Caller`] brings its [`crm_core::Principal`] along, and a service asks
//! [`Require::require`] in its first line.

mod backend;
mod chain;
mod grants;
mod modules;
mod permission;
mod roles;

pub use backend::{Backend, PlatformBackend, SystemBackend, TenantRoleBackend, Verdict};
pub use chain::{Chain, Require, has_module_perms, has_perm, scope_of};
pub use grants::validate_grants;
pub use modules::{ACTIONS, Family, MODULES, Module};
pub use permission::Permission;
pub use roles::{BuiltinRole, role_principal};

#[cfg(test)]
mod tests;
