//! Many leads in little time: COPY into a temporary table, then into the real ones in the organization's context.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Result, anyhow};
use chrono::{DateTime, Utc};
use crm_core::OrgId;
use indicatif::ProgressBar;
use postgres::binary_copy::BinaryCopyInWriter;
use postgres::types::{ToSql, Type};
use postgres::{Client, Transaction};

use super::lead::{DemoLead, Office, Stream};
use crate::database::SyncPool;

/// Rows of one transaction: enough to spread its cost, few enough to stay in memory.
const BATCH: u64 = 10_000;

/// Connections that load at once.
pub(super) const LOADERS: u32 = 2;

/// The columns of a lead, as they are copied and as they are inserted.
const LEAD: &[(&str, Type)] = &[
    ("org_id", Type::UUID),
    ("id", Type::UUID),
    ("version", Type::INT8),
    ("created_at", Type::TIMESTAMPTZ),
    ("updated_at", Type::TIMESTAMPTZ),
    ("created_by", Type::UUID),
    ("updated_by", Type::UUID),
    ("title", Type::TEXT),
    ("salutation", Type::TEXT),
    ("first_name", Type::TEXT),
    ("last_name", Type::TEXT),
    ("email", Type::TEXT),
    ("email_normalized", Type::TEXT),
    ("phone", Type::TEXT),
    ("job_title", Type::TEXT),
    ("website", Type::TEXT),
    ("company_name", Type::TEXT),
    ("status", Type::TEXT),
    ("source", Type::TEXT),
    ("industry", Type::TEXT),
    ("rating", Type::TEXT),
    ("opportunity_amount", Type::INT8),
    ("currency", Type::TEXT),
    ("probability", Type::INT4),
    ("close_date", Type::DATE),
    ("address_line", Type::TEXT),
    ("city", Type::TEXT),
    ("state", Type::TEXT),
    ("postcode", Type::TEXT),
    ("country", Type::TEXT),
    ("last_contacted", Type::DATE),
    ("next_follow_up", Type::DATE),
    ("description", Type::TEXT),
    ("is_active", Type::BOOL),
    ("is_sample", Type::BOOL),
    ("stage_id", Type::UUID),
    ("position", Type::TEXT),
];

/// What hangs on a lead, beside it in the temporary table.
const AROUND: &[(&str, Type)] = &[
    ("created_change", Type::UUID),
    ("updated_change", Type::UUID),
    ("updated_fields", Type::JSONB),
    ("assignees", Type::UUID_ARRAY),
    ("team", Type::UUID),
    ("tags", Type::UUID_ARRAY),
    ("comment_id", Type::UUID),
    ("commented_at", Type::TIMESTAMPTZ),
    ("commented_by", Type::UUID),
    ("comment_change", Type::UUID),
    ("comment", Type::TEXT),
    ("search_title", Type::TEXT),
    ("search_subtitle", Type::TEXT),
    ("search_text", Type::TEXT),
];

/// Everything but the leads themselves, whose columns stand above.
const RECORDS: &str = "INSERT INTO records (org_id, id, kind) SELECT org_id, id, 'lead' FROM seed_leads";
const THE_REST: &str = "
INSERT INTO changes (org_id, id, record_id, version, action, created_by, created_at, fields)
    SELECT org_id, created_change, id, 1, 'created', created_by, created_at, '{}' FROM seed_leads
    UNION ALL
    SELECT org_id, updated_change, id, 2, 'updated', updated_by, updated_at, updated_fields FROM seed_leads
    WHERE updated_change IS NOT NULL
    UNION ALL
    SELECT org_id, comment_change, id, NULL, 'commented', commented_by, commented_at,
        jsonb_build_object('comment', jsonb_build_array(NULL, comment)) FROM seed_leads
    WHERE comment_id IS NOT NULL;
INSERT INTO record_assignees (org_id, record_id, membership_id)
    SELECT org_id, id, unnest(assignees) FROM seed_leads;
INSERT INTO record_teams (org_id, record_id, team_id)
    SELECT org_id, id, team FROM seed_leads WHERE team IS NOT NULL;
