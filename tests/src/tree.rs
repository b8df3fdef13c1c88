//! Trees of files of every kind, and comparing them to the last bit that can be restored.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, FileTimes};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::sys::stat::{Mode, UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use sha2::{Digest, Sha256};

use crate::{Random, is_root};

/// What a generated tree holds.
#[derive(Clone, Copy, Debug)]
pub struct Tree {
    /// The same seed makes the same tree.
    pub seed: u64,
    /// Small files beside those of special kinds.
    pub files: u64,
    /// Bytes of the largest file, which has many chunks.
    pub largest: usize,
}

impl Default for Tree {
    fn default() -> Self {
        Self { seed: 1, files: 60, largest: 9 << 20 }
    }
}

/// Writes a tree with every kind of file that can be restored.
///
/// # Panics
/// If the file system refuses.
pub fn write_tree(root: &Path, tree: Tree) {
    let mut random = Random::new(tree.seed);
    for n in 0..tree.files {
        let folder = root.join(format!("folder {}", n % 7)).join(format!("deeper-{}", n % 3));
        std::fs::create_dir_all(&folder).unwrap();
        let length = usize::try_from(random.below(40_000)).unwrap();
        let content = if n % 2 == 0 { random.bytes(length) } else { text(&mut random, length) };
        let path = folder.join(format!("file-{n}.dat"));
        std::fs::write(&path, content).unwrap();
        let mode = [0o644, 0o600, 0o755, 0o444, 0o640][usize::try_from(n % 5).unwrap()];
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    std::fs::write(root.join("large"), random.bytes(tree.largest)).unwrap();
    std::fs::write(root.join("empty"), b"").unwrap();
    names(root);
    links(root);
    sparse(&root.join("sparse"), &mut random);
    nix::unistd::mkfifo(&root.join("fifo"), Mode::from_bits_truncate(0o640)).unwrap();
    std::fs::create_dir_all(root.join("empty folder")).unwrap();
    std::fs::create_dir_all(root.join("a/b/c/d/e/f/g/h/i/j/k/l/m/n")).unwrap();
    // Not every file system has extended attributes.
    drop(xattr::set(root.join("large"), "user.kith.test", b"a value\0with a zero"));
    drop(xattr::set(root.join("empty folder"), "user.kith.folder", b"x"));
    if is_root() {
        std::os::unix::fs::lchown(root.join("empty"), Some(12_345), Some(23_456)).unwrap();
        std::os::unix::fs::lchown(root.join("a"), Some(12_345), Some(23_456)).unwrap();
    }
    times(root, &mut random);
    std::fs::set_permissions(root.join("empty folder"), std::fs::Permissions::from_mode(0o555)).unwrap();
}

fn names(root: &Path) {
    let folder = root.join("names");
    std::fs::create_dir(&folder).unwrap();
    let longest = "n".repeat(255);
    let names: [&[u8]; 11] = [
        b"not utf-8 \xff\xfe\x80",
        b"line\nfeed",
        b"quote\"and\\backslash",
        b"tab\tand\x01control",
        b" space at both ends ",
        b"-rf",
        "\u{fc}ml\u{e4}ut \u{6f22}\u{5b57} \u{1f600}".as_bytes(),
        "u\u{308}mlaut decomposed \u{202e}right to left".as_bytes(),
        b"<script>&amp;",
        b"\x1b[31mred",
        longest.as_bytes(),
    ];
    for name in names {
        std::fs::write(folder.join(OsStr::from_bytes(name)), name).unwrap();
    }
}

fn links(root: &Path) {
    let folder = root.join("links");
    std::fs::create_dir(&folder).unwrap();
    symlink("../large", folder.join("relative")).unwrap();
    symlink("nowhere/at all", folder.join("dangling")).unwrap();
    symlink("/etc/hostname", folder.join("absolute")).unwrap();
    symlink(OsStr::from_bytes(b"\xff\xfe"), folder.join("to a name that is not utf-8")).unwrap();
    std::fs::write(folder.join("hard 1"), b"one file with three names").unwrap();
    std::fs::hard_link(folder.join("hard 1"), folder.join("hard 2")).unwrap();
    std::fs::hard_link(folder.join("hard 1"), root.join("names/hard 3")).unwrap();
}

/// 16 MiB of which 68 KiB are there.
fn sparse(path: &Path, random: &mut Random) {
    let mut file = File::create(path).unwrap();
    file.write_all(&random.bytes(4096)).unwrap();
    file.seek(SeekFrom::Start(9 << 20)).unwrap();
    file.write_all(&random.bytes(65_536)).unwrap();
    file.set_len(16 << 20).unwrap();
}

/// Times of all kinds, folders after what is in them.
fn times(path: &Path, random: &mut Random) {
    let meta = path.symlink_metadata().unwrap();
    if meta.is_dir() {
        let mut children: Vec<PathBuf> =
            std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        children.sort();
        for child in children {
            times(&child, random);
        }
    }
    let seconds = random.below(1_700_000_000).cast_signed();
    // Some before 1970, all with nanoseconds.
    let seconds = if random.below(10) == 0 { -seconds / 4 } else { seconds };
    let time = TimeSpec::new(seconds, random.below(1_000_000_000).cast_signed());
    utimensat(nix::fcntl::AT_FDCWD, path, &time, &time, UtimensatFlags::NoFollowSymlink).unwrap();
}

fn text(random: &mut Random, length: usize) -> Vec<u8> {
    let words = ["letter", "photo", "garden", "winter", "invoice", "holiday", "grandmother", "recipe"];
    let mut text = Vec::with_capacity(length + 12);
    while text.len() < length {
        let word = words[usize::try_from(random.below(8)).unwrap()];
        text.extend_from_slice(word.as_bytes());
        text.push(if random.below(9) == 0 { b'\n' } else { b' ' });
    }
    text.truncate(length);
    text
}

/// Writes a folder of files that don't compress: `bytes` in all, in files of `each`.
///
/// # Panics
/// If the file system refuses.
pub fn write_random(root: &Path, seed: u64, bytes: u64, each: u64) {
    let mut random = Random::new(seed);
    let mut buffer = vec![0; 1 << 20];
    let mut left = bytes;
    let mut n = 0;
    while left > 0 {
        let mut file = File::create(root.join(format!("random-{n}"))).unwrap();
        let mut rest = each.min(left);
        left -= rest;
        n += 1;
        while rest > 0 {
            let part = usize::try_from(rest.min(1 << 20)).unwrap();
            random.fill(&mut buffer[..part]);
            file.write_all(&buffer[..part]).unwrap();
            rest -= part as u64;
        }
        let time = SystemTime::UNIX_EPOCH + Duration::new(1_600_000_000 + n, 123_456_789);
        file.set_times(FileTimes::new().set_modified(time)).unwrap();
    }
}

/// Everything that must come back.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    kind: &'static str,
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    size: u64,
    content: String,
    target: PathBuf,
    attributes: BTreeMap<OsString, Vec<u8>>,
    /// The first path of the same file, if there are several.
    same_as: PathBuf,
    /// Less than half of it is on the disk.
    sparse: bool,
}

