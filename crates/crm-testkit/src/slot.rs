//! Which server this process uses.

use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use crm_pg::{Cluster, Error, Options};

/// More test processes than that at once are a mistake.
const SLOTS: usize = 64;

/// A running server that no other process uses.
pub(crate) struct Slot {
    pub(crate) cluster: Cluster,
    /// Given back by the system when the process ends.
    _lock: File,
}

/// Takes the first server that is free, making it if it is new.
pub(crate) fn take() -> Slot {
    let target = target_dir();
    let mut hasher = DefaultHasher::new();
    (&target, std::env::home_dir()).hash(&mut hasher);
    // Not every user may write to the build folder, and the one that runs the server may not even get there.
    let elsewhere = std::env::temp_dir().join(format!("crm-test-{:016x}", hasher.finish()));
    take_in(&target.join("crm-test"))
        .or_else(|_| take_in(&elsewhere))
        .unwrap_or_else(|error| panic!("no PostgreSQL for the tests: {error}"))
}

fn take_in(folder: &Path) -> Result<Slot, Error> {
    let io = |source| Error::Io { path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(io)?;
    for slot in 0..SLOTS {
        let name = format!("pg-{slot}");
        let lock_file = folder.join(format!("{name}.lock"));
        let lock = OpenOptions::new().create(true).append(true).open(lock_file).map_err(io)?;
        if lock.try_lock().is_err() {
            continue;
        }
        match start(folder.join(name)) {
            Ok(cluster) => return Ok(Slot { cluster, _lock: lock }),
            Err(Error::Held { .. } | Error::ForeignServer { .. } | Error::Leftover { .. }) => {}
            Err(other) => return Err(other),
        }
    }
    Err(io(std::io::Error::other(format!("{SLOTS} test processes use it already"))))
}

fn start(dir: PathBuf) -> Result<Cluster, Error> {
    let options = Options { dir, durable: false, owner_may_create_databases: true };
    match Cluster::start(&options) {
        // Nothing here is worth repairing: it was damaged, or made by a PostgreSQL that is gone.
        Err(Error::Died { .. } | Error::NotReady { .. } | Error::OtherMajor { .. }) => {
            fs::remove_dir_all(&options.dir)
                .map_err(|source| Error::Io { path: options.dir.clone(), source })?;
            Cluster::start(&options)
        }
        started => started,
    }
}

/// The folder that cargo builds into, which it marks with a file.
fn target_dir() -> PathBuf {
    let program = std::env::current_exe().expect("the path of the running test");
    let target = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
    target.map_or_else(|| std::env::temp_dir().join("crm-target"), Path::to_owned)
}
