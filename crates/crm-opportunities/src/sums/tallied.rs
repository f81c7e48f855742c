//! The sums of all deals for whoever sees all of them: from the tallies that every change keeps, without going through the deals. Only
//! those that came to their stage lately and those out of use, of which the tallies know nothing, are looked at.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use super::Span;

/// All deals, or those of a forecast by the period that they belong to.
pub(super) struct Tallied {
    pub(super) org: Uuid,
    /// The open stages, and since when a deal that has stalled is in each.
    pub(super) stages: Vec<String>,
    pub(super) since: Vec<DateTime<Utc>>,
    pub(super) span: Option<Span>,
}

impl Query for Tallied {
    type SqlType = (Text, (Nullable<Text>, BigInt, BigInt, BigInt, BigInt));
}

impl QueryId for Tallied {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

/// Of the open ones those have stalled that are not fresh: there may be ever so many of the former, and hardly of the latter.
const SUMS: &str = "SELECT {period}, currency, sum(count)::bigint, least(sum(amount), 9223372036854775807)::bigint, \
    least(round(sum(weighted) / 100), 9223372036854775807)::bigint, (coalesce(sum(count) FILTER (WHERE stage IN \
    ('PROSPECTING', 'QUALIFICATION', 'PROPOSAL', 'NEGOTIATION')), 0) - sum(fresh))::bigint FROM (";

const TALLIES: &str = " split_part(bucket, '|', 1) AS stage, nullif(split_part(bucket, '|', 2), '') AS currency, \
    count, amount, weighted, 0 AS fresh FROM tallies WHERE org_id = {org} AND kind = 'opportunity' AND day IS ";

/// Deals without a date are what those with one leave of all.
const UNDATED: &str = " UNION ALL SELECT NULL, split_part(bucket, '|', 1), nullif(split_part(bucket, '|', 2), ''), \
    -count, -amount, -weighted, 0 FROM tallies WHERE org_id = {org} AND kind = 'opportunity' AND day IS NOT NULL";

const OUT_OF_USE: &str = " UNION ALL SELECT closed_on, stage, CASE WHEN amount IS NOT NULL THEN currency END, \
    -1, -coalesce(amount, 0), -coalesce(amount, 0) * probability, 0 FROM opportunities WHERE org_id = {org} AND NOT is_active";

/// The stages stand there as words too, so that the index of open deals is found.
const FRESH: &str = " UNION ALL SELECT o.closed_on, o.stage, CASE WHEN o.amount IS NOT NULL THEN o.currency END, 0, 0, 0, 1 \
    FROM unnest({stages}, {since}) AS s (stage, since) CROSS JOIN LATERAL (\
    SELECT closed_on, stage, amount, currency, is_active FROM opportunities WHERE org_id = {org} AND stage = s.stage \
    AND stage IN ('PROSPECTING', 'QUALIFICATION', 'PROPOSAL', 'NEGOTIATION') AND stage_changed_at > s.since) o";

impl Tallied {
    fn sql(&self) -> String {
        let all = format!("SELECT NULL::date AS closed_on,{TALLIES}NULL");
        if self.span.is_none() {
            let sums = SUMS.replace("{period}", "''");
            return format!("{sums}{all}{FRESH}) d GROUP BY 2 HAVING sum(count) > 0 ORDER BY 2");
        }
        let sums = SUMS.replace("{period}", Span::PERIOD);
        let dated = format!(" UNION ALL SELECT day,{TALLIES}NOT NULL");
        format!(
            "{sums}{all}{UNDATED}{dated}{OUT_OF_USE}{FRESH} WHERE o.is_active) d WHERE {} GROUP BY 1, 2 HAVING sum(count) > 0 ORDER BY 1, 2",
            Span::COUNTS
        )
    }
}

impl QueryFragment<Pg> for Tallied {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // What stands in braces is bound, the rest is text.
        for (place, part) in self.sql().split(['{', '}']).enumerate() {
            match part {
                _ if place % 2 == 0 => out.push_sql(part),
                "org" => out.push_bind_param::<SqlUuid, _>(&self.org)?,
                "stages" => out.push_bind_param::<Array<Text>, _>(&self.stages)?,
                "since" => out.push_bind_param::<Array<Timestamptz>, _>(&self.since)?,
                day => Span::bind(self.span.as_ref(), day, &mut out)?,
            }
        }
        Ok(())
    }
}
