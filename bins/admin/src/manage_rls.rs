//! Row-level security: looked at, tried out, restored and, outside production, switched off.

use std::io::{BufRead, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use crm_api::settings::Environment;
use crm_core::tenancy::{self, EXCEPTIONS, Finding, TableReport, Verb};

use crate::database::{Database, SyncPool};
use crate::schema_rs::expected_tables;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Say of every table whether it is protected (the default)
    #[arg(long, group = "action")]
    status: bool,
    /// Say whether policies bind the application's role
    #[arg(long, group = "action")]
    verify_user: bool,
    /// Try to cross from one organization into another on every table; leaves nothing behind
    #[arg(long, group = "action")]
    test: bool,
    /// Put every tenant table under its policy again, as the owner
    #[arg(long, group = "action")]
    enable: bool,
    /// Take every tenant table out of row-level security, as the owner; refused in production
    #[arg(long, group = "action")]
    disable: bool,
    /// Do not ask before --disable
    #[arg(long, requires = "disable", conflicts_with_all = ["status", "verify_user", "test", "enable"])]
    yes: bool,
}

/// Succeeds only when all is well, so that a script can rely on it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let database = Database::connect()?;
    let well = if args.verify_user {
        verify_user(&database)?
    } else if args.test {
        test(&database)?
    } else if args.enable {
        enable(&database)?
    } else if args.disable {
        disable(&database, args.yes)?
    } else {
        status(&database)?
    };
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn status(database: &Database) -> Result<bool> {
    let role_faults = database.as_app(async |p| tenancy::check_role(p.conn()?).await)?;
    let role_is_safe = Role::of(database)?.print_verdict(&role_faults);
    say!();
    let tables_are_safe = print_reports(&reports(database)?);
    let schema = database.as_app(async |p| tenancy::schema_state(p.conn()?).await)?;
    if !schema.is_current() {
        say!("The schema is not that of this program; see: crm-admin migrate --status");
    }
    Ok(role_is_safe && tables_are_safe && schema.is_current())
}

/// What is found of every table, the missing ones among them.
pub(crate) fn reports(database: &Database) -> Result<Vec<TableReport>> {
    let mut reports = database.as_app(async |p| tenancy::inspect(p.conn()?).await)?;
    let missing: Vec<_> =
        expected_tables().filter(|table| !reports.iter().any(|r| r.table == *table)).collect();
    reports.extend(missing.into_iter().map(|table| TableReport {
        table: table.to_owned(),
        exempt: None,
        faults: vec!["is missing; run: crm-admin migrate, or restore it from a backup".into()],
    }));
    Ok(reports)
}

/// The tenant tables without a fault.
pub(crate) fn protected(reports: &[TableReport]) -> impl Iterator<Item = &TableReport> {
    reports.iter().filter(|report| report.exempt.is_none() && report.faults.is_empty() && is_table(report))
}

/// Views and functions are reported too; they are worth a line only when something is wrong with them.
fn is_table(report: &TableReport) -> bool {
    !report.table.contains(' ')
}

/// One line per table with its faults below, and the sum; whether there is no fault.
fn print_reports(reports: &[TableReport]) -> bool {
    for report in reports {
        let TableReport { table, exempt, faults } = report;
        match (faults.as_slice(), exempt) {
            ([], Some(reason)) => say!("  {table}: exempt, {reason}"),
            ([], None) if is_table(report) => say!("  {table}: OK"),
            ([], None) => {}
            (faults, _) => {
                say!("  {table}: {}", plural(faults.len(), "fault"));
                faults.iter().for_each(|fault| say!("    - {fault}"));
            }
        }
    }
    let faulty = reports.iter().filter(|report| !report.faults.is_empty()).count();
    say!("\nProtected: {}, faulty: {faulty}", protected(reports).count());
    faulty == 0
}

fn verify_user(database: &Database) -> Result<bool> {
    let faults = database.as_app(async |p| tenancy::check_role(p.conn()?).await)?;
    let role = Role::of(database)?;
    let word = |holds| if holds { "yes" } else { "no" };
    say!("Role: {}", role.name);
    say!("Superuser: {}", word(role.superuser));
    say!("Bypasses row-level security: {}", word(role.bypasses));
    say!("Owns tables, itself or through another role: {}", word(role.owns));
    say!();
    Ok(role.print_verdict(&faults))
}

