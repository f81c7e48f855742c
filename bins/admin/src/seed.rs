//! Demonstration data: the same seed gives the same people, companies, leads and deals, down to the leads' ids.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use chrono::{DateTime, Months, NaiveDate, NaiveTime, Utc};
use crm_api::settings::Environment;
use indicatif::{ProgressBar, ProgressStyle};
use rand::distr::{Alphanumeric, SampleString};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::database::{Database, SyncPool, block_on};
use lead::Stream;
pub(crate) use load::TALLIES;
use org::Founder;
pub(crate) use org::Place;

mod desk;
mod files;
mod lead;
mod load;
mod org;
mod words;

/// How far back the leads go.
const PAST: Months = Months::new(24);

/// Where the first organization is at home.
pub(crate) const HOME: Place = Place { currency: "USD", country: "US", timezone: "America/New_York" };

/// Where the organizations are at home, in turn.
const PLACES: &[Place] = &[
    HOME,
    Place { currency: "EUR", country: "DE", timezone: "Europe/Berlin" },
    Place { currency: "GBP", country: "GB", timezone: "Europe/London" },
    Place { currency: "EUR", country: "FR", timezone: "Europe/Paris" },
];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The same number makes the same data
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many organizations
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=500))]
    orgs: u16,
    /// Members of each organization
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    users: u16,
    /// Leads of each organization
    #[arg(long, default_value_t = 1000)]
    leads: u64,
    /// Address of the account that administers them all; made if it is not there
    #[arg(long, default_value = "demo@example.com")]
    email: String,
    /// Password of that account and of the other new ones; by default a random one, which is printed
    #[arg(long)]
    password: Option<String>,
    /// Day up to which leads came in; today by default. The same data on another day needs the same one
    #[arg(long, value_name = "YYYY-MM-DD")]
    until: Option<NaiveDate>,
}

/// One organization to be made.
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) members: usize,
    pub(crate) leads: u64,
    /// Where its dice begin.
    pub(crate) seed: u64,
}

/// Makes the organizations that are not there yet.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let database = Database::connect()?;
    let today = Utc::now().date_naive();
    let until = args.until.unwrap_or(today);
    if until > today {
        bail!("--until {until} is in the future: what is not yet there can't be shown");
    }
    let founder = Account { email: &args.email, password: args.password.as_deref() };
    organizations(&database, founder, &plan(args), until)?;
    Ok(ExitCode::SUCCESS)
}

/// Whose organizations they are to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account<'a> {
    pub(crate) email: &'a str,
    pub(crate) password: Option<&'a str>,
}

/// The organizations of a seed, each with a name and dice of its own.
fn plan(args: &Args) -> Vec<Wanted> {
    let mut rng = StdRng::seed_from_u64(args.seed);
    let (mut heads, mut tails) = (words::COMPANY_HEADS.to_vec(), words::ORG_TAILS.to_vec());
    heads.shuffle(&mut rng);
    tails.shuffle(&mut rng);
    // The lists differ in length by no common factor, so that no pair comes twice.
    let names = heads.iter().cycle().zip(tails.iter().cycle());
    let wanted = names.zip(PLACES.iter().cycle()).take(args.orgs.into());
    wanted
        .map(|((head, tail), place)| Wanted {
            name: format!("{head} {tail}"),
            place: *place,
            members: args.users.into(),
            leads: args.leads,
            seed: rng.random(),
        })
        .collect()
}

/// Makes those that are not there yet, and tells what it did.
pub(crate) fn organizations(
    database: &Database,
    account: Account<'_>,
    all: &[Wanted],
    until: NaiveDate,
) -> Result<()> {
    if database.settings.environment == Environment::Prod {
        bail!("ENV_TYPE is prod: demonstration data has no place there");
    }
    let mut missing = Vec::new();
    for wanted in all {
        match org::existing(database, &wanted.name)? {
            Some(leads) => say!("{} is there already, with {leads} leads: left as it is", wanted.name),
            None => missing.push(wanted),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let pool = SyncPool::open(database.owner_url()?, load::LOADERS)?;
    // Where files can't be kept is told before anything is made.
    block_on(crm_api::startup::storage(&database.settings))??;
    let password =
        account.password.map_or_else(|| Alphanumeric.sample_string(&mut rand::rng(), 16), str::to_owned);
    let founder = block_on(Founder::enter(database.app()?, account.email, &password))??;
    let until = until.and_time(NaiveTime::MIN).and_utc();
    for wanted in missing {
        organization(database, &founder, &pool, wanted, until)?;
    }
    load::tidy(&pool)?;
    block_on(founder.leave())??;
    match account.password {
        Some(_) => say!("\nSign in as {} with the password you gave", account.email),
        None => say!("\nSign in as {} with the password {password}", account.email),
    }
    Ok(())
}

/// Leaves the tables as the planner likes them, after many changes.
pub(crate) fn tidy(database: &Database) -> Result<()> {
    load::tidy(&SyncPool::open(database.owner_url()?, 1)?)
}

fn organization(
    database: &Database,
    founder: &Founder,
    pool: &SyncPool,
    wanted: &Wanted,
    until: DateTime<Utc>,
) -> Result<()> {
    let started = Instant::now();
    let (org, office) = block_on(founder.found(wanted))??;
    let from = until.checked_sub_months(PAST).unwrap_or(until);
    let stream = Stream { seed: wanted.seed, leads: wanted.leads, from, until };
    let progress = ProgressBar::new(wanted.leads).with_message(wanted.name.clone());
    progress.set_style(ProgressStyle::with_template(
        "{msg} {wide_bar} {human_pos}/{human_len} leads, {eta} left",
    )?);
    let loaded = load::leads(pool, org, &office, &stream, &progress);
    progress.finish_and_clear();
    loaded?;
    let [accounts, contacts, opportunities] = load::sales(pool, org, until)?;
    block_on(founder.describe(org, wanted))??;
    let desk = block_on(founder.furnish(org, &office, wanted, until.date_naive()))??;
    let files = block_on(founder.file(&database.settings, org, &office))??;
    say!(
        "{}: {} members, {} teams, {} tags, {} pipelines, {} leads, {accounts} accounts, {contacts} contacts, {opportunities} \
         opportunities, {} goals, {files} files in {:.1} s",
        wanted.name,
        office.members.len(),
        office.teams.len(),
        office.tags.len(),
        office.boards.len(),
        wanted.leads,
        desk.goals,
        started.elapsed().as_secs_f64()
    );
    say!("  Its web form takes leads with the key {}", desk.form_key);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn as_many_organizations_as_may_be_asked_for_differ_in_name_and_dice() {
        let plan = |seed| {
            let (email, password, until) = (String::new(), None, None);
            plan(&Args { seed, orgs: 500, users: 1, leads: 1, email, password, until })
        };
        let all = plan(1);
        assert_eq!(all.iter().map(|wanted| &wanted.name).collect::<BTreeSet<_>>().len(), 500);
        assert_eq!(all.iter().map(|wanted| wanted.seed).collect::<BTreeSet<_>>().len(), 500);
        let names = |seed| plan(seed).into_iter().map(|wanted| wanted.name).collect::<Vec<_>>();
        assert_eq!(names(1), names(1));
        assert_ne!(names(1), names(2));
    }
}
