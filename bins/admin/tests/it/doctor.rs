use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use crate::support::Installation;

#[test]
fn a_sound_installation_has_no_fault() {
    let installation = Installation::new();
    let sound = [
        "ok    settings: development",
        "ok    data folder: ",
        "ok    free disk: ",
        "ok    secret key: none yet",
        "ok    mail: ",
        "ok    files: ",
        "ok    database: PostgreSQL ",
        "ok    clock: ",
        "ok    owner: crm_owner may migrate",
        "ok    role: ",
        "ok    schema: current",
        "ok    extensions: btree_gin, pg_trgm, unaccent",
        "ok    row-level security: ",
        "warn  platform administrator: none",
    ];
    installation.run(&["doctor"]).is(0, &sound).lacks("FAIL");
    assert_eq!(fs::read_dir(installation.data_dir.path()).unwrap().count(), 0, "looking leaves nothing");
}

#[test]
fn every_fault_is_told_with_its_cure() {
    type Break = fn(Installation) -> Installation;
    let cases: [(Break, &[&str]); 9] = [
        (
            |i| i.with("CRM_BIND", "nowhere").with("DBPORT", "0"),
            &["FAIL  settings: CRM_BIND", "FAIL  settings: DBPORT"],
        ),
        (
            |i| i.with("SECRET_KEY", &"abc".repeat(20)),
            &["FAIL  secret key: SECRET_KEY can be guessed", "openssl"],
        ),
        (|i| i.with("SMTP_URL", "smtp://127.0.0.1:1"), &["FAIL  mail: smtp 127.0.0.1:1", "SMTP_URL"]),
        (|i| i.with("DATABASE_URL", "postgresql://crm_app:hunter2@127.0.0.1:1/crm"), &["FAIL  database: "]),
        (
            |i| {
                fs::set_permissions(i.data_dir.path(), Permissions::from_mode(0o770)).unwrap();
                i
            },
            &["FAIL  data folder: ", "(mode 770) can be changed", "chmod go-rw"],
        ),
        (
            |i| {
                let url = i.database.super_url.clone();
                i.with("DATABASE_URL", &url)
            },
            &["FAIL  role: ", "is a superuser"],
        ),
        (
            |i| {
                i.sql("ALTER TABLE leads ADD COLUMN extra text");
                i
            },
            &["FAIL  schema: somebody changed tables", "schema-rs"],
        ),
        (
            |i| {
                i.sql("ALTER TABLE leads DISABLE ROW LEVEL SECURITY");
                i
            },
            &["FAIL  row-level security: 1 faulty, such as leads", "manage-rls --status"],
        ),
        (
            |i| {
                i.sql("DROP EXTENSION btree_gin CASCADE");
                i
            },
            &["FAIL  extensions: btree_gin missing", "postgresql-contrib"],
        ),
    ];
    for (break_it, found) in cases {
        break_it(Installation::new()).run(&["doctor"]).is(1, found).lacks("hunter2");
    }
}

#[test]
fn a_mail_server_that_listens_is_fine() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let installation = Installation::new().with("SMTP_URL", &format!("smtp://user:hunter2@{address}"));
    installation.run(&["doctor"]).is(0, &[&format!("ok    mail: smtp {address} answers")]).lacks("hunter2");
}

#[test]
fn what_may_be_meant_is_only_a_warning() {
    let readable = Installation::new();
    fs::set_permissions(readable.data_dir.path(), Permissions::from_mode(0o755)).unwrap();
    readable.run(&["doctor"]).is(0, &["warn  data folder: ", "(mode 755) can be read"]).lacks("FAIL");
    let installation = Installation::new().in_production().with("DATABASE_OWNER_URL", "");
    let warnings = ["warn  settings: production", "warn  mail: becomes files", "warn  owner: not known here"];
    installation.run(&["doctor"]).is(0, &warnings).lacks("FAIL");
}
