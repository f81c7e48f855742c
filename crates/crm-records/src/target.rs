use crm_access::Require;
use crm_core::{Error, Result, Scope, TenantTx};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::custom;
use crate::list::{Count, More, Params, Resource, Selection, Value, Where};

/// A kind of record that comments, files and history hang on: what its module declares once.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// How it is listed, which is also who may see it.
    pub resource: Resource,
    /// The permission to look at it, such as `leads.view_lead`.
    pub view: &'static str,
    /// The permission to change it, such as `leads.change_lead`.
    pub change: &'static str,
}

impl Target {
    /// The condition of one record that the caller may see with a grant of this scope.
    pub fn one(&self, t: &TenantTx, scope: Scope, id: Uuid) -> Where {
        let resource = &self.resource;
        let mut clauses = vec![resource.in_org(t.org()), resource.compare("id", "=", Value::Uuid(id))];
        clauses.extend(resource.visible(t.caller(), scope));
        Where(clauses)
    }

    /// Judges the query string of a list, in which the organization's own fields may stand too.
    ///
    /// # Errors
    /// As [`Resource::select`].
    pub async fn select(&self, t: &mut TenantTx, params: &Params, scope: Scope) -> Result<Selection> {
        let custom = custom::filters(t, self.resource.kind, params).await?;
        self.resource.select_more(params, t.caller(), scope, More::custom(&custom))
    }

    /// Makes sure that the caller may look at the record.
    ///
    /// # Errors
    /// `Forbidden` without the permission, `NotFound` for a record that is not there or not visible.
    pub async fn check_view(&self, t: &mut TenantTx, id: Uuid) -> Result<()> {
        let scope = t.require(self.view)?;
        if self.reaches(t, scope, id).await? { Ok(()) } else { Err(Error::NotFound) }
    }

    /// Makes sure that the caller may do `permission` to a record that they may look at.
    ///
    /// # Errors
    /// As [`Target::check_view`]; `Forbidden` when the record is visible but beyond the permission's scope.
    pub async fn check(&self, t: &mut TenantTx, permission: &'static str, id: Uuid) -> Result<()> {
        self.check_view(t, id).await?;
        let view = t.require(self.view)?;
        let scope = t.require(permission)?;
        if scope == view || self.reaches(t, scope, id).await? {
            return Ok(());
        }
        Err(Error::Forbidden(
            "this record is beyond your permission: it is neither yours nor your team's".into(),
        ))
    }

    async fn reaches(&self, t: &mut TenantTx, scope: Scope, id: Uuid) -> Result<bool> {
        let count = Count { table: self.resource.table, filter: self.one(t, scope, id) };
        Ok(count.get_result::<i64>(t.conn()?).await? > 0)
    }
}
