//! The members of an organization and what they are in it.

mod model;
mod roster;
mod standing;

use crm_access::Require;
use crm_core::{Error, FieldCode, MemberId, Result, TenantTx};
use crm_records::list::{Page, Params, Shaped, Value};
use crm_records::{Base, Edit, base_changes, base_columns, base_values};
use crm_schema::{memberships, users};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::events::{Client, Event, EventKind};
use crate::roles::{self, Role};
use crate::users::User;

pub(crate) use model::RoleName;
use model::{KeyedRow, Row, member};
pub use model::{MEMBERS, Member, MemberFields, MemberState, UserDetails};
pub use roster::{Roster, RosterMember, RosterTeam, roster};
pub use standing::{MemberStatus, StatusChange, change_status, leave, remove};

const READ_ONLY: &[&str] = &["role_id", "state", "is_active", "user_details"];

/// Memberships with the accounts they belong to.
macro_rules! rows {
    () => {
        memberships::table.left_join(users::table.on(memberships::user_id.eq(users::id.nullable())))
    };
}

/// The account comes last: only there can diesel tell one that is missing.
macro_rules! columns {
    ($($further:expr)?) => {
        (
            base_columns!(memberships),
            MemberFields::as_select(),
            memberships::role_id,
            memberships::state,
            memberships::email,
            $($further,)?
            Option::<User>::as_select(),
        )
    };
}

/// Lists the members and the open invitations; those who left are not listed.
///
/// # Errors
/// `Forbidden` without `users.view_user`; 400 for parameters.
pub async fn list(t: &mut TenantTx, params: &Params) -> Result<Page<Shaped<Member>>> {
    let scope = t.require("users.view_user")?;
    let mut selection = MEMBERS.select(params, t.caller(), scope)?;
    selection.and(MEMBERS.compare("state", "<>", Value::Text(MemberState::Removed.to_string())));
    let page = selection
        .run(t, async |t, f| {
            let rows = rows!()
                .filter(f.filter)
                .order_by(f.slice)
                .select(columns!(selection.keys()))
                .load::<KeyedRow>(t.conn()?)
                .await?;
            let keyed = |(base, fields, role_id, state, email, keys, user)| {
                (member((base, fields, role_id, state, email, user)), keys)
            };
            Ok(rows.into_iter().map(keyed).collect())
        })
        .await?;
    selection.shape.page(t, page).await
}

/// One member: oneself, or anybody for whom the permission is there.
///
/// # Errors
/// `Forbidden` without `users.view_user`, except for oneself; `NotFound`.
pub async fn find(t: &mut TenantTx, id: Uuid) -> Result<Member> {
    if t.actor() != Some(MemberId(id)) {
        t.require("users.view_user")?;
    }
    read(t, id).await
}

/// Changes what a member is in the organization: never the account, which is the person's own.
///
/// # Errors
/// `Forbidden` without `users.change_user` and for a role beyond one's own; `NotFound`; `Stale`; `LastAdmin`; 422 for one's own role
/// and a role that is not there; 400 and 422 for the body.
pub async fn update(t: &mut TenantTx, client: &Client, id: Uuid, edit: Edit) -> Result<Member> {
    t.require("users.change_user")?;
    let old = locked(t, id).await?;
    let fields: MemberFields = edit.fields(&old, &old.base, READ_ONLY)?;
    let new_role = match same_name(&fields.role, &old.fields.role) {
        true => None,
        false => Some(another_role(t, &old, &fields.role).await?),
    };
    let (role, role_id) = match new_role {
        Some(role) => (role.fields.name.clone(), role.id()),
        None => (old.fields.role.clone(), old.role_id),
    };
    let new =
        Member { base: old.base.next(t), fields: MemberFields { role, ..fields }, role_id, ..old.clone() };
    if new.fields == old.fields {
        return Ok(old);
    }
    diesel::update(this(t, id))
        .set((base_changes!(memberships, new.base), &new.fields, memberships::role_id.eq(role_id)))
        .execute(t.conn()?)
        .await?;
    changed(t, client, &old, &new, EventKind::MembershipChanged).await?;
    Ok(new)
}

