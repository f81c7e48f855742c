//! The diesel tables of `crm-schema`, generated from the live catalog.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context, Result};
use postgres::Client;

use crate::database::{Database, SyncPool};

/// What the checked-in file says.
pub(crate) const CHECKED_IN: &str = include_str!("../../../crates/crm-schema/src/lib.rs");

const HEADER: &str = "\
//! The database's tables as diesel sees them: generated from the migrations (`just schema`), never edited by hand.

#![expect(missing_docs, reason = \"columns are documented where they are made: in the migrations\")]
";

/// Tables with the columns of their primary keys, and then every column. Both leave out diesel's own table.
const TABLES: &str = r"
SELECT c.relname, coalesce(
    (SELECT array_agg(a.attname ORDER BY k.position)
     FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k (number, position), pg_attribute a
     WHERE i.indrelid = c.oid AND i.indisprimary AND a.attrelid = c.oid AND a.attnum = k.number), '{}')
FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname NOT LIKE '\_\_%'
ORDER BY c.relname";
const COLUMNS: &str = "
SELECT attname, format_type(atttypid, NULL), attnotnull FROM pg_attribute
WHERE attrelid = format('public.%I', $1::text)::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum";
const REFERENCES: &str = "
SELECT c.relname, f.relname FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class f ON f.oid = k.confrelid
WHERE k.contype = 'f' AND k.connamespace = 'public'::regnamespace AND c.oid <> f.oid";

/// What diesel calls the types that the migrations use.
const TYPES: &[(&str, &str)] = &[
    ("bigint", "BigInt"),
    ("boolean", "Bool"),
    ("date", "Date"),
    ("integer", "Integer"),
    ("jsonb", "Jsonb"),
    ("numeric", "Numeric"),
    ("text", "Text"),
    ("timestamp with time zone", "Timestamptz"),
    ("uuid", "Uuid"),
];

/// Prints the file as it ought to be.
pub(crate) fn run() -> Result<ExitCode> {
    let database = Database::connect()?;
    let pool = SyncPool::open(&database.app_url, 1)?;
    let mut client = pool.get()?;
    say!("{}", generate(&mut client)?.trim_end());
    Ok(ExitCode::SUCCESS)
}

/// The file as it ought to be.
pub(crate) fn generate(client: &mut Client) -> Result<String> {
    let mut text = HEADER.to_owned();
    for row in client.query(TABLES, &[])? {
        let (table, key): (String, Vec<String>) = (row.get(0), row.get(1));
        text += &format!("\ndiesel::table! {{\n    {table} ({}) {{\n", key.join(", "));
        for column in client.query(COLUMNS, &[&table])? {
            let (name, sql_type, not_null): (String, String, bool) =
                (column.get(0), column.get(1), column.get(2));
            let (_, diesel_type) = TYPES.iter().find(|(sql, _)| *sql == sql_type).with_context(|| {
                format!(
                    "{table}.{name} is of type {sql_type}, which has no place in a table: add it to TYPES"
                )
            })?;
            let diesel_type =
                if not_null { (*diesel_type).to_owned() } else { format!("Nullable<{diesel_type}>") };
            text += &format!("        {name} -> {diesel_type},\n");
        }
        text += "    }\n}\n";
    }
    text += "\n";
    let pairs: BTreeSet<[String; 2]> = client
        .query(REFERENCES, &[])?
        .iter()
        .map(|row| {
            let mut pair = [row.get(0), row.get(1)];
            pair.sort();
            pair
        })
        .collect();
    for [one, other] in pairs {
        text += &format!("diesel::allow_tables_to_appear_in_same_query!({one}, {other});\n");
    }
    Ok(text)
}

/// The tables of the checked-in file.
pub(crate) fn expected_tables() -> impl Iterator<Item = &'static str> {
    CHECKED_IN
        .lines()
        .filter(|line| line.ends_with(") {"))
        .filter_map(|line| Some(line.trim().split_once(" (")?.0))
}
