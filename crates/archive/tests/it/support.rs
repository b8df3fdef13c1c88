//! Files to back up, stores that misbehave, and stock restic.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use kith_archive::store::{LocalStore, Store};
use kith_archive::tree::Node;
use kith_archive::{BackupReport, BackupRequest, BlobId, MasterKey, Polynomial, Repository, backup};
use nix::sys::stat::{Mode, SFlag, mknod};
use nix::unistd::mkfifo;
use tokio_util::sync::CancellationToken;

/// Bytes from a seed (xorshift64*).
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut data = Vec::with_capacity(length + 8);
    while data.len() < length {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        data.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    data.truncate(length);
    data
}

/// A directory in memory, where the system has one: for tests that a slow disk would disturb.
pub(crate) fn fast_directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Makes files of every kind.
pub(crate) fn make_files(dir: &Path) {
    fs::create_dir_all(dir.join("sub/deeper/deepest")).unwrap();
    fs::create_dir(dir.join("empty directory")).unwrap();
    fs::write(dir.join("small.txt"), "a small file\n").unwrap();
    fs::write(dir.join("empty"), "").unwrap();
    fs::write(dir.join("large.bin"), noise(1, 11_000_000)).unwrap();
    fs::write(dir.join("sub/text"), "compressible ".repeat(300_000)).unwrap();
    fs::write(dir.join("sub/deeper/half a MiB"), noise(2, 512 * 1024)).unwrap();
    fs::write(dir.join("sub/deeper/half a MiB and one"), noise(3, 512 * 1024 + 1)).unwrap();
    fs::write(dir.join("sub/deeper/deepest/copy of large"), noise(1, 11_000_000)).unwrap();
    for (number, name) in odd_names().into_iter().enumerate() {
        fs::write(dir.join("sub").join(name), format!("file {number}")).unwrap();
    }
    let mut sparse = File::create(dir.join("sparse")).unwrap();
    sparse.write_all(b"beginning").unwrap();
    sparse.seek(SeekFrom::Start(20_000_000)).unwrap();
    sparse.write_all(b"end").unwrap();
    symlink("small.txt", dir.join("link")).unwrap();
    symlink("/nowhere/<at>&all\n", dir.join("dangling link")).unwrap();
    fs::hard_link(dir.join("small.txt"), dir.join("sub/hard link")).unwrap();
    mkfifo(&dir.join("fifo"), Mode::from_bits_truncate(0o640)).unwrap();
    fs::write(dir.join("setuid"), "s").unwrap();
    fs::set_permissions(dir.join("setuid"), Permissions::from_mode(0o6755)).unwrap();
    fs::set_permissions(dir.join("sub/deeper"), Permissions::from_mode(0o1770)).unwrap();
    fs::set_permissions(dir.join("empty"), Permissions::from_mode(0o400)).unwrap();
    for (path, name, value) in [
        ("small.txt", "user.comment", b"binary \0\xff value".as_slice()),
        ("small.txt", "user.empty", b""),
        ("sub", "user.<odd>&name", b"x"),
    ] {
        // Not every file system has them.
        if let Err(error) = xattr::set(dir.join(path), name, value) {
            eprintln!("no extended attributes here: {error}");
        }
    }
    if nix::unistd::geteuid().is_root() {
        let mode = Mode::from_bits_truncate(0o600);
        mknod(&dir.join("null"), SFlag::S_IFCHR, mode, nix::sys::stat::makedev(1, 3)).unwrap();
        mknod(&dir.join("loop"), SFlag::S_IFBLK, mode, nix::sys::stat::makedev(7, 300)).unwrap();
        std::os::unix::fs::chown(dir.join("sub/text"), Some(12_345), Some(54_321)).unwrap();
        std::os::unix::fs::lchown(dir.join("link"), Some(1), Some(1)).unwrap();
    }
    let times = |seconds: i64, nanoseconds: i64| nix::sys::time::TimeSpec::new(seconds, nanoseconds);
    for (path, time) in [
        ("small.txt", times(1_000_000_000, 123_456_789)),
        ("sub/text", times(-86_400, 500_000_000)),
        ("empty directory", times(4_102_444_800, 0)),
        ("link", times(1_234_567_890, 120_000_000)),
    ] {
        let flags = nix::sys::stat::UtimensatFlags::NoFollowSymlink;
        let at = nix::fcntl::AT_FDCWD;
        nix::sys::stat::utimensat(at, &dir.join(path), &time, &time, flags).unwrap();
    }
}

