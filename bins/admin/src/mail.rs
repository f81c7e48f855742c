//! Mails that did not simply arrive.

use std::process::ExitCode;

use anyhow::Result;
use crm_core::{Db, OrgId};
use crm_mail::{MailState, outbox};
use crm_schema::organizations;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::database::{Database, block_on, told};

/// How many mails of an organization are listed at most, and how many to accounts.
const LISTED: i64 = 200;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List mails by their state, newest first: of every organization, and to accounts outside
    List {
        /// queued, sending, sent, suppressed, failed or uncertain
        #[arg(long, default_value = "uncertain", value_parser = state)]
        state: MailState,
        /// Only those of this organization
        #[arg(long)]
        org: Option<Uuid>,
    },
    /// Send a mail that is uncertain, which the recipient may then get twice, or queued without a job
    Resend {
        /// The mail, as it is listed
        id: Uuid,
        /// The organization whose mail it is
        #[arg(long)]
        org: Option<Uuid>,
    },
}

fn state(word: &str) -> Result<MailState, String> {
    MailState::from_word(word).ok_or_else(|| format!("one of {}", MailState::WORDS.join(", ")))
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let database = Database::connect()?;
    let db = database.app()?;
    match args.command {
        Command::List { state, org } => block_on(list(&db, state, org.map(OrgId)))?.map_err(told)?,
        Command::Resend { id, org } => {
            block_on(outbox::resend(&db, org.map(OrgId), id))?.map_err(told)?;
            say!("the mail is queued");
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(db: &Db, state: MailState, only: Option<OrgId>) -> crm_core::Result<()> {
    let places = match only {
        Some(org) => vec![Some(org)],
        None => {
            let all = organizations::table.order_by(organizations::id).select(organizations::id.nullable());
            let orgs = db.platform(async |p| Ok::<_, crm_core::Error>(all.load(p.conn()?).await?)).await?;
            [vec![None], orgs].concat()
        }
    };
    let mut listed = 0;
    for place in places {
        let of = place.map(|org| format!(" --org {org}")).unwrap_or_default();
        for mail in outbox::in_state(db, place, state, LISTED).await? {
            listed += 1;
            let error = mail.last_error.map(|error| format!(": {error}")).unwrap_or_default();
            let at = mail.created_at.format("%Y-%m-%d %H:%M:%SZ");
            say!(
                "{}{of}  {at}  {} to {}, tried {} times{error}",
                mail.id,
                mail.template,
                mail.to,
                mail.attempts
            );
        }
    }
    if listed == 0 {
        say!("no mail is {state}");
    }
    Ok(())
}
