use std::fmt;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, future, stream, stream::BoxStream};
use object_store::aws::{AmazonS3Builder, Checksum};
use object_store::{
    ObjectStore, ObjectStoreExt as _, RetryConfig, buffered::BufWriter, local::LocalFileSystem,
};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use uuid::Uuid;

use crate::{Error, Key, clean_file_name, file};

/// The largest attachment: 25 MiB.
pub const MAX_ATTACHMENT_BYTES: u64 = 25 * 1024 * 1024;

/// For how long a bucket that does not answer is tried.
const PATIENCE: Duration = Duration::from_secs(20);

/// How much of an upload is held in memory before it is passed on; buckets take no smaller parts.
const PART_BYTES: usize = 5 * 1024 * 1024;

/// A bucket of Amazon S3 or of a service that speaks like it.
#[derive(Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Where it lies.
    pub region: String,
    /// The service, if it is not Amazon's; `http://` only where nobody listens in.
    pub endpoint: Option<String>,
    /// Access key id and secret; without them those of the machine are used.
    pub credentials: Option<(String, String)>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket")
            .field("name", &self.name)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// The blobs of all organizations.
#[derive(Debug, Clone)]
pub struct Storage {
    store: Arc<dyn ObjectStore>,
}

/// What is known of a file once it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The blob's [`Key`] in text.
    pub key: String,
    /// Its length, at least 1.
    pub size_bytes: i64,
    /// The SHA-256 of its bytes in lower-case hexadecimal digits.
    pub sha256: String,
    /// Its media type. It may be `text/html`, so serve it as a download and with `nosniff`.
    pub content_type: String,
    /// The cleaned label, see [`clean_file_name`].
    pub file_name: String,
}

/// A stored file being read.
pub struct Blob {
    /// Its length.
    pub size_bytes: u64,
    /// Its bytes, read as they are asked for.
    pub bytes: BoxStream<'static, Result<Bytes, Error>>,
}

impl Blob {
    /// The same bytes, held against the digest they were stored with: the stream fails at its end if they are others.
    #[must_use]
    pub fn verified(self, sha256: String) -> Self {
        let Self { size_bytes, bytes } = self;
        let hashed =
            stream::try_unfold((bytes, Sha256::new(), sha256), async |(mut bytes, mut digest, want)| {
                match bytes.try_next().await? {
                    Some(chunk) => {
                        digest.update(&chunk);
                        Ok(Some((chunk, (bytes, digest, want))))
                    }
                    None if format!("{:x}", digest.finalize()) == want => Ok(None),
                    None => Err(Error::Damaged),
                }
            });
        Self { size_bytes, bytes: hashed.boxed() }
    }
}

