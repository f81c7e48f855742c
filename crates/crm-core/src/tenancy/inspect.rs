//! What the catalog says of every table, held against the rules of tenancy.

use diesel_async::AsyncPgConnection;
use serde::Deserialize;

use super::catalog::{self, Index, Kind, Policy, Relation};
use super::{APP_ROLE, APPEND_ONLY, EXCEPTIONS, ORG, POLICY, RULE_PRINTED};
use crate::Result;

/// What was found about one table, or about a view or function that reaches past one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableReport {
    /// The table; `view …` and `function …` for what is none.
    pub table: String,
    /// Why it is no tenant's, if it stands among the exceptions.
    pub exempt: Option<&'static str>,
    /// What is wrong, in sentences; none when all is well.
    pub faults: Vec<String>,
}

/// Holds every table, view and security-definer function of schema public against the rules of tenancy.
///
/// # Errors
/// `Unavailable` without a database.
pub async fn inspect(conn: &mut AsyncPgConnection) -> Result<Vec<TableReport>> {
    let relations = catalog::relations(conn).await?;
    let functions: Vec<Function> = catalog::rows(conn, FUNCTIONS).await?;
    let mut reports: Vec<_> = relations.iter().map(|relation| report(relation, &relations)).collect();
    reports.extend(missing(&relations));
    reports.extend(functions.iter().map(Function::report));
    Ok(reports)
}

fn report(relation: &Relation, all: &[Relation]) -> TableReport {
    let name = &relation.name;
    let exempt = relation.exemption();
    let mut faults = Faults::default();
    match relation.kind {
        Kind::Table | Kind::Partitioned => match exempt {
            Some(reason) => check_exempt(relation, reason, &mut faults),
            None if relation.is_tenant() => check_tenant(relation, &mut faults),
            None => faults.add("has no column org_id and is not among the exceptions"),
        },
        Kind::View => faults.unless(
            relation.security_invoker,
            "is a view with its owner's rights; run: ALTER VIEW … SET (security_invoker = true)",
        ),
        Kind::MaterializedView => {
            faults.add("is a materialized view: it keeps rows out of every policy's reach")
        }
        Kind::Foreign => faults.add("is a foreign table: no policy of this database protects it"),
    }
    check_references(relation, all, &mut faults);
    check_grants(relation, &mut faults);
    let table = if relation.is_table() { name.clone() } else { format!("view {name}") };
    TableReport { table, exempt, faults: faults.0 }
}

fn check_tenant(table: &Relation, faults: &mut Faults) {
    faults.unless(table.row_security, "row-level security is not enabled");
    faults.unless(table.forced, "row-level security is not forced, so the owner is not bound");
    match table.policies.as_slice() {
        [policy] => check_policy(policy, faults),
        [] => faults.add("has no policy"),
        many => {
            let names: Vec<_> = many.iter().map(|policy| policy.name.as_str()).collect();
            faults.add(format!("has {} policies instead of one: {}", many.len(), names.join(", ")));
        }
    }
    if let Some(org) = table.column(ORG) {
        faults.unless(org.sql_type == "uuid", "org_id is not a uuid");
        faults.unless(org.not_null, "org_id may be null");
    }
    faults.unless(table.primary_key().is_some(), "has no primary key");
    for Index { name, primary, unique, .. } in table.indexes.iter().filter(|index| !index.leads_with_org()) {
        let what = match (primary, unique) {
            (true, _) => "primary key",
            (_, true) => "unique index",
            _ => "index",
        };
        faults.add(format!("the {what} {name} does not begin with org_id"));
    }
    for trigger in &table.triggers {
        faults.add(format!("has the trigger {trigger}; a tenant table has none"));
    }
}

fn check_policy(policy: &Policy, faults: &mut Faults) {
    let Policy { name, permissive, all_verbs, everyone, using, with_check } = policy;
    faults.unless(name == POLICY, format!("the policy is named {name} instead of {POLICY}"));
    faults.unless(*permissive, "the policy is restrictive, so without another one nothing is visible");
    faults.unless(*all_verbs, "the policy is not for all verbs");
    faults.unless(*everyone, "the policy is not for PUBLIC, so it does not hold for every role");
    for (clause, rule) in [("USING", using), ("WITH CHECK", with_check)] {
        let rule = rule.as_deref().unwrap_or("nothing");
        faults.unless(
            rule == RULE_PRINTED,
            format!("the policy's {clause} is {rule} instead of {RULE_PRINTED}"),
        );
    }
}

