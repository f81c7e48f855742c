//! Tenancy against a real server: what the catalog says, what an attacker reaches, what a connection remembers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod inspect;
mod probe;
mod role;
mod schema;
mod signals;
mod transactions;

use crm_core::{Caller, Db, Error, OrgId, OrgInfo};
use diesel::ExpressionMethods;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

/// Founds an organization and answers the program itself acting in it.
async fn new_org(db: &Db) -> Caller {
    use crm_schema::organizations;

    let org = OrgInfo {
        id: OrgId::generate(),
        name: "Fern".into(),
        currency: "EUR".into(),
        timezone: chrono_tz::UTC,
    };
    let founded: Result<_, Error> = db
        .platform(async |tx| {
            let row = (organizations::id.eq(org.id), organizations::name.eq(&org.name));
            Ok(diesel::insert_into(organizations::table).values(row).execute(tx.conn()?).await?)
        })
        .await;
    assert_eq!(founded.unwrap(), 1);
    Caller::system(org)
}

/// A connection as whoever `url` names.
async fn connect(url: &str) -> AsyncPgConnection {
    AsyncPgConnection::establish(url).await.unwrap()
}

/// Runs `sql` as whoever `url` names.
async fn execute(url: &str, sql: &str) {
    connect(url).await.batch_execute(sql).await.unwrap_or_else(|error| panic!("{error}\n{sql}"));
}
