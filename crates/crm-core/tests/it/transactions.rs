//! What a pooled connection remembers, and what a transaction outside every organization can do.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use crm_core::{Caller, Clock, Db, DbSettings, Error, TenantTx};
use crm_schema::records;
use crm_testkit::{Database, fresh_database, shared_db};
use diesel::dsl::sql;
use diesel::sql_types::{BigInt, Integer, Nullable, Text};
use diesel::{ExpressionMethods, QueryDsl};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use futures_util::FutureExt;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::new_org;

/// A pool of one connection, so that the next borrower gets what the last one left.
async fn narrow() -> (Database, Db, Caller) {
    let database = fresh_database().await;
    let settings = DbSettings { url: database.app_url.clone(), pool_size: 1, wait: Duration::from_secs(10) };
    let db = Db::connect(&settings, Clock::default()).unwrap();
    let caller = new_org(&db).await;
    (database, db, caller)
}

async fn insert_record(tx: &mut TenantTx) -> Result<usize, Error> {
    let row = (records::org_id.eq(tx.org().0), records::id.eq(Uuid::now_v7()), records::kind.eq("lead"));
    Ok(diesel::insert_into(records::table).values(row).execute(tx.conn()?).await?)
}

async fn records_of(db: &Db, caller: &Caller) -> i64 {
    let count: Result<_, Error> =
        db.tenant(caller, async |tx| Ok(records::table.count().get_result(tx.conn()?).await?)).await;
    count.unwrap()
}

/// The server process behind the connection, after a look at what it knows: no organization.
async fn clean_backend(db: &Db) -> i32 {
    let seen: Result<(i32, Option<String>), Error> = db
        .platform(async |tx| {
            let seen = diesel::select((
                sql::<Integer>("pg_backend_pid()"),
                sql::<Nullable<Text>>("nullif(current_setting('app.current_org', true), '')"),
            ));
            Ok(seen.get_result(tx.conn()?).await?)
        })
        .await;
    let (backend, org) = seen.unwrap();
    assert_eq!(org, None, "the next borrower inherits no organization");
    backend
}

/// Waits until no connection of the database has a transaction open.
async fn await_idle(database: &Database) {
    let mut conn = crate::connect(&database.app_url).await;
    let open = sql::<BigInt>(
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND usename = 'crm_app' AND pid <> pg_backend_pid() AND xact_start IS NOT NULL",
    );
    let start = Instant::now();
    while open.clone().get_result::<i64>(&mut conn).await.unwrap() > 0 {
        assert!(start.elapsed() < Duration::from_secs(20), "a transaction stays open");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_connection_is_used_again_and_remembers_nothing() {
    let (_database, db, caller) = narrow().await;
    let first = clean_backend(&db).await;
    let kept: Result<_, Error> = db.tenant(&caller, async |tx| insert_record(tx).await).await;
    assert_eq!(kept.unwrap(), 1);
    assert_eq!(clean_backend(&db).await, first, "after a commit");
    let refused: Result<(), Error> = db
        .tenant(&caller, async |tx| {
            insert_record(tx).await?;
            Err(Error::NotFound)
        })
        .await;
    assert!(matches!(refused, Err(Error::NotFound)));
    assert_eq!(clean_backend(&db).await, first, "after a rollback");
    assert_eq!(records_of(&db, &caller).await, 1);
}

#[tokio::test]
async fn a_panic_leaves_no_context_and_no_transaction() {
    let (database, db, caller) = narrow().await;
    let first = clean_backend(&db).await;
    let work = db.tenant(&caller, async |tx| -> Result<(), Error> {
        insert_record(tx).await?;
        panic!("in the middle of the work");
    });
    assert!(AssertUnwindSafe(work).catch_unwind().await.is_err());
    assert_ne!(clean_backend(&db).await, first, "the connection was given up");
    await_idle(&database).await;
    assert_eq!(records_of(&db, &caller).await, 0);
}

#[tokio::test]
async fn a_cancelled_request_leaves_no_context_and_no_transaction() {
    let (database, db, caller) = narrow().await;
    let first = clean_backend(&db).await;
    let inserted = Notify::new();
    let work = db.tenant(&caller, async |tx| -> Result<(), Error> {
        insert_record(tx).await?;
        inserted.notify_one();
        std::future::pending().await
    });
    tokio::select! {
        _ = work => panic!("the work never ends"),
        () = inserted.notified() => {}
    }
    assert_ne!(clean_backend(&db).await, first, "the connection was given up");
    await_idle(&database).await;
    assert_eq!(records_of(&db, &caller).await, 0);
}

#[tokio::test]
async fn a_swallowed_error_is_not_reported_as_committed() {
    let (_database, db, caller) = narrow().await;
    let first = clean_backend(&db).await;
    let result: Result<(), Error> = db
        .tenant(&caller, async |tx| {
            insert_record(tx).await?;
            let failed = tx.conn()?.batch_execute("SELECT 1 / 0").await;
            assert!(failed.is_err());
            Ok(())
        })
        .await;
    assert!(matches!(result, Err(Error::Internal(_))), "{result:?}");
    assert_eq!(records_of(&db, &caller).await, 0);
    assert_ne!(clean_backend(&db).await, first, "the connection was given up");
}

#[tokio::test]
async fn an_organization_sees_its_own_rows_only() {
    let db = shared_db().await;
    let (ours, theirs) = (new_org(&db).await, new_org(&db).await);
    let stored: Result<_, Error> = db.tenant(&ours, async |tx| insert_record(tx).await).await;
    assert_eq!(stored.unwrap(), 1);
    assert_eq!((records_of(&db, &ours).await, records_of(&db, &theirs).await), (1, 0));
}

#[tokio::test]
async fn outside_every_organization_tables_look_empty_and_refuse_writes() {
    let db = shared_db().await;
    let caller = new_org(&db).await;
    let stored: Result<_, Error> = db.tenant(&caller, async |tx| insert_record(tx).await).await;
    assert_eq!(stored.unwrap(), 1);

    let org = caller.org.id.0;
    let changed: Result<_, Error> = db
        .platform(async |tx| {
            let seen: i64 = records::table.count().get_result(tx.conn()?).await?;
            let deleted =
                diesel::delete(records::table.filter(records::org_id.eq(org))).execute(tx.conn()?).await?;
            Ok((seen, deleted))
        })
        .await;
    assert_eq!(changed.unwrap(), (0, 0));

    let row = (records::org_id.eq(org), records::id.eq(Uuid::now_v7()), records::kind.eq("lead"));
    let refused: Result<_, Error> = db
        .platform(async |tx| Ok(diesel::insert_into(records::table).values(row).execute(tx.conn()?).await?))
        .await;
    let Err(Error::Internal(cause)) = refused else { panic!("{refused:?}") };
    assert!(cause.to_string().contains("row-level security"), "{cause}");
    assert_eq!(records_of(&db, &caller).await, 1);
}
