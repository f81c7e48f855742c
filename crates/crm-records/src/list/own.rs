use crm_core::{Result, TenantTx};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::Uuid as SqlUuid;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::clause::{Clause, Value};

/// How many of a member's own records a search looks at one by one.
const NEWEST: usize = 1_000;

/// Records that may be looked at although they are not the member's own. They are not the member's to change by that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Neighbours {
    /// Because another record is the member's own, such as the contacts of an account.
    Records {
        /// The link table.
        link: &'static str,
        /// Its column of the record that must be the member's own.
        owner: &'static str,
        /// Its column of the record that may be looked at then.
        linked: &'static str,
        /// The table that the first of the two must stand in.
        table: &'static str,
    },
    /// Because the member takes part in it, such as in a meeting.
    Members {
        /// The link table.
        link: &'static str,
        /// Its column of the record.
        record: &'static str,
        /// Its column of the member.
        member: &'static str,
        /// What else holds of a link `n` that counts, in SQL after an AND; none that all do.
        only: Option<&'static str>,
        /// Whether nobody else may look at it, whatever they are granted: neither who made it nor who may see everything.
        closed: bool,
    },
    /// Because everybody may who has the permission at all.
    Everybody,
}

impl Neighbours {
    /// The contacts of an account.
    pub const OF_ACCOUNTS: Self = Self::Records {
        link: "record_contacts",
        owner: "record_id",
        linked: "contact_id",
        table: "accounts",
    };

    /// What a member said that they follow.
    pub const FOLLOWED: Self = Self::Members {
        link: "record_followers",
        record: "record_id",
        member: "membership_id",
        only: Some("n.state = 'following'"),
        closed: false,
    };

    /// What a member attends.
    pub const ATTENDED: Self = Self::Members {
        link: "record_attendees",
        record: "record_id",
        member: "membership_id",
        only: None,
        closed: false,
    };

    /// The events that a member is asked to.
    pub const INVITED: Self = Self::Members {
        link: "event_attendees",
        record: "event_id",
        member: "membership_id",
        only: None,
        closed: false,
    };

    /// The boards that a member is on.
    pub const ON_BOARD: Self = Self::Members {
        link: "board_members",
        record: "board_id",
        member: "membership_id",
        only: None,
        closed: true,
    };

    /// Whether only they may look at a record, nobody else.
    pub(crate) const fn are_closed(&self) -> bool {
        matches!(self, Self::Members { closed: true, .. })
    }

    /// `SELECT … AS id` up to its end: the records of `of` among others.
    pub(super) fn walk<'b>(
        &'b self,
        of: &'static str,
        org: &'b Uuid,
        member: &'b Uuid,
        teams: &'b Value,
        out: &mut AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        match self {
            Self::Records { link, owner, linked, table } => {
                out.push_sql("SELECT n.");
                out.push_identifier(linked)?;
                out.push_sql(" AS id FROM ");
                out.push_identifier(link)?;
                out.push_sql(" n JOIN ");
                out.push_identifier(table)?;
                out.push_sql(" a ON a.org_id = n.org_id AND a.id = n.");
                out.push_identifier(owner)?;
                out.push_sql(" WHERE n.org_id = ");
                out.push_bind_param::<SqlUuid, _>(org)?;
                out.push_sql(" AND a.id IN (");
                own_ids(table, org, member, teams, out)?;
                out.push_sql(")");
            }
            Self::Members { link, record, member: column, only, .. } => {
                out.push_sql("SELECT n.");
                out.push_identifier(record)?;
                out.push_sql(" AS id FROM ");
                out.push_identifier(link)?;
                out.push_sql(" n WHERE n.org_id = ");
                out.push_bind_param::<SqlUuid, _>(org)?;
                out.push_sql(" AND n.");
                out.push_identifier(column)?;
                out.push_sql(" = ");
                out.push_bind_param::<SqlUuid, _>(member)?;
                if let Some(only) = only {
                    out.push_sql(" AND ");
                    out.push_sql(only);
                }
            }
            Self::Everybody => {
                out.push_sql("SELECT n.id FROM ");
                out.push_identifier(of)?;
                out.push_sql(" n WHERE n.org_id = ");
                out.push_bind_param::<SqlUuid, _>(org)?;
            }
        }
        Ok(())
    }
}

/// The ids of what was created by the member, is assigned to the member, or is on one of the teams; among them those of other tables.
pub(super) fn own_ids<'b>(
    table: &'static str,
    org: &'b Uuid,
    member: &'b Uuid,
    teams: &'b Value,
    out: &mut AstPass<'_, 'b, Pg>,
) -> QueryResult<()> {
    out.push_sql("SELECT record_id FROM record_assignees WHERE org_id = ");
    out.push_bind_param::<SqlUuid, _>(org)?;
    out.push_sql(" AND membership_id = ");
    out.push_bind_param::<SqlUuid, _>(member)?;
    out.push_sql(" UNION ALL SELECT record_id FROM record_teams WHERE org_id = ");
    out.push_bind_param::<SqlUuid, _>(org)?;
    out.push_sql(" AND team_id = ANY(");
    teams.bind(out)?;
    out.push_sql(") UNION ALL SELECT id FROM ");
    out.push_identifier(table)?;
    out.push_sql(" o WHERE o.org_id = ");
    out.push_bind_param::<SqlUuid, _>(org)?;
    out.push_sql(" AND o.created_by = ");
    out.push_bind_param::<SqlUuid, _>(member)
}

