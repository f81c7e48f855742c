//! Trying to cross from one organization into another, on every table, as an attacker with the application's role would.

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use serde_json::Value;
use uuid::Uuid;

use super::ORG;
use super::catalog::{self, ForeignKey, Relation, literal, quoted};
use crate::{Error, Result};
use sample::{Row, Sample, insert};

mod order;
mod sample;
mod values;

crate::text_enum!(
    /// What is tried on a table: as one organization on another's row, or without any organization.
    Verb {
        SeeOwn = "see own",
        See = "see",
        Count = "count",
        Insert = "insert",
        Upsert = "upsert",
        Update = "update",
        Delete = "delete",
        Move = "move",
        Refer = "refer",
        SeeOutside = "see outside",
        InsertOutside = "insert outside",
        UpdateOutside = "update outside",
        DeleteOutside = "delete outside",
    }
);

impl Verb {
    /// All of them, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::WORDS.iter().filter_map(|word| Self::from_word(word))
    }
}

/// What came of one verb on one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The table.
    pub table: String,
    /// What was tried.
    pub verb: Verb,
    /// Whether the table held.
    pub ok: bool,
    /// What the server answered.
    pub detail: String,
}

/// Makes a row of every tenant table for two throw-away organizations and tries to reach one's rows from the other and from
/// outside. To be called inside a transaction, such as that of [`crate::Db::platform`], on whose connection nothing is left.
///
/// # Errors
/// `Unavailable` without a database; `Internal` outside a transaction.
pub async fn probe(conn: &mut AsyncPgConnection) -> Result<Vec<Finding>> {
    let relations = catalog::relations(conn).await?;
    conn.batch_execute("SAVEPOINT tenancy_probe; SET CONSTRAINTS ALL IMMEDIATE").await?;
    let findings = probe_all(conn, &relations).await;
    conn.batch_execute("ROLLBACK TO tenancy_probe; RELEASE tenancy_probe").await?;
    findings
}

async fn probe_all(conn: &mut AsyncPgConnection, relations: &[Relation]) -> Result<Vec<Finding>> {
    let tables = order::parents_first(relations);
    let [mut ours, mut theirs] = [Sample::new(), Sample::new()];
    for table in &tables {
        theirs.add(conn, table).await?;
    }
    let mut findings = Vec::new();
    for table in tables {
        // Before our own row is there: a row that refers to theirs must not run into its key.
        let refer = refer(conn, table, relations, &ours, &theirs).await?;
        ours.add(conn, table).await?;
        if !table.is_tenant() {
            continue;
        }
        let pair = Pair::of(table, &ours, &theirs);
        for verb in Verb::all() {
            let (ok, detail) = match (verb, &pair) {
                (_, Err(reason)) => (false, reason.clone()),
                (Verb::Refer, Ok(_)) => refer.clone(),
                (_, Ok(pair)) => pair.attempt(conn, verb).await?,
            };
            findings.push(Finding { table: table.name.clone(), verb, ok, detail });
        }
    }
    Ok(findings)
}

/// Tries to store a row of ours that refers to a row of theirs, by every foreign key between tenant tables.
async fn refer(
    conn: &mut AsyncPgConnection,
    table: &Relation,
    all: &[Relation],
    ours: &Sample,
    theirs: &Sample,
) -> Result<(bool, String)> {
    let (mut ok, mut details) = (true, Vec::new());
    let between_tenants = |key: &&ForeignKey| table.is_tenant() && catalog::is_tenant(all, &key.target);
    for key in table.foreign_keys.iter().filter(between_tenants) {
        let outcome = match theirs.reference(key) {
            Ok(reference) if reference.is_empty() => continue,
            Ok(reference) => match ours.draft(conn, table, &reference).await? {
                Ok(row) => trial(conn, Some(ours.org), &insert(table, &row)).await?,
                Err(reason) => Outcome::Failed(reason),
            },
            Err(reason) => Outcome::Failed(reason),
        };
        ok &= matches!(outcome, Outcome::Refused(_) | Outcome::Dangling(_));
        details.push(format!("{}: {outcome}", key.name));
    }
    let detail = if details.is_empty() { "refers to no tenant table".into() } else { details.join("; ") };
    Ok((ok, detail))
}

/// One table with a row of ours and one of theirs.
struct Pair<'a> {
    table: &'a Relation,
    us: Uuid,
    our_row: &'a Row,
    them: Uuid,
    their_row: &'a Row,
}

impl<'a> Pair<'a> {
    fn of(table: &'a Relation, ours: &'a Sample, theirs: &'a Sample) -> Result<Self, String> {
        let (our_row, their_row) = (ours.row(&table.name)?, theirs.row(&table.name)?);
        Ok(Self { table, us: ours.org, our_row, them: theirs.org, their_row })
    }

