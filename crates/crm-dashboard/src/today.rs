use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use crm_core::{Error, FieldCode, Result, TenantTx};
use crm_records::Target;
use crm_records::list::Params;
use diesel::sql_types::{BigInt, Date, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use uuid::Uuid;

use crate::aging::Aging;
use crate::days::{Days, WEEK};
use crate::figure::money;
use crate::part::Part;
use crate::queue::{Entry, LaterItem, Reason, TodayItem, TodaySource, TodaySummary, ranked};
use crate::statement::Statement;
use crate::{leads, opportunities};

const DEFAULT_LIMIT: usize = 8;
const MAX_LIMIT: usize = 50;
/// How many entries show what is to come.
const LATER: usize = 6;

/// What the queue takes.
pub const TODAY_PARAMETERS: &[(&str, &str)] = &[(
    "limit",
    "How many things to do are shown: 1 to 50, 8 if left out. At most 25 of them are there for the same reason",
)];

/// What to do, and what will be.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Today {
    /// The most pressing first.
    pub queue: Vec<TodayItem>,
    /// How much there is in all.
    pub summary: TodaySummary,
    /// The next six follow-ups, from tomorrow on, and closings of deals, from today on, within seven days.
    pub later: Vec<LaterItem>,
}

/// What the caller has to do today, in seven statements at most. `targets` are the kinds of record that there are.
///
/// # Errors
/// 400 for a limit that is none; those of the database.
pub async fn today(t: &mut TenantTx, targets: &[Target], params: &Params) -> Result<Today> {
    let limit = params.get("limit").map_or(Ok(DEFAULT_LIMIT), limit)?;
    let days = Days::of(t);
    let (mut sources, mut entries) = (Vec::new(), Vec::new());
    if let Some(part) = Part::known(t, targets, "lead").await? {
        sources.extend(count_leads(t, &part, &days).await?);
        entries.extend(find_leads(t, &part, &days).await?);
    }
    if let Some(part) = Part::known(t, targets, "opportunity").await? {
        let aging = Aging::read(t, &days).await?;
        sources.extend(count_deals(t, &part, &days, &aging).await?);
        entries.extend(find_deals(t, &part, &days, &aging).await?);
    }
    sources.retain(|(_, source)| source.count > 0);
    sources.sort_by_key(|(reason, _)| *reason);
    let sources: Vec<_> = sources.into_iter().map(|(_, source)| source).collect();
    let (queue, later) = ranked(entries, limit, LATER);
    let count = sources.iter().map(|source| source.count).sum();
    Ok(Today { summary: TodaySummary { count, shown: queue.len(), sources }, queue, later })
}

fn limit(text: &str) -> Result<usize> {
    let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    let message = format!("must be a whole number from 1 to {MAX_LIMIT}");
    limit.ok_or_else(|| Error::parameter("limit", FieldCode::OutOfRange, message))
}

fn source(reason: Reason, count: i64, list: String) -> (Reason, TodaySource) {
    (reason, TodaySource { reason: reason.word(), count, list })
}

/// As a condition on the leads that [`leads::HOT`] leaves: contacted long ago.
fn quiet<S>(query: &mut Statement<S>, days: &Days) {
    query.push("last_contacted <= ").push(days.long_ago);
}

/// Never contacted, although it came in long ago.
fn untouched<S>(query: &mut Statement<S>, days: &Days) {
    query.push("last_contacted IS NULL AND created_at <= ").push(week_ago(days));
}

fn week_ago(days: &Days) -> DateTime<Utc> {
    days.before(i64::try_from(WEEK).unwrap_or(0))
}

async fn count_leads(t: &mut TenantTx, part: &Part, days: &Days) -> Result<Vec<(Reason, TodaySource)>> {
    let mut query = Statement::<(BigInt, BigInt, BigInt, BigInt)>::new();
    if part.is_whole() {
        // Tallies of follow-ups, and a range of an index.
        query.push("SELECT f.overdue, f.today, h.quiet, h.untouched FROM (SELECT coalesce(sum(count) FILTER (WHERE day < ");
        query.push(days.today).push("), 0)::bigint AS overdue, coalesce(sum(count) FILTER (WHERE day = ");
        query.push(days.today).push("), 0)::bigint AS today FROM tallies WHERE org_id = ").push(t.org().0);
        query.push(" AND kind = 'lead' AND bucket = 'follow_up' AND day <= ").push(days.today);
        query.push(") f, (SELECT count(*) FILTER (WHERE ");
        quiet(&mut query, days);
        query.push(") AS quiet, count(*) FILTER (WHERE ");
        untouched(&mut query, days);
        query.push(") AS untouched FROM leads WHERE ").push(part.visible(t)).push(" AND ").push(leads::HOT);
        query.push(") h");
    } else {
        query.push("SELECT count(*) FILTER (WHERE ").push(leads::OPEN);
        query.push(" AND leads.next_follow_up < ").push(days.today);
        query.push("), count(*) FILTER (WHERE ").push(leads::OPEN);
        query.push(" AND leads.next_follow_up = ").push(days.today);
        query.push("), count(*) FILTER (WHERE ").push(leads::HOT).push(" AND ");
        quiet(&mut query, days);
        query.push("), count(*) FILTER (WHERE ").push(leads::HOT).push(" AND ");
        untouched(&mut query, days);
        query.push(") FROM leads WHERE ").push(part.visible(t));
    }
    let (overdue, today, quiet, untouched) = query.get_result(t.conn()?).await?;
    let came_in = instant(week_ago(days));
    let hot = leads::HOT_LIST;
    Ok(vec![
        source(Reason::OverdueFollowUp, overdue, leads::overdue_list(days)),
        source(Reason::FollowUpToday, today, leads::today_list(days)),
        source(Reason::QuietHotLead, quiet, format!("{hot}&last_contacted__lte={}", days.long_ago)),
        source(
            Reason::UntouchedHotLead,
            untouched,
            format!("{hot}&last_contacted__isnull=true&created_at__lte={came_in}"),
        ),
    ])
}