/// What a member with a scope of *own* may see of a resource: the newest of it.
#[derive(Debug, Clone)]
pub struct OwnRecords {
    /// The records.
    pub ids: Vec<Uuid>,
    /// Whether there are no others.
    pub all: bool,
}

impl OwnRecords {
    /// Reads them where the conditions of a list leave a member's own records; none where they leave others too.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn newest(t: &mut TenantTx, conditions: &[Clause]) -> Result<Option<Self>> {
        let own = conditions.iter().find_map(|clause| match clause {
            Clause::Own { table, org, member, teams, neighbours } => {
                Some(Newest { table, org: *org, member: *member, teams, neighbours: neighbours.as_ref() })
            }
            _ => None,
        });
        let Some(own) = own else { return Ok(None) };
        let mut ids: Vec<Uuid> = own.load(t.conn()?).await?;
        let all = ids.len() <= NEWEST;
        ids.truncate(NEWEST);
        Ok(Some(Self { ids, all }))
    }
}

/// The rule of [`Clause::Own`] read from its other end: three walks from the newest, each of which ends when it has enough.
struct Newest<'a> {
    table: &'static str,
    org: Uuid,
    member: Uuid,
    teams: &'a Value,
    neighbours: Option<&'a Neighbours>,
}

impl diesel::query_builder::Query for Newest<'_> {
    type SqlType = SqlUuid;
}

impl QueryId for Newest<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Newest<'_> {
    /// What was made by the member, or is theirs or their teams'.
    fn own<'b>(&'b self, limit: &str, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("(SELECT k.record_id AS id FROM record_assignees k");
        self.of_this_kind(out)?;
        out.push_sql(" AND k.membership_id = ");
        out.push_bind_param::<SqlUuid, _>(&self.member)?;
        out.push_sql(" ORDER BY k.record_id ");
        out.push_sql(limit);
        out.push_sql(") UNION ALL (SELECT k.record_id FROM unnest(");
        self.teams.bind(out)?;
        out.push_sql(") team CROSS JOIN LATERAL (SELECT k.record_id FROM record_teams k");
        self.of_this_kind(out)?;
        out.push_sql(" AND k.team_id = team ORDER BY k.record_id ");
        out.push_sql(limit);
        out.push_sql(") k) UNION ALL (SELECT o.id FROM ");
        out.push_identifier(self.table)?;
        out.push_sql(" o WHERE o.org_id = ");
        out.push_bind_param::<SqlUuid, _>(&self.org)?;
        out.push_sql(" AND o.created_by = ");
        out.push_bind_param::<SqlUuid, _>(&self.member)?;
        out.push_sql(" ORDER BY o.id ");
        out.push_sql(limit);
        out.push_sql(")");
        Ok(())
    }

    /// A link table holds records of other kinds too. Behind OFFSET 0 each link is looked up by itself.
    fn of_this_kind<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(" JOIN LATERAL (SELECT FROM ");
        out.push_identifier(self.table)?;
        out.push_sql(" r WHERE r.org_id = ");
        out.push_bind_param::<SqlUuid, _>(&self.org)?;
        out.push_sql(" AND r.id = k.record_id OFFSET 0) r ON true WHERE k.org_id = ");
        out.push_bind_param::<SqlUuid, _>(&self.org)
    }
}

impl QueryFragment<Pg> for Newest<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let limit = format!("DESC LIMIT {}", NEWEST + 1);
        out.push_sql("SELECT DISTINCT id FROM (");
        if !self.neighbours.is_some_and(Neighbours::are_closed) {
            self.own(&limit, &mut out)?;
        }
        if let Some(neighbours) = self.neighbours {
            if !neighbours.are_closed() {
                out.push_sql(" UNION ALL ");
            }
            // A link may lead to records of other kinds.
            out.push_sql("(SELECT k.id FROM (");
            neighbours.walk(self.table, &self.org, &self.member, self.teams, &mut out)?;
            out.push_sql(") k JOIN LATERAL (SELECT FROM ");
            out.push_identifier(self.table)?;
            out.push_sql(" r WHERE r.org_id = ");
            out.push_bind_param::<SqlUuid, _>(&self.org)?;
            out.push_sql(" AND r.id = k.id OFFSET 0) r ON true ORDER BY k.id ");
            out.push_sql(&limit);
            out.push_sql(")");
        }
        out.push_sql(") own ORDER BY id ");
        out.push_sql(&limit);
        Ok(())
    }
}
