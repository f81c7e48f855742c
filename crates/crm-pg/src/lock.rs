//! Which process runs the cluster.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use crate::Error;
use crate::error::at;
use crate::programs::Programs;
use crate::wait::wait_until;

/// The right to run the server of one cluster; given back when dropped or when the process ends.
#[derive(Debug)]
pub(crate) struct HolderLock {
    file: File,
    path: PathBuf,
}

/// What the holder tells others about itself.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(crate) version: String,
    pub(crate) bin_dir: PathBuf,
}

impl HolderLock {
    /// Takes the lock of the cluster in `dir`, or tells who has it.
    pub(crate) fn acquire(dir: &Path) -> Result<Self, Error> {
        let path = lock_path(dir);
        let file = open_lock_file(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Held { by_pid: holder_pid(&path), dir: dir.to_owned() });
            }
            Err(TryLockError::Error(error)) => return Err(at(&path)(error)),
        }
        let lock = Self { file, path };
        lock.write(&format!("{}\n", process::id()))?;
        Ok(lock)
    }

    /// Tells others which programs run the server.
    pub(crate) fn publish(&self, programs: &Programs) -> Result<(), Error> {
        let bin_dir = programs.bin_dir.display();
        self.write(&format!("{}\n{}\n{bin_dir}\n", process::id(), programs.version))
    }

    fn write(&self, text: &str) -> Result<(), Error> {
        fs::write(&self.path, text).map_err(at(&self.path))
    }
}

impl Drop for HolderLock {
    fn drop(&mut self) {
        // Cleared first, so that nobody reads the number of a process that has let go. Unlocked by hand, because
        // a child that another thread is just spawning may have the file open for a moment longer.
        if let Err(error) = self.file.set_len(0).and_then(|()| self.file.unlock()) {
            tracing::warn!(path = %self.path.display(), %error, "cannot give the lock back");
        }
    }
}

impl Holder {
    /// Reads what the holder of the cluster in `dir` has published.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>, Error> {
        let path = lock_path(dir);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.map_err(at(&path))?,
        };
        let mut lines = text.lines().skip(1);
        let (version, bin_dir) = (lines.next(), lines.next());
        Ok(version
            .zip(bin_dir)
            .map(|(version, bin_dir)| Self { version: version.into(), bin_dir: bin_dir.into() }))
    }
}

/// Opens a file to lock, leaving what is in it.
pub(crate) fn open_lock_file(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(at(path))
}

fn lock_path(dir: &Path) -> PathBuf {
    dir.join("lock")
}

/// The number the holder wrote, waiting a moment if it has only just taken the lock; 0 if it never comes.
fn holder_pid(path: &Path) -> u32 {
    let mut pid = None;
    wait_until(Duration::from_secs(1), || {
        let text = fs::read_to_string(path).unwrap_or_default();
        pid = text.lines().next().and_then(|line| line.parse().ok());
        pid.is_some()
    });
    pid.unwrap_or(0)
}
