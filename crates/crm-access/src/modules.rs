/// Which product a module belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Customer relations.
    Crm,
    /// The shop.
    Shop,
    /// Running the organization itself.
    Admin,
}

/// A part of the product that roles grant actions in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Module {
    /// What stands before the dot of its permissions.
    pub name: &'static str,
    /// Where it belongs.
    pub family: Family,
}

impl Module {
    /// Whether its records belong to somebody, so that *own* means something. What runs the organization, and the vocabulary that all
    /// of it shares, belongs to nobody in particular.
    pub fn has_owners(&self) -> bool {
        self.family != Family::Admin
            && !matches!(self.name, "teams" | "tags" | "pipelines" | "service_settings" | "products")
    }
}

/// What a role can grant in a module.
pub const ACTIONS: [&str; 4] = ["view", "add", "change", "delete"];

/// Every module there is.
pub const MODULES: &[Module] = &[
    crm("leads"),
    crm("accounts"),
    crm("contacts"),
    crm("opportunities"),
    crm("cases"),
    crm("tasks"),
    crm("boards"),
    crm("invoices"),
    crm("events"),
    crm("planner"),
    crm("emails"),
    crm("marketing"),
    crm("documents"),
    crm("teams"),
    crm("tags"),
    crm("pipelines"),
    crm("goals"),
    crm("solutions"),
    crm("service_settings"),
    shop("products"),
    shop("inventory"),
    shop("orders"),
    shop("clients"),
    shop("suppliers"),
    shop("user_roles"),
    shop("payments"),
    admin("users"),
    admin("roles"),
    admin("org"),
    admin("webhooks"),
    admin("custom_fields"),
    admin("mail"),
    admin("audit"),
    admin("web_forms"),
    admin("imports"),
];

const fn crm(name: &'static str) -> Module {
    Module { name, family: Family::Crm }
}

const fn shop(name: &'static str) -> Module {
    Module { name, family: Family::Shop }
}

const fn admin(name: &'static str) -> Module {
    Module { name, family: Family::Admin }
}
