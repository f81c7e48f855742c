use crate::support::Installation;

#[test]
fn on_a_sound_database_every_check_passes() {
    let installation = Installation::new();
    let sound = ["Role crm_app: policies bind it", "  leads: OK", "  users: exempt, ", "faulty: 0"];
    installation.run(&["manage-rls"]).is(0, &sound);
    installation.run(&["manage-rls", "--status"]).is(0, &sound);
    let bound = ["Role: crm_app", "Superuser: no", "Bypasses row-level security: no", "another role: no"];
    installation.run(&["manage-rls", "--verify-user"]).is(0, &bound);
    installation
        .run(&["manage-rls", "--test"])
        .is(0, &["  leads: 13 of 13 held", "failed: 0"])
        .lacks("FAILED");
    for table in ["organizations", "users", "records"] {
        assert_eq!(installation.count(table), 0, "the trial leaves nothing in {table}");
    }
}

#[test]
fn every_kind_of_hole_is_found() {
    for (hole, flag, found) in [
        (
            "ALTER TABLE leads NO FORCE ROW LEVEL SECURITY",
            "--status",
            "leads: 1 fault\n    - row-level security is not forced",
        ),
        ("ALTER TABLE leads DISABLE ROW LEVEL SECURITY", "--status", "row-level security is not enabled"),
        ("ALTER TABLE leads DISABLE ROW LEVEL SECURITY", "--test", "FAILED see: 1 row"),
        ("DROP POLICY tenant_isolation ON tags", "--status", "has no policy"),
        ("CREATE POLICY everything ON tags USING (true)", "--test", "tags: "),
        ("CREATE TABLE stray (id uuid PRIMARY KEY)", "--status", "stray: 1 fault"),
        ("DROP TABLE comment_mentions", "--status", "comment_mentions: 1 fault\n    - is missing"),
        (
            "DELETE FROM __diesel_schema_migrations WHERE version >= '20261121100500'",
            "--status",
            "crm-admin migrate --status",
        ),
    ] {
        let installation = Installation::new();
        installation.sql(hole);
        installation.run(&["manage-rls", flag]).is(1, &[found]);
    }
}

#[test]
fn a_role_that_policies_do_not_bind_is_told() {
    let installation = Installation::new();
    let database = &installation.database;
    let (superuser, owner) = (database.super_url.clone(), database.owner_url.clone());
    let installation = installation.with("DATABASE_URL", &superuser);
    installation.run(&["manage-rls", "--verify-user"]).is(1, &["Superuser: yes", "is a superuser"]);
    installation.run(&["manage-rls", "--status"]).is(1, &["is a superuser", "faulty: 0"]);
    let installation = installation.with("DATABASE_URL", &owner);
    installation
        .run(&["manage-rls", "--verify-user"])
        .is(1, &["Superuser: no", "another role: yes", "owns the table"]);
}

#[test]
fn protection_is_restored() {
    let installation = Installation::new();
    installation.sql("ALTER TABLE leads NO FORCE ROW LEVEL SECURITY; DROP POLICY tenant_isolation ON tags");
    installation.run(&["manage-rls"]).is(1, &["faulty: 2"]);
    installation.run(&["manage-rls", "--enable"]).is(0, &["put under the policy", "faulty: 0"]);
    installation.run(&["manage-rls", "--test"]).is(0, &[]);
    // What it can't mend it does not pass over.
    installation.sql("CREATE POLICY everything ON tags USING (true)");
    installation.run(&["manage-rls", "--enable"]).is(1, &["has 2 policies instead of one"]);
}

#[test]
fn switching_off_takes_the_name_of_the_database() {
    let installation = Installation::new();
    let name = installation.database.name.clone();
    for typed in ["", "yes\n", "crm\n"] {
        installation.run_typing(&["manage-rls", "--disable"], typed).is(1, &[&name, "nothing was changed"]);
    }
    installation.run(&["manage-rls"]).is(0, &[]);
    installation
        .run_typing(&["manage-rls", "--disable"], &format!("{name}\n"))
        .is(0, &["manage-rls --enable"]);
    installation.run(&["manage-rls"]).is(1, &["Protected: 0"]);
    installation.run(&["manage-rls", "--enable"]).is(0, &[]);
    installation.run(&["manage-rls", "--disable", "--yes"]).is(0, &[]);
    installation.run(&["manage-rls"]).is(1, &["Protected: 0"]);
}

#[test]
fn in_production_nothing_is_switched_off() {
    let installation = Installation::new().in_production();
    installation.run(&["manage-rls", "--disable", "--yes"]).is(1, &["ENV_TYPE is prod"]);
    installation.run(&["manage-rls"]).is(0, &[]);
}

#[test]
fn what_can_not_be_done_says_what_to_do() {
    let installation = Installation::new();
    installation.run(&["manage-rls", "--status", "--test"]).is(2, &["cannot be used with"]);
    installation.run(&["manage-rls", "--status", "--yes"]).is(2, &["--yes"]);
    let installation = installation.with("DATABASE_OWNER_URL", "");
    installation.run(&["manage-rls", "--enable"]).is(1, &["set DATABASE_OWNER_URL"]);
    let away = installation.with("DATABASE_URL", "postgresql://crm_app:hunter2@127.0.0.1:1/crm");
    away.run(&["manage-rls"]).is(1, &["can't use the database (crm on 127.0.0.1:1)"]).lacks("hunter2");
}
