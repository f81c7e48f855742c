//! Which roles must not serve requests.

use crm_core::tenancy::check_role;
use crm_testkit::{Database, fresh_database};
use diesel_async::SimpleAsyncConnection;

use crate::connect;

#[tokio::test]
async fn the_application_role_is_safe() {
    let database = fresh_database().await;
    assert_eq!(check_role(&mut connect(&database.app_url).await).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn the_superuser_and_the_owner_are_not() {
    let database = fresh_database().await;
    let mut superuser = connect(&database.super_url).await;
    let is_told = |faults: &[String]| faults.len() == 1 && faults[0].contains("\"crm_super\" is a superuser");
    let faults = check_role(&mut superuser).await.unwrap();
    assert!(is_told(&faults), "{faults:#?}");
    // It can come back from there.
    superuser.batch_execute("SET ROLE crm_app").await.unwrap();
    let faults = check_role(&mut superuser).await.unwrap();
    assert!(is_told(&faults), "{faults:#?}");

    let faults = check_role(&mut connect(&database.owner_url).await).await.unwrap();
    let [owner, create] = &faults[..] else { panic!("{faults:#?}") };
    assert!(owner.contains("\"crm_owner\" owns the table __diesel_schema_migrations and"), "{owner}");
    assert!(create.contains("REVOKE CREATE ON SCHEMA public FROM PUBLIC, \"crm_owner\";"), "{create}");
}

/// What a role of our own making is told; it is never committed.
async fn faults_of(database: &Database, role: &str, grants: &str) -> Vec<String> {
    let mut conn = connect(&database.super_url).await;
    let make = format!("BEGIN; CREATE ROLE {role}; {grants}; SET LOCAL SESSION AUTHORIZATION {role}");
    conn.batch_execute(&make).await.unwrap();
    check_role(&mut conn).await.unwrap()
}

#[tokio::test]
async fn a_way_around_the_policies_is_found_and_mended() {
    let database = fresh_database().await;
    let ways: &[(&str, &[&str])] = &[
        ("SELECT 1", &[]),
        ("ALTER ROLE r BYPASSRLS", &["run: ALTER ROLE \"r\" NOBYPASSRLS;"]),
        ("ALTER TABLE leads OWNER TO r", &["\"r\" owns the table leads,"]),
        ("GRANT CREATE ON SCHEMA public TO r", &["run: REVOKE CREATE ON SCHEMA public FROM PUBLIC, \"r\";"]),
        ("GRANT crm_owner TO r", &["\"crm_owner\" owns the table", "may create objects"]),
        ("ALTER ROLE r NOINHERIT; GRANT crm_owner TO r", &["run: REVOKE \"crm_owner\" FROM \"r\";"]),
        (
            "CREATE ROLE g BYPASSRLS; CREATE ROLE h; GRANT g TO h; GRANT h TO r",
            &["is a member of \"g\", directly or through another role, and \"g\" has BYPASSRLS"],
        ),
        ("GRANT crm_super TO r", &["\"crm_super\" is a superuser"]),
    ];
    for (grants, wanted) in ways {
        let faults = faults_of(&database, "r", grants).await;
        let told = faults.len() == wanted.len()
            && wanted.iter().zip(&faults).all(|(part, fault)| fault.contains(part));
        assert!(told, "{grants}: {faults:#?}");
    }
}
