//! What an attacker with the application's role reaches.

use std::collections::BTreeSet;

use crm_core::tenancy::{self, EXCEPTIONS, Finding, Verb};
use crm_core::{Db, Error};
use crm_schema::organizations;
use crm_testkit::{Database, fresh_database};
use diesel::QueryDsl;
use diesel_async::RunQueryDsl;

use crate::{connect, execute};

async fn probe(db: &Db) -> Vec<Finding> {
    let findings: Result<_, Error> = db.platform(async |tx| tenancy::probe(tx.conn()?).await).await;
    findings.unwrap()
}

/// Every table with a column `org_id` that is not an exception, asked another way than the code under test does.
async fn tenant_tables(database: &Database) -> BTreeSet<String> {
    diesel::table! {
        information_schema.columns (table_name) {
            table_schema -> Text,
            table_name -> Text,
            column_name -> Text,
        }
    }
    use diesel::ExpressionMethods;
    let tables: Vec<String> = columns::table
        .filter(columns::table_schema.eq("public"))
        .filter(columns::column_name.eq("org_id"))
        .select(columns::table_name)
        .load(&mut connect(&database.owner_url).await)
        .await
        .unwrap();
    tables.into_iter().filter(|table| !EXCEPTIONS.iter().any(|exception| exception.table == table)).collect()
}

#[tokio::test]
async fn no_table_lets_anybody_across() {
    let database = fresh_database().await;
    let probed: Result<(_, i64), Error> = database
        .db
        .platform(async |tx| {
            let findings = tenancy::probe(tx.conn()?).await?;
            Ok((findings, organizations::table.count().get_result(tx.conn()?).await?))
        })
        .await;
    let (findings, organizations) = probed.unwrap();
    assert_eq!(organizations, 0, "nothing is left behind");
    let broken: Vec<_> = findings.iter().filter(|finding| !finding.ok).collect();
    assert!(broken.is_empty(), "{broken:#?}");

    let tables = tenant_tables(&database).await;
    assert!(tables.contains("records") && tables.contains("leads"));
    let expected: BTreeSet<_> =
        tables.iter().flat_map(|table| Verb::WORDS.iter().map(move |verb| (table.as_str(), *verb))).collect();
    let tried: BTreeSet<_> =
        findings.iter().map(|finding| (finding.table.as_str(), finding.verb.as_str())).collect();
    assert_eq!(tried, expected);
    assert_eq!(findings.len(), expected.len(), "each once");
}

#[tokio::test]
async fn a_probe_needs_a_transaction() {
    let database = fresh_database().await;
    let refused = tenancy::probe(&mut connect(&database.app_url).await).await;
    assert!(matches!(refused, Err(Error::Internal(_))));
}

/// A table with rules of many shapes, none of which the probe has heard of.
const CONTRAPTION: &str = r"
CREATE TABLE contraption (
    org_id uuid,
    id uuid DEFAULT gen_random_uuid(),
    number bigint GENERATED ALWAYS AS IDENTITY,
    twice integer GENERATED ALWAYS AS (size * 2) STORED,
    size integer NOT NULL CHECK (size BETWEEN 40 AND 60),
    shape text NOT NULL CHECK (shape IN ('round', 'it''s square')),
    code char(3) NOT NULL CHECK (code ~ '^[A-Z]{3}$'),
    slug text NOT NULL CHECK (slug ~ '^[a-z0-9-]{1,12}$'),
    email varchar(80) NOT NULL CHECK (email ~ '^[^@ ]+@[^@ ]+\.[a-z]+$'),
    digest text NOT NULL CHECK (digest ~ '^[0-9a-f]{64}$'),
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    due date NOT NULL,
    options jsonb NOT NULL CHECK (jsonb_typeof(options) = 'array'),
    words text[] NOT NULL,
    lead_id uuid,
    team_id uuid,
    kept boolean NOT NULL DEFAULT false,
    PRIMARY KEY (org_id, id),
    CHECK (ends_at > starts_at),
    CHECK (num_nonnulls(lead_id, team_id) = 1),
    CHECK (kept OR size > 45),
    FOREIGN KEY (org_id, lead_id) REFERENCES leads (org_id, id),
    FOREIGN KEY (org_id, team_id) REFERENCES teams (org_id, id)
);
CALL protect_tenant_table('contraption', 'SELECT, INSERT, UPDATE, DELETE')";

