//! The same statements without the program: pgbench on the same server.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How many scripts it takes at once.
pub(super) const SCRIPTS_MAX: usize = 100;

/// Runs the scripts at random over so many connections; how many transactions it made in a second.
pub(super) fn transactions_per_second(
    url: &str,
    connections: u64,
    time: Duration,
    scripts: &[String],
    variables: &[(&str, String)],
) -> Result<f64> {
    let folder = std::env::temp_dir().join(format!("crm-bench-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let mut command = Command::new(program());
    command.args(["--no-vacuum", "--protocol=prepared"]);
    command.arg(format!("--client={connections}")).arg(format!("--jobs={}", connections.min(2)));
    command.arg(format!("--time={}", time.as_secs().max(1)));
    for (name, value) in variables {
        command.arg(format!("--define={name}={value}"));
    }
    for (number, script) in scripts.iter().enumerate() {
        let file = folder.join(format!("{number}.sql"));
        fs::write(&file, script)?;
        command.arg("--file").arg(file);
    }
    let output = command.arg(url).output();
    fs::remove_dir_all(&folder)?;
    let output = output.context("can't run pgbench: it comes with PostgreSQL")?;
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let aborted = said.contains("Run was aborted") || complained.contains("aborted");
    match rate(&said).filter(|_| output.status.success() && !aborted) {
        Some(rate) => Ok(rate),
        None => bail!("pgbench: {}", complained.lines().find(|line| line.contains("ERROR")).unwrap_or(&complained)),
    }
}

/// Beside the server's programs, or on the path.
fn program() -> std::path::PathBuf {
    let beside = crm_pg::find_programs().map(|bin_dir| bin_dir.join("pgbench"));
    beside.ok().filter(|program| program.exists()).unwrap_or_else(|| "pgbench".into())
}

/// `tps = 123.4 (without initial connection time)`
fn rate(said: &str) -> Option<f64> {
    let line = said.lines().find_map(|line| line.strip_prefix("tps = "))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_rate_is_read() {
        let said = "latency average = 0.1 ms\ntps = 9876.543 (without initial connection time)\n";
        assert_eq!(super::rate(said), Some(9876.543));
        assert_eq!(super::rate("nothing"), None);
    }
}
