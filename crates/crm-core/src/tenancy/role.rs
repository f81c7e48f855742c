//! Whether policies bind the role that the program connects as.

use diesel_async::AsyncPgConnection;
use serde::Deserialize;

use super::APP_ROLE;
use super::catalog::{quoted, rows};
use crate::{Error, Result};

/// The role that logged in, then every role it can become.
const ROLES: &str = "
SELECT json_build_object(
    'name', r.rolname,
    'superuser', r.rolsuper,
    'bypasses_policies', r.rolbypassrls,
    'creates', has_schema_privilege(r.oid, 'public', 'CREATE'),
    'owns', ARRAY(
        SELECT c.relname FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.relowner = r.oid ORDER BY c.relname)
) AS row
FROM pg_roles r WHERE pg_has_role(session_user, r.oid, 'MEMBER') ORDER BY r.rolname <> session_user, r.rolname";

#[derive(Debug, Deserialize)]
struct Role {
    name: String,
    superuser: bool,
    bypasses_policies: bool,
    creates: bool,
    owns: Vec<String>,
}

impl Role {
    /// Why no policy binds it, if none does.
    fn unbound_because(&self) -> Option<String> {
        if self.superuser {
            Some("is a superuser".into())
        } else if self.bypasses_policies {
            Some("has BYPASSRLS".into())
        } else if let [first, rest @ ..] = self.owns.as_slice() {
            let others = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            Some(format!("owns the table {first}{others}"))
        } else {
            None
        }
    }

    /// The statement that binds it.
    fn binding(&self) -> String {
        let name = quoted(&self.name);
        if self.superuser {
            format!("ALTER ROLE {name} NOSUPERUSER;")
        } else if self.bypasses_policies {
            format!("ALTER ROLE {name} NOBYPASSRLS;")
        } else {
            format!("REASSIGN OWNED BY {name} TO <the role that migrates>;")
        }
    }
}

/// Why the connected role must not serve requests, in sentences for the operator; none when it is safe.
///
/// # Errors
/// `Unavailable` without a database.
pub async fn check_role(conn: &mut AsyncPgConnection) -> Result<Vec<String>> {
    let roles: Vec<Role> = rows(conn, ROLES).await?;
    let (role, others) =
        roles.split_first().ok_or_else(|| Error::internal("the server does not know our role"))?;
    let name = quoted(&role.name);
    let mut faults = Vec::new();
    if let Some(reason) = role.unbound_because() {
        let mend = role.binding();
        faults.push(format!(
            "the role {name} {reason}, so policies do not bind it; connect as {APP_ROLE}, or run: {mend}"
        ));
    }
    // A superuser passes for a member of every role.
    if role.superuser {
        return Ok(faults);
    }
    for other in others {
        if let Some(reason) = other.unbound_because() {
            let group = quoted(&other.name);
            faults.push(format!(
                "the role {name} is a member of {group}, directly or through another role, and {group} {reason}; \
                 run: REVOKE {group} FROM {name};"
            ));
        }
    }
    if role.creates {
        faults.push(format!(
            "the role {name} may create objects in schema public; run: REVOKE CREATE ON SCHEMA public FROM PUBLIC, {name};"
        ));
    }
    Ok(faults)
}
