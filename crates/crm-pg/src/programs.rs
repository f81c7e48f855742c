//! Finding PostgreSQL's programs.

use std::cmp::Reverse;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, iter};

use postgresql_commands::CommandBuilder;
use postgresql_commands::postgres::PostgresBuilder;

use crate::Error;

const NEEDED: [&str; 3] = ["postgres", "initdb", "pg_ctl"];

/// Folders with one subfolder per major version: where, how its name begins, what follows it.
const VERSIONED: [(&str, &str, &str); 7] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql@", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// Finds the folder with PostgreSQL's programs.
///
/// Tried in order: `PG_BIN_DIR`, `PATH` (links are followed), `pg_config --bindir`, then the places where
/// distributions put them, newest version first.
///
/// # Errors
/// `ProgramsNotFound`, with the places tried and how to install PostgreSQL.
pub fn find_programs() -> Result<PathBuf, Error> {
    first_complete(candidates(), |_| true)
}

/// The programs that will run a cluster.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) bin_dir: PathBuf,
    pub(crate) version: String,
}

impl Programs {
    /// Finds programs that can run the cluster in `data`: of its major version if it exists, else any.
    pub(crate) fn find_for(data: &Path) -> Result<Self, Error> {
        let made_by = fs::read_to_string(data.join("PG_VERSION")).ok();
        Self::find_among(candidates(), made_by.as_deref().map(str::trim), data)
    }

    fn find_among(
        candidates: impl Iterator<Item = PathBuf>,
        made_by: Option<&str>,
        data: &Path,
    ) -> Result<Self, Error> {
        let (mut version, mut others) = (String::new(), Vec::new());
        let found = first_complete(candidates, |bin_dir| match version_of(bin_dir) {
            Some(found) if made_by.is_none_or(|major| major == major_of(&found)) => {
                version = found;
                true
            }
            Some(other) => {
                others.push(other);
                false
            }
            None => false,
        });
        match (found, made_by) {
            (Ok(bin_dir), _) => Ok(Self { bin_dir, version }),
            (Err(_), Some(major)) if !others.is_empty() => {
                others.dedup();
                Err(Error::OtherMajor { dir: data.to_owned(), cluster: major.to_owned(), found: others })
            }
            (Err(error), _) => Err(error),
        }
    }
}

/// The version of the `postgres` in `bin_dir`, such as `15.18 (Debian 15.18-0+deb12u1)`.
pub(crate) fn version_of(bin_dir: &Path) -> Option<String> {
    let output = PostgresBuilder::new().program_dir(bin_dir).version().build().output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().strip_prefix("postgres (PostgreSQL) ")?.to_owned())
}

fn major_of(version: &str) -> &str {
    version.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default()
}

/// The first candidate that holds all programs and `suits`.
fn first_complete(
    candidates: impl Iterator<Item = PathBuf>,
    mut suits: impl FnMut(&Path) -> bool,
) -> Result<PathBuf, Error> {
    let mut looked_in = Vec::new();
    for candidate in candidates {
        match complete_dir(&candidate) {
            Some(bin_dir) if suits(&bin_dir) => return Ok(bin_dir),
            _ => looked_in.push(candidate),
        }
    }
    Err(Error::ProgramsNotFound { looked_in })
}

/// The folder with all programs that `candidate` leads to: where a link to any of them points, or itself.
fn complete_dir(candidate: &Path) -> Option<PathBuf> {
    NEEDED
        .iter()
        .filter_map(|program| Some(candidate.join(program).canonicalize().ok()?.parent()?.to_owned()))
        .chain(iter::once(candidate.to_owned()))
        .find(|dir| NEEDED.iter().all(|program| is_executable(&dir.join(program))))
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Where to look; the later, costlier places are only worked out when the earlier ones had nothing.
fn candidates() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let path: Vec<_> = env::split_paths(&path).filter(|dir| dir.is_absolute()).collect();
    let chosen = env::var_os("PG_BIN_DIR").map(PathBuf::from);
    chosen
        .into_iter()
        .chain(path)
        .chain(iter::once_with(pg_config_bindir).flatten())
        .chain(
            VERSIONED
                .into_iter()
                .flat_map(|(parent, prefix, suffix)| versions(Path::new(parent), prefix, suffix)),
        )
        .chain(["/usr/local/pgsql/bin", "/opt/homebrew/bin"].map(PathBuf::from))
}

fn pg_config_bindir() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim()).filter(|dir| !dir.is_empty()).map(PathBuf::from)
}

/// `parent/<prefix><version>/<suffix>` for every version there, newest first.
fn versions(parent: &Path, prefix: &str, suffix: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((version, entry.path().join(suffix)))
        })
        .collect();
    found.sort_by_key(|(version, _)| Reverse(*version));
    found.into_iter().map(|(_, dir)| dir).collect()
}

#[cfg(test)]
mod tests;
