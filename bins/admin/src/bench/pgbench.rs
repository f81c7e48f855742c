//! The same statements without the program: pgbench on the same server.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Scripts at once at most: each connection prepares each of them.
pub(super) const SCRIPTS_MAX: usize = 50;

/// How long they have for that.
const WARM_UP: Duration = Duration::from_secs(2);

/// Runs the scripts at random over so many connections; how many transactions it made in a second, once warm.
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
    command.arg(format!("--time={}", (WARM_UP + time).as_secs())).arg("--progress=1");
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
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let aborted = said.contains("Run was aborted") || complained.contains("aborted");
    match rate(&complained).filter(|_| output.status.success() && !aborted) {
        Some(rate) => Ok(rate),
        None => bail!(
            "pgbench: {}",
            complained.lines().find(|line| line.contains("ERROR")).unwrap_or(&complained)
        ),
    }
}

/// Beside the server's programs, or on the path.
fn program() -> std::path::PathBuf {
    let beside = crm_pg::find_programs().map(|bin_dir| bin_dir.join("pgbench"));
    beside.ok().filter(|program| program.exists()).unwrap_or_else(|| "pgbench".into())
}

/// The mean of the seconds after the warm-up: `progress: 3.0 s, 123.4 tps, lat 8.1 ms stddev 0.2, 0 failed`
fn rate(progress: &str) -> Option<f64> {
    let lines = progress.lines().filter_map(|line| {
        let (seconds, rest) = line.strip_prefix("progress: ")?.split_once(" s, ")?;
        let (rate, _) = rest.split_once(" tps")?;
        Some((seconds.parse::<f64>().ok()?, rate.parse::<f64>().ok()?))
    });
    let warm = lines.filter(|(seconds, _)| *seconds > WARM_UP.as_secs_f64() + 0.5);
    let rates: Vec<_> = warm.map(|(_, rate)| rate).collect();
    if rates.is_empty() { None } else { Some(rates.iter().sum::<f64>() / rates.len() as f64) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_rate_is_that_after_the_warm_up() {
        let progress =
            "pgbench (15)\nprogress: 1.0 s, 10.0 tps, lat 1 ms\nprogress: 2.0 s, 20.0 tps, lat 1 ms
progress: 3.0 s, 1000.0 tps, lat 1 ms\nprogress: 4.0 s, 2000.5 tps, lat 1 ms stddev 0.1, 0 failed\n";
        assert_eq!(super::rate(progress), Some(1500.25));
        assert_eq!(super::rate("progress: 1.0 s, 10.0 tps"), None);
    }
}