impl Storage {
    /// Keeps blobs in `store`.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store }
    }

    /// Keeps blobs under the directory `dir`, which is created for this user alone if it is missing.
    ///
    /// # Errors
    /// [`Error::Store`] if the directory cannot be created or opened.
    pub fn local(dir: &Path) -> Result<Self, Error> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        // A row that names a blob must not outlive it in a power cut.
        Ok(Self::new(Arc::new(LocalFileSystem::new_with_prefix(dir)?.with_fsync(true))))
    }

    /// Keeps blobs in a bucket of an S3-compatible service.
    ///
    /// # Errors
    /// [`Error::Store`] if the settings don't make sense together.
    pub fn bucket(bucket: &Bucket) -> Result<Self, Error> {
        // The client takes whichever provider of TLS the process has settled on; it fails only if there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&bucket.name)
            .with_region(&bucket.region)
            .with_checksum_algorithm(Checksum::SHA256)
            .with_retry(RetryConfig { max_retries: 3, retry_timeout: PATIENCE, ..RetryConfig::default() });
        if let Some(endpoint) = &bucket.endpoint {
            builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
        }
        if let Some((id, secret)) = &bucket.credentials {
            builder = builder.with_access_key_id(id).with_secret_access_key(secret);
        }
        Ok(Self::new(Arc::new(builder.build().map_err(Error::from)?)))
    }

    /// Whether the store can be reached and used.
    ///
    /// # Errors
    /// [`Error::Store`], with the reason behind it.
    pub async fn check(&self) -> Result<(), Error> {
        self.store.list(None).try_next().await.map(drop).map_err(Error::from)
    }

    /// Streams `bytes` into the blob `id` of `org`; nothing remains when it fails. Of a call that is dropped
    /// half-way a directory keeps nothing, but a bucket keeps the parts until its own clean-up rule runs.
    ///
    /// # Errors
    /// `TooLarge` beyond `limit_bytes`, `Empty`, `TypeRefused` for programs, `Upload` if the stream fails.
    pub async fn put<S, E>(
        &self,
        org: Uuid,
        id: Uuid,
        file_name: &str,
        limit_bytes: u64,
        bytes: S,
    ) -> Result<Stored, Error>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: fmt::Display,
    {
        let file_name = clean_file_name(file_name);
        if file::has_program_name(&file_name) {
            return Err(Error::TypeRefused);
        }
        let key = Key::new(org, id);
        let mut writer =
            BufWriter::with_capacity(Arc::clone(&self.store), key.path(), PART_BYTES).with_max_concurrency(1);
        let seen = match copy(bytes, limit_bytes, &mut writer).await {
            Ok(seen) => seen,
            Err(error) => {
                let _ = writer.abort().await; // the first error says more
                return Err(error);
            }
        };
        writer.shutdown().await?;
        Ok(Stored {
            key: key.to_string(),
            size_bytes: seen.size_bytes.cast_signed(),
            sha256: format!("{:x}", seen.sha256.finalize()),
            content_type: file::content_type(&seen.head, &file_name).to_owned(),
            file_name,
        })
    }

    /// Opens a blob.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none; the stream fails with [`Error::Store`].
    pub async fn get(&self, key: &Key) -> Result<Blob, Error> {
        let found = self.store.get(&key.path()).await?;
        Ok(Blob { size_bytes: found.meta.size, bytes: found.into_stream().map_err(Error::from).boxed() })
    }

    /// Deletes a blob; one that is missing already is fine.
    ///
    /// # Errors
    /// [`Error::Store`] if the store refuses.
    pub async fn delete(&self, key: &Key) -> Result<(), Error> {
        match self.store.delete(&key.path()).await.map_err(Error::from) {
            Err(Error::NotFound) => Ok(()),
            result => result,
        }
    }

    /// The blobs of an organization last written before `time`, so that those no row names can be swept.
    pub fn written_before(&self, org: Uuid, time: SystemTime) -> BoxStream<'static, Result<Key, Error>> {
        self.store
            .list(Some(&Key::folder(org)))
            .map_err(Error::from)
            .try_filter_map(move |blob| {
                let is_older = SystemTime::from(blob.last_modified) < time;
                future::ready(Ok(blob.location.as_ref().parse().ok().filter(|_| is_older)))
            })
            .boxed()
    }
}

/// What was noted of a file while it passed.
#[derive(Default)]
struct Seen {
    head: Vec<u8>,
    size_bytes: u64,
    sha256: Sha256,
}

/// Passes `bytes` on to `writer` as they come. The writer stores nothing before it has a whole part, which is
/// more than the head that tells programs.
async fn copy<S, E>(bytes: S, limit_bytes: u64, writer: &mut BufWriter) -> Result<Seen, Error>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: fmt::Display,
{
    let mut bytes = pin!(bytes);
    let mut seen = Seen::default();
    while let Some(chunk) = bytes.next().await {
        let chunk = chunk.map_err(|error| Error::Upload(error.to_string()))?;
        seen.size_bytes += chunk.len() as u64;
        if seen.size_bytes > limit_bytes {
            return Err(Error::TooLarge { limit_bytes });
        }
        let wanted = file::HEAD_BYTES - seen.head.len();
        seen.head.extend(chunk.iter().take(wanted));
        if file::has_program_head(&seen.head) {
            return Err(Error::TypeRefused);
        }
        seen.sha256.update(&chunk);
        writer.put(chunk).await?;
    }
    if seen.size_bytes == 0 { Err(Error::Empty) } else { Ok(seen) }
}
