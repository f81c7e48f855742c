use std::collections::BTreeMap;

use crm_core::{MemberId, Result, TeamId, TenantTx};
use crm_schema::{memberships, team_members, teams, users};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Serialize;

use super::{MemberState, RoleName};

/// Whom work can be given to.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Roster {
    /// The teams, by name.
    pub teams: Vec<RosterTeam>,
    /// The active members, by e-mail address.
    pub profiles: Vec<RosterMember>,
}

/// A team and who is on it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct RosterTeam {
    /// Its id.
    pub id: TeamId,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Its active members.
    pub users: Vec<MemberId>,
}

/// A colleague in a few words.
#[derive(Debug, Clone, Queryable, Serialize, utoipa::ToSchema)]
pub struct RosterMember {
    /// The membership.
    pub id: MemberId,
    /// What the person is called.
    pub name: String,
    /// Their address.
    pub email: String,
    /// The name of their role.
    pub role: String,
}

/// The teams and active members of the organization, for every member to choose from.
///
/// # Errors
/// Those of the database.
pub async fn roster(t: &mut TenantTx) -> Result<Roster> {
    let org = t.org();
    let active = memberships::org_id.eq(org).and(memberships::state.eq(MemberState::Active));
    let profiles: Vec<RosterMember> = memberships::table
        .inner_join(users::table.on(memberships::user_id.eq(users::id.nullable())))
        .filter(active)
        .order_by((users::email_normalized, memberships::id))
        .select((memberships::id, users::name, users::email, RoleName))
        .load(t.conn()?)
        .await?;
    let on_a_team =
        team_members::org_id.eq(memberships::org_id).and(team_members::membership_id.eq(memberships::id));
    let pairs: Vec<(TeamId, MemberId)> = team_members::table
        .inner_join(memberships::table.on(on_a_team))
        .filter(team_members::org_id.eq(org).and(active))
        .order_by(team_members::membership_id)
        .select((team_members::team_id, team_members::membership_id))
        .load(t.conn()?)
        .await?;
    let mut on: BTreeMap<TeamId, Vec<MemberId>> = BTreeMap::new();
    for (team, member) in pairs {
        on.entry(team).or_default().push(member);
    }
    let listed: Vec<(TeamId, String, String)> = teams::table
        .filter(teams::org_id.eq(org))
        .order_by((teams::name_normalized, teams::id))
        .select((teams::id, teams::name, teams::description))
        .load(t.conn()?)
        .await?;
    let teams = listed.into_iter().map(|(id, name, description)| {
        let users = on.remove(&id).unwrap_or_default();
        RosterTeam { id, name, description, users }
    });
    Ok(Roster { teams: teams.collect(), profiles })
}
