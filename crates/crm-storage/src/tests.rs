use std::{
    convert::Infallible,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use object_store::memory::InMemory;
use tempfile::TempDir;
use uuid::Uuid;

use crate::{Error, Key, MAX_ATTACHMENT_BYTES, Storage, Stored, clean_file_name};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

struct Disk {
    dir: TempDir,
    storage: Storage,
}

impl Disk {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let storage = Storage::local(&dir.path().join("files")).unwrap();
        Self { dir, storage }
    }

    async fn put<E: std::fmt::Display>(
        &self,
        name: &str,
        bytes: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<Stored, Error> {
        self.storage.put(Uuid::now_v7(), Uuid::now_v7(), name, MAX_ATTACHMENT_BYTES, bytes).await
    }

    async fn read(&self, stored: &Stored) -> Vec<u8> {
        let blob = self.storage.get(&stored.key.parse().unwrap()).await.unwrap();
        let read = blob.bytes.map_ok(Vec::from).try_concat().await.unwrap();
        assert_eq!(blob.size_bytes, read.len() as u64);
        read
    }

    /// All files, staged ones too.
    fn files(&self) -> Vec<PathBuf> {
        fn collect(dir: PathBuf, files: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { collect(path, files) } else { files.push(path) }
            }
        }
        let mut files = Vec::new();
        collect(self.dir.path().join("files"), &mut files);
        files
    }
}

fn chunks(chunks: impl IntoIterator<Item = Bytes>) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::iter(chunks.into_iter().map(Ok))
}

fn whole(bytes: impl AsRef<[u8]>) -> impl Stream<Item = Result<Bytes, Infallible>> {
    chunks([Bytes::copy_from_slice(bytes.as_ref())])
}

/// `size` bytes that are all different in each window of 251, cut into chunks of `step`.
fn pattern(size: usize, step: usize) -> (Bytes, Vec<Bytes>) {
    let bytes: Bytes = (0..size).map(|i| (i % 251) as u8).collect();
    let cut = (0..size).step_by(step).map(|at| bytes.slice(at..size.min(at + step))).collect();
    (bytes, cut)
}

#[tokio::test]
async fn a_small_file_comes_back() {
    let disk = Disk::new();
    let (org, id) = (Uuid::now_v7(), Uuid::now_v7());
    let stored = disk.storage.put(org, id, "Notes.txt", 3, whole("abc")).await.unwrap();
    assert_eq!(
        stored,
        Stored {
            key: format!("{org}/{id}"),
            size_bytes: 3,
            sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned(),
            content_type: "text/plain".to_owned(),
            file_name: "Notes.txt".to_owned(),
        }
    );
    assert_eq!(disk.read(&stored).await, b"abc");
}

#[tokio::test]
async fn a_file_of_many_chunks_and_parts_comes_back() {
    let disk = Disk::new();
    let (bytes, cut) = pattern(11 * MIB + 7, 60_001);
    let stored = disk.put("big.bin", chunks(cut)).await.unwrap();
    assert_eq!(stored.size_bytes, 11 * MIB as i64 + 7);
    assert_eq!(disk.read(&stored).await, bytes);
    assert_eq!(disk.files().len(), 1);
}

#[tokio::test]
async fn a_file_in_one_huge_chunk_comes_back() {
    let disk = Disk::new();
    let (bytes, _) = pattern(12 * MIB, MIB);
    let stored = disk.put("big.bin", chunks([bytes.clone()])).await.unwrap();
    assert_eq!(disk.read(&stored).await, bytes);
}

#[tokio::test]
async fn a_stream_may_be_tied_to_its_thread() {
    let disk = Disk::new();
    let shared = Rc::new(Bytes::from_static(b"abc"));
    let stored = disk.put(
        "a.txt",
        stream::iter([Rc::clone(&shared), shared]).map(|rc| Ok::<_, Infallible>(Bytes::clone(&rc))),
    );
    assert_eq!(disk.read(&stored.await.unwrap()).await, b"abcabc");
}

