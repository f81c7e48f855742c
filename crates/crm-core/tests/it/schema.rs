//! Whether program and database have the same migrations.

use crm_core::migrate::{SchemaState, versions};
use crm_core::tenancy::schema_state;
use crm_testkit::fresh_database;

use crate::{connect, execute};

#[tokio::test]
async fn the_state_of_the_schema_is_seen_by_the_application() {
    let database = fresh_database().await;
    let mut app = connect(&database.app_url).await;
    assert!(schema_state(&mut app).await.unwrap().is_current());

    let newer = "INSERT INTO __diesel_schema_migrations (version) VALUES ('20990101000000')";
    let [first, rest @ ..] = &versions()[..] else { panic!("there are migrations") };
    let steps = [
        (newer.to_owned(), SchemaState { pending: vec![], unknown: vec!["20990101000000".into()] }),
        (
            format!("DELETE FROM __diesel_schema_migrations WHERE version <> '{first}'"),
            SchemaState { pending: rest.to_vec(), unknown: vec![] },
        ),
        (
            "DROP TABLE __diesel_schema_migrations".to_owned(),
            SchemaState { pending: versions(), unknown: vec![] },
        ),
    ];
    for (step, expected) in steps {
        execute(&database.owner_url, &step).await;
        assert_eq!(schema_state(&mut app).await.unwrap(), expected, "{step}");
    }
}