/// The reason, the record, the day and the instant that order it, its detail and title.
type LeadRow = (Text, SqlUuid, Nullable<Date>, Timestamptz, Text, Text);
type Lead = (String, Uuid, Option<NaiveDate>, DateTime<Utc>, String, String);

async fn find_leads(t: &mut TenantTx, part: &Part, days: &Days) -> Result<Vec<Entry>> {
    let mut query = Statement::<LeadRow>::new();
    query.push("SELECT reason, id, day, created_at, detail, coalesce(record_title(id), '') FROM (");
    let begin = |query: &mut Statement<LeadRow>, select: &'static str, which: &'static str| {
        query.push(select).push(" AS day, created_at, coalesce(company_name, email, '') AS detail");
        part.walk(t, query);
        query.push(" AND ").push(which).push(" AND ");
    };
    begin(&mut query, "(SELECT 'overdue_follow_up' AS reason, id, next_follow_up", leads::OPEN);
    query.push("next_follow_up < ").push(days.today);
    query.push(" ORDER BY next_follow_up, id LIMIT 25) UNION ALL ");
    begin(&mut query, "(SELECT 'follow_up_today', id, next_follow_up", leads::OPEN);
    query.push("next_follow_up = ").push(days.today);
    query.push(" ORDER BY next_follow_up, id LIMIT 25) UNION ALL ");
    begin(&mut query, "(SELECT 'quiet_hot_lead', id, last_contacted", leads::HOT);
    quiet(&mut query, days);
    query.push(" ORDER BY last_contacted, id LIMIT 25) UNION ALL ");
    begin(&mut query, "(SELECT 'untouched_hot_lead', id, NULL::date", leads::HOT);
    untouched(&mut query, days);
    query.push(" ORDER BY id LIMIT 25) UNION ALL ");
    begin(&mut query, "(SELECT 'later', id, next_follow_up", leads::OPEN);
    query.push("next_follow_up >= ").push(days.tomorrow).push(" AND next_follow_up <= ");
    query.push(days.soon).push(" ORDER BY next_follow_up, id LIMIT 6)) found");
    let rows: Vec<Lead> = query.load(t.conn()?).await?;
    let entry = |(reason, id, day, at, detail, title): Lead| Entry {
        reason: Reason::of_word(&reason),
        kind: "lead",
        module: "leads",
        id,
        day,
        at,
        title,
        detail,
    };
    Ok(rows.into_iter().map(entry).collect())
}

/// `unnest(…) s (stage, slow, rotten)`.
fn stages<S>(query: &mut Statement<S>, aging: &Aging) {
    query.push("unnest(").push(aging.stages.clone()).push(", ").push(aging.slow.clone()).push(", ");
    query.push(aging.rotten.clone()).push(") s (stage, slow, rotten)");
}