#[tokio::test]
async fn the_limit_is_exact() {
    let disk = Disk::new();
    let (_, mut cut) = pattern(25 * MIB, 256 * KIB);
    let stored = disk.put("a.bin", chunks(cut.clone())).await.unwrap();
    assert_eq!(stored.size_bytes.cast_unsigned(), MAX_ATTACHMENT_BYTES);
    disk.storage.delete(&stored.key.parse().unwrap()).await.unwrap();

    cut.push(Bytes::from_static(b"x"));
    let refused = disk.put("a.bin", chunks(cut)).await;
    assert!(matches!(refused, Err(Error::TooLarge { limit_bytes: MAX_ATTACHMENT_BYTES })), "{refused:?}");
    assert!(disk.files().is_empty());
}

#[tokio::test]
async fn an_endless_stream_is_cut_off() {
    let disk = Disk::new();
    let endless = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[7; 64 * KIB])));
    let refused = disk.storage.put(Uuid::nil(), Uuid::nil(), "a.bin", 6 << 20, endless).await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    assert!(disk.files().is_empty());
}

#[tokio::test]
async fn a_failing_stream_leaves_nothing() {
    let disk = Disk::new();
    for size in [10, 12 * MIB] {
        let (_, cut) = pattern(size, 64 * KIB);
        let failing = stream::iter(cut.into_iter().map(Ok).chain([Err("connection reset")]));
        match disk.put("a.bin", failing).await {
            Err(Error::Upload(reason)) => assert_eq!(reason, "connection reset"),
            other => panic!("{other:?}"),
        }
        assert!(disk.files().is_empty());
    }
}

#[tokio::test]
async fn a_dropped_upload_leaves_nothing() {
    let disk = Disk::new();
    let (_, cut) = pattern(12 * MIB, MIB);
    let (at_end, reached_end) = tokio::sync::oneshot::channel();
    let stalled = stream::once(async move {
        at_end.send(()).unwrap();
        std::future::pending().await
    });
    tokio::select! {
        stored = disk.put("a.bin", chunks(cut).chain(stalled)) => panic!("{stored:?}"),
        reached = reached_end => reached.unwrap(),
    }
    let emptied = async {
        while !disk.files().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), emptied).await.unwrap();
}

#[tokio::test]
async fn an_empty_file_is_refused() {
    let disk = Disk::new();
    assert!(matches!(disk.put("a.txt", chunks([])).await, Err(Error::Empty)));
    assert!(matches!(disk.put("a.txt", chunks([Bytes::new(), Bytes::new()])).await, Err(Error::Empty)));
    assert!(disk.files().is_empty());
}

/// The start of a Windows program: the magic letters, and where the PE header lies.
fn pe_head() -> Vec<u8> {
    let mut head = vec![b'\x90'; 256];
    head[..2].copy_from_slice(b"MZ");
    head[0x3c..0x40].copy_from_slice(&0x80_u32.to_le_bytes());
    head
}

#[tokio::test]
async fn programs_are_refused_by_their_first_bytes() {
    let disk = Disk::new();
    let heads = [
        b"\x7fELF\x02\x01\x01\0".to_vec(),
        pe_head(),
        b"\xcf\xfa\xed\xfe\x07\0\0\x01".to_vec(),
        b"\xfe\xed\xfa\xce\0\0\0\x12".to_vec(),
        b"\xca\xfe\xba\xbe\0\0\0\x02".to_vec(),
    ];
    for head in heads {
        let in_one = disk.put("holiday.jpg", whole(&head)).await;
        assert!(matches!(in_one, Err(Error::TypeRefused)), "{head:?}");
        let byte_by_byte = head.iter().map(|byte| Bytes::copy_from_slice(&[*byte]));
        let split = disk.put("holiday.jpg", chunks(byte_by_byte)).await;
        assert!(matches!(split, Err(Error::TypeRefused)), "{head:?}");
        let (rest, _) = pattern(6 * MIB, MIB);
        let large = Bytes::from([head.as_slice(), &rest].concat());
        assert!(matches!(disk.put("holiday.jpg", chunks([large])).await, Err(Error::TypeRefused)));
    }
    assert!(disk.files().is_empty());
}

