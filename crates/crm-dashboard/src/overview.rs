use chrono::NaiveDate;
use crm_core::{Result, TenantTx};
use crm_records::{Target, tally};
use diesel::sql_types::{BigInt, Nullable};
use diesel_async::RunQueryDsl;
use serde::Serialize;

use crate::days::Days;
use crate::figure::CountFigure;
use crate::leads::{self, LeadFigures};
use crate::opportunities::{self, OpportunityFigures};
use crate::part::Part;

use crate::statement::Statement;

/// The figures of an organization, as far as the caller may see what they count.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Dashboard {
    /// Which day it is in the organization's time zone.
    pub today: NaiveDate,
    /// That time zone.
    pub timezone: &'static str,
    /// Accounts; null without the permission to look at any.
    pub accounts: Option<AccountFigures>,
    /// Contacts; null without the permission.
    pub contacts: Option<ContactFigures>,
    /// Leads; null without the permission.
    pub leads: Option<LeadFigures>,
    /// Deals; null without the permission.
    pub opportunities: Option<OpportunityFigures>,
}

/// Figures about accounts.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct AccountFigures {
    /// Those that are active.
    pub active: CountFigure,
}

/// Figures about contacts.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ContactFigures {
    /// All of them.
    pub all: CountFigure,
}

/// The figures at a glance, in six statements at most. `targets` are the kinds of record that there are.
///
/// # Errors
/// Those of the database.
pub async fn overview(t: &mut TenantTx, targets: &[Target]) -> Result<Dashboard> {
    let days = Days::of(t);
    let [accounts, contacts, deals] =
        ["account", "contact", "opportunity"].map(|kind| Part::of(t, targets, kind));
    let leads = Part::known(t, targets, "lead").await?;
    let whole: Vec<&str> = [&accounts, &contacts, &leads, &deals]
        .into_iter()
        .flatten()
        .filter(|part| part.is_whole())
        .map(|part| part.resource.kind)
        .collect();
    let tallies = if whole.is_empty() { Vec::new() } else { tally::read(t, &whole, &days.cuts()).await? };
    let tallied = |kind: &str, buckets: &[&str]| -> i64 {
        let of = tallies
            .iter()
            .filter(|tallied| tallied.kind == kind && buckets.contains(&tallied.bucket.as_str()));
        of.map(|tallied| tallied.sum.count).sum()
    };
    let own = own_people(t, accounts.as_ref(), contacts.as_ref()).await?;
    let leads = match leads {
        Some(part) => Some(leads::figures(t, &part, &tallies, &days).await?),
        None => None,
    };
    let opportunities = match deals {
        Some(part) => Some(opportunities::figures(t, &part, &tallies, &days).await?),
        None => None,
    };
    Ok(Dashboard {
        today: days.today,
        timezone: t.caller().org.timezone.name(),
        accounts: accounts.map(|_| AccountFigures {
            active: CountFigure::new(
                own.0.unwrap_or_else(|| tallied("account", &["active"])),
                "/api/accounts/?is_active=true",
            ),
        }),
        contacts: contacts.map(|_| ContactFigures {
            all: CountFigure::new(
                own.1.unwrap_or_else(|| tallied("contact", &["active", "inactive"])),
                "/api/contacts/",
            ),
        }),
        leads,
        opportunities,
    })
}

/// Active accounts and contacts counted, where the caller does not see all of them.
async fn own_people(
    t: &mut TenantTx,
    accounts: Option<&Part>,
    contacts: Option<&Part>,
) -> Result<(Option<i64>, Option<i64>)> {
    let [accounts, contacts] = [accounts, contacts].map(|part| part.filter(|part| !part.is_whole()));
    if accounts.is_none() && contacts.is_none() {
        return Ok((None, None));
    }
    let mut query = Statement::<(Nullable<BigInt>, Nullable<BigInt>)>::new();
    query.push("SELECT ");
    match accounts {
        Some(part) => {
            query.push("(SELECT count(*) FROM accounts WHERE accounts.is_active AND ").push(part.visible(t));
            query.push("), ")
        }
        None => query.push("NULL::bigint, "),
    };
    match contacts {
        Some(part) => query.push("(SELECT count(*) FROM contacts WHERE ").push(part.visible(t)).push(")"),
        None => query.push("NULL::bigint"),
    };
    Ok(query.get_result(t.conn()?).await?)
}