async fn count_deals(
    t: &mut TenantTx,
    part: &Part,
    days: &Days,
    aging: &Aging,
) -> Result<Vec<(Reason, TodaySource)>> {
    let mut query = Statement::<(Text, BigInt, BigInt, BigInt)>::new();
    if part.is_whole() {
        // For each stage a range of the index by its beginning, and one of the index by closing dates.
        query.push("SELECT s.stage, c.rotten, c.slow, d.overdue FROM ");
        stages(&mut query, aging);
        query.push(
            " CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE opportunities.stage_changed_at <= s.rotten) AS rotten, \
             count(*) FILTER (WHERE opportunities.stage_changed_at > s.rotten) AS slow FROM opportunities WHERE ",
        );
        query.push(part.visible(t)).push(" AND ").push(opportunities::OPEN);
        query.push(" AND opportunities.stage = s.stage AND opportunities.stage_changed_at <= s.slow) c");
        query.push(" CROSS JOIN LATERAL (SELECT count(*) AS overdue FROM opportunities WHERE ");
        query.push(part.visible(t)).push(" AND opportunities.stage = s.stage AND opportunities.closed_on < ");
        query.push(days.today).push(") d");
    } else {
        query.push(
            "SELECT s.stage, count(*) FILTER (WHERE opportunities.stage_changed_at <= s.rotten), \
             count(*) FILTER (WHERE opportunities.stage_changed_at > s.rotten AND opportunities.stage_changed_at <= s.slow), \
             count(*) FILTER (WHERE opportunities.closed_on < ",
        );
        query.push(days.today).push(") FROM opportunities JOIN ");
        stages(&mut query, aging);
        query
            .push(" ON s.stage = opportunities.stage WHERE ")
            .push(part.visible(t))
            .push(" GROUP BY s.stage");
    }
    let rows: Vec<(String, i64, i64, i64)> = query.load(t.conn()?).await?;
    let sum = |of: fn(&(String, i64, i64, i64)) -> i64| rows.iter().map(of).sum::<i64>();
    let mut sources = vec![
        source(Reason::RottenDeal, sum(|row| row.1), "/api/opportunities/?rotten=true".into()),
        source(Reason::OverdueDeal, sum(|row| row.3), opportunities::overdue_list(days)),
    ];
    // How long is slow differs from stage to stage, and so do the lists.
    for (stage, (slow, rotten)) in aging.stages.iter().zip(aging.slow.iter().zip(&aging.rotten)) {
        let count = rows.iter().find(|row| row.0 == *stage).map_or(0, |row| row.2);
        let [slow, rotten] = [slow, rotten].map(|at| instant(*at));
        let since = format!("stage_changed_at__lte={slow}&stage_changed_at__gt={rotten}");
        let list = format!("/api/opportunities/?stage={stage}&{since}");
        sources.push(source(Reason::SlowDeal, count, list));
    }
    Ok(sources)
}

/// An instant as lists read it, exactly.
fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The reason, the record, its closing day, when it entered its stage, the stage, currency, amount and title.
type DealRow = (Text, SqlUuid, Nullable<Date>, Timestamptz, Text, Nullable<Text>, Nullable<BigInt>, Text);
type Deal = (String, Uuid, Option<NaiveDate>, DateTime<Utc>, String, Option<String>, Option<i64>, String);

async fn find_deals(t: &mut TenantTx, part: &Part, days: &Days, aging: &Aging) -> Result<Vec<Entry>> {
    const SELECT: &str = "o.id, o.closed_on, o.stage_changed_at, o.stage, o.currency, o.amount FROM ";
    let mut query = Statement::<DealRow>::new();
    query.push(
        "SELECT reason, id, closed_on, stage_changed_at, stage, currency, amount, coalesce(record_title(id), '') FROM (",
    );
    let visible = part.visible(t);
    let begin = |query: &mut Statement<DealRow>, select: &'static str| {
        query.push(select).push(SELECT);
        stages(query, aging);
        query.push(" CROSS JOIN LATERAL (SELECT * FROM opportunities WHERE ").push(visible.clone());
        query.push(" AND ").push(opportunities::OPEN).push(" AND opportunities.stage = s.stage AND ");
    };
    begin(&mut query, "(SELECT 'rotten_deal' AS reason, ");
    query.push(
        "opportunities.stage_changed_at <= s.rotten ORDER BY opportunities.stage_changed_at, opportunities.id LIMIT 25) o \
         ORDER BY o.stage_changed_at, o.id LIMIT 25) UNION ALL ",
    );
    begin(&mut query, "(SELECT 'slow_deal', ");
    query.push(
        "opportunities.stage_changed_at > s.rotten AND opportunities.stage_changed_at <= s.slow \
         ORDER BY opportunities.stage_changed_at, opportunities.id LIMIT 25) o \
         ORDER BY o.stage_changed_at, o.id LIMIT 25) UNION ALL ",
    );
    begin(&mut query, "(SELECT 'overdue_deal', ");
    query.push("opportunities.closed_on < ").push(days.today).push(
        " ORDER BY opportunities.closed_on, opportunities.id LIMIT 25) o ORDER BY o.closed_on, o.id LIMIT 25) UNION ALL ",
    );
    begin(&mut query, "(SELECT 'later', ");
    query.push("opportunities.closed_on >= ").push(days.today).push(" AND opportunities.closed_on <= ");
    query.push(days.soon).push(
        " ORDER BY opportunities.closed_on, opportunities.id LIMIT 6) o ORDER BY o.closed_on, o.id LIMIT 6)) found",
    );
    let rows: Vec<Deal> = query.load(t.conn()?).await?;
    let entry = |(reason, id, day, at, stage, currency, amount, title): Deal| {
        let worth = currency.zip(amount);
        let worth = worth.map(|(currency, amount)| format!("{} {currency}, ", money(&currency, amount)));
        let spent = (days.now - at).num_days();
        Entry {
            reason: Reason::of_word(&reason),
            kind: "opportunity",
            module: "opportunities",
            id,
            day,
            at,
            title,
            detail: format!("{}{stage} for {spent} days", worth.unwrap_or_default()),
        }
    };
    Ok(rows.into_iter().map(entry).collect())
}