INSERT INTO record_tags (org_id, record_id, tag_id)
    SELECT org_id, id, unnest(tags) FROM seed_leads;
INSERT INTO comments (org_id, id, record_id, created_at, updated_at, created_by, updated_by, comment)
    SELECT org_id, comment_id, id, commented_at, commented_at, commented_by, commented_by, comment FROM seed_leads
    WHERE comment_id IS NOT NULL;
INSERT INTO search_documents (org_id, record_id, kind, title, subtitle, title_folded, body)
    SELECT org_id, id, 'lead', search_title, search_subtitle, search_title(search_title), search_body(search_title, search_text)
    FROM seed_leads";

/// Everything that follows from the leads.
const SALES: &str = include_str!("sales.sql");

/// Every tally of the present organization, counted anew.
pub(crate) const TALLIES: &str = include_str!("../tallies.sql");

/// The tables that a load fills.
const FILLED: &str = "records, leads, changes, record_assignees, record_teams, record_tags, record_contacts, comments, \
    search_documents, accounts, contacts, opportunities, opportunity_lines, conversions, record_sources, tallies";

/// Loads the leads of `stream` into an organization, in batches over several connections of the owner.
pub(super) fn leads(
    pool: &SyncPool,
    org: OrgId,
    office: &Office,
    stream: &Stream,
    progress: &ProgressBar,
) -> Result<()> {
    let batches = stream.leads.div_ceil(BATCH);
    let next = AtomicU64::new(0);
    let loader = || -> Result<()> {
        let mut client = pool.get()?;
        prepare(&mut client)?;
        loop {
            let batch = next.fetch_add(1, Ordering::Relaxed);
            if batch >= batches {
                return Ok(());
            }
            let range = batch * BATCH..stream.leads.min((batch + 1) * BATCH);
            let loaded = load(&mut client, org, range.map(|index| stream.lead(office, index)));
            // What failed stops the other loaders at their next batch.
            progress.inc(loaded.inspect_err(|_| next.store(batches, Ordering::Relaxed))?);
        }
    };
    let loaders = batches.min(LOADERS.into());
    thread::scope(|scope| {
        let running: Vec<_> = (0..loaders).map(|_| scope.spawn(loader)).collect();
        running.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a loader broke off"))?)
    })
}

/// What became of the converted leads, and the sums of it all; `until` is the last instant of the data. Answers how many accounts, contacts
/// and deals that made.
pub(super) fn sales(pool: &SyncPool, org: OrgId, until: DateTime<Utc>) -> Result<[i64; 3]> {
    let mut client = pool.get()?;
    let mut transaction = client.transaction()?;
    transaction.batch_execute(&format!(
        "SET LOCAL work_mem = '64MB'; SET LOCAL synchronous_commit = off; SET LOCAL app.current_org = '{org}'"
    ))?;
    // An instant's text cannot carry SQL either.
    transaction.batch_execute(&SALES.replace("$UNTIL", &until.to_rfc3339()))?;
    transaction.batch_execute(TALLIES)?;
    let counted = transaction.query_one(
        "SELECT (SELECT count(*) FROM accounts WHERE org_id = $1), (SELECT count(*) FROM contacts WHERE org_id = $1),
            (SELECT count(*) FROM opportunities WHERE org_id = $1)",
        &[&org.0],
    )?;
    transaction.commit()?;
    Ok([counted.try_get(0)?, counted.try_get(1)?, counted.try_get(2)?])
}

/// Takes what was loaded into the search index, and lets the planner know of it.
pub(super) fn tidy(pool: &SyncPool) -> Result<()> {
    Ok(pool.get()?.batch_execute(&format!("VACUUM (ANALYZE) {FILLED}"))?)
}

