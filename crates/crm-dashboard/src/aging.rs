use std::collections::HashMap;

use chrono::{DateTime, Utc};
use crm_core::{Result, TenantTx};
use crm_schema::stage_aging;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use crate::days::Days;

/// How many days a deal is expected to stay in each open stage, unless the organization says otherwise.
const DEFAULTS: [(&str, i32); 4] =
    [("PROSPECTING", 14), ("QUALIFICATION", 14), ("PROPOSAL", 10), ("NEGOTIATION", 10)];

/// By when a deal must have entered its stage to be slow or rotten.
#[derive(Debug, Clone)]
pub(crate) struct Aging {
    pub(crate) stages: Vec<&'static str>,
    /// Slow: for as long as is expected, or as the organization wants to be warned.
    pub(crate) slow: Vec<DateTime<Utc>>,
    /// Rotten: for half as long again as is expected.
    pub(crate) rotten: Vec<DateTime<Utc>>,
}

impl Aging {
    pub(crate) async fn read(t: &mut TenantTx, days: &Days) -> Result<Self> {
        let rows: Vec<(String, i32, Option<i32>)> = stage_aging::table
            .filter(stage_aging::org_id.eq(t.org()))
            .select((stage_aging::stage, stage_aging::expected_days, stage_aging::warning_days))
            .load(t.conn()?)
            .await?;
        let own: HashMap<_, _> = rows.into_iter().map(|(stage, days, warn)| (stage, (days, warn))).collect();
        let mut aging = Self { stages: Vec::new(), slow: Vec::new(), rotten: Vec::new() };
        for (stage, default) in DEFAULTS {
            let (expected, warning) = own.get(stage).copied().unwrap_or((default, None));
            let (slow, rotten) = thresholds(expected, warning);
            aging.stages.push(stage);
            aging.slow.push(days.before(slow));
            aging.rotten.push(days.before(rotten));
        }
        Ok(aging)
    }
}

/// After how many whole days a deal is slow, and after how many it is rotten: one and a half times what is expected, rounded up, so that
/// the colour of a row and the list of the rotten agree on odd numbers too.
fn thresholds(expected: i32, warning: Option<i32>) -> (i64, i64) {
    let slow = warning.map_or(expected, |warning| warning.min(expected));
    (i64::from(slow), (i64::from(expected) * 3 + 1) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deal_rots_after_one_and_a_half_times_what_is_expected_also_of_odd_days() {
        for (expected, warning, want) in [
            (14, None, (14, 21)),
            (7, None, (7, 11)),
            (10, Some(3), (3, 15)),
            (10, Some(30), (10, 15)),
            (1, None, (1, 2)),
        ] {
            assert_eq!(thresholds(expected, warning), want);
        }
    }
}
