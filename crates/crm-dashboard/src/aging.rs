use chrono::{DateTime, Utc};
use crm_core::{Result, TenantTx};

use crate::days::Days;

/// By when a deal must have entered its stage to be slow or rotten.
#[derive(Debug, Clone)]
pub(crate) struct Aging {
    pub(crate) stages: Vec<&'static str>,
    pub(crate) slow: Vec<DateTime<Utc>>,
    pub(crate) rotten: Vec<DateTime<Utc>>,
}

impl Aging {
    pub(crate) async fn read(t: &mut TenantTx, days: &Days) -> Result<Self> {
        let mut aging = Self { stages: Vec::new(), slow: Vec::new(), rotten: Vec::new() };
        for (stage, slow, rotten) in crm_opportunities::aging::Aging::read(t).await?.limits() {
            aging.stages.push(stage.as_str());
            aging.slow.push(days.before(slow));
            aging.rotten.push(days.before(rotten));
        }
        Ok(aging)
    }
}
