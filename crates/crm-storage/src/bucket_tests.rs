//! The bucket, against a server that speaks S3: signatures are checked, and every byte travels by HTTP.

use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _, stream};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::{Bucket, Error, Key, MAX_ATTACHMENT_BYTES, Storage};

const MIB: usize = 1024 * 1024;

/// A server with one bucket, gone with the test.
struct Server {
    dir: TempDir,
    bucket: Bucket,
}

impl Server {
    async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("files")).unwrap();
        let mut service = S3ServiceBuilder::new(FileSystem::new(dir.path()).unwrap());
        service.set_auth(SimpleAuth::from_single("an-id", "a-secret"));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let http = Builder::new(TokioExecutor::new());
                    let _ = http.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        let bucket = Bucket {
            name: "files".into(),
            region: "us-east-1".into(),
            endpoint: Some(endpoint),
            credentials: Some(("an-id".into(), "a-secret".into())),
        };
        Self { dir, bucket }
    }

    fn storage(&self) -> Storage {
        Storage::bucket(&self.bucket).unwrap()
    }

    fn file(&self, key: &Key) -> PathBuf {
        self.dir.path().join("files").join(key.to_string())
    }
}

fn chunks(bytes: &[u8]) -> impl Stream<Item = Result<Bytes, Infallible>> + use<> {
    let chunks: Vec<_> = bytes.chunks(64 * 1024).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    stream::iter(chunks)
}

async fn read(storage: &Storage, key: &Key, sha256: &str) -> Result<Vec<u8>, Error> {
    storage.get(key).await?.verified(sha256.into()).bytes.map_ok(Vec::from).try_concat().await
}

#[tokio::test]
async fn files_large_and_small_come_back_and_can_be_deleted() {
    let server = Server::start().await;
    let storage = server.storage();
    storage.check().await.unwrap();
    let org = Uuid::now_v7();
    // The larger one goes in parts.
    for size in [5, 12 * MIB + 3] {
        let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let (id, name) = (Uuid::now_v7(), "numbers.bin");
        let stored = storage.put(org, id, name, MAX_ATTACHMENT_BYTES, chunks(&bytes)).await.unwrap();
        let key = Key::new(org, id);
        assert_eq!(stored.size_bytes, size as i64);
        assert_eq!(read(&storage, &key, &stored.sha256).await.unwrap(), bytes);
        storage.delete(&key).await.unwrap();
        assert!(matches!(storage.get(&key).await.map(drop), Err(Error::NotFound)));
        storage.delete(&key).await.unwrap();
    }
}

#[tokio::test]
async fn nothing_remains_of_an_upload_that_is_refused() {
    let server = Server::start().await;
    let storage = server.storage();
    let bytes = vec![b'x'; 11 * MIB];
    let org = Uuid::now_v7();
    let refused = storage.put(org, Uuid::now_v7(), "x.txt", 10 * MIB as u64, chunks(&bytes)).await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    let soon = SystemTime::now() + Duration::from_secs(60);
    let left: Vec<Key> = storage.written_before(org, soon).try_collect().await.unwrap();
    assert_eq!(left, []);
}

#[tokio::test]
async fn bytes_that_changed_in_the_bucket_are_not_taken_for_the_file() {
    let server = Server::start().await;
    let storage = server.storage();
    let (org, id) = (Uuid::now_v7(), Uuid::now_v7());
    let stored = storage.put(org, id, "a.txt", MAX_ATTACHMENT_BYTES, chunks(b"hello")).await.unwrap();
    let key = Key::new(org, id);
    fs::write(server.file(&key), "hullo").unwrap();
    let damaged = read(&storage, &key, &stored.sha256).await;
    assert!(matches!(damaged, Err(Error::Damaged)), "{damaged:?}");
}

#[tokio::test]
async fn what_is_wrong_with_the_bucket_shows_when_it_is_checked() {
    let server = Server::start().await;
    let right = &server.bucket;
    let secret = Some(("an-id".into(), "another secret".into()));
    let nobody = Some("http://127.0.0.1:1".into());
    for wrong in [
        Bucket { credentials: secret, ..right.clone() },
        Bucket { name: "no-such-bucket".into(), ..right.clone() },
        Bucket { endpoint: nobody, ..right.clone() },
    ] {
        let storage = Storage::bucket(&wrong).unwrap();
        let checked = tokio::time::timeout(Duration::from_secs(30), storage.check()).await.unwrap();
        assert!(checked.is_err(), "{wrong:?}");
    }
    assert!(!format!("{right:?}").contains("a-secret"), "{right:?}");
}
