//! What the catalog says: nothing about our tables, and the right thing about bad ones.

use crm_core::Error;
use crm_core::tenancy::{self, EXCEPTIONS, TableReport};
use crm_testkit::{fresh_database, shared_db};

use crate::{connect, execute};

#[tokio::test]
async fn our_tables_keep_the_rules() {
    let db = shared_db().await;
    let reports: Result<_, Error> = db.platform(async |tx| tenancy::inspect(tx.conn()?).await).await;
    let reports = reports.unwrap();
    let faults: Vec<_> = reports.iter().filter(|report| !report.faults.is_empty()).collect();
    assert!(faults.is_empty(), "{faults:#?}");

    let exempt: Vec<_> = reports.iter().filter(|report| report.exempt.is_some()).collect();
    assert_eq!(exempt.len(), EXCEPTIONS.len(), "every exception is a table");
    for expected in ["records", "leads", "function search_records", "function jobs_claim"] {
        assert!(reports.iter().any(|report| report.table == expected), "{expected} was looked at");
    }
}

/// What is done to a table `{t}` that keeps the rules, and the faults that this makes.
const BROKEN_TABLES: &[(&str, &[&str])] = &[
    ("SELECT 1", &[]),
    ("ALTER TABLE {t} DISABLE ROW LEVEL SECURITY", &["row-level security is not enabled"]),
    ("ALTER TABLE {t} NO FORCE ROW LEVEL SECURITY", &["row-level security is not forced"]),
    ("DROP POLICY tenant_isolation ON {t}", &["has no policy"]),
    ("CREATE POLICY more ON {t} USING (true)", &["has 2 policies instead of one: more, tenant_isolation"]),
    ("ALTER POLICY tenant_isolation ON {t} RENAME TO other", &["named other"]),
    ("ALTER POLICY tenant_isolation ON {t} USING (true)", &["USING is true"]),
    ("ALTER POLICY tenant_isolation ON {t} WITH CHECK (true)", &["WITH CHECK is true"]),
    ("ALTER POLICY tenant_isolation ON {t} TO crm_app", &["not for PUBLIC"]),
    (
        "ALTER POLICY tenant_isolation ON {t} USING (org_id::text = current_setting('app.current_org', true))",
        &["USING is ((org_id)::text"],
    ),
    (
        "DROP POLICY tenant_isolation ON {t}; CREATE POLICY tenant_isolation ON {t}
         USING (org_id = nullif(current_setting('app.current_org', true), '')::uuid)",
        &["WITH CHECK is nothing"],
    ),
    (
        "DROP POLICY tenant_isolation ON {t}; CREATE POLICY tenant_isolation ON {t} AS RESTRICTIVE FOR SELECT
         USING (org_id = nullif(current_setting('app.current_org', true), '')::uuid)",
        &["restrictive", "not for all verbs", "WITH CHECK is nothing"],
    ),
    ("ALTER TABLE {t} DROP CONSTRAINT {t}_pkey", &["has no primary key"]),
    (
        "ALTER TABLE {t} DROP CONSTRAINT {t}_pkey, ADD PRIMARY KEY (id)",
        &["the primary key {t}_pkey does not begin with org_id"],
    ),
    (
        "ALTER TABLE {t} DROP CONSTRAINT {t}_pkey, ALTER org_id DROP NOT NULL",
        &["org_id may be null", "has no primary key"],
    ),
    ("CREATE UNIQUE INDEX {t}_u ON {t} (name)", &["the unique index {t}_u does not begin"]),
    ("CREATE UNIQUE INDEX {t}_u ON {t} (lower(name), org_id)", &["the unique index {t}_u does not begin"]),
    ("CREATE INDEX {t}_i ON {t} (parent_id)", &["the index {t}_i does not begin"]),
    ("ALTER TABLE {t} ADD FOREIGN KEY (org_id, parent_id) REFERENCES {t} (org_id, id)", &[]),
    (
        "ALTER TABLE {t} ADD FOREIGN KEY (parent_id, org_id) REFERENCES {t} (org_id, id)",
        &["the foreign key {t}_parent_id_org_id_fkey to {t} does not carry org_id"],
    ),
    (
        "ALTER TABLE {t} ADD CONSTRAINT {t}_u UNIQUE (id), ADD FOREIGN KEY (parent_id) REFERENCES {t} (id)",
        &[
            "the unique index {t}_u does not begin",
            "the foreign key {t}_parent_id_fkey to {t} does not carry org_id",
        ],
    ),
    (
        "CREATE TRIGGER {t}_t BEFORE UPDATE ON {t} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        &["has the trigger {t}_t"],
    ),
    ("GRANT TRUNCATE ON {t} TO crm_app", &["crm_app has TRUNCATE"]),
    ("GRANT REFERENCES (id) ON {t} TO crm_app", &["crm_app has REFERENCES"]),
    ("GRANT SELECT ON {t} TO crm_app WITH GRANT OPTION", &["crm_app has SELECT WITH GRANT OPTION"]),
    ("GRANT SELECT ON {t} TO PUBLIC", &["PUBLIC has SELECT"]),
];

