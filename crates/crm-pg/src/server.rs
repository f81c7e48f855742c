//! The running server process.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postgresql_commands::CommandBuilder;
use postgresql_commands::postgres::PostgresBuilder;

use crate::Error;
use crate::cluster::{Options, Role};
use crate::error::at;
use crate::layout::{Layout, PORT};
use crate::leftovers::ignore_missing;
use crate::pid_file::PidFile;
use crate::programs::Programs;
use crate::server_user::{ServerUser, current_user};
use crate::wait::wait_until;

/// Recovery after a crash may take a while.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(120);

/// A server that is our child; stopped when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pid: Pid,
    keeper: JoinHandle<()>,
}

impl Server {
    /// Starts the server and waits until it takes connections. It inherits `server_lock`.
    pub(crate) fn start(
        layout: &Layout,
        programs: &Programs,
        user: &ServerUser,
        options: &Options,
        server_lock: File,
    ) -> Result<Self, Error> {
        write_access_rules(layout)?;
        let log = open_log(layout)?;
        let mut command = user.run(postgres(layout, programs, options), &layout.dir);
        command.stdin(server_lock).stdout(log.try_clone().map_err(at(&layout.log()))?).stderr(log);
        let server = Self::spawn(command).map_err(at(&programs.bin_dir.join("postgres")))?;
        server.wait_until_ready(layout)?;
        Ok(server)
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Spawns from a thread that lives as long as the server: the system ends the child with the *thread* it
    /// came from, and the caller's may be short-lived. The thread also collects the exit status: no zombie stays.
    fn spawn(mut command: Command) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel();
        let keeper = thread::Builder::new().name("crm-pg-keeper".into()).spawn(move || {
            let spawned = command.spawn();
            drop(command); // it holds the server's lock, which only the server may keep
            let (pid, child) = match spawned {
                Ok(child) => (Ok(Pid::from_raw(child.id().cast_signed())), Some(child)),
                Err(error) => (Err(error), None),
            };
            let _ = sender.send(pid);
            if let Some(status) = child.map(|mut child| child.wait()) {
                tracing::debug!(?status, "the PostgreSQL server has ended");
            }
        })?;
        let pid = receiver.recv().map_err(io::Error::other)??;
        Ok(Self { pid, keeper })
    }

    fn wait_until_ready(&self, layout: &Layout) -> Result<(), Error> {
        let data = layout.data();
        let is_ready =
            || PidFile::read(&data).is_some_and(|file| file.pid == self.pid && file.ready && file.answers());
        wait_until(START_LIMIT, || self.keeper.is_finished() || is_ready());
        if self.keeper.is_finished() {
            Err(Error::Died { log: last_lines(&layout.log()) })
        } else if is_ready() {
            Ok(())
        } else {
            Err(Error::NotReady { seconds: START_LIMIT.as_secs(), log: last_lines(&layout.log()) })
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fast: closes connections and writes everything out. Immediate: recovers at the next start.
        for (signal, seconds) in [(Signal::SIGINT, 15), (Signal::SIGQUIT, 10)] {
            if !self.keeper.is_finished() {
                let _ = kill(self.pid, signal); // gone already: the wait will tell
            }
            if wait_until(Duration::from_secs(seconds), || self.keeper.is_finished()) {
                return;
            }
        }
        tracing::error!(pid = self.pid.as_raw(), "the PostgreSQL server does not stop");
    }
}

/// The server's command line; settings given here win over any file in the cluster.
fn postgres(layout: &Layout, programs: &Programs, options: &Options) -> Command {
    let [socket_dir, hba_file, ident_file] =
        [layout.socket_dir(), layout.hba_file(), layout.ident_file()].map(|path| path.display().to_string());
    let mut settings = vec![
        ("listen_addresses", ""),
        ("unix_socket_directories", &socket_dir),
        ("unix_socket_permissions", "0700"),
        ("hba_file", &hba_file),
        ("ident_file", &ident_file),
        ("logging_collector", "off"),
        ("log_destination", "stderr"),
        ("shared_buffers", "64MB"),
        ("max_connections", if options.durable { "60" } else { "200" }),
    ];
    if !options.durable {
        settings.extend([("fsync", "off"), ("full_page_writes", "off"), ("synchronous_commit", "off")]);
    }
    let server = PostgresBuilder::new().program_dir(&programs.bin_dir).data_dir(layout.data()).port(PORT);
    settings.into_iter().fold(server, |server, (name, value)| server.runtime_param(name, value)).build()
}

/// Lets in the user we are, as any of the three roles, over the socket; nobody else, and no other way.
///
/// The files are ours and outside the cluster, so the user that runs the server cannot change them.
fn write_access_rules(layout: &Layout) -> Result<(), Error> {
    let us = current_user()?.name;
    let map = |role: Role| format!("crm \"{us}\" {}\n", role.name());
    let identities = [Role::Super, Role::Owner, Role::App].map(map).concat();
    let rules = [(layout.hba_file(), "local all all peer map=crm\n"), (layout.ident_file(), &identities)];
    for (path, text) in rules {
        fs::write(&path, text).map_err(at(&path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).map_err(at(&path))?;
    }
    Ok(())
}

/// Opens a new log, keeping that of the run before.
fn open_log(layout: &Layout) -> Result<File, Error> {
    let log = layout.log();
    ignore_missing(fs::rename(&log, log.with_added_extension("1"))).map_err(at(&log))?;
    OpenOptions::new().append(true).create(true).mode(0o600).open(&log).map_err(at(&log))
}

fn last_lines(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
}