/// Names that need care.
fn odd_names() -> Vec<OsString> {
    let mut names: Vec<OsString> = [
        "with \"quotes\" and 'others'",
        "back\\slash",
        "<html>&amp;",
        "emoji 😀 and ümläut and 日本語",
        "line\u{2028}separator",
        "no-break\u{a0}space and soft\u{ad}hyphen",
        "new\nline and\ttab and \x07 bell",
        "delete \x7f and escape \x1b[31m",
        "decomposed e\u{301} and right-to-left \u{202e}txt",
        "-starts with a dash",
        " spaces ",
        "%s %d $HOME `x`",
        "Z",
        "a",
    ]
    .map(OsString::from)
    .to_vec();
    names.push(OsString::from_vec(b"latin1 \xe4\xf6\xfc".to_vec()));
    names.push(OsString::from_vec(b"broken utf-8 \xe2\x82 and \xff".to_vec()));
    names.push(OsString::from_vec(vec![b'x'; 255]));
    names
}

/// Everything below `dir` with what must be restored of it.
pub(crate) fn fingerprint(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(path) = left.pop() {
        let metadata = path.symlink_metadata().unwrap();
        let content = if metadata.is_file() {
            BlobId::of(&fs::read(&path).unwrap()).to_string()
        } else if metadata.is_symlink() {
            format!("{:?}", fs::read_link(&path).unwrap())
        } else {
            String::new()
        };
        let mut attributes: Vec<(OsString, Option<Vec<u8>>)> = Vec::new();
        if !metadata.is_symlink() {
            for name in xattr::list(&path).unwrap() {
                let value = xattr::get(&path, &name).unwrap();
                attributes.push((name, value));
            }
            attributes.sort();
        }
        found.push(format!(
            "{:?} {:o} {}:{} {} links {} rdev {} {content} {attributes:?} {}.{}",
            path.strip_prefix(dir).unwrap(),
            metadata.mode(),
            metadata.uid(),
            metadata.gid(),
            if metadata.is_file() { metadata.size() } else { 0 },
            if metadata.is_dir() { 0 } else { metadata.nlink() },
            metadata.rdev(),
            metadata.mtime(),
            metadata.mtime_nsec(),
        ));
        if metadata.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found.sort();
    found
}

pub(crate) fn key() -> Arc<MasterKey> {
    let bytes = std::array::from_fn(|number| u8::try_from(number).unwrap() ^ 0x5a);
    Arc::new(MasterKey::from_bytes(&bytes).unwrap())
}

pub(crate) fn polynomial() -> Polynomial {
    Polynomial::derive(&[42; 32])
}

/// A new repository in a directory.
pub(crate) async fn init(dir: &Path) -> Arc<Repository> {
    let store = LocalStore::create(dir).unwrap();
    Arc::new(Repository::init(Arc::new(store), key(), polynomial()).await.unwrap())
}

/// The repository in a directory, opened anew.
pub(crate) async fn open(dir: &Path) -> Arc<Repository> {
    open_store(Arc::new(LocalStore::open(dir).unwrap())).await
}

pub(crate) async fn open_store(store: Arc<dyn Store>) -> Arc<Repository> {
    Arc::new(Repository::open(store, key()).await.unwrap())
}

pub(crate) fn request(path: &Path) -> BackupRequest {
    BackupRequest::new(vec![path.to_owned()], "study", "ada")
}

pub(crate) async fn run(repository: &Arc<Repository>, request: BackupRequest) -> BackupReport {
    backup(Arc::clone(repository), request, |_| (), CancellationToken::new()).await.unwrap()
}

/// Stock restic on a repository.
pub(crate) struct Restic {
    repository: PathBuf,
}

impl Restic {
    /// `None` if restic is not installed. Where tests run automatically, it must be.
    pub(crate) fn find(repository: &Path) -> Option<Self> {
        if Command::new("restic").arg("version").output().is_ok_and(|output| output.status.success()) {
            return Some(Self { repository: repository.to_owned() });
        }
        assert!(std::env::var("CI").as_deref() != Ok("true"), "restic is not installed");
        eprintln!("skipped: restic is not installed");
        None
    }

    /// Runs a command and gives what it prints.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        let output = Command::new("restic")
            .args(["--no-cache", "--repo"])
            .arg(&self.repository)
            .args(arguments)
            .env("RESTIC_PASSWORD", "secret")
            .env("TZ", "UTC")
            .env_remove("RESTIC_REPOSITORY")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "restic failed:\n{text}\n{errors}");
        text
    }
}

/// Joins an absolute path below another.
pub(crate) fn below(target: &Path, path: &Path) -> PathBuf {
    target.join(OsStr::from_bytes(path.as_os_str().as_bytes().strip_prefix(b"/").unwrap()))
}

/// The node at a path of a snapshot's tree.
pub(crate) async fn find(repository: &Repository, tree: BlobId, path: &Path) -> Option<Node> {
    let mut tree = repository.load_tree(&tree).await.unwrap();
    let mut components = path.components().skip(1).peekable();
    while let Some(component) = components.next() {
        let node = tree.find(component.as_os_str())?.clone();
        if components.peek().is_none() {
            return Some(node);
        }
        tree = repository.load_tree(&node.subtree?).await.unwrap();
    }
    None
}
