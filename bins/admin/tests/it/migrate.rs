use crate::support::{Installation, data_dir, run_in};

#[test]
fn the_built_in_database_is_made_and_migrated() {
    // Started as root, the server runs as somebody else, who has to get in.
    let data_dir = data_dir(0o711);
    let run = |arguments: &[&str]| run_in(&data_dir, std::iter::empty(), arguments, "");
    run(&["doctor"]).is(0, &["warn  database: not made yet"]);
    for command in [&["migrate", "--status"][..], &["manage-rls"], &["schema-rs"], &["seed"]] {
        run(command).is(1, &["there is no database in", "crm-admin migrate"]);
    }
    assert!(!data_dir.path().join("pg").exists(), "looking makes nothing");
    run(&["migrate"]).is(0, &["applied 20261121100000"]);
    run(&["migrate"]).is(0, &["nothing to apply"]).lacks("applied 2");
    run(&["migrate", "--status"]).is(0, &["the schema is current"]);
    run(&["manage-rls"]).is(0, &["faulty: 0"]);
    run(&["doctor"]).is(0, &["ok    database: ", "ok    owner: crm_owner may migrate"]).lacks("FAIL");
}

#[test]
fn what_is_pending_or_unknown_is_told() {
    let installation = Installation::new();
    installation.run(&["migrate", "--status"]).is(0, &["the schema is current"]);
    installation.sql("INSERT INTO __diesel_schema_migrations (version) VALUES ('99991231235959')");
    installation.run(&["migrate", "--status"]).is(1, &["unknown to this program 99991231235959", "newer"]);
    installation.run(&["migrate"]).is(1, &["99991231235959"]);
    installation.sql("DELETE FROM __diesel_schema_migrations WHERE version >= '20261121100500'");
    installation.run(&["migrate", "--status"]).is(1, &["pending 20261121100500", "crm-admin migrate"]);
    installation.with("DATABASE_OWNER_URL", "").run(&["migrate"]).is(1, &["set DATABASE_OWNER_URL"]);
}
