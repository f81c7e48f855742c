use crm_core::{OrgId, Result, TenantTx};
use diesel::sql_types::{Bool, Text, Uuid};
use diesel_async::RunQueryDsl;

crm_core::text_enum!(
    /// A module whose records an organization may add fields to, as in its path.
    CustomTarget {
        Leads = "leads",
        Accounts = "accounts",
        Contacts = "contacts",
        Opportunities = "opportunities",
        Cases = "cases",
        Tasks = "tasks",
        Invoices = "invoices",
    }
);

impl CustomTarget {
    /// Every one of them.
    pub const ALL: [Self; 7] = [
        Self::Leads,
        Self::Accounts,
        Self::Contacts,
        Self::Opportunities,
        Self::Cases,
        Self::Tasks,
        Self::Invoices,
    ];

    /// The kind of its records and their table, which is where a module joins; none for one that is yet to come.
    pub const fn records(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Leads => Some(("lead", "leads")),
            Self::Accounts => Some(("account", "accounts")),
            Self::Contacts => Some(("contact", "contacts")),
            Self::Opportunities => Some(("opportunity", "opportunities")),
            Self::Cases => Some(("case", "cases")),
            Self::Tasks => Some(("task", "tasks")),
            Self::Invoices => None,
        }
    }

    /// Whoever may look at its records may look at its definitions: forms need them.
    pub const fn view(self) -> &'static str {
        match self {
            Self::Leads => "leads.view_lead",
            Self::Accounts => "accounts.view_account",
            Self::Contacts => "contacts.view_contact",
            Self::Opportunities => "opportunities.view_opportunity",
            Self::Cases => "cases.view_case",
            Self::Tasks => "tasks.view_task",
            Self::Invoices => "invoices.view_invoice",
        }
    }

    /// The module of a kind of record, if its records can have such fields.
    pub fn of(kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.records().is_some_and(|(of, _)| of == kind))
    }
}

diesel::define_sql_function! {
    /// Waits for whoever writes by a module's definitions, or changes them.
    fn custom_fields_lock(org_id: Uuid, target: Text, shared: Bool) -> Nullable<Text>;
}

/// Lets nobody write a record of the module until this transaction, which changes its definitions, has ended.
///
/// # Errors
/// Those of the database.
pub async fn lock(t: &mut TenantTx, target: CustomTarget) -> Result<()> {
    let org: OrgId = t.org();
    diesel::select(custom_fields_lock(org, target.as_str(), false)).execute(t.conn()?).await?;
    Ok(())
}
