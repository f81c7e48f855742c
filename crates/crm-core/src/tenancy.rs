//! The second and third floor of tenancy, looked at from the catalog: which tables are protected, and how.

/// A table outside the rule that every table belongs to one tenant.
#[derive(Debug, Clone, Copy)]
pub struct Exception {
    /// The table.
    pub table: &'static str,
    /// Why it can't be under the tenant's policy.
    pub reason: &'static str,
}

/// The whole list. A table that is neither protected nor here fails the catalog test and `manage-rls`.
pub const EXCEPTIONS: &[Exception] = &[
    Exception { table: "users", reason: "a person's account is global: it may belong to many organizations or to none" },
    Exception { table: "organizations", reason: "the directory of tenants itself" },
    Exception { table: "user_orgs", reason: "which organizations a person may ask for, before one is chosen" },
    Exception { table: "platform_admins", reason: "platform administrators belong to no organization" },
    Exception { table: "sessions", reason: "looked up before the organization is known" },
    Exception { table: "refresh_tokens", reason: "looked up before the organization is known" },
    Exception { table: "email_tokens", reason: "looked up before the organization is known" },
    Exception { table: "throttles", reason: "counts attempts of people who are not signed in" },
    Exception { table: "security_events", reason: "also records what happens outside every organization" },
    Exception { table: "search_documents", reason: "no grant: reached only through functions that filter by organization" },
    Exception { table: "outbox", reason: "no grant: reached only through functions" },
    Exception { table: "__diesel_schema_migrations", reason: "which migrations were applied" },
];