#[tokio::test]
async fn programs_are_refused_by_their_names() {
    let disk = Disk::new();
    let extensions = "exe bat cmd com msi scr js vbs jar ps1 sh app dll";
    let plain = extensions.split(' ').map(|extension| format!("tool.{extension}"));
    let disguised =
        ["tool.EXE", "tool.exe.", "tool.exe . ", "tool.pdf.exe", "tool.e\u{202e}xe", ".exe", "tool.ex\u{0}e"];
    for name in plain.chain(disguised.map(str::to_owned)) {
        assert!(matches!(disk.put(&name, whole("hello")).await, Err(Error::TypeRefused)), "{name:?}");
    }
    assert!(disk.files().is_empty());
    assert_eq!(disk.put("exe", whole("hello")).await.unwrap().file_name, "exe");
}

#[tokio::test]
async fn a_cut_name_cannot_become_a_program() {
    let name = format!("{}.exe.{}", "a".repeat(55), "b".repeat(40));
    assert!(clean_file_name(&name).ends_with("a.exe"));
    assert!(matches!(Disk::new().put(&name, whole("hello")).await, Err(Error::TypeRefused)));
}

#[tokio::test]
async fn the_type_is_read_from_the_bytes_then_from_the_name() {
    let disk = Disk::new();
    let text_like_a_program = format!("MZ,Mozambique\n{}", "BR,Brazil\n".repeat(20));
    let cases: [(&str, &[u8], &str); 9] = [
        ("photo.pdf", b"\x89PNG\r\n\x1a\n", "image/png"),
        ("photo", b"\xff\xd8\xff\xe0", "image/jpeg"),
        ("report.txt", b"%PDF-1.7\n", "application/pdf"),
        ("list.csv", b"a,b\n1,2\n", "text/csv"),
        ("countries.csv", text_like_a_program.as_bytes(), "text/csv"),
        (
            "letter.docx",
            b"PK\x03\x04 anything",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ),
        ("letters", b"PK\x03\x04 anything", "application/zip"),
        ("noise.unheard-of", b"\x01\x02\x03", "application/octet-stream"),
        ("noise", b"hello", "application/octet-stream"),
    ];
    for (name, bytes, expected) in cases {
        assert_eq!(disk.put(name, whole(bytes)).await.unwrap().content_type, expected, "{name}");
    }
    let split = disk
        .put("x.bin", chunks([&b"\x89P"[..], b"NG\r", b"\n\x1a\n"].map(Bytes::from_static)))
        .await
        .unwrap();
    assert_eq!(split.content_type, "image/png");
}

#[test]
fn labels_are_base_names() {
    for (raw, expected) in [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ann\\report.pdf", "report.pdf"),
        ("mixed\\one/two.txt", "two.txt"),
        ("dir/", "attachment"),
        ("..", "attachment"),
        (".", "attachment"),
        ("", "attachment"),
        (" \t\r\n", "attachment"),
        ("a\r\nSet-Cookie: b\0.txt", "aSet-Cookie: b.txt"),
        ("invoice\u{202e}fdp.txt", "invoicefdp.txt"),
        (" spaced name .txt ", "spaced name .txt"),
        (".bashrc", ".bashrc"),
        ("Übersicht 日本語 🦀.pdf", "Übersicht 日本語 🦀.pdf"),
    ] {
        assert_eq!(clean_file_name(raw), expected, "{raw:?}");
    }
}

