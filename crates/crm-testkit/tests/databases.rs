//! Databases come migrated, apart from each other, and go when dropped.

use std::time::{Duration, Instant};

use crm_core::Error;
use crm_core::tenancy::{check_role, schema_state};
use crm_testkit::{fresh_database, shared_db};
use diesel_async::{AsyncConnection, AsyncPgConnection};

#[tokio::test]
async fn a_database_is_there_until_dropped() {
    let (database, other) = (fresh_database().await, fresh_database().await);
    assert_ne!(database.name, other.name);
    let url = database.app_url.clone();
    let held = AsyncPgConnection::establish(&url).await.unwrap();
    drop(database);
    let start = Instant::now();
    while AsyncPgConnection::establish(&url).await.is_ok() {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "the database stays, for whoever still holds a connection"
        );
    }
    drop(held);
    assert!(AsyncPgConnection::establish(&other.app_url).await.is_ok());
}

#[test]
fn the_shared_database_serves_every_runtime() {
    let look = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let db = shared_db().await;
            let seen: Result<_, Error> = db
                .platform(async |tx| Ok((check_role(tx.conn()?).await?, schema_state(tx.conn()?).await?)))
                .await;
            let (faults, schema) = seen.unwrap();
            assert!(faults.is_empty() && schema.is_current());
        });
    };
    std::thread::scope(|scope| (0..3).for_each(|_| drop(scope.spawn(look))));
    // The connections of runtimes that are gone still serve.
    look();
}
