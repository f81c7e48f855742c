//! Clearing up after a run that was killed.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Error;
use crate::error::at;
use crate::layout::{Layout, PORT, socket_file};
use crate::lock::open_lock_file;
use crate::pid_file::PidFile;
use crate::server_user::ServerUser;
use crate::wait::wait_until;

/// Stops what is left of an earlier server and removes what it left lying about.
///
/// Returns a lock to hand to the new server as its standard input. All its processes inherit it, so the
/// system frees it when the last of them is gone: no zombie and no reused process number can deceive.
pub(crate) fn clear(layout: &Layout, user: &ServerUser) -> Result<File, Error> {
    let data = layout.data();
    let lock = open_lock_file(&layout.dir.join("server.lock"))?;
    let is_free = || lock.try_lock().is_ok();
    let gone = is_free()
        || [(Signal::SIGINT, 15), (Signal::SIGQUIT, 10)].into_iter().any(|(signal, seconds)| {
            if let Some(server) = PidFile::read(&data).filter(|server| is_orphan(server, &data, user)) {
                tracing::info!(pid = %server.pid, %signal, "stopping a server left by an earlier run");
                let _ = kill(server.pid, signal); // gone already: the wait will tell
            }
            wait_until(Duration::from_secs(seconds), is_free)
        });
    if !gone {
        return Err(Error::Leftover { dir: layout.dir.clone() });
    }
    remove_stale_pid_file(layout, user)?;
    let socket = socket_file(&layout.socket_dir(), PORT);
    remove_if_there(&socket)?;
    remove_if_there(&socket.with_added_extension("lock"))?;
    Ok(lock)
}

/// Whether a server of ours, whose holder is gone, still listens: only a living one answers on its socket.
fn is_orphan(server: &PidFile, data: &Path, user: &ServerUser) -> bool {
    serves(server.pid, data, user) != Some(false) && server.answers()
}

/// Removes `postmaster.pid` if its process does not serve the cluster, or if it was cut short.
///
/// PostgreSQL would refuse to start when the number in it belongs to another process by now. Where the system
/// does not tell what a process works on, the file stays and PostgreSQL decides.
fn remove_stale_pid_file(layout: &Layout, user: &ServerUser) -> Result<(), Error> {
    let data = layout.data();
    match PidFile::read(&data).map(|server| (server.pid, serves(server.pid, &data, user))) {
        Some((pid, Some(true))) => Err(Error::ForeignServer { pid: pid.as_raw(), dir: layout.dir.clone() }),
        Some((_, Some(false))) | None => remove_if_there(&PidFile::path(&data)),
        Some((_, None)) => Ok(()),
    }
}

/// Whether the process `pid` is a server of the cluster `data`; nothing where there is no /proc.
fn serves(pid: Pid, data: &Path, user: &ServerUser) -> Option<bool> {
    fs::metadata("/proc/self/cwd").ok()?;
    let process = Path::new("/proc").join(pid.to_string());
    if fs::metadata(&process).is_ok_and(|meta| meta.uid() != user.uid().as_raw()) {
        return Some(false);
    }
    Some(match fs::read_link(process.join("cwd")) {
        Ok(cwd) => cwd == data,
        // A root without the right to trace others is not told: assume the worst.
        Err(error) => error.kind() == ErrorKind::PermissionDenied,
    })
}

/// Removes a file that may be missing.
fn remove_if_there(file: &Path) -> Result<(), Error> {
    ignore_missing(fs::remove_file(file)).map_err(at(file))
}

/// Takes a missing file for success.
pub(crate) fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}
