use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};

use super::*;

/// Two equal folders, to be made different.
struct Two {
    _directory: tempfile::TempDir,
    before: PathBuf,
    after: PathBuf,
    rules: Rules,
}

const WHEN: Duration = Duration::new(1_000_000_000, 5);

fn two() -> Two {
    let directory = tempfile::tempdir().unwrap();
    let (before, after) = (directory.path().join("before"), directory.path().join("after"));
    for top in [&before, &after] {
        fs::create_dir(top).unwrap();
        fs::create_dir(top.join("folder")).unwrap();
        file(&top.join("file"), b"content");
        file(&top.join("folder/inner"), b"inner");
        symlink("file", top.join("link")).unwrap();
        nix::unistd::mkfifo(&top.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    let late = SystemTime::now() + Duration::from_secs(3600);
    let rules = Rules { root: false, skipped: HashSet::new(), since: late };
    Two { _directory: directory, before, after, rules }
}

fn file(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
}

/// The same times on both sides, which is what a restore does last.
fn settle(top: &Path) {
    for entry in fs::read_dir(top).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            settle(&path);
        } else {
            old(&path);
        }
    }
    old(top);
}

fn old(path: &Path) {
    use nix::sys::stat::{UtimensatFlags, utimensat};
    let time = nix::sys::time::TimeSpec::from_duration(WHEN);
    utimensat(nix::fcntl::AT_FDCWD, path, &time, &time, UtimensatFlags::NoFollowSymlink).unwrap();
}

impl Two {
    fn compare(&self) -> Comparison {
        compare(&self.before, &self.after, &self.rules, &Stop::default()).unwrap()
    }

    /// Makes times equal, compares, and expects exactly this one difference.
    fn check(&self, path: &str, what: What) {
        settle(&self.before);
        settle(&self.after);
        assert_eq!(self.compare().differences, [Difference { path: path.into(), what }]);
    }

    fn no_difference(&self) -> Comparison {
        settle(&self.before);
        settle(&self.after);
        let comparison = self.compare();
        assert_eq!(comparison.differences, []);
        assert!(comparison.is_equal());
        comparison
    }
}

#[test]
fn equal_folders_have_no_difference() {
    let comparison = two().no_difference();
    assert_eq!((comparison.entries, comparison.bytes), (6, 12));
}

#[test]
fn a_missing_entry_is_found() {
    let two = two();
    fs::remove_file(two.after.join("folder/inner")).unwrap();
    two.check("folder/inner", What::Missing);
}

#[test]
fn an_entry_too_many_is_found() {
    let two = two();
    file(&two.after.join("folder/more"), b"");
    two.check("folder/more", What::Extra);
}

#[test]
fn another_kind_is_found() {
    let two = two();
    fs::remove_file(two.after.join("fifo")).unwrap();
    fs::create_dir(two.after.join("fifo")).unwrap();
    two.check("fifo", What::Kind { before: Kind::Fifo, after: Kind::Directory });
}

#[test]
fn a_link_in_place_of_the_file_it_points_to_is_found() {
    let two = two();
    fs::rename(two.after.join("file"), two.after.join("folder/file")).unwrap();
    symlink("folder/file", two.after.join("file")).unwrap();
    settle(&two.before);
    settle(&two.after);
    let kind = What::Kind { before: Kind::File, after: Kind::Symlink };
    let differences = two.compare().differences;
    assert!(differences.contains(&Difference { path: "file".into(), what: kind }), "{differences:?}");
}

