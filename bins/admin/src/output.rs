//! Where a command writes to: the standard output, or a file that is there as a whole or not at all.

use std::fs::File;
use std::io::{self, BufWriter, Stdout, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

/// An output under way.
pub(crate) enum Output {
    Stdout(Stdout),
    /// What is no file, such as a pipe: written straight away.
    Straight(File),
    /// Beside the place of a file, which it takes in the end: for its owner alone, since it holds people's addresses.
    Beside(BufWriter<NamedTempFile>, PathBuf),
}

impl Output {
    /// Opens the output; a path at which nothing can be written is told at once.
    pub(crate) fn create(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self::Stdout(io::stdout())) };
        Self::at(path).with_context(|| format!("can't write {}", path.display()))
    }

    fn at(path: &Path) -> io::Result<Self> {
        if path.exists() && !path.is_file() {
            return Ok(Self::Straight(File::options().write(true).open(path)?));
        }
        // What a link leads to is replaced, and not the link.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let file = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
        Ok(Self::Beside(BufWriter::new(file), path))
    }

    /// Puts the file in its place.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.flush()?;
        if let Self::Beside(file, path) = self {
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.persist(&path).with_context(|| format!("can't write {}", path.display()))?;
        }
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(out) => out.write(bytes),
            Self::Straight(out) => out.write(bytes),
            Self::Beside(out, _) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.flush(),
            Self::Straight(out) => out.flush(),
            Self::Beside(out, _) => out.flush(),
        }
    }
}
