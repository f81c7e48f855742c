//! The roles of an organization: the built-in ones, and those it defines itself.

use crm_access::{BuiltinRole, Require, scope_of, validate_grants};
use crm_core::{Caller, Code, Error, Grants, Principal, Result, RoleId, Scope, TenantTx};
use crm_records::list::{Field, Kind, Page, Params, Resource, Shaped};
use crm_records::{Base, Edit, Precondition, base_changes, base_columns, base_values};
use crm_schema::{memberships, roles};
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use validator::Validate;

use crate::caller::builtin_roles;
use crate::events::{Client, Event, EventKind};

/// Roles as a list.
pub const ROLES: Resource = Resource {
    kind: "role",
    table: "roles",
    fields: &[
        Field::new("name", Kind::Text).ordered().required(),
        Field::new("is_builtin", Kind::Bool).required(),
    ],
    searchable: false,
    mutable: true,
    neighbours: None,
};

/// What a client writes of a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleFields {
    /// Unique in the organization, ignoring case.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(min = 1, max = 50), custom(function = "crm_core::rules::one_line"))]
    pub name: String,
    /// What it is for.
    #[serde(default, deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(max = 1000), custom(function = "crm_core::rules::one_line"))]
    pub description: String,
    /// What it allows: module -> actions and scope.
    #[serde(default)]
    pub grants: Grants,
}

/// A role.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Role {
    /// What every record begins with.
    #[serde(flatten)]
    pub base: Base,
    /// What a client writes.
    #[serde(flatten)]
    pub fields: RoleFields,
    /// Whether every organization has it and none can change it.
    pub is_builtin: bool,
}

const READ_ONLY: &[&str] = &["is_builtin"];

type Row = (Base, String, String, bool, serde_json::Value);

macro_rules! columns {
    () => {
        (base_columns!(roles), roles::name, roles::description, roles::is_builtin, roles::grants)
    };
}

fn role((base, name, description, is_builtin, stored): Row) -> Result<Role> {
    let builtin = BuiltinRole::from_word(&name).filter(|_| is_builtin);
    let grants = match builtin {
        Some(role) => role.grants(),
        None => serde_json::from_value(stored).map_err(Error::internal)?,
    };
    Ok(Role { base, fields: RoleFields { name, description, grants }, is_builtin })
}

fn taken(error: diesel::result::Error) -> Error {
    Error::unique(error, "roles_org_id_name_normalized_key", "name", "there is a role of this name already")
}

fn normalized(name: &str) -> String {
    name.trim().to_lowercase()
}

impl Role {
    /// Its id.
    pub fn id(&self) -> RoleId {
        RoleId(self.base.id)
    }

    pub(crate) fn is_admin(&self) -> bool {
        self.is_builtin && self.fields.name == BuiltinRole::Admin.as_str()
    }

    /// Refuses to hand out, or to take away, what whoever acts does not have: otherwise managing members would be a way to become
    /// an administrator.
    pub(crate) fn within_reach_of(&self, caller: &Caller) -> Result<()> {
        let unbounded =
            matches!(caller.principal, Principal::System | Principal::User { is_superuser: true, .. });
        if unbounded {
            return Ok(());
        }
        if self.is_admin() {
            return Err(Error::Forbidden(
                "only an administrator may do this with the administrator's role".into(),
            ));
        }
        let asked = self.fields.grants.iter().flat_map(|(module, grant)| {
            grant.actions.iter().map(move |action| (format!("{module}.{action}"), grant.scope))
        });
        for (permission, scope) in asked {
            match (scope_of(&caller.principal, &permission), scope) {
                (Some(Scope::All), _) | (Some(Scope::Own), Scope::Own) => {}
                _ => {
                    let message =
                        format!("{permission} with the scope {scope} is more than you have yourself");
                    return Err(Error::Forbidden(message.into()));
                }
            }
        }
        Ok(())
    }
}

/// Lists the roles.
///
/// # Errors
/// `Forbidden` without `roles.view_role`; 400 for parameters.
pub async fn list(t: &mut TenantTx, params: &Params) -> Result<Page<Shaped<Role>>> {
    let scope = t.require("roles.view_role")?;
    let selection = ROLES.select(params, t.caller(), scope)?;
    let page = selection
        .run(t, async |t, f| {
            let rows: Vec<(Row, _)> = roles::table
                .filter(f.filter)
                .order_by(f.slice)
                .select((columns!(), selection.keys()))
                .load(t.conn()?)
                .await?;
            rows.into_iter().map(|(row, keys)| Ok((role(row)?, keys))).collect()
        })
        .await?;
    selection.shape.page(t, page).await
}

/// One role.
///
/// # Errors
/// `Forbidden` without `roles.view_role`; `NotFound`.
pub async fn find(t: &mut TenantTx, id: Uuid) -> Result<Role> {
    t.require("roles.view_role")?;
    by_id(t, id).await
}

/// Makes a role.
///
/// # Errors
/// `Forbidden` without `roles.add_role` and for grants beyond one's own; `Duplicate`; 422 for the grants.
pub async fn create(t: &mut TenantTx, client: &Client, fields: RoleFields) -> Result<Role> {
    t.require("roles.add_role")?;
    let new = Role { base: Base::new(t), fields, is_builtin: false };
    judge(t, &new)?;
    insert(t, &new).await?;
    record(t, client, &new, "created").await?;
    Ok(new)
}

