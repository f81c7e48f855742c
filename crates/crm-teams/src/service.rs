use crm_access::Require;
use crm_core::{Code, Error, MemberId, Result, TenantTx};
use crm_records::list::{Page, Params, Shaped, SortValues};
use crm_records::{
    Base, Edit, Precondition, base_changes, base_columns, base_values, created, deleted, diff, updated,
};
use crm_schema::{record_teams, sales_goals, teams};
use diesel::dsl::{exists, not, sql};
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::model::{MEMBER_IDS, MEMBERS, TEAMS, Team, TeamFields};

type Row = (Base, String, String, Vec<MemberId>);

fn team((base, name, description, users): Row) -> Team {
    Team { base, fields: TeamFields { name, description, users } }
}

/// Lists the teams.
///
/// # Errors
/// `Forbidden` without `teams.view_team`; 400 for parameters.
pub async fn list(t: &mut TenantTx, params: &Params) -> Result<Page<Shaped<Team>>> {
    let scope = t.require("teams.view_team")?;
    let selection = TEAMS.select(params, t.caller(), scope)?;
    let page = selection
        .run(t, async |t, f| {
            let rows: Vec<(Row, SortValues)> = teams::table
                .filter(f.filter)
                .order_by(f.slice)
                .select((
                    (base_columns!(teams), teams::name, teams::description, MEMBER_IDS),
                    selection.keys(),
                ))
                .load(t.conn()?)
                .await?;
            Ok(rows.into_iter().map(|(row, keys)| (team(row), keys)).collect())
        })
        .await?;
    selection.shape.page(t, page).await
}

/// One team.
///
/// # Errors
/// `Forbidden` without `teams.view_team`; `NotFound`.
pub async fn find(t: &mut TenantTx, id: Uuid) -> Result<Team> {
    t.require("teams.view_team")?;
    load(t, id).await
}

/// Makes a team.
///
/// # Errors
/// `Forbidden` without `teams.add_team`; `Duplicate` for a name that is there; 422 for members that are not.
pub async fn create(t: &mut TenantTx, fields: TeamFields) -> Result<Team> {
    t.require("teams.add_team")?;
    let fields = settled(fields);
    let base = Base::new(t);
    created(t, TEAMS.kind, &base, None).await?;
    diesel::insert_into(teams::table)
        .values((
            base_values!(teams, base),
            teams::name.eq(&fields.name),
            teams::name_normalized.eq(fields.name.to_lowercase()),
            teams::description.eq(&fields.description),
        ))
        .execute(t.conn()?)
        .await
        .map_err(taken)?;
    MEMBERS.store::<MemberId>(t, base.id, &[], &fields.users).await?;
    Ok(Team { base, fields })
}

/// Changes a team.
///
/// # Errors
/// `Forbidden` without `teams.change_team`; `NotFound`; `Stale`; `Duplicate`; 400 and 422 for the body.
pub async fn update(t: &mut TenantTx, id: Uuid, edit: Edit) -> Result<Team> {
    t.require("teams.change_team")?;
    let old = locked(t, id).await?;
    let fields = settled(edit.fields(&old, &old.base, &[])?);
    if fields == old.fields {
        return Ok(old);
    }
    let new = Team { base: old.base.next(t), fields };
    diesel::update(teams::table.filter(teams::org_id.eq(t.org()).and(teams::id.eq(id))))
        .set((
            base_changes!(teams, new.base),
            teams::name.eq(&new.fields.name),
            teams::name_normalized.eq(new.fields.name.to_lowercase()),
            teams::description.eq(&new.fields.description),
        ))
        .execute(t.conn()?)
        .await
        .map_err(taken)?;
    MEMBERS.store(t, id, &old.fields.users, &new.fields.users).await?;
    updated(t, TEAMS.kind, &new.base, diff(&old, &new)?, None).await?;
    Ok(new)
}

/// Deletes a team to which no record is assigned and for which no goal is set: nobody is to lose sight of a record unawares, and a goal
/// without its team would be one of everybody.
///
/// # Errors
/// `Forbidden` without `teams.delete_team`; `NotFound`; `Stale`; `InUse`.
pub async fn delete(t: &mut TenantTx, id: Uuid, precondition: &Precondition) -> Result<()> {
    t.require("teams.delete_team")?;
    let old = locked(t, id).await?;
    precondition.check(&old.base)?;
    // What was merged away waits for that to be undone, and comes back without the team.
    let merged = "EXISTS (SELECT FROM record_merges m WHERE m.org_id = record_teams.org_id AND m.loser_id = record_teams.record_id \
                  AND m.undone_at IS NULL)";
    let assigned = record_teams::table
        .filter(record_teams::org_id.eq(t.org()).and(record_teams::team_id.eq(id)))
        .filter(not(sql::<Bool>(merged)));
    if diesel::select(exists(assigned)).get_result::<bool>(t.conn()?).await? {
        return Err(Error::Refused(Code::InUse, "records are assigned to this team".into()));
    }
    let aimed = sales_goals::table.filter(sales_goals::org_id.eq(t.org()).and(sales_goals::team_id.eq(id)));
    if diesel::select(exists(aimed)).get_result::<bool>(t.conn()?).await? {
        return Err(Error::Refused(Code::InUse, "sales goals are set for this team".into()));
    }
    deleted(t, TEAMS.kind, id).await
}

fn settled(mut fields: TeamFields) -> TeamFields {
    fields.users.sort();
    fields.users.dedup();
    fields
}

async fn load(t: &mut TenantTx, id: Uuid) -> Result<Team> {
    let row = teams::table
        .filter(teams::org_id.eq(t.org()).and(teams::id.eq(id)))
        .select((base_columns!(teams), teams::name, teams::description, MEMBER_IDS))
        .first::<Row>(t.conn()?)
        .await?;
    Ok(team(row))
}

async fn locked(t: &mut TenantTx, id: Uuid) -> Result<Team> {
    let row = teams::table.filter(teams::org_id.eq(t.org()).and(teams::id.eq(id)));
    row.select(teams::id).for_update().first::<Uuid>(t.conn()?).await?;
    load(t, id).await
}

fn taken(error: diesel::result::Error) -> Error {
    Error::unique(error, "teams_org_id_name_normalized_key", "name", "there is a team of this name already")
}