#[test]
fn another_mode_is_found_on_files_and_folders() {
    let two = two();
    for (path, mode) in [("file", 0o600), ("folder", 0o700)] {
        fs::set_permissions(two.before.join(path), Permissions::from_mode(mode)).unwrap();
    }
    fs::set_permissions(two.after.join("folder"), Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(two.after.join("file"), Permissions::from_mode(0o640)).unwrap();
    two.check("file", What::Mode { before: 0o600, after: 0o640 });
    fs::set_permissions(two.after.join("file"), Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(two.after.join("folder"), Permissions::from_mode(0o2700)).unwrap();
    two.check("folder", What::Mode { before: 0o700, after: 0o2700 });
}

#[test]
fn a_setuid_bit_that_was_left_out_is_expected_and_one_that_was_not_is_a_difference() {
    let two = two();
    fs::set_permissions(two.before.join("file"), Permissions::from_mode(0o4755)).unwrap();
    fs::set_permissions(two.after.join("file"), Permissions::from_mode(0o755)).unwrap();
    assert_eq!(two.no_difference().withheld.values().sum::<u64>(), 1);
    fs::set_permissions(two.after.join("file"), Permissions::from_mode(0o4755)).unwrap();
    two.check("file", What::Mode { before: 0o755, after: 0o4755 });
    fs::set_permissions(two.after.join("file"), Permissions::from_mode(0o745)).unwrap();
    two.check("file", What::Mode { before: 0o755, after: 0o745 });
}

#[test]
fn a_time_that_is_off_by_a_nanosecond_is_found() {
    let two = two();
    for (name, path) in [("file", "file"), ("folder", "folder"), ("top", "")] {
        settle(&two.before);
        settle(&two.after);
        let later = SystemTime::UNIX_EPOCH + WHEN + Duration::from_nanos(1);
        File::open(at(&two.after, Path::new(path))).unwrap().set_modified(later).unwrap();
        let what = What::Modified { before: (1_000_000_000, 5), after: (1_000_000_000, 6) };
        assert_eq!(two.compare().differences, [Difference { path: path.into(), what }], "{name}");
    }
}

#[test]
fn the_time_of_a_link_counts_and_not_that_of_its_target() {
    let two = two();
    settle(&two.before);
    settle(&two.after);
    fs::remove_file(two.after.join("link")).unwrap();
    symlink("file", two.after.join("link")).unwrap();
    old(&two.after);
    let differences = two.compare().differences;
    assert_eq!(differences.len(), 1);
    assert!(matches!(differences[0].what, What::Modified { .. }));
}

#[test]
fn another_size_is_found() {
    let two = two();
    file(&two.after.join("file"), b"content!");
    two.check("file", What::Size { before: 7, after: 8 });
}

#[test]
fn other_content_of_the_same_size_is_found_at_its_byte() {
    let two = two();
    let mut content = vec![7; 600_000];
    file(&two.before.join("file"), &content);
    content[500_001] = 8;
    file(&two.after.join("file"), &content);
    two.check("file", What::Content { at: 500_001 });
}

#[test]
fn another_target_of_a_link_is_found() {
    let two = two();
    fs::remove_file(two.after.join("link")).unwrap();
    symlink("folder", two.after.join("link")).unwrap();
    two.check("link", What::Target { before: "file".into(), after: "folder".into() });
}

#[cfg(target_os = "linux")]
#[test]
fn holes_that_were_filled_are_found() {
    let two = two();
    let size = 8 * 1024 * 1024;
    for top in [&two.before, &two.after] {
        let sparse = File::create(top.join("file")).unwrap();
        sparse.set_len(size).unwrap();
        sparse.write_all_at(b"some data", 1024 * 1024).unwrap();
    }
    assert_eq!(two.no_difference().sparse_files, 1);
    let filled = File::create(two.after.join("file")).unwrap();
    let mut content = vec![0; 8 * 1024 * 1024];
    content[1024 * 1024..][..9].copy_from_slice(b"some data");
    filled.write_all_at(&content, 0).unwrap();
    filled.sync_all().unwrap();
    settle(&two.before);
    settle(&two.after);
    let differences = two.compare().differences;
    assert!(matches!(differences[..], [Difference { what: What::Holes { .. }, .. }]), "{differences:?}");
}

#[test]
fn attributes_that_are_missing_or_extra_or_other_are_found() {
    let two = two();
    if xattr::set(two.before.join("file"), "user.one", b"1").is_err() {
        return;
    }
    two.check("file", What::Attribute { name: "user.one".into(), how: "is not restored" });
    xattr::set(two.after.join("file"), "user.one", b"2").unwrap();
    two.check("file", What::Attribute { name: "user.one".into(), how: "has another value" });
    xattr::set(two.after.join("file"), "user.one", b"1").unwrap();
    assert_eq!(two.no_difference().attributes, 1);
    xattr::set(two.after.join("folder"), "user.two", b"").unwrap();
    two.check("folder", What::Attribute { name: "user.two".into(), how: "is not in the original" });
}

#[test]
fn names_that_are_one_file_must_be_one_in_the_copy() {
    let two = two();
    for top in [&two.before, &two.after] {
        fs::hard_link(top.join("file"), top.join("second")).unwrap();
    }
    assert_eq!(two.no_difference().link_groups, 1);
    fs::remove_file(two.after.join("second")).unwrap();
    file(&two.after.join("second"), b"content");
    two.check("second", What::Links);
}

#[test]
fn names_that_are_two_files_must_not_be_one_in_the_copy() {
    let two = two();
    file(&two.before.join("second"), b"content");
    fs::hard_link(two.after.join("file"), two.after.join("second")).unwrap();
    two.check("second", What::Links);
}

#[test]
fn another_owner_is_found_by_root_alone() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can give files away");
        return;
    }
    let mut two = two();
    std::os::unix::fs::chown(two.after.join("file"), Some(12), Some(34)).unwrap();
    two.no_difference();
    two.rules.root = true;
    two.check("file", What::Owner { before: (0, 0), after: (12, 34) });
}

#[test]
fn what_the_backup_skipped_is_counted_and_is_no_difference() {
    let mut two = two();
    fs::remove_dir_all(two.after.join("folder")).unwrap();
    two.rules.skipped.insert(two.before.join("folder").to_string_lossy().into_owned());
    assert_eq!(two.no_difference().skipped, 1);
}

#[test]
fn what_changed_since_the_backup_is_counted_and_is_no_difference() {
    let mut two = two();
    settle(&two.before);
    settle(&two.after);
    // The clock that stamps files may be some milliseconds behind.
    std::thread::sleep(Duration::from_millis(50));
    two.rules.since = SystemTime::now();
    std::thread::sleep(Duration::from_millis(50));
    File::options().append(true).open(two.before.join("file")).unwrap().write_all(b"more").unwrap();
    file(&two.before.join("new"), b"new");
    fs::remove_file(two.before.join("folder/inner")).unwrap();
    let comparison = two.compare();
    assert_eq!(comparison.differences, []);
    // The file, the new one, the removed one, and the two folders they are in.
    assert_eq!(comparison.changed, 5);
}

#[test]
fn a_socket_that_is_missing_is_expected() {
    let two = two();
    std::os::unix::net::UnixListener::bind(two.before.join("socket")).unwrap();
    assert_eq!(two.no_difference().withheld.values().sum::<u64>(), 1);
}

#[test]
fn a_comparison_ends_when_it_is_asked_to() {
    let two = two();
    let stop = Stop::default();
    stop.request();
    assert!(compare(&two.before, &two.after, &two.rules, &stop).is_err());
}
