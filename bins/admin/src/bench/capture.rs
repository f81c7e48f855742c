//! The statements that a request really sends: read from the server's log, which writes them all down for a moment, and turned
//! into scripts of pgbench.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::database::SyncConnection;

/// How long the log is waited for.
const LOG_TIMEOUT: Duration = Duration::from_secs(5);

/// One statement with its parameters, as SQL literals would have them; none for NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    sql: String,
    parameters: Vec<Option<String>>,
}

/// What one transaction of the application sends between its first and its last batch.
pub(super) type Transaction = Vec<Statement>;

/// A server whose log can be read, by a superuser on the same machine.
pub(super) struct Log {
    path: PathBuf,
    superuser: SyncConnection,
}

impl Log {
    pub(super) fn new(path: PathBuf, superuser: SyncConnection) -> Self {
        Self { path, superuser }
    }

    /// Runs `request` and answers the statements of the one transaction that it makes in the organization.
    pub(super) fn capture(&mut self, org: &str, request: impl FnOnce() -> Result<()>) -> Result<Transaction> {
        let start = File::open(&self.path)?.metadata()?.len();
        self.log_everything(true)?;
        let asked = request();
        let found = asked.and_then(|()| self.wait_for_transaction(org, start));
        self.log_everything(false)?;
        found
    }

    fn log_everything(&mut self, on: bool) -> Result<()> {
        let change =
            if on { "SET log_min_duration_statement = 0" } else { "RESET log_min_duration_statement" };
        self.superuser.batch_execute(&format!("ALTER SYSTEM {change}"))?;
        self.superuser.batch_execute("SELECT pg_reload_conf()")?;
        // Sessions read the configuration again at their next statement, once they have had the signal.
        let deadline = Instant::now() + LOG_TIMEOUT;
        let wanted = if on { "0" } else { "-1" };
        while Instant::now() < deadline {
            let row =
                self.superuser.query_one("SELECT current_setting('log_min_duration_statement')", &[])?;
            if row.get::<_, &str>(0) == wanted {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
        bail!("the server does not heed its configuration")
    }

    fn wait_for_transaction(&self, org: &str, start: u64) -> Result<Transaction> {
        let deadline = Instant::now() + LOG_TIMEOUT;
        while Instant::now() < deadline {
            if let Some(transaction) = transaction_of(&read_from(&self.path, start)?, org) {
                return Ok(transaction);
            }
            thread::sleep(Duration::from_millis(5));
        }
        bail!("the request left no transaction in {}", self.path.display())
    }
}

fn read_from(path: &Path, start: u64) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("can't read {}", path.display()))?;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// One message of the log, its further lines included.
struct Entry<'a> {
    process: &'a str,
    level: &'a str,
    message: String,
}

fn entries(log: &str) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for line in log.lines() {
        match (line.strip_prefix('\t'), head(line), entries.last_mut()) {
            (Some(more), _, Some(last)) => last.message.extend(["\n", more]),
            (None, Some(entry), _) => entries.push(entry),
            _ => {}
        }
    }
    entries
}

/// `2026-11-21 12:00:00.000 UTC [123] LOG:  message`
fn head(line: &str) -> Option<Entry<'_>> {
    let (_, rest) = line.split_once(" [")?;
    let (process, rest) = rest.split_once("] ")?;
    let (level, message) = rest.split_once(":  ")?;
    Some(Entry { process, level, message: message.to_owned() })
}

/// The first whole transaction of the organization.
fn transaction_of(log: &str, org: &str) -> Option<Transaction> {
    let entries = entries(log);
    let begin = format!("statement: BEGIN; SET LOCAL app.current_org = '{org}'");
    let process = entries.iter().find(|entry| entry.message.ends_with(&begin))?.process;
    let mut ours = entries.iter().filter(|entry| entry.process == process);
    ours.find(|entry| entry.message.ends_with(&begin))?;
    let mut transaction: Transaction = Vec::new();
    // What was bound is logged too, before it is executed.
    let mut just_executed = false;
    for Entry { level, message, .. } in ours {
        if *level == "DETAIL" {
            if let (true, Some(last), Some((_, list))) =
                (just_executed, transaction.last_mut(), message.split_once("arameters: "))
            {
                last.parameters = parameters(list);
            }
            continue;
        }
        if message.ends_with("COMMIT") {
            return Some(transaction);
        }
        let executed = message.split_once(" execute ").and_then(|(_, named)| named.split_once(": "));
        just_executed = executed.is_some();
        let sql = executed.map(|(_, sql)| sql.to_owned());
        transaction.extend(sql.map(|sql| Statement { sql, parameters: Vec::new() }));
    }
    None
}

/// `$1 = 'it''s', $2 = NULL`
fn parameters(list: &str) -> Vec<Option<String>> {
    let mut found = Vec::new();
    let mut rest = list;
    while let Some((_, value)) = rest.split_once(" = ") {
        let Some(quoted) = value.strip_prefix('\'') else {
            found.push(None);
            rest = value.strip_prefix("NULL").unwrap_or_default();
            continue;
        };
        let mut text = String::new();
        let mut characters = quoted.char_indices().peekable();
        let mut end = quoted.len();
        while let Some((at, c)) = characters.next() {
            match (c, characters.peek()) {
                ('\'', Some((_, '\''))) => {
                    characters.next();
                    text.push('\'');
                }
                ('\'', _) => {
                    end = at + 1;
                    break;
                }
                _ => text.push(c),
            }
        }
        found.push(Some(text));
        rest = quoted.get(end..).unwrap_or_default();
    }
    found
}

