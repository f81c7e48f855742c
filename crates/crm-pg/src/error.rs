//! What can go wrong, in words a person who has just started the program can act on.

use std::io;
use std::path::{Path, PathBuf};

/// Why the private server could not be started or reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The machine has no usable PostgreSQL.
    #[error("{}", programs_not_found(looked_in))]
    ProgramsNotFound {
        /// The folders that were tried, in order.
        looked_in: Vec<PathBuf>,
    },
    /// The cluster was made by a major version that is not installed.
    #[error(
        "the cluster in {} was made by PostgreSQL {cluster}, but only {} was found; install version {cluster}, \
         or set PG_BIN_DIR to the folder of its programs",
        dir.display(), found.join(", ")
    )]
    OtherMajor {
        /// The cluster's folder.
        dir: PathBuf,
        /// The major version that made it.
        cluster: String,
        /// The versions on this machine.
        found: Vec<String>,
    },
    /// Another process runs this cluster.
    #[error("the cluster in {} is in use by process {by_pid}", dir.display())]
    Held {
        /// That process, or 0 if it has not written its number yet.
        by_pid: u32,
        /// The cluster's folder.
        dir: PathBuf,
    },
    /// There is no server to attach to.
    #[error("no server runs in {}", dir.display())]
    NotRunning {
        /// The cluster's folder.
        dir: PathBuf,
    },
    /// The folder belongs to somebody else, who alone may use the cluster.
    #[error("{} belongs to user {owner}: run as that user, or set CRM_DATA_DIR to another folder", dir.display())]
    OtherOwner {
        /// The cluster's folder.
        dir: PathBuf,
        /// Name or number of its owner.
        owner: String,
    },
    /// Root needs an unprivileged user to run the server.
    #[error("PostgreSQL refuses to run as root, and this machine has neither a user `postgres` nor `nobody`")]
    NoServerUser,
    /// PostgreSQL admits users by name.
    #[error(
        "the user number {uid} has no name on this machine, but PostgreSQL needs one; add it to /etc/passwd"
    )]
    NoUserName {
        /// The user this process runs as.
        uid: u32,
    },
    /// The user that runs the server may not enter a folder on the way to the cluster.
    #[error(
        "the PostgreSQL server runs as the user `{user}`, who may not enter {}; set CRM_DATA_DIR to a folder \
         that user can reach, such as one under /var/lib, or open it with `chmod o+x`",
        directory.display()
    )]
    Blocked {
        /// The user that runs the server.
        user: String,
        /// The outermost folder that user may not enter.
        directory: PathBuf,
    },
    /// A folder that must be private is not.
    #[error("{} is not a private folder of the user that runs the server; remove it", path.display())]
    UnsafeDirectory {
        /// The folder in question.
        path: PathBuf,
    },
    /// The server of an earlier run is still there and does not stop.
    #[error("a PostgreSQL server left from an earlier run still runs in {} and does not stop", dir.display())]
    Leftover {
        /// The cluster's folder.
        dir: PathBuf,
    },
    /// Somebody started a server on this cluster by hand.
    #[error("process {pid}, not started by this program, already serves {}; stop it first", dir.display())]
    ForeignServer {
        /// That server.
        pid: i32,
        /// The cluster's folder.
        dir: PathBuf,
    },
    /// Making the cluster failed.
    #[error("{step} failed:\n{output}")]
    Create {
        /// What was being done.
        step: &'static str,
        /// What the program wrote.
        output: String,
    },
    /// The server ended while starting.
    #[error("the PostgreSQL server ended while starting; its last words:\n{log}")]
    Died {
        /// The last lines of its log.
        log: String,
    },
    /// The server did not become ready in time.
    #[error("the PostgreSQL server was not ready after {seconds} s; its last words:\n{log}")]
    NotReady {
        /// How long it was given.
        seconds: u64,
        /// The last lines of its log.
        log: String,
    },
    /// A file or program could not be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or program.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Turns what the system said about `path` into an error that names it.
pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { path: path.to_owned(), source }
}

fn programs_not_found(looked_in: &[PathBuf]) -> String {
    let folders: String = looked_in.iter().map(|folder| format!("\n  {}", folder.display())).collect();
    format!(
        "PostgreSQL's programs (postgres, initdb, pg_ctl) were not found. Looked in:{folders}
Install them:
  Debian, Ubuntu    apt install postgresql
  Fedora, RHEL      dnf install postgresql-server postgresql-contrib
  Arch              pacman -S postgresql
  Alpine            apk add postgresql postgresql-contrib
  macOS             brew install postgresql@17
  Windows           not supported: use DATABASE_URL
or set PG_BIN_DIR to the folder that holds them, or DATABASE_URL to use a server of your own."
    )
}
