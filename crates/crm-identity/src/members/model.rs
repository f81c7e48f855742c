use chrono::{DateTime, NaiveDate, Utc};
use crm_core::{RoleId, UserId};
use crm_records::Base;
use crm_records::list::{Field, Kind, Resource};
use crm_schema::memberships;
use diesel::expression::{AppearsOnTable, Expression, SelectableExpression, ValidGrouping, is_aggregate};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::users::User;

crm_core::text_enum!(
    /// Where a membership stands.
    MemberState {
        /// Not accepted yet.
        Invited = "invited",
        /// Works in the organization.
        Active = "active",
        /// Shut out for now.
        Inactive = "inactive",
        /// Left; kept for what they wrote.
        Removed = "removed",
    }
);

/// Members as a list.
pub const MEMBERS: Resource = Resource {
    kind: "member",
    table: "memberships",
    fields: &[
        Field::email("email", "email_normalized").ordered().required(),
        Field::new("role_id", Kind::Id).required(),
        Field::new("state", Kind::Choice(&["invited", "active", "inactive"])).required(),
        Field::new("has_sales_access", Kind::Bool).required(),
        Field::new("has_marketing_access", Kind::Bool).required(),
        Field::new("date_of_joining", Kind::Date),
    ],
    searchable: false,
    mutable: true,
    neighbours: None,
};

/// What an administrator writes of a member.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    Queryable,
    Selectable,
    Insertable,
    AsChangeset,
    Serialize,
    Deserialize,
    Validate,
    utoipa::ToSchema,
)]
#[serde(deny_unknown_fields)]
#[diesel(table_name = memberships, treat_none_as_null = true)]
pub struct MemberFields {
    /// The name of a role of the organization.
    #[diesel(select_expression = RoleName, skip_insertion, skip_update)]
    pub role: String,
    /// Phone number.
    #[serde(default, deserialize_with = "crm_core::body::text")]
    #[validate(custom(function = "crm_core::rules::phone"))]
    pub phone: Option<String>,
    /// Another phone number.
    #[serde(default, deserialize_with = "crm_core::body::text")]
    #[validate(custom(function = "crm_core::rules::phone"))]
    pub alternate_phone: Option<String>,
    /// Whether the sales part of the product is shown to them.
    #[serde(default)]
    pub has_sales_access: bool,
    /// Whether the marketing part of the product is shown to them.
    #[serde(default)]
    pub has_marketing_access: bool,
    /// The day they joined.
    #[serde(default, deserialize_with = "crm_core::body::date")]
    pub date_of_joining: Option<NaiveDate>,
}

/// The account behind a membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct UserDetails {
    /// Null until the invitation is accepted.
    pub id: Option<UserId>,
    /// The address they were invited with.
    pub email: String,
    /// What they are called; empty until the invitation is accepted.
    pub name: String,
    /// Whether the account can sign in.
    pub is_active: bool,
    /// A link to a picture.
    pub profile_pic: Option<String>,
    /// When they last signed in.
    pub last_login: Option<DateTime<Utc>>,
}

/// A membership ("profile"): a person in an organization, or an invitation that is still open.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Member {
    /// What every record begins with.
    #[serde(flatten)]
    pub base: Base,
    /// What an administrator writes.
    #[serde(flatten)]
    pub fields: MemberFields,
    /// The role that `role` names.
    pub role_id: RoleId,
    /// Where it stands.
    pub state: MemberState,
    /// Whether they work in the organization: the state is `active`.
    pub is_active: bool,
    /// The account.
    pub user_details: UserDetails,
}

impl Member {
    /// The same membership in another state.
    pub(crate) fn in_state(&self, base: Base, state: MemberState) -> Self {
        Self { base, state, is_active: state == MemberState::Active, ..self.clone() }
    }
}

pub(super) type Row = (Base, MemberFields, RoleId, MemberState, String, Option<User>);

/// The same with the values it is sorted by.
pub(super) type KeyedRow =
    (Base, MemberFields, RoleId, MemberState, String, Vec<Option<String>>, Option<User>);

pub(super) fn member((base, fields, role_id, state, email, user): Row) -> Member {
    let user_details = match user {
        Some(user) => UserDetails {
            id: Some(user.id),
            email: user.email,
            name: user.name,
            is_active: user.is_active,
            profile_pic: user.profile_pic,
            last_login: user.last_login_at,
        },
        None => UserDetails {
            id: None,
            email,
            name: String::new(),
            is_active: false,
            profile_pic: None,
            last_login: None,
        },
    };
    Member { base, fields, role_id, state, is_active: state == MemberState::Active, user_details }
}

/// Selects the name of a membership's role.
#[derive(Debug, Clone, Copy, QueryId)]
pub struct RoleName;

impl Expression for RoleName {
    type SqlType = diesel::sql_types::Text;
}
impl<T> AppearsOnTable<T> for RoleName {}
impl<T> SelectableExpression<T> for RoleName {}
impl<G> ValidGrouping<G> for RoleName {
    type IsAggregate = is_aggregate::Never;
}

impl QueryFragment<Pg> for RoleName {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "(SELECT r.name FROM roles r WHERE r.org_id = memberships.org_id AND r.id = memberships.role_id)",
        );
        Ok(())
    }
}
