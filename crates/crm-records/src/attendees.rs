//! Who takes part in a record, such as a meeting, without it being theirs: members and leads. Contacts stand in [`crate::contacts`].

use crm_core::{Result, TenantTx};
use uuid::Uuid;

use crate::list::{Field, Rel, check_related};
use crate::{LinkIds, LinkTable};

/// The members who attend.
pub const MEMBERS: LinkTable = LinkTable {
    table: "record_attendees",
    owner: "record_id",
    linked: "membership_id",
    target: "memberships",
    usable: "state = 'active'",
    field: "attendees_user",
    what: "an active member",
};

/// The leads who attend.
pub const LEADS: LinkTable = LinkTable {
    table: "record_leads",
    owner: "record_id",
    linked: "lead_id",
    target: "leads",
    usable: "true",
    field: "attendees_leads",
    what: "a lead",
};

/// Selects the ids of the members who attend each row of a table of records.
pub const fn member_ids(table: &'static str) -> LinkIds {
    LinkIds::new(table, MEMBERS.table, MEMBERS.owner, MEMBERS.linked)
}

/// Selects the ids of the leads who attend it.
pub const fn lead_ids(table: &'static str) -> LinkIds {
    LinkIds::new(table, LEADS.table, LEADS.owner, LEADS.linked)
}

/// The members as a filterable, expandable field.
pub const fn members_field(table: &'static str) -> Field {
    Field::link(MEMBERS.field, member_ids(table), Rel::Member)
}

/// The leads as a filterable, expandable field.
pub const fn leads_field(table: &'static str) -> Field {
    Field::link(LEADS.field, lead_ids(table), Rel::Lead)
}

/// Puts the leads of a record in place of `old` ones. What was linked before may stay; what is new must be one that the caller may look at.
///
/// # Errors
/// 422 naming `attendees_leads` for any other id.
pub async fn store_leads(t: &mut TenantTx, record: Uuid, old: &[Uuid], new: &[Uuid]) -> Result<()> {
    let came: Vec<Uuid> = new.iter().filter(|id| !old.contains(id)).copied().collect();
    check_related(t, Rel::Lead, LEADS.field, &came).await?;
    LEADS.store(t, record, old, new).await
}