    async fn attempt(&self, conn: &mut AsyncPgConnection, verb: Verb) -> Result<(bool, String)> {
        let outside = matches!(
            verb,
            Verb::SeeOutside | Verb::InsertOutside | Verb::UpdateOutside | Verb::DeleteOutside
        );
        let org = if outside { None } else { Some(self.us) };
        let outcome = trial(conn, org, &self.statement(verb)).await?;
        let ok = match verb {
            Verb::SeeOwn => outcome == Outcome::Touched(1),
            Verb::Insert | Verb::InsertOutside | Verb::Upsert | Verb::Move => {
                matches!(outcome, Outcome::Refused(_))
            }
            _ => matches!(outcome, Outcome::Touched(0) | Outcome::Refused(_)),
        };
        Ok((ok, outcome.to_string()))
    }

    /// In PL/pgSQL, where a SELECT whose rows nobody wants is written PERFORM.
    fn statement(&self, verb: Verb) -> String {
        let table = quoted(&self.table.name);
        let (us, them) = (self.us, self.them);
        let [our_key, their_key] = [self.our_row, self.their_row].map(|row| self.key_of(row));
        match verb {
            Verb::SeeOwn => format!("PERFORM FROM {table} WHERE {our_key}"),
            Verb::See => format!("PERFORM FROM {table} WHERE {their_key}"),
            Verb::SeeOutside => format!("PERFORM FROM {table} LIMIT 1"),
            Verb::Count => {
                format!("PERFORM count(*) FROM {table} WHERE {ORG} = '{them}' HAVING count(*) > 0")
            }
            // Of a reference an attempt was made when our row was not there yet.
            Verb::Insert | Verb::InsertOutside | Verb::Refer => insert(self.table, self.their_row),
            Verb::Upsert => format!(
                "{} ON CONFLICT ({}) DO UPDATE SET {ORG} = excluded.{ORG}",
                insert(self.table, self.their_row),
                self.key_columns().map(quoted).collect::<Vec<_>>().join(", ")
            ),
            // Without WHERE: one that reads would have the new row checked as if for reading too, whatever WITH CHECK says.
            Verb::Move => format!(
                "IF EXISTS (SELECT FROM {table} WHERE {ORG} <> '{us}') THEN RAISE 'other rows are in reach'; END IF;
                 UPDATE {table} SET {ORG} = '{them}'"
            ),
            Verb::Update => format!("UPDATE {table} SET {ORG} = {ORG} WHERE {their_key}"),
            Verb::UpdateOutside => format!("UPDATE {table} SET {ORG} = {ORG} WHERE {our_key}"),
            Verb::Delete => format!("DELETE FROM {table} WHERE {their_key}"),
            Verb::DeleteOutside => format!("DELETE FROM {table} WHERE {our_key}"),
        }
    }

    fn key_of(&self, row: &Row) -> String {
        let part = |column: &str| {
            let value = row.get(column).unwrap_or(&Value::Null);
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("{} = {}", quoted(column), literal(&text))
        };
        self.key_columns().map(part).collect::<Vec<_>>().join(" AND ")
    }

    fn key_columns(&self) -> impl Iterator<Item = &str> {
        let key = self.table.primary_key().map(|key| key.columns.iter().flatten().map(String::as_str));
        // A table without a primary key is at fault, but no reason to stop.
        let instead = key.is_none().then_some(ORG);
        key.into_iter().flatten().chain(instead)
    }
}

/// What the server made of a statement.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// So many rows were seen or changed.
    Touched(u64),
    /// By the policy, or because the role has no grant.
    Refused(String),
    /// A foreign key found nothing at its other end.
    Dangling(String),
    /// Anything else, which proves nothing.
    Failed(String),
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Touched(1) => f.write_str("1 row"),
            Self::Touched(rows) => write!(f, "{rows} rows"),
            Self::Refused(message) | Self::Dangling(message) | Self::Failed(message) => f.write_str(message),
        }
    }
}

/// Runs one statement as `org` or outside every organization, and undoes it.
///
/// A PL/pgSQL block with an exception clause is a savepoint that tells errors by their code, not by their wording in the
/// server's language, and that leaves no error in the server's log.
async fn trial(conn: &mut AsyncPgConnection, org: Option<Uuid>, statement: &str) -> Result<Outcome> {
    let org = org.map(|org| org.to_string()).unwrap_or_default();
    conn.batch_execute(&format!(
        "SET LOCAL app.current_org = '{org}';
DO $trial$
DECLARE
    trial_rows bigint;
BEGIN
    {statement};
    GET DIAGNOSTICS trial_rows = ROW_COUNT;
    RAISE SQLSTATE 'TRIAL' USING MESSAGE = trial_rows;
EXCEPTION WHEN OTHERS THEN
    PERFORM set_config('app.trial', SQLSTATE || ' ' || SQLERRM, true);
END
$trial$"
    ))
    .await?;
    let told: Vec<String> =
        catalog::rows(conn, "SELECT to_json(current_setting('app.trial')) AS row").await?;
    let told = told.first().and_then(|told| told.split_once(' '));
    let (state, message) = told.ok_or_else(|| Error::internal("a trial left no word"))?;
    Ok(match state {
        "TRIAL" => Outcome::Touched(message.parse().map_err(Error::internal)?),
        "42501" => Outcome::Refused(message.into()),
        "23503" => Outcome::Dangling(message.into()),
        _ => Outcome::Failed(message.into()),
    })
}
