use crm_access::Require;
use crm_core::{Error, FieldCode, Result, Scope, TenantTx};
use crm_schema::{record_merges, records};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::custom;
use crate::list::{Count, More, PAGE_WORDS, Params, Resource, Selection, Value, Where};

/// How many merges after each other are followed from an old id.
const MOST_MERGES: usize = 50;

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
        self.select_more(t, params, scope, &[]).await
    }

    /// The same for a list with parameters that its module judges itself.
    ///
    /// # Errors
    /// As [`Resource::select`].
    pub async fn select_more(
        &self,
        t: &mut TenantTx,
        params: &Params,
        scope: Scope,
        own: &[&str],
    ) -> Result<Selection> {
        let custom = custom::filters(t, self.resource.kind, params).await?;
        self.resource.select_more(params, t.caller(), scope, More::own(own).and_custom(&custom))
    }

    /// Reads a query string that only filters, for what is made of all the rows of a list, such as a board or a sum. Further parameters
    /// are the module's `own`.
    ///
    /// # Errors
    /// As [`Resource::select`]; 400 for parameters that belong to a page too.
    pub async fn narrow(
        &self,
        t: &mut TenantTx,
        params: &Params,
        scope: Scope,
        own: &[&str],
    ) -> Result<Selection> {
        let mut filters = params.clone();
        filters.pairs.retain(|(key, _)| !own.contains(&key.as_str()));
        for (key, _) in &filters.pairs {
            if PAGE_WORDS.contains(&key.as_str()) {
                let message = format!("there is no parameter {key} here");
                return Err(Error::parameter(key, FieldCode::UnknownParameter, message));
            }
        }
        self.select(t, &filters, scope).await
    }

    /// Makes sure that the caller may look at the record.
    ///
    /// # Errors
    /// `Forbidden` without the permission, `NotFound` for a record that is not there or not visible; `Merged`.
    pub async fn check_view(&self, t: &mut TenantTx, id: Uuid) -> Result<()> {
        let scope = t.require(self.view)?;
        let filter = self.one(t, scope, id);
        let found = if self.is_there(t, filter).await? { Ok(()) } else { Err(Error::NotFound) };
        self.found(t, id, found).await
    }

    /// Makes sure that the caller may look at the record, and that it stays until the transaction ends: for what is hung on it. A merge
    /// that is under way is waited for, and leads elsewhere.
    ///
    /// # Errors
    /// As [`Target::check_view`].
    pub async fn hold(&self, t: &mut TenantTx, id: Uuid) -> Result<()> {
        t.require(self.view)?;
        let this = records::table.filter(records::org_id.eq(t.org()).and(records::id.eq(id)));
        this.select(records::id).for_key_share().first::<Uuid>(t.conn()?).await.optional()?;
        self.check_view(t, id).await
    }

    /// Makes sure that the caller may do `permission` to a record that they may look at.
    ///
    /// # Errors
    /// As [`Target::check_view`]; `Forbidden` when the record is visible but beyond the permission's scope.
    pub async fn check(&self, t: &mut TenantTx, permission: &'static str, id: Uuid) -> Result<()> {
        self.check_view(t, id).await?;
        let view = t.require(self.view)?;
        let scope = t.require(permission)?;
        // Whoever may see all has seen what of closed records is theirs.
        if scope == Scope::All || scope == view && self.resource.neighbours.is_none() {
            return Ok(());
        }
        let mut filter = self.one(t, Scope::All, id);
        filter.0.extend(self.resource.changeable(t.caller(), scope));
        if self.is_there(t, filter).await? {
            return Ok(());
        }
        Err(Error::Forbidden(
            "this record is beyond your permission: it is neither yours nor your team's".into(),
        ))
    }

    /// What was looked for under an id; where nothing was found because the record was merged into another one that the caller may
    /// look at, that one's id.
    ///
    /// # Errors
    /// `Merged`; otherwise what `found` says.
    pub async fn found<T>(&self, t: &mut TenantTx, id: Uuid, found: Result<T>) -> Result<T> {
        let Err(Error::NotFound) = found else { return found };
        // A chain of merges ends, because each takes its loser out of the running; a long one is nobody's normal day.
        let mut into = None;
        for _ in 0..MOST_MERGES {
            let of = record_merges::loser_id.eq(into.unwrap_or(id));
            let next: Option<Uuid> = record_merges::table
                .filter(record_merges::org_id.eq(t.org()).and(of).and(record_merges::undone_at.is_null()))
                .select(record_merges::winner_id)
                .first(t.conn()?)
                .await
                .optional()?;
            match next {
                Some(winner) => into = Some(winner),
                None => break,
            }
        }
        let Some(into) = into else { return Err(Error::NotFound) };
        let scope = t.require(self.view)?;
        let filter = self.one(t, scope, into);
        Err(if self.is_there(t, filter).await? { Error::Merged { into } } else { Error::NotFound })
    }

    async fn is_there(&self, t: &mut TenantTx, filter: Where) -> Result<bool> {
        let count = Count { table: self.resource.table, filter };
        Ok(count.get_result::<i64>(t.conn()?).await? > 0)
    }
}