/// Changes a role.
///
/// # Errors
/// `Forbidden` without `roles.change_role`, for a built-in role, and for grants beyond one's own; `NotFound`; `Stale`; `Duplicate`;
/// 400 and 422 for the body.
pub async fn update(t: &mut TenantTx, client: &Client, id: Uuid, edit: Edit) -> Result<Role> {
    t.require("roles.change_role")?;
    let old = custom(t, id).await?;
    let fields: RoleFields = edit.fields(&old, &old.base, READ_ONLY)?;
    if fields == old.fields {
        return Ok(old);
    }
    let new = Role { base: old.base.next(t), fields, is_builtin: false };
    judge(t, &new)?;
    diesel::update(roles::table.filter(roles::org_id.eq(t.org()).and(roles::id.eq(id))))
        .set((
            base_changes!(roles, new.base),
            roles::name.eq(&new.fields.name),
            roles::name_normalized.eq(normalized(&new.fields.name)),
            roles::description.eq(&new.fields.description),
            roles::grants.eq(serde_json::to_value(&new.fields.grants).map_err(Error::internal)?),
        ))
        .execute(t.conn()?)
        .await
        .map_err(taken)?;
    crm_records::updated(t, ROLES.kind, &new.base, crm_records::diff(&old, &new)?, None).await?;
    record(t, client, &new, "updated").await?;
    Ok(new)
}

/// Deletes a role that nobody has. Former members who had it, and keep a row, are given the role USER there: it gives them no right.
///
/// # Errors
/// `Forbidden` without `roles.delete_role` and for a built-in role; `NotFound`; `Stale`; `InUse` while a member or an invitation has it.
pub async fn delete(t: &mut TenantTx, client: &Client, id: Uuid, precondition: &Precondition) -> Result<()> {
    t.require("roles.delete_role")?;
    let old = custom(t, id).await?;
    precondition.check(&old.base)?;
    let org = t.org();
    let holders = memberships::org_id.eq(org).and(memberships::role_id.eq(id));
    let held = exists(memberships::table.filter(holders.and(memberships::state.ne("removed"))));
    if diesel::select(held).get_result(t.conn()?).await? {
        return Err(Error::Refused(Code::InUse, "members or invitations still have this role".into()));
    }
    // Each row needs a role; whoever is invited again is given the one of the invitation.
    if let Some(user) = by_name(t, BuiltinRole::User.as_str()).await? {
        diesel::update(memberships::table.filter(holders))
            .set(memberships::role_id.eq(user.base.id))
            .execute(t.conn()?)
            .await?;
    }
    crm_records::deleted(t, ROLES.kind, id).await?;
    record(t, client, &old, "deleted").await
}

/// Gives a new organization its built-in roles and answers the administrator's.
pub(crate) async fn found(t: &mut TenantTx) -> Result<Role> {
    let mut admin = Err(Error::internal("there is no administrator's role"));
    for builtin in builtin_roles() {
        let fields = RoleFields {
            name: builtin.as_str().to_owned(),
            description: String::new(),
            grants: Grants::default(),
        };
        let new = Role { base: Base::new(t), fields, is_builtin: true };
        insert(t, &new).await?;
        if new.is_admin() {
            admin = Ok(new);
        }
    }
    admin
}

/// The role of this name, held so that it can't be deleted before the transaction has given it to somebody.
pub(crate) async fn by_name(t: &mut TenantTx, name: &str) -> Result<Option<Role>> {
    let named = roles::org_id.eq(t.org()).and(roles::name_normalized.eq(normalized(name)));
    let found = roles::table.filter(named).select(columns!()).for_key_share().first::<Row>(t.conn()?).await;
    found.optional()?.map(role).transpose()
}

pub(crate) async fn by_id(t: &mut TenantTx, id: Uuid) -> Result<Role> {
    let this = roles::org_id.eq(t.org()).and(roles::id.eq(id));
    role(roles::table.filter(this).select(columns!()).first::<Row>(t.conn()?).await?)
}

async fn custom(t: &mut TenantTx, id: Uuid) -> Result<Role> {
    let this = roles::org_id.eq(t.org()).and(roles::id.eq(id));
    let found =
        role(roles::table.filter(this).select(columns!()).for_update().first::<Row>(t.conn()?).await?)?;
    if found.is_builtin {
        return Err(Error::Forbidden("a built-in role can't be changed".into()));
    }
    found.within_reach_of(t.caller())?;
    Ok(found)
}

fn judge(t: &TenantTx, role: &Role) -> Result<()> {
    validate_grants(&role.fields.grants).map_err(|faults| Error::Fields(Code::ValidationFailed, faults))?;
    role.within_reach_of(t.caller())
}

async fn insert(t: &mut TenantTx, new: &Role) -> Result<()> {
    crm_records::created(t, ROLES.kind, &new.base, None).await?;
    diesel::insert_into(roles::table)
        .values((
            base_values!(roles, new.base),
            roles::name.eq(&new.fields.name),
            roles::name_normalized.eq(normalized(&new.fields.name)),
            roles::description.eq(&new.fields.description),
            roles::is_builtin.eq(new.is_builtin),
            roles::grants.eq(serde_json::to_value(&new.fields.grants).map_err(Error::internal)?),
        ))
        .execute(t.conn()?)
        .await
        .map_err(taken)?;
    Ok(())
}

async fn record(t: &mut TenantTx, client: &Client, role: &Role, change: &str) -> Result<()> {
    let event = Event::done(EventKind::RoleChanged).user(t.caller().user);
    event.detail("role", role.base.id.to_string()).detail("change", change).record(t, client).await
}