/// The role that somebody else is to have from now on.
async fn another_role(t: &mut TenantTx, old: &Member, name: &str) -> Result<Role> {
    let role = wanted_role(t, name).await?;
    roles::by_id(t, old.role_id.0).await?.within_reach_of(t.caller())?;
    standing::leaves_an_admin(t, old).await?;
    if t.actor() == Some(MemberId(old.base.id)) {
        return Err(Error::field("role", FieldCode::NotAllowed, "nobody changes their own role"));
    }
    Ok(role)
}

/// The role of that name, if whoever acts may give it.
pub(crate) async fn wanted_role(t: &mut TenantTx, name: &str) -> Result<Role> {
    let role = roles::by_name(t, name).await?.ok_or_else(|| {
        Error::field("role", FieldCode::NotAChoice, format!("{name:?} is not a role of this organization"))
    })?;
    role.within_reach_of(t.caller())?;
    Ok(role)
}

fn same_name(a: &str, b: &str) -> bool {
    a.trim().to_lowercase() == b.to_lowercase()
}

/// Makes the founder of an organization its first member.
pub(crate) async fn found(t: &mut TenantTx, user: &User, admin: &Role) -> Result<()> {
    let base = Base::new(t);
    crm_records::created(t, MEMBERS.kind, &base, None).await?;
    let today = t.now().with_timezone(&t.caller().org.timezone).date_naive();
    diesel::insert_into(memberships::table)
        .values((
            base_values!(memberships, base),
            memberships::user_id.eq(user.id),
            memberships::email.eq(&user.email),
            memberships::email_normalized.eq(crm_core::rules::normalize_email(&user.email)),
            memberships::role_id.eq(admin.base.id),
            memberships::state.eq(MemberState::Active),
            memberships::date_of_joining.eq(today),
        ))
        .execute(t.conn()?)
        .await?;
    Ok(())
}

/// A member or an open invitation.
pub(crate) async fn read(t: &mut TenantTx, id: Uuid) -> Result<Member> {
    let found = read_any(t, id).await?;
    if found.state == MemberState::Removed { Err(Error::NotFound) } else { Ok(found) }
}

/// The same, or somebody who left.
pub(crate) async fn read_any(t: &mut TenantTx, id: Uuid) -> Result<Member> {
    let here = memberships::org_id.eq(t.org()).and(memberships::id.eq(id));
    Ok(member(rows!().filter(here).select(columns!()).first::<Row>(t.conn()?).await?))
}

/// The same, held until the transaction ends: the organization first, always in that order.
async fn locked(t: &mut TenantTx, id: Uuid) -> Result<Member> {
    crate::orgs::lock(t).await?;
    this(t, id).select(memberships::id).for_no_key_update().first::<Uuid>(t.conn()?).await?;
    read(t, id).await
}

type This = diesel::dsl::Filter<
    memberships::table,
    diesel::dsl::And<
        diesel::dsl::Eq<memberships::org_id, crm_core::OrgId>,
        diesel::dsl::Eq<memberships::id, Uuid>,
    >,
>;

/// The row itself.
pub(crate) fn this(t: &TenantTx, id: Uuid) -> This {
    memberships::table.filter(memberships::org_id.eq(t.org()).and(memberships::id.eq(id)))
}

/// Writes a change of a member into its history and into the audit trail.
pub(crate) async fn changed(
    t: &mut TenantTx,
    client: &Client,
    old: &Member,
    new: &Member,
    kind: EventKind,
) -> Result<()> {
    let fields = crm_records::diff(old, new)?;
    let names: Vec<_> = fields.keys().cloned().collect();
    crm_records::updated(t, MEMBERS.kind, &new.base, fields, None).await?;
    let event = Event::done(kind).user(t.caller().user).detail("member", new.base.id.to_string());
    event.detail("fields", names).detail("role", new.role_id.to_string()).record(t, client).await
}
