//! The functions of the database through which alone the application reaches the table of jobs.

use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{
    Array, Double, Integer, Jsonb, Nullable, Text, Timestamptz, Untyped, Uuid as SqlUuid,
};
use diesel::{QueryResult, define_sql_function};
use uuid::Uuid;

define_sql_function! {
    fn jobs_put(id: SqlUuid, kind: Text, payload: Jsonb, key: Nullable<Text>, priority: Integer, run_at: Nullable<Timestamptz>) -> Bool;
}
define_sql_function! {
    fn jobs_put_each(ids: Array<SqlUuid>, orgs: Array<SqlUuid>, kind: Text, payload: Jsonb, key: Text) -> Nullable<Text>;
}
define_sql_function! { fn jobs_done(id: SqlUuid, lease: SqlUuid) -> Bool; }
define_sql_function! {
    fn jobs_failed(id: SqlUuid, lease: SqlUuid, error: Text, wait: Nullable<Double>) -> Bool;
}
define_sql_function! { fn jobs_sweep(attempts: Integer, wait: Double) -> Bool; }
define_sql_function! {
    fn job_schedules_fire(
        name: Text, cron: Text, at: Timestamptz, next: Timestamptz, id: SqlUuid, kind: Text, payload: Jsonb
    ) -> Bool;
}

/// Claims one job; its text never changes, so that it is prepared once per connection.
#[derive(QueryId)]
pub(crate) struct Claim {
    pub(crate) lease: Uuid,
    /// The lane served last.
    pub(crate) after: Uuid,
    /// Lanes that have enough already.
    pub(crate) except: Vec<Uuid>,
    pub(crate) seconds: f64,
}

impl Query for Claim {
    type SqlType = Untyped;
}

impl QueryFragment<Pg> for Claim {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT id, org_id, kind, payload, attempts, lease FROM jobs_claim(");
        out.push_bind_param::<SqlUuid, _>(&self.lease)?;
        out.push_sql(", ");
        out.push_bind_param::<SqlUuid, _>(&self.after)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<SqlUuid>, _>(&self.except)?;
        out.push_sql(", ");
        out.push_bind_param::<Double, _>(&self.seconds)?;
        out.push_sql(")");
        Ok(())
    }
}
