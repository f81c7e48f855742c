//! What import and export share: which module, which organization, in whose name.

use anyhow::{Context as _, Result, bail};
use crm_api::routes::TRANSFERABLE;
use crm_core::body::nearest;
use crm_core::{Db, MemberId, OrgId, rules};
use crm_identity::InTheNameOf;
use crm_jobs::System;
use crm_schema::{memberships, organizations};
use crm_transfer::Transferable;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use indicatif::{ProgressBar, ProgressStyle};
use uuid::Uuid;

use crate::database::{Database, told};

/// Whose records, and in whose name.
#[derive(Debug, clap::Args)]
pub(crate) struct Whose {
    /// The organization: its id, or its name where no other has it
    #[arg(long, value_name = "ID|NAME")]
    org: String,
    /// The member in whose name it is done, by address: their permissions decide
    #[arg(long = "as", value_name = "EMAIL")]
    member: String,
}

/// The module of that name.
pub(crate) fn module(name: &str) -> Result<&'static Transferable<InTheNameOf>> {
    let Some(module) = TRANSFERABLE.iter().find(|module| module.name == name) else {
        let hint = nearest(name, TRANSFERABLE.iter().map(|module| module.name));
        let hint = hint.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        bail!("there is no module {name}{hint}");
    };
    Ok(module)
}

impl Whose {
    /// Looks both up.
    pub(crate) async fn find(&self, database: &Database, db: &Db) -> Result<InTheNameOf> {
        let org = self.org(db).await.with_context(|| format!("in the database ({})", database.place))?;
        let address = rules::normalize_email(&self.member);
        let found: Option<MemberId> = db
            .tenant(&System(org), async |t| {
                let member = memberships::table
                    .filter(memberships::org_id.eq(t.org()).and(memberships::email_normalized.eq(&address)))
                    .filter(memberships::state.eq("active"))
                    .select(memberships::id);
                Ok::<_, crm_core::Error>(member.first(t.conn()?).await.optional()?)
            })
            .await
            .map_err(told)?;
        let member =
            found.with_context(|| format!("{} is no active member of the organization", self.member))?;
        Ok(InTheNameOf { org, member })
    }

    async fn org(&self, db: &Db) -> Result<OrgId> {
        let id: Option<Uuid> = self.org.parse().ok();
        let found: Vec<OrgId> = db
            .platform(async |p| {
                let query = organizations::table.select(organizations::id).limit(2);
                Ok::<_, crm_core::Error>(match id {
                    Some(id) => query.filter(organizations::id.eq(id)).load(p.conn()?).await?,
                    None => query.filter(organizations::name.eq(&self.org)).load(p.conn()?).await?,
                })
            })
            .await
            .map_err(told)?;
        match found.as_slice() {
            [one] => Ok(*one),
            [] => bail!("there is no organization {:?}", self.org),
            _ => bail!("several organizations are called {:?}: name one by its id", self.org),
        }
    }
}

/// A bar that shows how many rows of how many are done.
pub(crate) fn bar(rows: u64) -> Result<ProgressBar> {
    let style = "{bar:40} {human_pos} of {human_len} rows, {per_sec}, {eta} left";
    Ok(ProgressBar::new(rows).with_style(ProgressStyle::with_template(style)?))
}