/// Requires two trees to be equal in names, contents and metadata.
///
/// # Panics
/// If they differ, with the differences.
#[track_caller]
pub fn assert_same(expected: &Path, found: &Path) {
    let differences = differences(expected, found);
    assert!(
        differences.is_empty(),
        "{} and {} differ:\n{}",
        expected.display(),
        found.display(),
        differences.join("\n")
    );
}

/// What is different in two trees: names, contents, modes, owners, times, links, extended attributes, holes.
///
/// # Panics
/// If one can't be read.
#[must_use]
pub fn differences(expected: &Path, found: &Path) -> Vec<String> {
    let (expected, found) = (entries(expected), entries(found));
    let mut differences = Vec::new();
    for (path, entry) in &expected {
        match found.get(path) {
            None => differences.push(format!("{} is missing", path.display())),
            Some(other) if other != entry => {
                differences.push(format!("{}\n  expected {entry:?}\n  found    {other:?}", path.display()));
            }
            Some(_) => {}
        }
    }
    let more = found.keys().filter(|path| !expected.contains_key(*path));
    differences.extend(more.map(|path| format!("{} should not be there", path.display())));
    differences
}

fn entries(root: &Path) -> BTreeMap<PathBuf, Entry> {
    let mut entries = BTreeMap::new();
    let mut inodes: BTreeMap<(u64, u64), PathBuf> = BTreeMap::new();
    let mut open = vec![PathBuf::new()];
    while let Some(relative) = open.pop() {
        let path = root.join(&relative);
        let meta = path.symlink_metadata().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let kind = meta.file_type();
        let same_as = match meta.nlink() > 1 && !meta.is_dir() {
            true => inodes.entry((meta.dev(), meta.ino())).or_insert_with(|| relative.clone()).clone(),
            false => PathBuf::new(),
        };
        let entry = Entry {
            kind: match () {
                () if meta.is_dir() => "folder",
                () if meta.is_symlink() => "link",
                () if kind.is_fifo() => "fifo",
                () if meta.is_file() => "file",
                () => "other",
            },
            // Links have no mode of their own.
            mode: if meta.is_symlink() { 0 } else { meta.mode() & 0o7777 },
            owner: (meta.uid(), meta.gid()),
            modified: (meta.mtime(), meta.mtime_nsec()),
            size: if meta.is_file() { meta.size() } else { 0 },
            content: if meta.is_file() { hash(&path) } else { String::new() },
            target: if meta.is_symlink() { std::fs::read_link(&path).unwrap() } else { PathBuf::new() },
            attributes: if meta.is_symlink() { BTreeMap::new() } else { attributes(&path) },
            same_as,
            sparse: meta.is_file() && meta.size() > 1 << 20 && meta.blocks() * 512 < meta.size() / 2,
        };
        entries.insert(relative.clone(), entry);
        if meta.is_dir() {
            let mut names: Vec<OsString> =
                std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            open.extend(names.into_iter().rev().map(|name| relative.join(name)));
        }
    }
    entries
}

fn attributes(path: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let Ok(names) = xattr::list(path) else { return BTreeMap::new() };
    // Labels are the system's own affair.
    let names = names.filter(|name| name != "security.selinux");
    names.filter_map(|name| Some((name.clone(), xattr::get(path, &name).ok()??))).collect()
}

fn hash(path: &Path) -> String {
    let mut file = File::open(path).unwrap();
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
