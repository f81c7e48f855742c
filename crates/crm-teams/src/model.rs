use crm_core::MemberId;
use crm_records::list::{Field, Kind, Rel, Resource};
use crm_records::{Base, LinkIds, LinkTable};
use serde::{Deserialize, Serialize};
use validator::Validate;

/// Who is on a team.
pub(crate) const MEMBERS: LinkTable = LinkTable {
    table: "team_members",
    owner: "team_id",
    linked: "membership_id",
    target: "memberships",
    usable: "state = 'active'",
    field: "users",
    what: "an active member",
};

/// The members of each team, as part of its row.
pub(crate) const MEMBER_IDS: LinkIds = LinkIds::new("teams", MEMBERS.table, MEMBERS.owner, MEMBERS.linked);

/// Teams as a list.
pub const TEAMS: Resource = Resource {
    kind: "team",
    table: "teams",
    fields: &[
        Field::new("name", Kind::Text).ordered().required(),
        Field::new("description", Kind::Text).required(),
        Field::link("users", MEMBER_IDS, Rel::Member),
    ],
    searchable: false,
    mutable: true,
    neighbours: None,
};

/// What a client writes of a team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TeamFields {
    /// Unique in the organization, ignoring case.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(min = 1, max = 100), custom(function = "crm_core::rules::one_line"))]
    pub name: String,
    /// What it is for.
    #[serde(default)]
    #[validate(length(max = 10_000))]
    pub description: String,
    /// Its members.
    #[serde(default)]
    #[validate(length(max = 1000, message = "1000 members at most"))]
    pub users: Vec<MemberId>,
}

/// A team.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Team {
    /// What every record begins with.
    #[serde(flatten)]
    pub base: Base,
    /// What a client writes.
    #[serde(flatten)]
    pub fields: TeamFields,
}
