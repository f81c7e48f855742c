//! Files people attach to records, kept as blobs in an object store: a local directory, or a bucket.
//!
//! A blob is named by its organization and an id, never by anything a client sent. What a client calls the
//! file is only a label, see [`clean_file_name`]; what kind of file it is, is read from its bytes.

mod error;
mod file;
mod key;
mod storage;

#[cfg(test)]
mod bucket_tests;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use file::clean_file_name;
pub use key::Key;
pub use storage::{Blob, Bucket, MAX_ATTACHMENT_BYTES, Storage, Stored};
