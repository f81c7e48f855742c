use std::time::Duration;

use crm_core::{Db, Result};
use diesel::sql_types::{BigInt, Double};
use diesel_async::RunQueryDsl;
use tokio::sync::watch;
use tokio::time::timeout;

const EVERY: Duration = Duration::from_secs(15);

/// How much there is to do in all, over every organization.
#[derive(Debug, Clone, Copy, PartialEq, diesel::QueryableByName)]
pub struct Backlog {
    /// Jobs to be done: due, waiting or under way.
    #[diesel(sql_type = BigInt)]
    pub pending: i64,
    /// Jobs that will not be tried again.
    #[diesel(sql_type = BigInt)]
    pub dead: i64,
    /// For how long the oldest has been due that nobody has claimed.
    #[diesel(sql_type = Double)]
    pub oldest_due_seconds: f64,
}

/// Counts the jobs there are.
///
/// # Errors
/// `Unavailable` without a database.
pub async fn backlog(db: &Db) -> Result<Backlog> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a set-returning function in FROM has no form in the DSL, and is asked seldom"
    )]
    let query = diesel::sql_query("SELECT pending, dead, oldest_due_seconds FROM jobs_backlog()");
    db.platform(async |p| Ok(query.get_result(p.conn()?).await?)).await
}

/// Keeps the gauges of the metrics up to date until `stop` turns true or its sender is gone.
pub async fn watch_backlog(db: &Db, mut stop: watch::Receiver<bool>) {
    loop {
        match backlog(db).await {
            Ok(Backlog { pending, dead, oldest_due_seconds }) => {
                metrics::gauge!("jobs_pending").set(pending as f64);
                metrics::gauge!("jobs_dead").set(dead as f64);
                metrics::gauge!("jobs_oldest_due_seconds").set(oldest_due_seconds);
            }
            Err(error) => tracing::warn!(%error, "the jobs can't be counted"),
        }
        if timeout(EVERY, stop.wait_for(|stop| *stop)).await.is_ok() {
            return;
        }
    }
}