/// The role that the application connects as.
struct Role {
    name: String,
    superuser: bool,
    bypasses: bool,
    owns: bool,
}

impl Role {
    fn of(database: &Database) -> Result<Self> {
        let row = SyncPool::open(&database.app_url, 1)?.get()?.query_one(
            "SELECT session_user::text, rolsuper, rolbypassrls, EXISTS (
                 SELECT FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
                     AND pg_has_role(session_user, c.relowner, 'MEMBER'))
             FROM pg_roles WHERE rolname = session_user",
            &[],
        )?;
        Ok(Self { name: row.get(0), superuser: row.get(1), bypasses: row.get(2), owns: row.get(3) })
    }

    fn print_verdict(&self, faults: &[String]) -> bool {
        if faults.is_empty() {
            say!("Role {}: policies bind it", self.name);
        }
        faults.iter().for_each(|fault| say!("Role {} is unsafe: {fault}", self.name));
        faults.is_empty()
    }
}

fn test(database: &Database) -> Result<bool> {
    let findings = database.as_app(async |p| tenancy::probe(p.conn()?).await)?;
    if findings.is_empty() {
        bail!("there is no tenant table to try; run: crm-admin migrate");
    }
    let mut failed = 0;
    for table in findings.chunk_by(|one, next| one.table == next.table) {
        failed += print_findings(table);
    }
    say!("\nTried {} on {} tables, failed: {failed}", plural(findings.len(), "crossing"), {
        findings.chunk_by(|one, next| one.table == next.table).count()
    });
    Ok(failed == 0)
}

/// One line for a table and one for each failure; how many there are.
fn print_findings(table: &[Finding]) -> usize {
    let failures: Vec<_> = table.iter().filter(|finding| !finding.ok).collect();
    if let Some(Finding { table: name, .. }) = table.first() {
        say!("  {name}: {} of {} held", table.len() - failures.len(), Verb::all().count());
    }
    for Finding { verb, detail, .. } in &failures {
        say!("    FAILED {verb}: {detail}");
    }
    failures.len()
}

fn enable(database: &Database) -> Result<bool> {
    let tables = change_tables(database, tenancy::enable_sql)?;
    say!("{} put under the policy.\n", plural(tables, "table"));
    status(database)
}

fn disable(database: &Database, sure: bool) -> Result<bool> {
    if database.settings.environment == Environment::Prod {
        bail!("ENV_TYPE is prod: there row-level security stays on");
    }
    let name = database.name()?;
    if !sure && !confirmed(&name)? {
        bail!("nothing was changed: that is not the name of the database");
    }
    let tables = change_tables(database, tenancy::disable_sql)?;
    say!("Row-level security is off on {}; to have it back, run: crm-admin manage-rls --enable", {
        plural(tables, "table")
    });
    Ok(true)
}

fn confirmed(name: &str) -> Result<bool> {
    eprint!(
        "This lets every query see the rows of every organization.\nType the name of the database, {name}, to go on: "
    );
    std::io::stderr().flush()?;
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed).context("can't read the answer")?;
    Ok(typed.trim() == name)
}

/// Runs a statement on every tenant table, all or none; on how many.
fn change_tables(database: &Database, statement: impl Fn(&str) -> String) -> Result<usize> {
    let pool = SyncPool::open(database.owner_url()?, 1)?;
    let mut client = pool.get()?;
    let mut transaction = client.transaction()?;
    let tables = tenant_tables(&mut transaction)?;
    if tables.is_empty() {
        bail!("there is no tenant table; run: crm-admin migrate");
    }
    for table in &tables {
        let changed = transaction.batch_execute(&statement(table));
        changed.with_context(|| format!("can't change the table {table}, so none was changed"))?;
    }
    transaction.commit()?;
    Ok(tables.len())
}

/// Every table whose rows belong to one organization each.
fn tenant_tables(transaction: &mut postgres::Transaction<'_>) -> Result<Vec<String>> {
    let exempt: Vec<_> = EXCEPTIONS.iter().map(|exception| exception.table).collect();
    let rows = transaction.query(
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'org_id'
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT a.attisdropped
             AND c.relname <> ALL ($1) ORDER BY c.relname",
        &[&exempt],
    )?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

fn plural(number: usize, noun: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{s}")
}
