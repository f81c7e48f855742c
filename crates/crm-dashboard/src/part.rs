use crm_access::scope_of;
use crm_core::{Result, Scope, TenantTx};
use crm_records::Target;
use crm_records::list::{OwnRecords, Resource, Where};
use uuid::Uuid;

use crate::statement::Statement;

/// A kind of record as far as the caller may look at it.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) resource: Resource,
    pub(crate) scope: Scope,
    /// What the caller may see, where it is little.
    few: Option<Vec<Uuid>>,
}

impl Part {
    /// None where the caller may look at no record of that kind.
    pub(crate) fn of(t: &TenantTx, targets: &[Target], kind: &str) -> Option<Self> {
        let target = targets.iter().find(|target| target.resource.kind == kind)?;
        let scope = scope_of(&t.caller().principal, target.view)?;
        Some(Self { resource: target.resource, scope, few: None })
    }

    /// The same, with the records themselves where they are few: what is asked several times of them then takes no time.
    pub(crate) async fn known(t: &mut TenantTx, targets: &[Target], kind: &str) -> Result<Option<Self>> {
        let Some(mut part) = Self::of(t, targets, kind) else { return Ok(None) };
        let own = OwnRecords::newest(t, &part.visible(t).0).await?;
        part.few = own.filter(|own| own.all).map(|own| own.ids);
        Ok(Some(part))
    }

    /// The condition of the list.
    pub(crate) fn visible(&self, t: &TenantTx) -> Where {
        let mut clauses = vec![self.resource.in_org(t.org())];
        match &self.few {
            Some(ids) => clauses.push(self.resource.among("id", ids.clone())),
            None => clauses.extend(self.resource.visible(t.caller(), self.scope)),
        }
        Where(clauses)
    }

    /// `FROM … WHERE …` of the first few records in some order. Of one's own, where they are many, a walk in that order is soon done;
    /// behind OFFSET 0 each record is looked up by itself.
    pub(crate) fn walk<S>(&self, t: &TenantTx, query: &mut Statement<S>) {
        let table = self.resource.table;
        if self.is_whole() || self.few.is_some() {
            query.push(" FROM ").push(table).push(" WHERE ").push(self.visible(t));
            return;
        }
        query.push(" FROM ").push(table).push(" walked WHERE walked.org_id = ").push(t.org().0);
        query.push(" AND EXISTS (SELECT FROM ").push(table).push(" WHERE ").push(table);
        query.push(".id = walked.id AND ").push(self.visible(t)).push(" OFFSET 0)");
    }

    /// Whether the tallies, which know of no scopes, are what the caller may see.
    pub(crate) fn is_whole(&self) -> bool {
        self.scope == Scope::All
    }
}