/// A value in a script, as an expression.
type Written<'a> = &'a dyn Fn(&str) -> String;

/// A script that runs the transaction in the round trips in which the application does: the context goes out with the first
/// statement, the end alone.
pub(super) fn script(org: &str, transaction: &Transaction, written: Written<'_>) -> String {
    let statements: Vec<_> =
        transaction.iter().map(|statement| format!("{};\n", statement.with(written))).collect();
    let (first, others) = statements.split_first().map_or(("", &[][..]), |(first, others)| (first, others));
    format!(
        "\\startpipeline\nBEGIN;\nSET LOCAL app.current_org = '{org}';\n{first}\\endpipeline\n{}\
         \\startpipeline\nSET LOCAL app.current_org = '';\nCOMMIT;\n\\endpipeline\n",
        others.concat()
    )
}

impl Statement {
    /// The statement with its parameters written out.
    fn with(&self, written: Written<'_>) -> String {
        let mut text = String::new();
        let mut rest = self.sql.as_str();
        while let Some((before, after)) = rest.split_once('$') {
            let digits = after.chars().take_while(char::is_ascii_digit).count();
            let (number, after) = after.split_at(digits);
            text.push_str(before);
            let index = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            match index.and_then(|index| self.parameters.get(index)) {
                Some(Some(value)) => text.push_str(&written(value)),
                Some(None) => text.push_str("NULL"),
                None => text.extend(["$", number]),
            }
            rest = after;
        }
        text.push_str(rest);
        text
    }
}

/// A value as pgbench passes it on untouched: a colon would begin a variable.
pub(super) fn literal(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('\'', "''").replace(':', "\\072").replace('\n', "\\n");
    format!("E'{escaped}'")
}

/// The parameters of a transaction, in order.
pub(super) fn values(transaction: &Transaction) -> impl Iterator<Item = Option<&str>> {
    transaction.iter().flat_map(|statement| &statement.parameters).map(Option::as_deref)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
2026-11-21 12:00:00.000 UTC [7] LOG:  duration: 0.1 ms  statement: BEGIN
2026-11-21 12:00:00.000 UTC [8] LOG:  duration: 0.1 ms  statement: BEGIN; SET LOCAL app.current_org = 'o'
2026-11-21 12:00:00.001 UTC [8] LOG:  duration: 0.2 ms  bind s1: SELECT m FROM who WHERE id = $1
2026-11-21 12:00:00.001 UTC [8] DETAIL:  parameters: $1 = 'u'
2026-11-21 12:00:00.001 UTC [8] LOG:  duration: 0.2 ms  execute s1: SELECT m FROM who WHERE id = $1
2026-11-21 12:00:00.001 UTC [8] DETAIL:  parameters: $1 = 'u'
2026-11-21 12:00:00.001 UTC [7] LOG:  duration: 0.2 ms  execute s9: SELECT other
2026-11-21 12:00:00.001 UTC [8] LOG:  duration: 0.2 ms  bind s2: INSERT INTO t
\tVALUES ($1, $2, $10::text, $3)
2026-11-21 12:00:00.001 UTC [8] DETAIL:  parameters: $1 = 'not this', $2 = NULL, $3 = 'one'
2026-11-21 12:00:00.001 UTC [8] LOG:  duration: 0.2 ms  execute s2: INSERT INTO t
\tVALUES ($1, $2, $10::text, $3)
2026-11-21 12:00:00.001 UTC [8] DETAIL:  parameters: $1 = 'it''s 12:30', $2 = NULL, $3 = 'a\\b = ''c'', $4'
2026-11-21 12:00:00.002 UTC [8] LOG:  duration: 0.1 ms  statement: SET LOCAL app.current_org = ''; COMMIT
";

    #[test]
    fn a_transaction_is_found_among_others() {
        let transaction = transaction_of(LOG, "o").unwrap();
        assert_eq!(transaction.len(), 2);
        let wanted = [Some("u"), Some("it's 12:30"), None, Some("a\\b = 'c', $4")];
        assert_eq!(values(&transaction).collect::<Vec<_>>(), wanted);
        assert!(transaction_of(LOG, "x").is_none());
        let unfinished = LOG.lines().take(12).collect::<Vec<_>>().join("\n");
        assert!(transaction_of(&unfinished, "o").is_none());
    }

    #[test]
    fn a_script_has_the_round_trips_of_the_application() {
        let transaction = transaction_of(LOG, "o").unwrap();
        let script = script("o", &transaction, &literal);
        assert_eq!(
            script,
            "\\startpipeline\nBEGIN;\nSET LOCAL app.current_org = 'o';\nSELECT m FROM who WHERE id = E'u';\n\\endpipeline\n\
             INSERT INTO t\nVALUES (E'it''s 12\\07230', NULL, $10::text, E'a\\\\b = ''c'', $4');\n\
             \\startpipeline\nSET LOCAL app.current_org = '';\nCOMMIT;\n\\endpipeline\n"
        );
    }
}
