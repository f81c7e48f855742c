use crm_core::{Grants, Principal, Scope};

use crate::Permission;

/// What one backend says about one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Yes, on these records.
    Allow(Scope),
    /// No, and nobody else is asked.
    Deny,
    /// Not this backend's to judge.
    Abstain,
}

/// One way of judging permissions, asked as part of a [`crate::Chain`].
pub trait Backend: Sync {
    /// Whether `principal` has the permission `perm`, as in `leads.change_lead`.
    fn has_perm(&self, principal: &Principal, perm: &str) -> Verdict;

    /// Whether `principal` may do anything at all in `module`.
    fn has_module_perms(&self, principal: &Principal, module: &str) -> Verdict;
}

/// Allows the program itself everything.
#[derive(Debug, Clone, Copy)]
pub struct SystemBackend;

impl SystemBackend {
    fn judge(principal: &Principal) -> Verdict {
        match principal {
            Principal::System => Verdict::Allow(Scope::All),
            _ => Verdict::Abstain,
        }
    }
}

impl Backend for SystemBackend {
    fn has_perm(&self, principal: &Principal, _perm: &str) -> Verdict {
        Self::judge(principal)
    }

    fn has_module_perms(&self, principal: &Principal, _module: &str) -> Verdict {
        Self::judge(principal)
    }
}

/// Judges people by their role in the current organization and by nothing else.
#[derive(Debug, Clone, Copy)]
pub struct TenantRoleBackend;

impl TenantRoleBackend {
    fn judge(principal: &Principal, granted: impl FnOnce(&Grants) -> Option<Scope>) -> Verdict {
        match principal {
            Principal::Anonymous | Principal::User { in_tenant: false, .. } => Verdict::Deny,
            Principal::User { is_superuser: true, .. } => Verdict::Allow(Scope::All),
            Principal::User { grants, .. } => {
                grants.as_deref().and_then(granted).map_or(Verdict::Deny, Verdict::Allow)
            }
            Principal::PlatformAdmin { .. } | Principal::System => Verdict::Abstain,
        }
    }
}

impl Backend for TenantRoleBackend {
    fn has_perm(&self, principal: &Principal, perm: &str) -> Verdict {
        Self::judge(principal, |grants| {
            let Permission { module, action } = Permission::parse(perm)?;
            let grant = grants.get(module)?;
            grant.actions.iter().any(|listed| listed == action).then_some(grant.scope)
        })
    }

    fn has_module_perms(&self, principal: &Principal, module: &str) -> Verdict {
        Self::judge(principal, |grants| {
            grants.get(module).filter(|grant| !grant.actions.is_empty()).map(|grant| grant.scope)
        })
    }
}

/// Judges platform administrators by their superuser flag alone.
#[derive(Debug, Clone, Copy)]
pub struct PlatformBackend;

impl PlatformBackend {
    fn judge(principal: &Principal) -> Verdict {
        match principal {
            Principal::PlatformAdmin { is_superuser: true } => Verdict::Allow(Scope::All),
            Principal::PlatformAdmin { is_superuser: false } => Verdict::Deny,
            _ => Verdict::Abstain,
        }
    }
}

impl Backend for PlatformBackend {
    fn has_perm(&self, principal: &Principal, _perm: &str) -> Verdict {
        Self::judge(principal)
    }

    fn has_module_perms(&self, principal: &Principal, _module: &str) -> Verdict {
        Self::judge(principal)
    }
}
