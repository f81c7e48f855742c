//! The operator's commands: migrations, row-level security, the first administrator, demonstration data, diagnosis.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Prints a line. Whoever read it may have heard enough, which is no reason to stop half-way.
macro_rules! say {
    ($($line:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($line)*);
    }};
}

mod audit;
mod bench;
mod createsuperuser;
mod database;
mod doctor;
mod export;
mod import;
mod jobs;
mod mail;
mod manage_rls;
mod migrate;
mod output;
mod schema;
mod schema_rs;
mod search;
mod seed;
mod transfer;

/// Commands for the operator of an Amphora installation
///
/// They read the same settings as crm-api: the environment, and the file .env of the working directory.
#[derive(Debug, Parser)]
#[command(name = "crm-admin", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring the schema of the database up to date
    Migrate(migrate::Args),
    /// Look at row-level security, try it out, restore it
    ManageRls(manage_rls::Args),
    /// Make somebody a platform administrator
    Createsuperuser(createsuperuser::Args),
    /// Make demonstration data; not in production
    Seed(seed::Args),
    /// List mails that did not simply arrive, and send them again
    Mail(mail::Args),
    /// Read the audit trail, newest first
    Audit(audit::Args),
    /// Print the OpenAPI document
    Schema(schema::Args),
    /// Print the diesel tables of crm-schema, generated from the database
    SchemaRs,
    /// Import a table of text as records, in the name of a member
    Import(import::Args),
    /// Export records as CSV or as a workbook, in the name of a member
    Export(export::Args),
    /// Look after the search
    Search(search::Args),
    /// Look at background jobs, have dead ones done again, give them up
    Jobs(jobs::Args),
    /// Check the whole installation and say how to mend it
    Doctor,
    /// Measure a running server against pgbench on the same database
    #[command(hide = true)]
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::WARN).init();
    let done = match &cli.command {
        Command::Migrate(args) => migrate::run(args),
        Command::ManageRls(args) => manage_rls::run(args),
        Command::Createsuperuser(args) => createsuperuser::run(args),
        Command::Seed(args) => seed::run(args),
        Command::Mail(args) => mail::run(args),
        Command::Audit(args) => audit::run(args),
        Command::Schema(args) => schema::run(args),
        Command::SchemaRs => schema_rs::run(),
        Command::Import(args) => import::run(args),
        Command::Export(args) => export::run(args),
        Command::Search(args) => search::run(args),
        Command::Jobs(args) => jobs::run(args),
        Command::Doctor => doctor::run(),
        Command::Bench(args) => bench::run(args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("crm-admin: {error:#}");
        ExitCode::FAILURE
    })
}
