use crm_access::scope_of;
use crm_core::{Scope, TenantTx};
use crm_records::Target;
use crm_records::list::{Resource, Where};

/// A kind of record as far as the caller may look at it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub(crate) resource: Resource,
    pub(crate) scope: Scope,
}

impl Part {
    /// None where the caller may look at no record of that kind.
    pub(crate) fn of(t: &TenantTx, targets: &[Target], kind: &str) -> Option<Self> {
        let target = targets.iter().find(|target| target.resource.kind == kind)?;
        let scope = scope_of(&t.caller().principal, target.view)?;
        Some(Self { resource: target.resource, scope })
    }

    /// The condition of the list.
    pub(crate) fn visible(&self, t: &TenantTx) -> Where {
        let mut clauses = vec![self.resource.in_org(t.org())];
        clauses.extend(self.resource.visible(t.caller(), self.scope));
        Where(clauses)
    }

    /// Whether the tallies, which know of no scopes, are what the caller may see.
    pub(crate) fn is_whole(&self) -> bool {
        self.scope == Scope::All
    }
}
