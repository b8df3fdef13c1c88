use std::collections::HashSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

use super::super::compare::{Rules, compare};
use super::super::stage::Stage;
use super::*;

const BYTES: u64 = 3_000_000;

/// All entries with their metadata.
fn walk(root: &Path) -> Vec<(PathBuf, fs::Metadata)> {
    let mut all = Vec::new();
    let mut waiting = vec![root.to_path_buf()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                waiting.push(entry.path());
            }
            all.push((entry.path(), metadata));
        }
    }
    all
}

#[test]
fn the_folder_has_the_size_asked_for_and_every_kind_of_entry() {
    let stage = Stage::new(None).unwrap();
    let root = stage.root().join("folder");
    let made = generate(&root, BYTES, &Stop::default()).unwrap();
    let expected = BYTES..BYTES + BYTES / 2;
    assert!(expected.contains(&made.contents.bytes), "{:?}", made.contents);
    let all = walk(&root);
    let any = |what: &str, is: &dyn Fn(&Path, &fs::Metadata) -> bool| {
        assert!(all.iter().any(|(path, metadata)| is(path, metadata)), "no {what}");
    };
    any("empty file", &|_, m| m.is_file() && m.len() == 0);
    any("sparse file", &|_, m| m.is_file() && m.blocks() * 512 < m.len() / 2);
    any("hard link", &|_, m| m.is_file() && m.nlink() == 3);
    any("FIFO", &|_, m| m.file_type().is_fifo());
    any("socket", &|_, m| m.file_type().is_socket());
    any("link to nothing", &|p, m| m.is_symlink() && fs::metadata(p).is_err());
    any("link to a folder", &|p, m| m.is_symlink() && p.is_dir());
    any("setuid file", &|_, m| m.is_file() && m.mode() & 0o4000 != 0);
    any("read-only folder", &|_, m| m.is_dir() && m.mode() & 0o777 == 0o555);
    any("time before 1970", &|_, m| m.mtime() < 0);
    any("nanoseconds", &|_, m| m.mtime_nsec() == 999_999_999);
    any("deep path", &|p, _| p.components().count() > 60);
    any("newline in a name", &|p, _| p.as_os_str().as_bytes().contains(&b'\n'));
    if cfg!(target_os = "linux") {
        any("name that is not UTF-8", &|p, _| p.file_name().is_some_and(|name| name.to_str().is_none()));
        assert!(!made.left_out.contains(&"some names"));
    }
    if nix::unistd::geteuid().is_root() {
        any("file that nobody may read", &|_, m| m.is_file() && m.mode() & 0o777 == 0);
    }
}

#[test]
fn two_generated_folders_are_equal_but_for_the_times_of_folders() {
    let stage = Stage::new(None).unwrap();
    let stop = Stop::default();
    let (one, other) = (stage.root().join("one"), stage.root().join("other"));
    generate(&one, BYTES, &stop).unwrap();
    generate(&other, BYTES, &stop).unwrap();
    let since = SystemTime::now() + Duration::from_secs(3600);
    let rules = Rules { root: nix::unistd::geteuid().is_root(), skipped: HashSet::new(), since };
    let comparison = compare(&one, &other, &rules, &stop).unwrap();
    // Setuid bits are expected to be left out, and here they are not; folders and special files are as old as they are.
    let content = comparison.differences.iter().filter(|difference| {
        let file = fs::symlink_metadata(one.join(&difference.path)).unwrap().is_file();
        file && !matches!(difference.what, super::super::compare::What::Mode { before: 0o755, after: 0o4755 })
    });
    let content: Vec<_> = content
        .filter(|difference| !matches!(difference.what, super::super::compare::What::Mode { after, .. } if after & 0o6000 != 0))
        .collect();
    assert!(content.is_empty(), "{content:?}");
    assert!(comparison.sparse_files >= 2 || !cfg!(target_os = "linux"));
}

#[test]
fn the_changes_are_made_and_keep_the_rest() {
    let stage = Stage::new(None).unwrap();
    let stop = Stop::default();
    let root = stage.root().join("folder");
    let before = generate(&root, BYTES, &stop).unwrap().contents;
    assert!(!change(&root).unwrap().is_empty());
    let after = survey(&root, &stop).unwrap();
    assert_eq!((after.files, after.directories), (before.files, before.directories));
    assert_eq!(fs::metadata(root.join("photos/0003.raw")).unwrap().len(), BYTES * 6 / 100 + 1000);
    assert!(root.join("old letters").is_dir() && !root.join("letters").exists());
}

#[test]
fn a_survey_counts_links_once_where_it_matters() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("one"), vec![1; 10_000]).unwrap();
    fs::hard_link(directory.path().join("one"), directory.path().join("two")).unwrap();
    let contents = survey(directory.path(), &Stop::default()).unwrap();
    assert_eq!((contents.files, contents.bytes), (2, 20_000));
    assert!(contents.stored_bytes < 20_000);
}
