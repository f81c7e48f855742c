//! Where the cluster's files are.

use std::fs::{self, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{User, geteuid};

use crate::Error;
use crate::error::at;

/// The port is only part of the socket's name.
pub(crate) const PORT: u16 = 5432;

/// A socket's path must fit 104 bytes on some systems; the file name needs 14 of them.
const SOCKET_DIR_MAX: usize = 80;

/// The folder of one cluster, absolute and without links.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) dir: PathBuf,
}

impl Layout {
    /// Opens the folder of a cluster of ours.
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        let dir = match dir.canonicalize() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Error::NotRunning { dir: dir.to_owned() });
            }
            found => found.map_err(at(dir))?,
        };
        let uid = fs::metadata(&dir).map_err(at(&dir))?.uid();
        if uid != geteuid().as_raw() {
            let name = User::from_uid(uid.into()).ok().flatten().map(|user| user.name);
            return Err(Error::OtherOwner { dir, owner: name.unwrap_or_else(|| uid.to_string()) });
        }
        Ok(Self { dir })
    }

    /// Opens the folder, making it and its parents first where they are missing.
    pub(crate) fn create(dir: &Path) -> Result<Self, Error> {
        // As root another user runs the server and must get through.
        let mode = if geteuid().is_root() { 0o711 } else { 0o700 };
        let missing: Vec<_> =
            dir.ancestors().take_while(|part| !part.as_os_str().is_empty() && !part.exists()).collect();
        for part in missing.into_iter().rev() {
            match fs::create_dir(part) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                made => made.map_err(at(part))?,
            }
            fs::set_permissions(part, Permissions::from_mode(mode)).map_err(at(part))?;
        }
        Self::open(dir)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub(crate) fn unfinished_data(&self) -> PathBuf {
        self.dir.join("data.new")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.dir.join("postgres.log")
    }

    pub(crate) fn hba_file(&self) -> PathBuf {
        self.dir.join("pg_hba.conf")
    }

    pub(crate) fn ident_file(&self) -> PathBuf {
        self.dir.join("pg_ident.conf")
    }

    pub(crate) fn socket_dir(&self) -> PathBuf {
        let inside = self.dir.join("socket");
        let bytes = inside.as_os_str().as_bytes();
        // Servers and clients alike take a comma for the end of a list's entry.
        if bytes.len() < SOCKET_DIR_MAX && !bytes.contains(&b',') {
            return inside;
        }
        let mut hasher = DefaultHasher::new();
        self.dir.hash(&mut hasher);
        PathBuf::from(format!("/tmp/.crm-pg-{:016x}", hasher.finish()))
    }
}

/// The socket a server makes in `dir`.
pub(crate) fn socket_file(dir: &Path, port: u16) -> PathBuf {
    dir.join(format!(".s.PGSQL.{port}"))
}
