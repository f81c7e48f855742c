use std::io;

/// Why a file was not stored, read or deleted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file has more bytes than the caller allows.
    #[error("the file is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The largest size allowed.
        limit_bytes: u64,
    },
    /// The file has no bytes.
    #[error("the file is empty")]
    Empty,
    /// The file is a program.
    #[error("programs are not accepted")]
    TypeRefused,
    /// The upload broke off before its end; the text is the sender's error.
    #[error("the upload broke off: {0}")]
    Upload(String),
    /// No blob has this key.
    #[error("no such file")]
    NotFound,
    /// The bytes are not those that were stored.
    #[error("the file was damaged in the store")]
    Damaged,
    /// The text is not a storage key.
    #[error("not a storage key")]
    BadKey,
    /// The store could not be used.
    #[error("the file store failed")]
    Store(#[from] io::Error),
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::NotFound,
            other => Self::Store(other.into()),
        }
    }
}
