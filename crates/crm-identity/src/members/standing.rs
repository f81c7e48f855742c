//! How a membership is suspended, taken up again and ended, always leaving the organization an administrator.

use crm_access::{BuiltinRole, Require};
use crm_core::{Code, Error, MemberId, Result, TenantTx};
use crm_mail::{Message, Template};
use crm_records::{Precondition, base_changes};
use crm_schema::{memberships, team_members, user_orgs, users};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;
use validator::Validate;

use super::{Member, MemberState, changed, locked, this};
use crate::events::{Client, EventKind};
use crate::{access_tokens, roles};

crm_core::text_enum!(
    /// What the standing of a member can be set to.
    MemberStatus {
        Active = "active" | "Active",
        Inactive = "inactive" | "Inactive",
    }
);

/// Body of a change of standing.
#[derive(Debug, Clone, Copy, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusChange {
    /// The new standing.
    pub status: MemberStatus,
}

/// Shuts a member out, from their next request on, or lets them in again.
///
/// # Errors
/// `Forbidden` without `users.change_user` and for somebody with more rights than oneself; `NotFound`; `LastAdmin`; `Conflict` for an
/// invitation that is still open and for oneself.
pub async fn change_status(
    t: &mut TenantTx,
    client: &Client,
    id: Uuid,
    change: StatusChange,
) -> Result<Member> {
    t.require("users.change_user")?;
    let old = locked(t, id).await?;
    let state = match change.status {
        MemberStatus::Active => MemberState::Active,
        MemberStatus::Inactive => MemberState::Inactive,
    };
    if old.state == state {
        return Ok(old);
    }
    if old.state == MemberState::Invited {
        return Err(Error::Refused(Code::Conflict, "the invitation has not been accepted yet".into()));
    }
    judge(t, &old).await?;
    let new = old.in_state(old.base.next(t), state);
    diesel::update(this(t, id))
        .set((base_changes!(memberships, new.base), memberships::state.eq(state)))
        .execute(t.conn()?)
        .await?;
    changed(t, client, &old, &new, EventKind::MembershipChanged).await?;
    Ok(new)
}

/// Ends somebody's membership, or withdraws an invitation. What they wrote stays theirs, and so do their account and, as history, the
/// records assigned to them. They are on no team any more, so that an invitation back does not show them a team's records again.
///
/// # Errors
/// `Forbidden` without `users.delete_user` and for somebody with more rights than oneself; `NotFound`; `Stale`; `LastAdmin`; `Conflict`
/// for oneself, who leaves instead.
pub async fn remove(t: &mut TenantTx, client: &Client, id: Uuid, precondition: &Precondition) -> Result<()> {
    t.require("users.delete_user")?;
    let old = locked(t, id).await?;
    precondition.check(&old.base)?;
    judge(t, &old).await?;
    end(t, client, &old).await?;
    if old.state == MemberState::Invited {
        return Ok(());
    }
    let data = json!({"org_name": t.caller().org.name, "name": old.user_details.name});
    let message = Message::new(old.user_details.email, Template::MembershipRemoved, data).by(t.actor());
    crm_mail::enqueue(t, &message).await
}

/// Ends one's own membership, with the same effect as [`remove`].
///
/// # Errors
/// `NotFound` for whoever is no member; `LastAdmin`.
pub async fn leave(t: &mut TenantTx, client: &Client) -> Result<()> {
    let MemberId(id) = t.actor().ok_or(Error::NotFound)?;
    let old = locked(t, id).await?;
    leaves_an_admin(t, &old).await?;
    end(t, client, &old).await
}

async fn end(t: &mut TenantTx, client: &Client, old: &Member) -> Result<()> {
    let new = old.in_state(old.base.next(t), MemberState::Removed);
    diesel::update(this(t, old.base.id))
        .set((
            base_changes!(memberships, new.base),
            memberships::state.eq(new.state),
            memberships::invitation_digest.eq(None::<String>),
            memberships::invitation_expires_at.eq(None::<chrono::DateTime<chrono::Utc>>),
        ))
        .execute(t.conn()?)
        .await?;
    let on_teams = team_members::org_id.eq(t.org()).and(team_members::membership_id.eq(old.base.id));
    diesel::delete(team_members::table.filter(on_teams)).execute(t.conn()?).await?;
    access_tokens::revoke_of(t, old.base.id).await?;
    if let Some(user) = old.user_details.id {
        diesel::delete(user_orgs::table.find((user, t.org()))).execute(t.conn()?).await?;
    }
    changed(t, client, old, &new, EventKind::MembershipRemoved).await
}

/// Whether whoever acts may change this membership's standing. Being the last administrator is told first: it is the reason that
/// concerns everybody.
async fn judge(t: &mut TenantTx, old: &Member) -> Result<()> {
    leaves_an_admin(t, old).await?;
    if t.actor() == Some(MemberId(old.base.id)) {
        return Err(Error::Refused(Code::Conflict, "nobody shuts out or removes themselves".into()));
    }
    roles::by_id(t, old.role_id.0).await?.within_reach_of(t.caller())
}

/// Refuses to go on without this member if no other active one, with an account that can sign in, administers the organization. The
/// organization is locked, so the answer still holds at the commit.
///
/// # Errors
/// `LastAdmin`.
pub(super) async fn leaves_an_admin(t: &mut TenantTx, old: &Member) -> Result<()> {
    let admin = roles::by_name(t, BuiltinRole::Admin.as_str()).await?;
    let admin = admin.ok_or_else(|| Error::internal("there is no administrator's role"))?.base.id;
    let admins: Vec<Uuid> = memberships::table
        .inner_join(users::table.on(memberships::user_id.eq(users::id.nullable())))
        .filter(memberships::org_id.eq(t.org()).and(memberships::state.eq(MemberState::Active)))
        .filter(memberships::role_id.eq(admin).and(users::is_active.eq(true)))
        .limit(2)
        .select(memberships::id)
        .load(t.conn()?)
        .await?;
    if admins == [old.base.id] {
        return Err(Error::Refused(Code::LastAdmin, "the organization needs an active administrator".into()));
    }
    Ok(())
}
