//! Background jobs as an operator sees them: what there is, what died and why; done again or given up. Never what is in them.

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use postgres::Row;
use uuid::Uuid;

use crate::database::{Database, SyncConnection, SyncPool};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show jobs, oldest first
    List(List),
    /// Have dead jobs done once more, from the first attempt on
    Replay(Replay),
    /// Give jobs up for good
    Drop(Drop),
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only those that will not be tried again
    #[arg(long)]
    dead: bool,
    /// Only those of this kind
    #[arg(long)]
    kind: Option<String>,
    /// Only those of this organization
    #[arg(long, value_name = "ID")]
    org: Option<Uuid>,
    /// Show so many at most
    #[arg(long, default_value_t = 100, value_name = "NUMBER")]
    limit: i64,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Replay {
    /// These
    #[arg(value_name = "ID")]
    ids: Vec<Uuid>,
    /// All dead ones of this kind
    #[arg(long)]
    kind: Option<String>,
    /// All dead ones
    #[arg(long)]
    all: bool,
}

#[derive(Debug, clap::Args)]
struct Drop {
    /// Jobs that are not under way
    #[arg(required = true, value_name = "ID")]
    ids: Vec<Uuid>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let database = Database::connect()?;
    let mut conn = SyncPool::open(database.owner_url()?, 1)?.get()?;
    match &args.action {
        Action::List(wanted) => list(&mut conn, wanted),
        Action::Replay(wanted) => replay(&mut conn, wanted),
        Action::Drop(wanted) => {
            let sql = "DELETE FROM jobs WHERE id = ANY ($1) AND state <> 'leased'";
            let dropped = conn.execute(sql, &[&wanted.ids])?;
            Ok(verdict("are dropped", dropped, wanted.ids.len(), "the others are under way or gone"))
        }
    }
}

fn list(conn: &mut SyncConnection, List { dead, kind, org, limit }: &List) -> Result<ExitCode> {
    let rows = conn.query(
        "SELECT id, kind, org_id, state, attempts, extract(epoch FROM now() - created_at)::bigint, last_error, count(*) OVER ()
         FROM jobs WHERE (state = 'dead' OR NOT $1) AND ($2::text IS NULL OR kind = $2) AND ($3::uuid IS NULL OR org_id = $3)
         ORDER BY created_at, id LIMIT $4",
        &[dead, kind, org, limit],
    )?;
    let mut table =
        vec![["ID", "KIND", "ORGANIZATION", "STATE", "ATTEMPTS", "AGE", "LAST ERROR"].map(String::from)];
    table.extend(rows.iter().map(cells));
    let widths: [usize; 7] = std::array::from_fn(|column| {
        table.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max().unwrap_or(0)
    });
    for row in &table {
        let line: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        say!("{}", line.join("  ").trim_end());
    }
    let found: i64 = rows.first().map_or(0, |row| row.get(7));
    match found - rows.len() as i64 {
        0 => say!("\nJobs: {found}"),
        more => say!("\nJobs: {found}, of which {more} are not shown; see --limit"),
    }
    Ok(ExitCode::SUCCESS)
}

/// What is shown of a job.
fn cells(row: &Row) -> [String; 7] {
    let org: Option<Uuid> = row.get(2);
    let error: Option<String> = row.get(6);
    [
        row.get::<_, Uuid>(0).to_string(),
        row.get(1),
        org.map_or("(platform)".into(), |org| org.to_string()),
        row.get(3),
        row.get::<_, i32>(4).to_string(),
        age(row.get(5)),
        // One line each.
        error.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" "),
    ]
}

fn age(seconds: i64) -> String {
    match seconds.max(0) {
        few @ 0..60 => format!("{few} s"),
        some @ 60..3_600 => format!("{} min", some / 60),
        many @ 3_600..172_800 => format!("{} h", many / 3_600),
        old => format!("{} d", old / 86_400),
    }
}

fn replay(conn: &mut SyncConnection, Replay { ids, kind, all }: &Replay) -> Result<ExitCode> {
    let replayed = conn.execute(
        "UPDATE jobs SET state = 'ready', attempts = 0, dead_at = NULL, run_at = now()
         WHERE state = 'dead' AND (id = ANY ($1) OR kind = $2 OR $3)",
        &[ids, kind, all],
    )?;
    Ok(verdict("are due again", replayed, ids.len(), "the others are not dead, or gone"))
}

/// Says what was done; a failure where not all that were named could be found.
fn verdict(done: &str, count: u64, named: usize, others: &str) -> ExitCode {
    if count < named as u64 {
        say!("Jobs that {done}: {count} of {named}; {others}");
        return ExitCode::FAILURE;
    }
    say!("Jobs that {done}: {count}");
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::age;

    #[test]
    fn an_age_is_told_in_its_greatest_unit() {
        for (seconds, told) in
            [(-3, "0 s"), (59, "59 s"), (60, "1 min"), (3_600, "1 h"), (172_799, "47 h"), (172_800, "2 d")]
        {
            assert_eq!(age(seconds), told);
        }
    }
}
