//! The public face: starting, attaching, addresses.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::create::create_if_missing;
use crate::error::Error;
use crate::layout::Layout;
use crate::lock::{Holder, HolderLock};
use crate::pid_file::PidFile;
use crate::programs::{Programs, version_of};
use crate::server::{START_LIMIT, Server};
use crate::server_user::ServerUser;
use crate::wait::wait_until;
use crate::{layout, leftovers};

/// Where and how the cluster runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cluster's own folder, made if it is missing.
    pub dir: PathBuf,
    /// Whether data must survive a crash of the machine; `false` is faster, for tests only.
    pub durable: bool,
    /// Whether `crm_owner` may make databases; only heeded when the cluster is made.
    pub owner_may_create_databases: bool,
}

/// A database role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// May do everything.
    Super,
    /// Owns the database `crm` and migrates it.
    Owner,
    /// What the application works as; row-level security binds it.
    App,
}

impl Role {
    /// The role's name in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Super => "crm_super",
            Self::Owner => "crm_owner",
            Self::App => "crm_app",
        }
    }
}

/// A running private server.
///
/// The one who started it stops it when dropped; an attached handle leaves it alone. A holder that is never
/// dropped, such as one in a `static`, is covered too: on Linux the server stops when the process ends, in
/// whatever way, and elsewhere the next start stops it.
#[derive(Debug)]
pub struct Cluster {
    bin_dir: PathBuf,
    socket_dir: PathBuf,
    port: u16,
    server_pid: i32,
    held: Option<Held>,
}

/// What a holder has.
#[derive(Debug)]
struct Held {
    server: Server,
    lock: HolderLock,
}

impl Cluster {
    /// Starts the server, making the cluster first if there is none.
    ///
    /// # Errors
    /// `Held` when another process runs it; otherwise what is missing or wrong, with what to do about it.
    pub fn start(options: &Options) -> Result<Self, Error> {
        let layout = Layout::create(&options.dir)?;
        let lock = HolderLock::acquire(&layout.dir)?;
        let user = ServerUser::choose(&layout.data())?;
        let programs = Programs::find_for(&layout.data())?;
        user.admit(&layout.dir, &programs.bin_dir)?;
        user.private_dir(&layout.socket_dir())?;
        let server_lock = leftovers::clear(&layout, &user)?;
        create_if_missing(&layout, &programs, &user, options, &server_lock)?;
        lock.publish(&programs)?;
        let server = Server::start(&layout, &programs, &user, options, server_lock)?;
        Ok(Self {
            bin_dir: programs.bin_dir,
            socket_dir: layout.socket_dir(),
            port: layout::PORT,
            server_pid: server.pid().as_raw(),
            held: Some(Held { server, lock }),
        })
    }

    /// Joins the server that another process runs in `dir`.
    ///
    /// # Errors
    /// `NotRunning` when there is none, or it is still starting or already stopping.
    pub fn attach(dir: &Path) -> Result<Self, Error> {
        let layout = Layout::open(dir)?;
        let server = PidFile::read(&layout.data()).filter(|server| server.ready && server.answers());
        let Some((server, holder)) = server.zip(Holder::read(&layout.dir)?) else {
            return Err(Error::NotRunning { dir: layout.dir });
        };
        if let Some(installed) = upgraded_to(&holder) {
            // Its new sessions may fail to load the new version's libraries.
            let running = &holder.version;
            tracing::warn!(
                running,
                installed,
                "PostgreSQL was upgraded under its running server; restart that"
            );
        }
        Ok(Self {
            bin_dir: holder.bin_dir,
            socket_dir: server.socket_dir,
            port: server.port,
            server_pid: server.pid.as_raw(),
            held: None,
        })
    }

    /// Joins the server if another process runs it, waiting while that starts or stops; starts it otherwise.
    ///
    /// # Errors
    /// Those of [`Cluster::start`].
    pub fn start_or_attach(options: &Options) -> Result<Self, Error> {
        let mut result = Self::start(options);
        wait_until(START_LIMIT, || {
            if let Err(Error::Held { .. }) = result {
                result = match Self::attach(&options.dir) {
                    Err(Error::NotRunning { .. }) => Self::start(options),
                    attached => attached,
                };
            }
            !matches!(result, Err(Error::Held { .. }))
        });
        result
    }

    /// The address of `database` for `role`, as libpq and tokio-postgres understand it.
    #[must_use]
    pub fn url(&self, role: Role, database: &str) -> String {
        let host = percent_encoded(self.socket_dir.as_os_str().as_bytes());
        let database = percent_encoded(database.as_bytes());
        format!("postgresql://{}@{host}:{}/{database}", role.name(), self.port)
    }

    /// Whether this handle runs the server, and so stops it.
    #[must_use]
    pub fn is_holder(&self) -> bool {
        self.held.is_some()
    }

    /// The server's process number.
    #[must_use]
    pub fn server_pid(&self) -> i32 {
        self.server_pid
    }

    /// The folder of the PostgreSQL programs in use, usually with `psql` and `pg_dump` among them.
    #[must_use]
    pub fn bin_dir(&self) -> &Path {
        &self.bin_dir
    }

    /// The folder with the server's socket.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// The port, which is part of the socket's name.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Stops the server and gives up the cluster, if this handle runs it.
    pub fn stop(&mut self) {
        if let Some(Held { server, lock }) = self.held.take() {
            drop(server);
            let _ = fs::remove_dir(&self.socket_dir); // it may be in /tmp; the next start makes it again
            drop(lock);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The version now installed, if the running server is of another.
fn upgraded_to(holder: &Holder) -> Option<String> {
    let installed = version_of(&holder.bin_dir).unwrap_or_else(|| "none".into());
    (installed != holder.version).then_some(installed)
}

fn percent_encoded(bytes: &[u8]) -> String {
    let encode = |&byte: &u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    bytes.iter().map(encode).collect()
}

#[cfg(test)]
mod tests;