#[test]
fn long_labels_keep_a_short_extension() {
    let cut = |stem: &str, extension: &str| clean_file_name(&format!("{stem}.{extension}"));
    let long = "a".repeat(100);
    assert_eq!(cut(&long, "pdf"), format!("{}.pdf", "a".repeat(56)));
    assert_eq!(cut(&"日".repeat(100), "テキスト"), format!("{}.テキスト", "日".repeat(55)));
    assert_eq!(cut(&long, &"e".repeat(29)), format!("{}.{}", "a".repeat(30), "e".repeat(29)));
    assert_eq!(cut(&long, &"e".repeat(30)), "a".repeat(60));
    assert_eq!(cut("a", &"e".repeat(100)), format!("a.{}", "e".repeat(58)));
    assert_eq!(cut(&"a".repeat(56), "pdf"), format!("{}.pdf", "a".repeat(56)));
}

#[tokio::test]
async fn names_never_reach_the_disk() {
    let disk = Disk::new();
    let stored = disk.put("../../../escaped.txt", whole("hello")).await.unwrap();
    assert_eq!(stored.file_name, "escaped.txt");
    assert_eq!(disk.files(), [disk.dir.path().join("files").join(&stored.key)]);
}

#[tokio::test]
async fn any_object_store_will_do() {
    let storage = Storage::new(Arc::new(InMemory::new()));
    let (bytes, cut) = pattern(6 * MIB, MIB);
    let stored =
        storage.put(Uuid::nil(), Uuid::nil(), "a.bin", MAX_ATTACHMENT_BYTES, chunks(cut)).await.unwrap();
    let blob = storage.get(&stored.key.parse().unwrap()).await.unwrap();
    assert_eq!(blob.bytes.map_ok(Vec::from).try_concat().await.unwrap(), bytes);
}

#[tokio::test]
async fn deleting_twice_is_fine_and_reading_after_it_is_not_found() {
    let disk = Disk::new();
    let stored = disk.put("a.txt", whole("hello")).await.unwrap();
    let key: Key = stored.key.parse().unwrap();
    disk.storage.delete(&key).await.unwrap();
    disk.storage.delete(&key).await.unwrap();
    assert!(matches!(disk.storage.get(&key).await.map(|_| ()), Err(Error::NotFound)));
}

#[tokio::test]
async fn old_blobs_of_an_organization_can_be_listed() {
    let disk = Disk::new();
    let [ours, theirs] = [(); 2].map(|()| Uuid::now_v7());
    let mut keys = Vec::new();
    for org in [ours, theirs] {
        let id = Uuid::now_v7();
        disk.storage.put(org, id, "a.txt", MAX_ATTACHMENT_BYTES, whole("hello")).await.unwrap();
        keys.push(Key::new(org, id));
    }
    fs::write(disk.dir.path().join(format!("files/{ours}/README")), "not a blob").unwrap();
    let listed =
        async |org, time| disk.storage.written_before(org, time).try_collect::<Vec<Key>>().await.unwrap();
    let soon = SystemTime::now() + Duration::from_secs(60);
    assert_eq!(listed(ours, soon).await, keys[..1]);
    assert_eq!(listed(theirs, soon).await, keys[1..]);
    assert_eq!(listed(ours, SystemTime::UNIX_EPOCH).await, []);
    assert_eq!(listed(Uuid::now_v7(), soon).await, []);
}

#[test]
fn keys_are_two_uuids() {
    let key = Key::new(Uuid::now_v7(), Uuid::now_v7());
    assert_eq!(key.to_string().parse::<Key>().unwrap(), key);
    for bad in ["", "a/b", "../..", &format!("{key}/x"), &format!("/{key}"), &Uuid::nil().to_string()] {
        assert!(matches!(bad.parse::<Key>(), Err(Error::BadKey)), "{bad}");
    }
}

#[test]
fn the_directory_is_private() {
    let disk = Disk::new();
    let mode = fs::metadata(disk.dir.path().join("files")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}
