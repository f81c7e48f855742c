//! The second and third floor of tenancy, looked at from the catalog: which tables are protected, and how, and whether
//! the connected role is bound by it.
//!
//! [`inspect`] reads what the catalog says of every table, [`probe`] tries to cross from one organization into another on
//! every table, [`check_role`] asks whether policies bind the role at all. None of them knows a table by name except those
//! listed here, so a new table needs no change.

use diesel_async::AsyncPgConnection;

use crate::Result;
use crate::migrate::SchemaState;

mod catalog;
mod inspect;
mod probe;
mod role;

pub use inspect::{TableReport, inspect};
pub use probe::{Finding, Verb, probe};
pub use role::check_role;

use catalog::quoted;

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
    Exception {
        table: "users",
        reason: "a person's account is global: it may belong to many organizations or to none",
    },
    Exception { table: "organizations", reason: "the directory of tenants itself" },
    Exception {
        table: "user_orgs",
        reason: "which organizations a person may ask for, before one is chosen",
    },
    Exception { table: "platform_admins", reason: "platform administrators belong to no organization" },
    Exception { table: "sessions", reason: "looked up before the organization is known" },
    Exception { table: "refresh_tokens", reason: "looked up before the organization is known" },
    Exception { table: "email_tokens", reason: "looked up before the organization is known" },
    Exception { table: "totp_factors", reason: "asked for at sign-in, before the organization is known" },
    Exception { table: "recovery_codes", reason: "asked for at sign-in, before the organization is known" },
    Exception { table: "sign_in_challenges", reason: "looked up before the organization is known" },
    Exception { table: "oidc_logins", reason: "looked up before it is known who signs in" },
    Exception { table: "oidc_identities", reason: "belong to accounts, which are global" },
    Exception { table: "sign_in_links", reason: "looked up before it is known who signs in" },
    Exception { table: "sign_in_codes", reason: "looked up before it is known who signs in" },
    Exception {
        table: "account_idempotency_keys",
        reason: "first answers of what happens outside every organization, sealed",
    },
    Exception {
        table: "account_mails",
        reason: "mails to accounts that are caused outside every organization, such as a password reset",
    },
    Exception { table: "throttles", reason: "counts attempts of people who are not signed in" },
    Exception {
        table: "security_events",
        reason: "also records what happens outside every organization, which a policy would hide and refuse to write; \
                 one module reads it, for an organization filtered by it",
    },
    Exception {
        table: "search_documents",
        reason: "no grant: reached only through functions that filter by organization",
    },
    Exception {
        table: "solution_texts",
        reason: "no grant: reached only through functions that filter by organization",
    },
    Exception {
        table: "jobs",
        reason: "no grant: put in, claimed and finished only through functions; the platform's own belong to no organization",
    },
    Exception { table: "job_schedules", reason: "no grant: when the program's own schedules are due" },
    Exception {
        table: "feed_epoch",
        reason: "one row: how often the database has moved or gone back in time",
    },
    Exception { table: "__diesel_schema_migrations", reason: "which migrations were applied" },
];

/// Tables that the application adds to and never changes.
pub const APPEND_ONLY: &[&str] = &["changes", "deletions", "security_events"];

/// The column that says whose a row is.
const ORG: &str = "org_id";

/// The role that the migrations grant to.
const APP_ROLE: &str = "crm_app";

const POLICY: &str = "tenant_isolation";

/// The policy's rule as it is written, and as PostgreSQL prints it back.
const RULE: &str = "org_id = nullif(current_setting('app.current_org', true), '')::uuid";
const RULE_PRINTED: &str =
    "(org_id = (NULLIF(current_setting('app.current_org'::text, true), ''::text))::uuid)";

/// Statements for the owner that put `table` under the tenant's policy and leave its grants as they are.
pub fn enable_sql(table: &str) -> String {
    let table = quoted(table);
    format!(
        "ALTER TABLE public.{table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS {POLICY} ON public.{table};
CREATE POLICY {POLICY} ON public.{table} USING ({RULE}) WITH CHECK ({RULE});"
    )
}

/// The statement for the owner that takes `table` out of row-level security; the policy stays for later.
pub fn disable_sql(table: &str) -> String {
    format!("ALTER TABLE public.{} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;", quoted(table))
}

/// How the database's schema relates to this program's, seen by the application role.
///
/// # Errors
/// `Unavailable` without a database.
pub async fn schema_state(conn: &mut AsyncPgConnection) -> Result<SchemaState> {
    let migrated = "SELECT to_json(to_regclass('public.__diesel_schema_migrations') IS NOT NULL) AS row";
    let versions = "SELECT to_json(version) AS row FROM public.__diesel_schema_migrations";
    let applied = match *catalog::rows(conn, migrated).await? {
        [true] => catalog::rows(conn, versions).await?,
        _ => Vec::new(),
    };
    Ok(SchemaState::compare(&applied))
}
