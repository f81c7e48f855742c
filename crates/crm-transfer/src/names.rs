//! Names and addresses in cells as the ids that they stand for.

use std::collections::{BTreeSet, HashMap};

use crm_access::Require;
use crm_core::{Error, FieldCode, FieldError, Result, TenantTx, rules};
use crm_records::deleted;
use crm_records::list::{Rel, visible};
use crm_records::tags;
use crm_schema::{accounts, memberships, record_tags, tags as tag_rows, teams};
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
    /// The tags that were made for the batch, by slug.
    made: Vec<(String, Uuid)>,
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
            made: Vec::new(),
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
        let seen = visible(t, Rel::Account);
        let found = accounts::table
            .filter(accounts::org_id.eq(t.org()).and(accounts::name_normalized.eq_any(&unknown)))
            .filter(seen)
            .select((accounts::name_normalized, accounts::id))
            .load::<(String, Uuid)>(t.conn()?)
            .await?;
        self.accounts.extend(unknown.into_iter().map(|name| (name, None)));
        self.accounts.extend(found.into_iter().map(|(name, id)| (name, Some(id))));
        Ok(())
    }

    /// Whether a name is that of no tag, and could be.
    pub(crate) fn lacks_tag(&self, name: &str) -> bool {
        self.may_add_tags && tags::slug(name).is_ok_and(|slug| !self.tags.contains_key(&slug))
    }

    /// Begins another batch.
    pub(crate) fn forget_made(&mut self) {
        self.made.clear();
    }

    /// Takes those of the tags made for the batch away that no record has.
    pub(crate) async fn drop_unused(&mut self, t: &mut TenantTx) -> Result<()> {
        let made = std::mem::take(&mut self.made);
        if made.is_empty() {
            return Ok(());
        }
        let of =
            record_tags::org_id.eq(t.org()).and(record_tags::tag_id.eq_any(made.iter().map(|(_, id)| *id)));
        let used: BTreeSet<Uuid> = record_tags::table
            .filter(of)
            .select(record_tags::tag_id)
            .distinct()
            .load::<Uuid>(t.conn()?)
            .await?
            .into_iter()
            .collect();
        for (slug, id) in made.into_iter().filter(|(_, id)| !used.contains(id)) {
            deleted(t, tags::TAGS.kind, id).await?;
            self.tags.remove(&slug);
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
                Ok(tag) => {
                    self.made.push((slug.clone(), tag.base.id));
                    self.tags.insert(slug, Some(tag.base.id));
                }
                Err(error) if is_ours(&error) => return Err(error),
                // Somebody made it at the same moment.
                Err(_) => {
                    let (accounts, made) =
                        (std::mem::take(&mut self.accounts), std::mem::take(&mut self.made));
                    *self = Self { accounts, made, ..Self::load(t).await? }
                }
            }
        }
        Ok(())
    }

    /// The id of what a cell names. `lenient` takes a tag that could be made for one that is there.
    ///
    /// # Errors
    /// What is wrong with the name.
    pub(crate) fn find(
        &self,
        rel: Rel,
        name: &str,
        field: &str,
        lenient: bool,
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
                None if lenient
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

/// Whether an error is ours rather than the row's: also where two transactions got into each other's way.
pub(crate) fn is_ours(error: &Error) -> bool {
    error.code().status() >= 500 || error.is_contended()
}

#[cfg(test)]
mod tests {
    use super::*;
    use diesel::result::{DatabaseErrorKind, Error as Diesel};

    #[test]
    fn a_row_is_not_to_blame_for_two_transactions_in_each_others_way() {
        let error =
            |kind, message: &str| Error::from(Diesel::DatabaseError(kind, Box::new(message.to_owned())));
        for ours in [
            error(DatabaseErrorKind::SerializationFailure, "could not serialize access"),
            error(DatabaseErrorKind::Unknown, "deadlock detected"),
            error(DatabaseErrorKind::Unknown, "canceling statement due to statement timeout"),
        ] {
            assert!(is_ours(&ours), "{ours:?}");
        }
        let taken = error(DatabaseErrorKind::UniqueViolation, "duplicate key");
        assert!(is_ours(&taken), "nobody has told yet which field that is");
        for theirs in [
            Error::taken("email", "taken"),
            Error::NotFound,
            Error::Refused(crm_core::Code::Conflict, "no".into()),
        ] {
            assert!(!is_ours(&theirs), "{theirs:?}");
        }
    }
}
