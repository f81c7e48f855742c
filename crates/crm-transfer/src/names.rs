//! Names and addresses in cells as the ids that they stand for.

use std::collections::{BTreeSet, HashMap};

use crm_access::Require;
use crm_core::{Error, FieldCode, FieldError, Result, TenantTx, rules};
use crm_records::list::{Rel, check_related};
use crm_records::tags;
use crm_schema::{accounts, memberships, tags as tag_rows, teams};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use uuid::Uuid;

/// How many names of accounts are kept in mind.
const MOST_ACCOUNTS: usize = 50_000;

/// What has been looked up.
#[derive(Debug, Default)]
pub(crate) struct Names {
    members: HashMap<String, Uuid>,
    teams: HashMap<String, Uuid>,
    /// By slug; none for one that is archived.
    tags: HashMap<String, Option<Uuid>>,
    accounts: HashMap<String, Option<Uuid>>,
    may_add_tags: bool,
}

impl Names {
    /// Members, teams and tags of the organization.
    pub(crate) async fn load(t: &mut TenantTx) -> Result<Self> {
        let org = t.org();
        let members = memberships::table
            .filter(memberships::org_id.eq(org).and(memberships::state.eq("active")))
            .select((memberships::email_normalized, memberships::id))
            .load::<(String, Uuid)>(t.conn()?)
            .await?;
        let teams = teams::table
            .filter(teams::org_id.eq(org))
            .select((teams::name, teams::id))
            .load::<(String, Uuid)>(t.conn()?)
            .await?;
        let tags = tag_rows::table
            .filter(tag_rows::org_id.eq(org))
            .select((tag_rows::slug, tag_rows::id, tag_rows::is_active))
            .load::<(String, Uuid, bool)>(t.conn()?)
            .await?;
        Ok(Self {
            members: members.into_iter().collect(),
            teams: teams.into_iter().map(|(name, id)| (folded(&name), id)).collect(),
            tags: tags.into_iter().map(|(slug, id, active)| (slug, active.then_some(id))).collect(),
            accounts: HashMap::new(),
            may_add_tags: t.require("tags.add_tag").is_ok(),
        })
    }

    /// Looks up the accounts that a batch of rows names, as far as the caller may look at them.
    pub(crate) async fn find_accounts(&mut self, t: &mut TenantTx, names: BTreeSet<String>) -> Result<()> {
        if self.accounts.len() > MOST_ACCOUNTS {
            self.accounts.clear();
        }
        let unknown: Vec<_> = names
            .into_iter()
            .map(|name| folded(&name))
            .filter(|name| !self.accounts.contains_key(name))
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let found = accounts::table
            .filter(accounts::org_id.eq(t.org()).and(accounts::name_normalized.eq_any(&unknown)))
            .select((accounts::name_normalized, accounts::id))
            .load::<(String, Uuid)>(t.conn()?)
            .await?;
        let ids: Vec<_> = found.iter().map(|(_, id)| *id).collect();
        let all_visible = check_related(t, Rel::Account, "account", &ids).await.is_ok();
        self.accounts.extend(unknown.into_iter().map(|name| (name, None)));
        for (name, id) in found {
            if all_visible || check_related(t, Rel::Account, "account", &[id]).await.is_ok() {
                self.accounts.insert(name, Some(id));
            }
        }
        Ok(())
    }

    /// Makes the tags that a batch of rows names and that are not there, where the caller may.
    pub(crate) async fn make_tags(&mut self, t: &mut TenantTx, names: &BTreeSet<String>) -> Result<()> {
        if !self.may_add_tags {
            return Ok(());
        }
        for name in names {
            let Ok(slug) = tags::slug(name) else { continue };
            if self.tags.contains_key(&slug) {
                continue;
            }
            let Value::Object(fields) = json!({"name": name}) else { continue };
            // What is no name for a tag is told where it is used.
            let Ok(fields) = crm_core::body::parse(fields) else { continue };
            let tag = t.savepoint(async |t| tags::create(t, fields).await).await;
            match tag {
                Ok(tag) => drop(self.tags.insert(slug, Some(tag.base.id))),
                Err(error) if error.code().status() >= 500 => return Err(error),
                // Somebody made it at the same moment.
                Err(_) => {
                    *self = Self { accounts: std::mem::take(&mut self.accounts), ..Self::load(t).await? }
                }
            }
        }
        Ok(())
    }

    /// The id of what a cell names. `dry` takes a tag that could be made for one that is there.
    ///
    /// # Errors
    /// What is wrong with the name.
    pub(crate) fn find(
        &self,
        rel: Rel,
        name: &str,
        field: &str,
        dry: bool,
    ) -> Result<Option<Uuid>, FieldError> {
        let missing =
            |what: &str| FieldError::new(field, FieldCode::NotFound, format!("{name:?} is not {what}"));
        match rel {
            Rel::Member => {
                let found = self.members.get(&rules::normalize_email(name)).copied();
                found.map(Some).ok_or_else(|| missing("the address of an active member"))
            }
            Rel::Team => self.teams.get(&folded(name)).copied().map(Some).ok_or_else(|| missing("a team")),
            Rel::Tag => match tags::slug(name).ok().and_then(|slug| self.tags.get(&slug).copied()) {
                Some(Some(id)) => Ok(Some(id)),
                Some(None) => Err(missing("an active tag")),
                None if dry
                    && self.may_add_tags
                    && tags::slug(name).is_ok()
                    && name.chars().count() <= 50 =>
                {
                    Ok(None)
                }
                None => Err(missing("a tag")),
            },
            Rel::Account => {
                let found = self.accounts.get(&folded(name)).copied().flatten();
                found.map(Some).ok_or_else(|| missing("an account that you may see"))
            }
            _ => Err(missing("something that can be named")),
        }
    }
}

/// A name as it is compared.
pub(crate) fn folded(name: &str) -> String {
    rules::normalize_name(name)
}

/// Whether an error is ours rather than the row's.
pub(crate) fn is_ours(error: &Error) -> bool {
    error.code().status() >= 500
}