/// What is done to the database, where it shows, and the faults that this makes.
const BROKEN_OTHERS: &[(&str, &str, &[&str])] = &[
    (
        "CREATE TABLE loose (id uuid PRIMARY KEY)",
        "loose",
        &["has no column org_id and is not among the exceptions"],
    ),
    ("GRANT UPDATE ON changes TO crm_app", "changes", &["crm_app has UPDATE"]),
    ("GRANT DELETE ON deletions TO crm_app", "deletions", &["crm_app has DELETE"]),
    ("GRANT UPDATE (detail) ON security_events TO crm_app", "security_events", &["crm_app has UPDATE"]),
    ("GRANT SELECT ON jobs TO crm_app", "jobs", &["crm_app has SELECT, but the exception says"]),
    (
        "GRANT SELECT (body) ON search_documents TO crm_app",
        "search_documents",
        &["crm_app has SELECT, but the exception says"],
    ),
    ("DROP TABLE throttles", "throttles", &["does not exist"]),
    ("CREATE VIEW v_owner AS SELECT * FROM leads", "view v_owner", &["with its owner's rights"]),
    ("CREATE VIEW v_invoker WITH (security_invoker = on) AS SELECT * FROM leads", "view v_invoker", &[]),
    ("CREATE MATERIALIZED VIEW v_kept AS SELECT * FROM tags", "view v_kept", &["is a materialized view"]),
    (
        "CREATE FUNCTION f_loose() RETURNS void LANGUAGE sql SECURITY DEFINER AS ''",
        "function f_loose",
        &["without a search_path", "PUBLIC may execute it"],
    ),
    (
        "CREATE FUNCTION f_path() RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public AS '';
         REVOKE ALL ON FUNCTION f_path() FROM PUBLIC",
        "function f_path",
        &["does not end with pg_temp"],
    ),
    (
        "GRANT EXECUTE ON FUNCTION jobs_done(uuid, uuid) TO PUBLIC",
        "function jobs_done",
        &["PUBLIC may execute it"],
    ),
];

#[tokio::test]
async fn every_way_to_break_a_rule_is_told() {
    let database = fresh_database().await;
    let mut cases: Vec<(String, String, Vec<String>)> = Vec::new();
    for (number, (change, faults)) in BROKEN_TABLES.iter().enumerate() {
        let table = format!("broken_{number}");
        let change = format!(
            "CREATE TABLE {table} (org_id uuid, id uuid, parent_id uuid, name text, PRIMARY KEY (org_id, id));
             CALL protect_tenant_table('{table}', 'SELECT, INSERT, UPDATE, DELETE');
             {}",
            change.replace("{t}", &table)
        );
        let faults = faults.iter().map(|fault| fault.replace("{t}", &table)).collect();
        cases.push((change, table, faults));
    }
    for (change, place, faults) in BROKEN_OTHERS {
        cases.push((change.to_string(), place.to_string(), faults.iter().map(ToString::to_string).collect()));
    }
    let script: Vec<_> = cases.iter().map(|(change, ..)| change.as_str()).collect();
    execute(&database.owner_url, &script.join(";\n")).await;

    let mut reports = tenancy::inspect(&mut connect(&database.app_url).await).await.unwrap();
    for (change, place, wanted) in &cases {
        let report = reports.iter().position(|report| report.table == *place).expect(place);
        let TableReport { faults, .. } = reports.swap_remove(report);
        let told = wanted.len() == faults.len()
            && wanted.iter().zip(&faults).all(|(part, fault)| fault.contains(part));
        assert!(told, "{change}\nis told as {faults:#?}");
    }
    assert!(reports.iter().all(|report| report.faults.is_empty()), "nothing else is at fault: {reports:#?}");
}

#[tokio::test]
async fn protection_is_switched_off_and_on_again() {
    let database = fresh_database().await;
    let mut conn = connect(&database.owner_url).await;
    for (switch, faults) in [(tenancy::disable_sql("teams"), 2), (tenancy::enable_sql("teams"), 0)] {
        execute(&database.owner_url, &switch).await;
        let reports = tenancy::inspect(&mut conn).await.unwrap();
        let faults_of =
            |table: &str| reports.iter().find(|report| report.table == table).unwrap().faults.len();
        assert_eq!((faults_of("teams"), faults_of("tags")), (faults, 0), "{switch}");
    }
}
