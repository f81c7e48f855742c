//! The audit trail, for an operator.

use std::process::ExitCode;

use anyhow::Result;
use chrono::Utc;
use crm_core::rules;
use crm_identity::audit::{AuditEvent, AuditFilter};
use crm_records::list::Params;
use crm_schema::users;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::database::{Database, told};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only what happened in this organization
    #[arg(long)]
    org: Option<Uuid>,
    /// Only what is about this account: its id or its address
    #[arg(long)]
    user: Option<String>,
    /// Only these events, such as login_failure; several with commas
    #[arg(long)]
    event: Option<String>,
    /// Not before this day or instant, such as 2026-01-31 or 2026-01-31T10:00:00Z
    #[arg(long)]
    since: Option<String>,
    /// Only what was refused
    #[arg(long)]
    failures: bool,
    /// How many events, the newest first
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Prints what the audit trail says, newest first.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let database = Database::connect()?;
    let user = args.user.as_deref().map(|user| account(&database, user)).transpose()?;
    let mut pairs: Vec<(&str, String)> = Vec::new();
    pairs.extend(args.org.map(|org| ("org_id", org.to_string())));
    pairs.extend(user.map(|user| ("user_id", user)));
    pairs.extend(args.event.clone().map(|event| ("event", event)));
    pairs.extend(args.since.clone().map(|since| ("created_at__gte", since)));
    pairs.extend(args.failures.then(|| ("success", "false".to_owned())));
    let pairs: Vec<_> = pairs.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let filter = AuditFilter::parse(&Params::of(&pairs), &Utc).map_err(told)?;
    for event in database.as_app(async |p| filter.newest(p, args.limit).await)? {
        if args.json {
            say!("{}", serde_json::to_string(&event)?);
        } else {
            say!("{}", line(&event));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The id of an account that is named by its id or its address.
fn account(database: &Database, user: &str) -> Result<String> {
    if !user.contains('@') {
        return Ok(user.to_owned());
    }
    let named = users::table.filter(users::email_normalized.eq(rules::normalize_email(user)));
    let found: Option<Uuid> =
        database.as_app(async |p| Ok(named.select(users::id).first(p.conn()?).await.optional()?))?;
    let id = found.ok_or_else(|| anyhow::anyhow!("nobody has the address {user}"))?;
    Ok(id.to_string())
}

fn line(event: &AuditEvent) -> String {
    let AuditEvent { created_at, event: what, success, user_id, org_id, ip_address, route, detail, .. } =
        event;
    let named = |name: &str, value: Option<String>| value.map(|value| format!(" {name}={value}"));
    let parts = [
        named("user", user_id.map(|id| id.to_string())),
        named("org", org_id.map(|id| id.to_string())),
        named("ip", ip_address.clone()),
        named("route", route.clone()),
    ];
    let parts: String = parts.into_iter().flatten().collect();
    let outcome = if *success { "done" } else { "refused" };
    format!("{} {what} {outcome}{parts} {detail}", created_at.format("%Y-%m-%d %H:%M:%SZ"))
}