fn prepare(client: &mut Client) -> Result<()> {
    let around: String = AROUND.iter().map(|(name, sql_type)| format!(", {name} {sql_type}")).collect();
    // A larger list of what the search index still has to take in makes it do so less often.
    Ok(client.batch_execute(&format!(
        "SET gin_pending_list_limit = '64MB'; SET work_mem = '64MB'; SET synchronous_commit = off;
         CREATE TEMP TABLE IF NOT EXISTS seed_leads (LIKE leads INCLUDING DEFAULTS{around}) ON COMMIT DELETE ROWS"
    ))?)
}

fn load(client: &mut Client, org: OrgId, leads: impl Iterator<Item = DemoLead>) -> Result<u64> {
    let mut transaction = client.transaction()?;
    // A UUID's text cannot carry SQL.
    transaction.batch_execute(&format!("SET LOCAL app.current_org = '{org}'"))?;
    let copied = copy(&mut transaction, org, leads)?;
    let columns = names(LEAD);
    transaction.batch_execute(&format!(
        "{RECORDS}; INSERT INTO leads ({columns}) SELECT {columns} FROM seed_leads; {THE_REST}"
    ))?;
    transaction.commit()?;
    Ok(copied)
}

/// Copies the rows into the temporary table, since COPY FROM refuses tables with row-level security.
fn copy(transaction: &mut Transaction<'_>, org: OrgId, leads: impl Iterator<Item = DemoLead>) -> Result<u64> {
    let (names, types): (String, Vec<Type>) = (
        format!("{}, {}", names(LEAD), names(AROUND)),
        LEAD.iter().chain(AROUND).map(|(_, sql_type)| sql_type.clone()).collect(),
    );
    let writer = transaction.copy_in(&format!("COPY seed_leads ({names}) FROM STDIN BINARY"))?;
    let mut writer = BinaryCopyInWriter::new(writer, &types);
    for lead in leads {
        write(&mut writer, org, &lead)?;
    }
    Ok(writer.finish()?)
}

fn names(columns: &[(&str, Type)]) -> String {
    columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// Writes one row, in the order of [`LEAD`] and [`AROUND`].
fn write(writer: &mut BinaryCopyInWriter<'_>, org: OrgId, lead: &DemoLead) -> Result<(), postgres::Error> {
    let DemoLead { fields, update, comment, .. } = lead;
    let text = |word: Option<&'static str>| word;
    let described = fields.described();
    let row: &[&(dyn ToSql + Sync)] = &[
        &org.0,
        &lead.id,
        &(if update.is_some() { 2_i64 } else { 1 }),
        &lead.created_at,
        &update.as_ref().map_or(lead.created_at, |update| update.at),
        &lead.created_by,
        &update.as_ref().map_or(lead.created_by, |update| update.by),
        &fields.title,
        &fields.salutation,
        &fields.first_name,
        &fields.last_name,
        &fields.email,
        &fields.email_normalized,
        &fields.phone,
        &fields.job_title,
        &fields.website,
        &fields.company_name,
        &text(fields.status.map(|status| status.as_str())),
        &text(fields.source.map(|source| source.as_str())),
        &text(fields.industry.map(|industry| industry.as_str())),
        &text(fields.rating.map(|rating| rating.as_str())),
        &fields.opportunity_amount.and_then(crm_core::Money::minor),
        &fields.currency,
        &fields.probability,
        &fields.close_date,
        &fields.address_line,
        &fields.city,
        &fields.state,
        &fields.postcode,
        &fields.country,
        &fields.last_contacted,
        &fields.next_follow_up,
        &fields.description,
        &fields.is_active,
        &true,
        &lead.stage,
        &crm_records::position::newest(lead.id),
        &lead.created_change,
        &update.as_ref().map(|update| update.change),
        &update.as_ref().map(|update| &update.fields),
        &lead.assignees,
        &lead.team,
        &lead.tags,
        &comment.as_ref().map(|comment| comment.id),
        &comment.as_ref().map(|comment| comment.at),
        &comment.as_ref().map(|comment| comment.by),
        &comment.as_ref().map(|comment| comment.change),
        &comment.as_ref().map(|comment| comment.text),
        &described.title,
        &described.subtitle,
        &described.text,
    ];
    writer.write(row)
}
