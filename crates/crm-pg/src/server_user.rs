//! The operating-system user that runs the server: ourselves, or an unprivileged one when we are root.

use std::env;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, lchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{Gid, Uid, User, geteuid};
use postgresql_commands::CommandBuilder;
use postgresql_commands::postgres::PostgresBuilder;

use crate::Error;
use crate::error::at;

/// Who runs the server.
#[derive(Debug)]
pub(crate) struct ServerUser {
    name: String,
    uid: Uid,
    /// The group to run in when the user is not ours.
    dropped_group: Option<Gid>,
}

impl ServerUser {
    /// Chooses the user for the cluster `data`: for root its owner if it exists, else `postgres` or `nobody`.
    pub(crate) fn choose(data: &Path) -> Result<Self, Error> {
        let us = current_user()?;
        if !us.uid.is_root() {
            return Ok(Self { name: us.name, uid: us.uid, dropped_group: None });
        }
        let owner = fs::metadata(data).ok().and_then(|meta| User::from_uid(meta.uid().into()).ok().flatten());
        let named = |name| User::from_name(name).ok().flatten();
        let user = owner
            .into_iter()
            .chain(["postgres", "nobody"].into_iter().filter_map(named))
            .find(|user| !user.uid.is_root())
            .ok_or(Error::NoServerUser)?;
        Ok(Self { name: user.name, uid: user.uid, dropped_group: Some(user.gid) })
    }

    pub(crate) fn uid(&self) -> Uid {
        self.uid
    }

    /// Makes `command` run as this user in `dir`, away from our terminal's Ctrl-C, ending when we end.
    pub(crate) fn run(&self, mut command: Command, dir: &Path) -> Command {
        command.current_dir(dir).process_group(0).stdin(Stdio::null());
        // Settings meant for other servers or clients must not leak in.
        for (name, _) in env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG")) {
            command.env_remove(name);
        }
        command.env("TZ", "UTC").env("LC_ALL", "C");
        if let Some(gid) = self.dropped_group {
            command.uid(self.uid.as_raw()).gid(gid.as_raw());
        }
        end_with_parent(&mut command);
        command
    }

    /// Lets this user, and nobody else, into our folder `dir`, and checks that it gets there.
    pub(crate) fn admit(&self, dir: &Path, bin_dir: &Path) -> Result<(), Error> {
        let mode = if self.dropped_group.is_some() { 0o710 } else { 0o700 };
        if let Some(gid) = self.dropped_group {
            chown(dir, None, Some(gid.as_raw())).map_err(at(dir))?;
        }
        fs::set_permissions(dir, Permissions::from_mode(mode)).map_err(at(dir))?;
        self.check_reach(dir, bin_dir)
    }

    /// Checks that this user can run the server in `dir`, by having it do so.
    fn check_reach(&self, dir: &Path, bin_dir: &Path) -> Result<(), Error> {
        let attempt = |place: &Path| {
            let version = PostgresBuilder::new().program_dir(bin_dir).version().build();
            self.run(version, place).stdout(Stdio::null()).status()
        };
        if self.dropped_group.is_none() || attempt(dir).is_ok() {
            return Ok(());
        }
        attempt(Path::new("/")).map_err(at(&bin_dir.join("postgres")))?;
        let way: Vec<_> = dir.ancestors().collect();
        let blocked = way.into_iter().rev().find(|place| attempt(place).is_err()).unwrap_or(dir);
        Err(Error::Blocked { user: self.name.clone(), directory: blocked.to_owned() })
    }

    /// Makes a folder that only this user (and root) can enter, or checks that it is one.
    pub(crate) fn private_dir(&self, path: &Path) -> Result<(), Error> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made.map_err(at(path))?,
        }
        let meta = fs::symlink_metadata(path).map_err(at(path))?;
        let ours = meta.uid() == self.uid.as_raw() || meta.uid() == geteuid().as_raw();
        if !meta.is_dir() || !ours || meta.mode() & 0o077 != 0 {
            return Err(Error::UnsafeDirectory { path: path.to_owned() });
        }
        match self.dropped_group {
            Some(gid) => lchown(path, Some(self.uid.as_raw()), Some(gid.as_raw())).map_err(at(path)),
            None => Ok(()),
        }
    }
}

/// The user this process runs as.
pub(crate) fn current_user() -> Result<User, Error> {
    let uid = geteuid();
    User::from_uid(uid).ok().flatten().ok_or(Error::NoUserName { uid: uid.as_raw() })
}

/// Has the system interrupt the child when the thread that spawns it ends, so that nothing outlives us.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "code between fork and exec; it makes two system calls and allocates nothing")]
fn end_with_parent(command: &mut Command) {
    use nix::errno::Errno;
    use nix::sys::{prctl, signal::Signal};
    use nix::unistd::{getpid, getppid};

    let parent = getpid();
    let ask = move || -> io::Result<()> {
        prctl::set_pdeathsig(Signal::SIGINT)?;
        // We may have ended before the child asked.
        if getppid() == parent { Ok(()) } else { Err(Errno::ESRCH.into()) }
    };
    // SAFETY: both calls are async-signal-safe and the closure touches no memory but its own.
    unsafe { command.pre_exec(ask) };
}

/// Elsewhere the next start stops what was left behind.
#[cfg(not(target_os = "linux"))]
fn end_with_parent(_: &mut Command) {}
