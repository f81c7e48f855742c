//! `postmaster.pid`, in which a server says who and how it is.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;

use crate::layout::socket_file;

/// The lines of `postmaster.pid` that matter here.
#[derive(Debug)]
pub(crate) struct PidFile {
    pub(crate) pid: Pid,
    pub(crate) port: u16,
    pub(crate) socket_dir: PathBuf,
    pub(crate) ready: bool,
}

impl PidFile {
    pub(crate) fn path(data: &Path) -> PathBuf {
        data.join("postmaster.pid")
    }

    /// Reads the file in the cluster `data`; nothing if there is none or it has no process number.
    pub(crate) fn read(data: &Path) -> Option<Self> {
        let text = fs::read_to_string(Self::path(data)).ok()?;
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let line = |number: usize| lines.get(number - 1).copied().unwrap_or_default();
        Some(Self {
            // A server in single-user mode writes its number negated.
            pid: Pid::from_raw(line(1).parse::<i32>().ok()?.checked_abs()?),
            port: line(4).parse().unwrap_or_default(),
            socket_dir: line(5).into(),
            ready: line(8) == "ready",
        })
    }

    /// Whether a server listens where this one said it would.
    pub(crate) fn answers(&self) -> bool {
        UnixStream::connect(socket_file(&self.socket_dir, self.port)).is_ok()
    }
}
