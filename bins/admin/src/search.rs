//! The search, made anew from the records.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use crm_api::routes::SEARCHABLE;
use crm_core::body::nearest;
use crm_core::{Caller, Db, OrgId, OrgInfo};
use crm_schema::organizations;
use crm_search::Searchable;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use indicatif::{ProgressBar, ProgressStyle};
use uuid::Uuid;

use crate::database::{Database, block_on, told};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make title and text of every record anew, as the search knows them
    ///
    /// In batches, while the server runs; changes of the records of a batch wait for it. What was right stays as it is, and a second run
    /// changes nothing. After an update that says so, and whenever records are not found by their words.
    Rebuild(Rebuild),
}

#[derive(Debug, clap::Args)]
struct Rebuild {
    /// Only this organization
    #[arg(long, value_name = "ID")]
    org: Option<Uuid>,
    /// Only this kind of record, such as lead
    #[arg(long)]
    kind: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let Command::Rebuild(wanted) = &args.command;
    let kinds = kinds(wanted.kind.as_deref())?;
    let database = Database::connect()?;
    let orgs = organizations(&database, wanted.org)?;
    if let (Some(id), true) = (wanted.org, orgs.is_empty()) {
        bail!("there is no organization {id}");
    }
    block_on(rebuild(&database.app()?, &orgs, &kinds))??;
    Ok(ExitCode::SUCCESS)
}

fn kinds(word: Option<&str>) -> Result<Vec<Searchable>> {
    let all = SEARCHABLE.iter().copied();
    let Some(word) = word else { return Ok(all.collect()) };
    let found: Vec<_> = all.clone().filter(|searchable| searchable.kind() == word).collect();
    if found.is_empty() {
        let hint = nearest(word, all.map(|searchable| searchable.kind()));
        bail!(
            "there is no kind {word:?}{}",
            hint.map(|kind| format!("; did you mean {kind}?")).unwrap_or_default()
        );
    }
    Ok(found)
}

fn organizations(database: &Database, only: Option<Uuid>) -> Result<Vec<OrgInfo>> {
    let rows: Vec<(OrgId, String, String, String)> = database.as_app(async |p| {
        let columns =
            (organizations::id, organizations::name, organizations::currency, organizations::timezone);
        let mut query = organizations::table.select(columns).order_by(organizations::id).into_boxed();
        if let Some(id) = only {
            query = query.filter(organizations::id.eq(id));
        }
        Ok(query.load(p.conn()?).await?)
    })?;
    let info = |(id, name, currency, timezone): (_, _, _, String)| {
        Ok(OrgInfo { id, name, currency, timezone: timezone.parse()? })
    };
    rows.into_iter().map(info).collect()
}

async fn rebuild(db: &Db, orgs: &[OrgInfo], kinds: &[Searchable]) -> Result<()> {
    for org in orgs {
        for searchable in kinds {
            let progress =
                ProgressBar::new_spinner().with_message(format!("{}: {}", org.name, searchable.kind()));
            progress
                .set_style(ProgressStyle::with_template("{spinner} {msg}, {human_pos} records, {per_sec}")?);
            progress.enable_steady_tick(Duration::from_millis(100));
            let caller = Caller::system(org.clone());
            let done =
                crm_search::rebuild(db, &caller, searchable, |records| progress.set_position(records as u64))
                    .await;
            progress.finish_and_clear();
            let done = done.map_err(told)?;
            say!("{}: {}: {} records, {} repaired", org.name, searchable.kind(), done.records, done.repaired);
        }
    }
    Ok(())
}