fn check_exempt(table: &Relation, reason: &str, faults: &mut Faults) {
    if reason.starts_with("no grant") {
        for grant in table.grants.iter().filter(|grant| is_watched(&grant.to)) {
            faults.add(format!(
                "{} has {}, but the exception says that there is no grant",
                grant.to, grant.verb
            ));
        }
    }
}

fn check_references(table: &Relation, all: &[Relation], faults: &mut Faults) {
    for key in &table.foreign_keys {
        faults.unless(
            key.carries_org() || !catalog::is_tenant(all, &key.target),
            format!("the foreign key {} to {} does not carry org_id on both sides", key.name, key.target),
        );
    }
}

fn check_grants(relation: &Relation, faults: &mut Faults) {
    let allowed: &[&str] = match APPEND_ONLY.contains(&relation.name.as_str()) {
        true => &["SELECT", "INSERT"],
        false => &["SELECT", "INSERT", "UPDATE", "DELETE"],
    };
    for grant in relation.grants.iter().filter(|grant| is_watched(&grant.to)) {
        let fine = grant.to == APP_ROLE && allowed.contains(&grant.verb.as_str());
        faults.unless(fine, format!("{} has {}; run REVOKE", grant.to, grant.verb));
    }
}

/// Whether what this role may do is ours to judge: others, such as one for backups, are the operator's.
fn is_watched(role: &str) -> bool {
    role == APP_ROLE || role == "PUBLIC"
}

/// What the program lists by name and the database does not have.
fn missing(relations: &[Relation]) -> impl Iterator<Item = TableReport> {
    let exceptions = EXCEPTIONS.iter().map(|exception| (exception.table, Some(exception.reason)));
    let is_exception = |table: &str| EXCEPTIONS.iter().any(|exception| exception.table == table);
    let others = APPEND_ONLY.iter().filter(move |table| !is_exception(table)).map(|table| (*table, None));
    let exists = |table: &str| relations.iter().any(|relation| relation.name == table);
    exceptions.chain(others).filter(move |(table, _)| !exists(table)).map(|(table, exempt)| {
        let faults = vec!["is listed by the program and does not exist".into()];
        TableReport { table: table.into(), exempt, faults }
    })
}

/// Functions that work with their owner's rights.
const FUNCTIONS: &str = "
SELECT json_build_object(
    'name', p.proname,
    'search_path', (SELECT substr(s, length('search_path=') + 1) FROM unnest(p.proconfig) s WHERE s LIKE 'search\\_path=%'),
    'public', EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x WHERE x.grantee = 0)
) AS row
FROM pg_proc p
WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef
    AND NOT EXISTS (
        SELECT FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e')
ORDER BY p.proname, p.oid";

#[derive(Debug, Deserialize)]
struct Function {
    name: String,
    search_path: Option<String>,
    public: bool,
}

impl Function {
    fn report(&self) -> TableReport {
        let mut faults = Faults::default();
        match &self.search_path {
            None => faults.add("is SECURITY DEFINER without a search_path of its own"),
            // Searched first unless it is named, and "$user" depends on the caller.
            Some(path) => faults.unless(
                path.ends_with("pg_temp") && !path.contains("$user"),
                format!("its search_path, {path}, does not end with pg_temp or depends on the caller"),
            ),
        }
        faults.unless(!self.public, "PUBLIC may execute it; run: REVOKE ALL ON FUNCTION … FROM PUBLIC");
        TableReport { table: format!("function {}", self.name), exempt: None, faults: faults.0 }
    }
}

#[derive(Debug, Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, fault: impl Into<String>) {
        self.0.push(fault.into());
    }

    fn unless(&mut self, holds: bool, fault: impl Into<String>) {
        if !holds {
            self.add(fault);
        }
    }
}