/// How a table is broken, and the verbs that this lets through.
const BROKEN: &[(&str, &[Verb])] = &[
    ("SELECT 1", &[]),
    (
        "ALTER TABLE {t} DISABLE ROW LEVEL SECURITY",
        &[
            Verb::See,
            Verb::Count,
            Verb::Insert,
            Verb::Upsert,
            Verb::Update,
            Verb::Delete,
            Verb::Move,
            Verb::SeeOutside,
            Verb::InsertOutside,
            Verb::UpdateOutside,
            Verb::DeleteOutside,
        ],
    ),
    (
        "ALTER POLICY tenant_isolation ON {t} USING (true)",
        &[Verb::See, Verb::Count, Verb::Delete, Verb::Move, Verb::SeeOutside, Verb::DeleteOutside],
    ),
    (
        "ALTER POLICY tenant_isolation ON {t} WITH CHECK (true)",
        &[Verb::Insert, Verb::Move, Verb::InsertOutside],
    ),
    ("ALTER TABLE {t} ADD UNIQUE (id), ADD FOREIGN KEY (parent_id) REFERENCES {t} (id)", &[Verb::Refer]),
    ("ALTER TABLE {t} ADD FOREIGN KEY (org_id, parent_id) REFERENCES {t} (org_id, id)", &[]),
    ("REVOKE UPDATE, DELETE ON {t} FROM crm_app", &[]),
];

#[tokio::test]
async fn new_tables_are_probed_and_holes_are_found() {
    let database = fresh_database().await;
    let mut script = CONTRAPTION.to_owned();
    for (number, (change, _)) in BROKEN.iter().enumerate() {
        let table = format!("broken_{number}");
        script.push_str(&format!(
            ";CREATE TABLE {table} (org_id uuid, id uuid, parent_id uuid, PRIMARY KEY (org_id, id));
             CALL protect_tenant_table('{table}', 'SELECT, INSERT, UPDATE, DELETE');
             {}",
            change.replace("{t}", &table)
        ));
    }
    execute(&database.owner_url, &script).await;

    let findings = probe(&database.db).await;
    let let_through = |table: &str| -> Vec<Verb> {
        findings
            .iter()
            .filter(|finding| finding.table == table && !finding.ok)
            .map(|finding| finding.verb)
            .collect()
    };
    for (number, (change, verbs)) in BROKEN.iter().enumerate() {
        assert_eq!(let_through(&format!("broken_{number}")), *verbs, "{change}");
    }
    let rest: Vec<_> =
        findings.iter().filter(|finding| !finding.table.starts_with("broken_") && !finding.ok).collect();
    assert!(rest.is_empty(), "{rest:#?}");
    let of_contraption = findings.iter().filter(|finding| finding.table == "contraption");
    assert_eq!(of_contraption.count(), Verb::WORDS.len());
}

#[tokio::test]
async fn a_table_that_takes_no_row_proves_nothing() {
    let database = fresh_database().await;
    let script = "
        DROP POLICY tenant_isolation ON tags;
        CREATE TABLE picky (org_id uuid, id uuid, word text NOT NULL CHECK (word = upper('q') || 'zzz'), PRIMARY KEY (org_id, id));
        CALL protect_tenant_table('picky', 'SELECT, INSERT')";
    execute(&database.owner_url, script).await;
    let findings = probe(&database.db).await;
    for (table, reason) in [
        ("tags", "no row of tags could be made: new row violates row-level security policy"),
        ("record_tags", "no row of tags could be made"),
        ("picky", "nothing that is tried fits its types and CHECK constraints"),
    ] {
        let (ok, rest): (Vec<_>, Vec<_>) =
            findings.iter().filter(|finding| finding.table == table).partition(|finding| finding.ok);
        assert!(ok.is_empty(), "{ok:#?}");
        assert_eq!(rest.len(), Verb::WORDS.len());
        assert!(rest.iter().all(|finding| finding.detail.contains(reason)), "{rest:#?}");
    }
    assert!(findings.iter().filter(|finding| finding.table == "teams").all(|finding| finding.ok));
}
