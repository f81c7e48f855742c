use crm_core::{Caller, Error, Principal, Result, Scope, TenantTx};

use crate::{Backend, Permission, PlatformBackend, SystemBackend, TenantRoleBackend, Verdict};

/// Backends in the order they are asked: the first that does not abstain decides, and when all do, the answer is no.
#[derive(Clone, Copy)]
pub struct Chain<'a>(&'a [&'a dyn Backend]);

/// The chain that the whole program judges by.
static DEFAULT: Chain<'static> = Chain::new(&[&SystemBackend, &TenantRoleBackend, &PlatformBackend]);

impl<'a> Chain<'a> {
    /// A chain that asks `backends` from first to last.
    pub const fn new(backends: &'a [&'a dyn Backend]) -> Self {
        Self(backends)
    }

    /// On which records `principal` has `perm`; none if on no record, and for a malformed permission.
    pub fn scope_of(&self, principal: &Principal, perm: &str) -> Option<Scope> {
        Permission::parse(perm)?;
        self.decide(|backend| backend.has_perm(principal, perm))
    }

    /// Whether `principal` has `perm` on any record.
    pub fn has_perm(&self, principal: &Principal, perm: &str) -> bool {
        self.scope_of(principal, perm).is_some()
    }

    /// Whether `principal` may do anything at all in `module`.
    pub fn has_module_perms(&self, principal: &Principal, module: &str) -> bool {
        self.decide(|backend| backend.has_module_perms(principal, module)).is_some()
    }

    fn decide(&self, ask: impl Fn(&dyn Backend) -> Verdict) -> Option<Scope> {
        match self.0.iter().map(|backend| ask(*backend)).find(|verdict| *verdict != Verdict::Abstain)? {
            Verdict::Allow(scope) => Some(scope),
            Verdict::Deny | Verdict::Abstain => None,
        }
    }
}

/// Whether `principal` has `perm` on any record, by the default chain.
pub fn has_perm(principal: &Principal, perm: &str) -> bool {
    DEFAULT.has_perm(principal, perm)
}

/// On which records `principal` has `perm`, by the default chain.
pub fn scope_of(principal: &Principal, perm: &str) -> Option<Scope> {
    DEFAULT.scope_of(principal, perm)
}

/// Whether `principal` may do anything at all in `module`, by the default chain.
pub fn has_module_perms(principal: &Principal, module: &str) -> bool {
    DEFAULT.has_module_perms(principal, module)
}

/// The permission check that opens a service.
pub trait Require {
    /// Goes on with the records that `perm` reaches.
    ///
    /// # Errors
    /// `Forbidden`, naming the permission, when whoever acts does not have it.
    fn require(&self, perm: &'static str) -> Result<Scope>;
}

impl Require for Caller {
    fn require(&self, perm: &'static str) -> Result<Scope> {
        scope_of(&self.principal, perm)
            .ok_or_else(|| Error::Forbidden(format!("this needs the permission {perm}").into()))
    }
}

impl Require for TenantTx {
    fn require(&self, perm: &'static str) -> Result<Scope> {
        self.caller().require(perm)
    }
}
