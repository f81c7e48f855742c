//! How many records have no value of a field.

use std::collections::{HashMap, HashSet};

use crm_access::Require;
use crm_core::{Result, Scope, TenantTx};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::model::CustomField;

/// Counts for each definition the records of its module without a value: one reading of all records per module. Whoever may not look at
/// all of them is told no number.
pub(crate) async fn count_missing(t: &mut TenantTx, definitions: &mut [CustomField]) -> Result<()> {
    let targets: HashSet<_> = definitions.iter().map(|definition| definition.fields.target).collect();
    for target in targets {
        if t.require(target.view())? != Scope::All {
            continue;
        }
        let found: HashMap<Uuid, i64> = match target.records() {
            Some((_, table)) => {
                let count = Missing { table, target: target.as_str(), org: t.org().0 };
                count.load::<(Uuid, i64)>(t.conn()?).await?.into_iter().collect()
            }
            None => HashMap::new(),
        };
        for definition in definitions.iter_mut().filter(|definition| definition.fields.target == target) {
            definition.records_missing_value = Some(found.get(&definition.base.id).copied().unwrap_or(0));
        }
    }
    Ok(())
}

struct Missing {
    table: &'static str,
    target: &'static str,
    org: Uuid,
}

impl Query for Missing {
    type SqlType = (sql_types::Uuid, sql_types::BigInt);
}

impl QueryId for Missing {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Missing {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let Self { table, target, org } = self;
        out.push_sql(
            "SELECT d.id, everything.records - coalesce(present.records, 0) FROM custom_fields d \
             CROSS JOIN (SELECT count(*) AS records FROM ",
        );
        out.push_identifier(table)?;
        out.push_sql(" WHERE org_id = ");
        out.push_bind_param::<sql_types::Uuid, _>(org)?;
        out.push_sql(") everything LEFT JOIN (SELECT k.key, count(*) AS records FROM ");
        out.push_identifier(table)?;
        out.push_sql(" r CROSS JOIN LATERAL jsonb_object_keys(r.custom_fields) k (key) WHERE r.org_id = ");
        out.push_bind_param::<sql_types::Uuid, _>(org)?;
        out.push_sql(" GROUP BY k.key) present ON present.key = d.key WHERE d.org_id = ");
        out.push_bind_param::<sql_types::Uuid, _>(org)?;
        out.push_sql(" AND d.target = ");
        out.push_bind_param::<sql_types::Text, _>(*target)
    }
}
