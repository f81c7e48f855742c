//! Bringing the schema up to date.

use std::process::ExitCode;

use anyhow::Result;
use crm_api::settings::Settings;
use crm_core::migrate::{self, SchemaState};
use crm_core::tenancy;

use crate::database::{Database, told};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only say what is pending; succeeds when nothing is
    #[arg(long)]
    status: bool,
}

/// Applies what is pending, as the owner.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.status {
        let database = Database::connect()?;
        let state = database.as_app(async |p| tenancy::schema_state(p.conn()?).await)?;
        return Ok(print_state(&state));
    }
    let database = Database::find_or_make(Settings::load()?)?;
    let pool = migrate::owner_pool(database.owner_url()?).map_err(told)?;
    let mut conn = migrate::checkout(&pool).map_err(told)?;
    let applied = migrate::run(&mut conn).map_err(told)?;
    applied.iter().for_each(|version| say!("applied {version}"));
    if applied.is_empty() {
        say!("nothing to apply: the schema is current");
    }
    Ok(ExitCode::SUCCESS)
}

fn print_state(state: &SchemaState) -> ExitCode {
    state.pending.iter().for_each(|version| say!("pending {version}"));
    state.unknown.iter().for_each(|version| say!("unknown to this program {version}"));
    if state.is_current() {
        say!("the schema is current");
        return ExitCode::SUCCESS;
    }
    if !state.unknown.is_empty() {
        say!("the database is newer than this program: install the newer program");
    } else {
        say!("to apply: crm-admin migrate");
    }
    ExitCode::FAILURE
}
