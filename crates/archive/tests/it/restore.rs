//! Restores: everything comes back as it was, and what is there already is treated as asked.

use std::error::Error as _;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use kith_archive::crypto::open_with_password;
use kith_archive::restore::{
    Overwrite, RestoreError, RestoreEvent, RestorePhase, RestoreReport, RestoreRequest, Special,
    WithheldKind, restore,
};
use kith_archive::store::{FileId, FileKind, LocalStore, Store, StoreError, StoredFile};
use kith_archive::{Repository, Snapshot};
use tokio_util::sync::CancellationToken;

use crate::support::*;

async fn newest(repository: &Repository) -> Snapshot {
    repository.snapshots().await.unwrap().snapshots.pop().unwrap()
}

async fn request_for(repository: &Repository, target: &Path) -> RestoreRequest {
    RestoreRequest::new(newest(repository).await, target)
}

async fn try_restore(
    repository: &Arc<Repository>,
    request: RestoreRequest,
) -> Result<RestoreReport, RestoreError> {
    restore(Arc::clone(repository), request, |_| (), CancellationToken::new()).await
}

/// Restores the newest snapshot; everything must work.
async fn restore_all(repository: &Arc<Repository>, target: &Path, special: Special) -> RestoreReport {
    let request = RestoreRequest { special, ..request_for(repository, target).await };
    let report = try_restore(repository, request).await.unwrap();
    assert!(report.is_complete(), "{:?}", report.failed);
    assert!(report.incomplete.is_empty(), "{:?}", report.incomplete);
    report
}

async fn overwrite(repository: &Arc<Repository>, target: &Path, overwrite: Overwrite) -> RestoreReport {
    let request = RestoreRequest { overwrite, ..request_for(repository, target).await };
    try_restore(repository, request).await.unwrap()
}

fn assert_same(source: &Path, target: &Path) {
    let restored = below(target, source);
    let (expected, found) = (fingerprint(source), fingerprint(&restored));
    for (expected, found) in expected.iter().zip(&found) {
        assert_eq!(expected, found);
    }
    assert_eq!(expected.len(), found.len());
    let diff =
        Command::new("diff").args(["-r", "--no-dereference"]).args([source, &restored]).output().unwrap();
    // Special files make diff complain, but never about content.
    let text = String::from_utf8_lossy(&diff.stdout).into_owned();
    let complaints: Vec<&str> =
        text.lines().filter(|line| !line.contains("is a fifo") && !line.contains("special file")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}

/// Names of unfinished files below a directory.
fn unfinished(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten() {
            let entry = entry.unwrap();
            if entry.file_name().as_encoded_bytes().starts_with(b".kith-restore") {
                found.push(entry.path());
            }
            if entry.file_type().unwrap().is_dir() {
                left.push(entry.path());
            }
        }
    }
    found
}

/// A source of every kind of file, backed up by us.
async fn backed_up(temp: &Path) -> (PathBuf, Arc<Repository>) {
    let source = temp.join("source");
    make_files(&source);
    let repository = init(&temp.join("archive")).await;
    run(&repository, request(&source)).await;
    (source, repository)
}

#[tokio::test]
async fn what_restic_backed_up_is_restored_with_everything() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    make_files(&source);
    for version in ["1", "2"] {
        let (archive, target) = (temp.path().join(version), temp.path().join(format!("target {version}")));
        let Some(restic) = Restic::find(&archive) else { return };
        restic.run(["init", "--repository-version", version]);
        restic.run(["backup".as_ref(), source.as_os_str()]);
        let store: Arc<dyn Store> = Arc::new(LocalStore::open(&archive).unwrap());
        let master = Arc::new(open_with_password(&*store, "secret").await.unwrap());
        let repository = Arc::new(Repository::open(store, master).await.unwrap());
        let report = restore_all(&repository, &target, Special::Restore).await;
        assert_same(&source, &target);
        assert_eq!(report.links, 1);
        assert!(report.files > 20 && report.bytes > 40_000_000);
        assert!(report.withheld.is_empty());
    }
}

#[tokio::test]
async fn what_we_backed_up_is_restored_with_everything() {
    let temp = tempfile::tempdir().unwrap();
    let target = temp.path().join("not there yet/target");
    let (source, repository) = backed_up(temp.path()).await;
    restore_all(&repository, &target, Special::Restore).await;
    assert_same(&source, &target);
    // Directories above the source get what they had, too.
    let (before, after) = (temp.path().metadata().unwrap(), below(&target, temp.path()).metadata().unwrap());
    assert_eq!(before.mode(), after.mode());
    assert!(unfinished(&target).is_empty());
}

#[tokio::test]
async fn access_control_lists_are_restored() {
    let temp = tempfile::tempdir().unwrap();
    let (source, target) = (temp.path().join("source"), temp.path().join("target"));
    fs::create_dir_all(source.join("folder")).unwrap();
    fs::write(source.join("folder/file"), "content").unwrap();
    // Owner rw, user 1000 r, group r, mask r, others nothing: as the kernel stores it.
    let mut list = vec![2, 0, 0, 0];
    for (tag, rights, id) in [(1u16, 6u16, !0u32), (2, 4, 1000), (4, 4, !0), (16, 4, !0), (32, 0, !0)] {
        list.extend([tag.to_le_bytes(), rights.to_le_bytes()].concat());
        list.extend(id.to_le_bytes());
    }
    let set = xattr::set(source.join("folder/file"), "system.posix_acl_access", &list)
        .and_then(|()| xattr::set(source.join("folder"), "system.posix_acl_default", &list));
    if let Err(error) = set {
        eprintln!("skipped: no access control lists here: {error}");
        return;
    }
    fs::write(source.join("folder/another"), "created with the default list").unwrap();
    let repository = init(&temp.path().join("archive")).await;
    run(&repository, request(&source)).await;
    restore_all(&repository, &target, Special::Withhold).await;
    assert_same(&source, &target);
    let restored = below(&target, &source.join("folder/file"));
    assert_eq!(xattr::get(restored, "system.posix_acl_access").unwrap(), Some(list));
}

#[tokio::test]
async fn sparse_files_stay_sparse() {
    let temp = tempfile::tempdir().unwrap();
    let target = temp.path().join("target");
    let (source, repository) = backed_up(temp.path()).await;
    restore_all(&repository, &target, Special::Withhold).await;
    let restored = below(&target, &source.join("sparse")).metadata().unwrap();
    assert_eq!(restored.len(), 20_000_003);
    assert!(restored.blocks() * 512 < 100_000, "{} blocks are allocated", restored.blocks());
}

#[tokio::test]
async fn a_single_path_is_restored_with_the_folders_above_it() {
    let temp = tempfile::tempdir().unwrap();
    let (source, repository) = backed_up(temp.path()).await;
    let snapshot = newest(&repository).await;
    for (number, name) in ["small.txt", "sub/deeper", "link"].into_iter().enumerate() {
        let target = temp.path().join(format!("target {number}"));
        let path = source.join(name);
        let request =
            RestoreRequest { path: Some(path.clone()), ..RestoreRequest::new(snapshot.clone(), &target) };
        let report = try_restore(&repository, request).await.unwrap();
        assert!(report.is_complete(), "{:?}", report.failed);
        let restored = below(&target, &path);
        let (before, after) = (path.symlink_metadata().unwrap(), restored.symlink_metadata().unwrap());
        assert_eq!((before.mode(), before.mtime_nsec()), (after.mode(), after.mtime_nsec()));
        // Nothing else.
        assert_eq!(fs::read_dir(below(&target, &source)).unwrap().count(), 1);
        let (before, after) = (source.metadata().unwrap(), below(&target, &source).metadata().unwrap());
        assert_eq!((before.mode(), before.mtime()), (after.mode(), after.mtime()));
    }
    for path in ["/nothing/of/it", "/../etc"] {
        let request = RestoreRequest {
            path: Some(path.into()),
            ..RestoreRequest::new(snapshot.clone(), temp.path().join("target"))
        };
        let error = try_restore(&repository, request).await.unwrap_err();
        assert!(matches!(error, RestoreError::Browse(_)), "{error}");
    }
}

#[tokio::test]
async fn existing_files_are_kept_by_default_and_counted() {
    let temp = tempfile::tempdir().unwrap();
    let target = temp.path().join("target");
    let (source, repository) = backed_up(temp.path()).await;
    let restored = below(&target, &source);
    fs::create_dir_all(restored.join("sub")).unwrap();
    fs::write(restored.join("small.txt"), "mine").unwrap();
    fs::write(restored.join("link"), "no link").unwrap();
    symlink("nowhere", restored.join("empty")).unwrap();
    fs::set_permissions(restored.join("sub"), Permissions::from_mode(0o711)).unwrap();
    let report = overwrite(&repository, &target, Overwrite::Never).await;
    assert!(report.is_complete(), "{:?}", report.failed);
    assert_eq!(report.kept.total, 3);
    assert_eq!(report.kept.items, ["empty", "link", "small.txt"].map(|name| source.join(name)));
    assert_eq!(fs::read(restored.join("small.txt")).unwrap(), b"mine");
    assert_eq!(fs::read(restored.join("link")).unwrap(), b"no link");
    assert_eq!(fs::read_link(restored.join("empty")).unwrap(), Path::new("nowhere"));
    assert_eq!(restored.join("sub").metadata().unwrap().mode() & 0o777, 0o711);
    // The other name of a file that was kept has the snapshot's content.
    assert_eq!(fs::read(restored.join("sub/hard link")).unwrap(), b"a small file\n");
    let again = overwrite(&repository, &target, Overwrite::Never).await;
    assert_eq!((again.files, again.others, again.links), (0, 0, 0));
}

#[tokio::test]
async fn only_what_changed_is_replaced_if_asked_for() {
    let temp = tempfile::tempdir().unwrap();
    let target = temp.path().join("target");
    let (source, repository) = backed_up(temp.path()).await;
    restore_all(&repository, &target, Special::Restore).await;
    let restored = below(&target, &source);
    let large = restored.join("large.bin");
    let untouched = large.metadata().unwrap();
    // Another content with the same size and time; another time only; another size; another kind.
    let half = restored.join("sub/deeper/half a MiB");
    let modified = half.metadata().unwrap().modified().unwrap();
    fs::write(&half, noise(77, 512 * 1024)).unwrap();
    File::options().write(true).open(&half).unwrap().set_modified(modified).unwrap();
    let copy = restored.join("sub/deeper/deepest/copy of large");
    let copy_before = copy.metadata().unwrap().ino();
    File::options().write(true).open(&copy).unwrap().set_modified(modified).unwrap();
    fs::write(restored.join("sub/text"), "short").unwrap();
    fs::remove_file(restored.join("link")).unwrap();
    fs::write(restored.join("link"), "no link").unwrap();
    fs::remove_file(restored.join("sub/hard link")).unwrap();
    fs::write(restored.join("sub/hard link"), "a small file\n").unwrap();
    fs::remove_file(restored.join("sparse")).unwrap();
    fs::create_dir(restored.join("sparse")).unwrap();
    fs::set_permissions(restored.join("sub"), Permissions::from_mode(0o711)).unwrap();
    let request = RestoreRequest {
        overwrite: Overwrite::Changed,
        special: Special::Restore,
        ..request_for(&repository, &target).await
    };
    let report = try_restore(&repository, request).await.unwrap();
    assert!(report.is_complete() && report.kept.is_empty(), "{report:?}");
    assert_same(&source, &target);
    let after = large.metadata().unwrap();
    assert_eq!((untouched.ino(), untouched.ctime_nsec()), (after.ino(), after.ctime_nsec()));
    assert_eq!(copy.metadata().unwrap().ino(), copy_before);
    // Half a MiB, text, sparse; the link; the hard link.
    assert_eq!((report.files, report.others, report.links), (3, 1, 1));
}

#[tokio::test]
async fn everything_is_replaced_if_asked_for() {
    let temp = tempfile::tempdir().unwrap();
    let target = temp.path().join("target");
    let (source, repository) = backed_up(temp.path()).await;
    let restored = below(&target, &source);
    fs::create_dir_all(restored.join("empty")).unwrap();
    fs::create_dir_all(restored.join("large.bin/not empty")).unwrap();
    let elsewhere = temp.path().join("elsewhere");
    fs::write(&elsewhere, "untouched").unwrap();
    symlink(&elsewhere, restored.join("small.txt")).unwrap();
    symlink(temp.path(), restored.join("sub")).unwrap();
    let request = RestoreRequest {
        overwrite: Overwrite::Always,
        special: Special::Restore,
        ..request_for(&repository, &target).await
    };
    let report = try_restore(&repository, request).await.unwrap();
    // A folder with something in it is never removed.
    assert_eq!(report.failed.total, 1);
    assert_eq!(report.failed.items[0].path, source.join("large.bin"));
    assert!(report.failed.items[0].reason.contains("not empty"), "{:?}", report.failed);
    assert_eq!(fs::read(&elsewhere).unwrap(), b"untouched");
    fs::remove_dir_all(restored.join("large.bin")).unwrap();
    fs::hard_link(&elsewhere, restored.join("large.bin")).unwrap();
    let request = RestoreRequest {
        overwrite: Overwrite::Always,
        special: Special::Restore,
        ..request_for(&repository, &target).await
    };
    let report = try_restore(&repository, request).await.unwrap();
    assert!(report.is_complete(), "{:?}", report.failed);
    assert_same(&source, &target);
    assert_eq!(fs::read(&elsewhere).unwrap(), b"untouched");
    assert!(unfinished(&target).is_empty());
}

#[tokio::test]
async fn what_gives_rights_is_withheld_unless_asked_for() {
    let temp = tempfile::tempdir().unwrap();
    let (source, target) = (temp.path().join("source"), temp.path().join("target"));
    make_files(&source);
    fs::create_dir(source.join("shared")).unwrap();
    fs::set_permissions(source.join("shared"), Permissions::from_mode(0o2775)).unwrap();
    // cap_net_raw, as `setcap` stores it.
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let has_capability = xattr::set(source.join("small.txt"), "security.capability", &capability).is_ok();
    let repository = init(&temp.path().join("archive")).await;
    run(&repository, request(&source)).await;
    let report = restore_all(&repository, &target, Special::Withhold).await;
    let restored = below(&target, &source);
    assert_eq!(restored.join("setuid").metadata().unwrap().mode() & 0o7777, 0o755);
    assert_eq!(restored.join("shared").metadata().unwrap().mode() & 0o7777, 0o2775);
    assert_eq!(restored.join("sub/deeper").metadata().unwrap().mode() & 0o7777, 0o1770);
    let mut expected = vec![(source.join("setuid"), WithheldKind::SetId)];
    if nix::unistd::geteuid().is_root() {
        expected.push((source.join("loop"), WithheldKind::Device));
        expected.push((source.join("null"), WithheldKind::Device));
    }
    if has_capability {
        expected.push((source.join("small.txt"), WithheldKind::Capabilities));
        assert_eq!(xattr::get(restored.join("small.txt"), "security.capability").unwrap(), None);
    }
    expected.sort();
    let withheld: Vec<_> = report.withheld.items.into_iter().map(|one| (one.path, one.kind)).collect();
    assert_eq!(withheld, expected);
    if nix::unistd::geteuid().is_root() {
        assert!(!restored.join("null").exists());
        restore_all(&repository, &temp.path().join("all"), Special::Restore).await;
        assert_same(&source, &temp.path().join("all"));
    }
}

#[tokio::test]
async fn a_target_that_is_no_folder_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let (_, repository) = backed_up(temp.path()).await;
    let target = temp.path().join("file");
    fs::write(&target, "x").unwrap();
    for target in [target.clone(), target.join("below")] {
        let error = try_restore(&repository, request_for(&repository, &target).await).await.unwrap_err();
        assert!(matches!(error, RestoreError::Target { .. }), "{error:?}");
        let reason = "can't be used: it can't be made, something that is no folder is in the way";
        assert!(error.to_string().ends_with(reason), "{error}");
        assert!(error.source().is_none(), "{error:?}");
    }
    assert_eq!(fs::read(&target).unwrap(), b"x");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_target_where_no_folder_can_be_is_told_in_words() {
    let temp = tempfile::tempdir().unwrap();
    let (_, repository) = backed_up(temp.path()).await;
    let target = Path::new("/proc/no such folder/target");
    let error = try_restore(&repository, request_for(&repository, target).await).await.unwrap_err();
    let (what, why) = ("can't be used: it can't be made", "the system permits no new folders in that place");
    assert_eq!(error.to_string(), format!("the target folder {} {what}, {why}", target.display()));
    assert!(error.source().is_none(), "{error:?}");
}

/// Runs the test `name` again where it may mount file systems that nobody else sees, with a directory for them. `None`
/// in the outer run.
fn with_mounts(name: &str) -> Option<PathBuf> {
    with_mounts_under(&[], name)
}

/// The same under a program that watches it.
fn with_mounts_under(watcher: &[&OsStr], name: &str) -> Option<PathBuf> {
    const VARIABLE: &str = "KITH_TEST_MOUNTS";
    if let Some(dir) = std::env::var_os(VARIABLE) {
        return Some(dir.into());
    }
    let temp = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if !nix::unistd::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    let probe = Command::new("unshare")
        .args(command.get_args())
        .args(["mount", "-t", "tmpfs", "none"])
        .arg(temp.path())
        .output();
    if !probe.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no file systems can be mounted here");
        return None;
    }
    let output = command
        .args(watcher)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(VARIABLE, temp.path())
        .output()
        .unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    None
}

fn mount(dir: &Path, options: &str) {
    fs::create_dir_all(dir).unwrap();
    let status =
        Command::new("mount").args(["-t", "tmpfs", "-o", options, "none"]).arg(dir).status().unwrap();
    assert!(status.success());
}

/// Gives a file or folder a second name, as a file system does that can't tell the two apart.
fn same(name: &Path, other: &Path) {
    let status = Command::new("mount").arg("--bind").args([name, other]).status().unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn names_that_the_target_can_not_tell_apart_are_failures() {
    let Some(temp) = with_mounts("restore::names_that_the_target_can_not_tell_apart_are_failures") else {
        return;
    };
    let source = temp.join("source");
    for folder in ["FOLDER", "folder"] {
        fs::create_dir_all(source.join(folder)).unwrap();
        fs::write(source.join(folder).join("inside"), format!("inside of {folder}")).unwrap();
    }
    for file in ["FILE", "file"] {
        fs::write(source.join(file), format!("content of {file}")).unwrap();
    }
    let repository = init(&temp.join("archive")).await;
    run(&repository, request(&source)).await;
    for mode in [Overwrite::Never, Overwrite::Changed, Overwrite::Always] {
        let target = temp.join(format!("target {mode:?}"));
        let restored = below(&target, &source);
        fs::create_dir_all(restored.join("FOLDER")).unwrap();
        fs::create_dir_all(restored.join("folder")).unwrap();
        fs::write(restored.join("FILE"), "").unwrap();
        fs::write(restored.join("file"), "").unwrap();
        same(&restored.join("FOLDER"), &restored.join("folder"));
        same(&restored.join("FILE"), &restored.join("file"));
        let report = overwrite(&repository, &target, mode).await;
        let failed: Vec<_> = report.failed.items.iter().map(|failure| failure.path.clone()).collect();
        assert_eq!(failed, [source.join("file"), source.join("folder")], "{report:?}");
        for failure in &report.failed.items {
            assert!(failure.reason.contains("can't tell it from another name"), "{failure:?}");
        }
        let inside = fs::read_to_string(restored.join("folder/inside")).unwrap();
        assert_eq!(inside, "inside of FOLDER", "{mode:?}");
    }
}

#[tokio::test]
async fn what_is_mounted_below_the_target_is_synced_too() {
    const NAME: &str = "restore::what_is_mounted_below_the_target_is_synced_too";
    if !Command::new("strace").arg("--version").output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: strace is not installed");
        return;
    }
    let trace = tempfile::NamedTempFile::new().unwrap();
    let watcher: [&OsStr; 7] = [
        "strace".as_ref(),
        "--follow-forks".as_ref(),
        "--decode-fds=path".as_ref(),
        "--trace=syncfs,sync".as_ref(),
        "--output".as_ref(),
        trace.path().as_ref(),
        "--".as_ref(),
    ];
    let Some(temp) = with_mounts_under(&watcher, NAME) else {
        let trace = fs::read_to_string(trace.path()).unwrap();
        if !trace.is_empty() {
            for name in ["/target>", "/sub>", "/sub/deeper>"] {
                let synced =
                    |line: &str| line.contains("syncfs(") && line.contains(name) && line.ends_with("= 0");
                assert_eq!(trace.lines().filter(|line| synced(line)).count(), 1, "{name}: {trace}");
            }
        }
        return;
    };
    let (source, repository) = backed_up(&temp).await;
    let target = temp.join("target");
    mount(&below(&target, &source.join("sub")), "size=60m");
    mount(&below(&target, &source.join("sub/deeper")), "size=60m");
    let report = restore_all(&repository, &target, Special::Withhold).await;
    assert!(report.files > 10);
}

#[tokio::test]
async fn a_read_only_target_is_named() {
    let Some(temp) = with_mounts("restore::a_read_only_target_is_named") else { return };
    let (_, repository) = backed_up(&temp).await;
    let target = temp.join("target");
    mount(&target, "ro");
    for target in [target.clone(), target.join("folder")] {
        let error = try_restore(&repository, request_for(&repository, &target).await).await.unwrap_err();
        assert!(matches!(error, RestoreError::ReadOnly { .. }), "{error:?}");
        assert!(error.to_string().ends_with("is read-only"), "{error}");
    }
}

#[tokio::test]
async fn a_full_disk_leaves_only_finished_files() {
    let Some(temp) = with_mounts("restore::a_full_disk_leaves_only_finished_files") else { return };
    let (source, repository) = backed_up(&temp).await;
    let target = temp.join("target");
    mount(&target, "size=6m");
    let error = try_restore(&repository, request_for(&repository, &target).await).await.unwrap_err();
    assert!(matches!(error, RestoreError::Full { .. }), "{error:?}");
    assert!(error.to_string().contains("full"), "{error}");
    assert!(unfinished(&target).is_empty());
    for name in ["large.bin", "small.txt", "sub/text", "sub/deeper/half a MiB"] {
        if let Ok(content) = fs::read(below(&target, &source.join(name))) {
            assert!(content == fs::read(source.join(name)).unwrap(), "{name} is not complete");
        }
    }
    assert!(!below(&target, &source.join("large.bin")).exists());
}

#[tokio::test]
async fn who_is_not_root_restores_all_but_owners() {
    const VARIABLE: &str = "KITH_TEST_NOBODY";
    let dir = if let Some(dir) = std::env::var_os(VARIABLE) {
        PathBuf::from(dir)
    } else {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: only root can become somebody else");
            return;
        }
        let temp = tempfile::tempdir().unwrap();
        fs::set_permissions(temp.path(), Permissions::from_mode(0o777)).unwrap();
        let (source, _) = backed_up(temp.path()).await;
        let status = Command::new("chown").args(["-R", "65534"]).arg(temp.path().join("archive")).status();
        assert!(status.unwrap().success());
        // The program may lie where nobody else may look.
        let program = temp.path().join("program");
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        let output = std::os::unix::process::CommandExt::uid(&mut Command::new(&program), 65_534)
            .args(["--exact", "restore::who_is_not_root_restores_all_but_owners", "--nocapture"])
            .env(VARIABLE, temp.path())
            .output()
            .unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        let restored = below(&temp.path().join("target"), &source);
        for path in ["sub/text", "small.txt", "empty"] {
            let (before, after) =
                (source.join(path).metadata().unwrap(), restored.join(path).metadata().unwrap());
            assert_eq!(after.uid(), 65_534);
            assert_eq!((before.mode(), before.mtime()), (after.mode(), after.mtime()));
            assert!(fs::read(source.join(path)).unwrap() == fs::read(restored.join(path)).unwrap());
        }
        return;
    };
    let repository = open(&dir.join("archive")).await;
    let report = try_restore(&repository, request_for(&repository, &dir.join("target")).await).await.unwrap();
    assert!(report.is_complete() && report.incomplete.is_empty(), "{report:?}");
    assert_eq!(report.withheld.items.iter().filter(|one| one.kind == WithheldKind::Device).count(), 2);
    let denied = dir.join("denied");
    fs::create_dir(&denied).unwrap();
    fs::set_permissions(&denied, Permissions::from_mode(0o555)).unwrap();
    let error = try_restore(&repository, request_for(&repository, &denied).await).await.unwrap_err();
    assert!(matches!(error, RestoreError::Denied { .. }), "{error:?}");
    assert!(error.to_string().starts_with("no permission to write into"), "{error}");
}

#[tokio::test]
async fn events_tell_phases_and_end_with_everything_done() {
    let temp = tempfile::tempdir().unwrap();
    let (_, repository) = backed_up(temp.path()).await;
    let events = Mutex::new(Vec::new());
    let request = request_for(&repository, &temp.path().join("target")).await;
    let tell = |event| events.lock().unwrap().push(event);
    let report = restore(Arc::clone(&repository), request, tell, CancellationToken::new()).await.unwrap();
    let events = events.into_inner().unwrap();
    assert_eq!(events[0], RestoreEvent::Phase(RestorePhase::Preparing));
    assert_eq!(events[1], RestoreEvent::Phase(RestorePhase::Restoring));
    let Some(RestoreEvent::Progress(last)) = events.last() else { panic!("{events:?}") };
    assert!(last.found_all && last.errors == 0);
    assert_eq!(last.found.files, report.files + report.links);
    assert_eq!((last.done.files, last.done.bytes), (last.found.files, last.found.bytes));
}

/// A directory whose packs can't be read any more after some time.
struct Slow {
    inner: LocalStore,
    /// After so many reads of packs, further ones never end.
    answers: AtomicUsize,
    /// Lets those go on after all.
    released: tokio::sync::Notify,
    /// Nobody answers.
    gone: AtomicBool,
}

impl Slow {
    async fn open(dir: &Path) -> (Arc<Self>, Arc<Repository>) {
        let store = Arc::new(Self {
            inner: LocalStore::open(dir).unwrap(),
            answers: AtomicUsize::new(usize::MAX),
            released: tokio::sync::Notify::new(),
            gone: AtomicBool::new(false),
        });
        let repository = open_store(Arc::clone(&store) as Arc<dyn Store>).await;
        (store, repository)
    }
}

#[async_trait]
impl Store for Slow {
    async fn list(&self, kind: FileKind) -> Result<Vec<StoredFile>, StoreError> {
        self.inner.list(kind).await
    }

    async fn load(
        &self,
        kind: FileKind,
        id: &FileId,
        range: Option<Range<u64>>,
    ) -> Result<Bytes, StoreError> {
        let is_data =
            kind == FileKind::Pack && range.as_ref().is_some_and(|range| range.end - range.start > 2_000_000);
        if is_data {
            let left =
                self.answers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            if left.is_err() {
                self.released.notified().await;
            }
        }
        if is_data && self.gone.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("nobody answers".to_owned()));
        }
        self.inner.load(kind, id, range).await
    }

    async fn save(&self, _: FileKind, _: &FileId, _: Bytes) -> Result<(), StoreError> {
        unreachable!("a restore stores nothing")
    }

    async fn remove(&self, _: FileKind, _: &FileId) -> Result<(), StoreError> {
        unreachable!("a restore removes nothing")
    }
}

/// Waits for something that happens soon.
async fn until(mut happened: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !happened() {
        assert!(begin.elapsed() < Duration::from_secs(20), "it did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_cancelled_restore_ends_at_once_and_leaves_nothing_unfinished() {
    let temp = tempfile::tempdir().unwrap();
    let target = temp.path().join("target");
    let (source, _) = backed_up(temp.path()).await;
    let (store, repository) = Slow::open(&temp.path().join("archive")).await;
    store.answers.store(1, Ordering::SeqCst);
    let cancel = CancellationToken::new();
    let request = request_for(&repository, &target).await;
    let task = tokio::spawn(restore(Arc::clone(&repository), request, |_| (), cancel.clone()));
    until(|| !unfinished(&target).is_empty()).await;
    // Virtual time while it ends: what it waits for is counted, not how long a busy computer takes.
    tokio::time::pause();
    cancel.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(1), task).await;
    tokio::time::resume();
    let error = ended.expect("it ends within a second").unwrap().unwrap_err();
    assert!(matches!(error, RestoreError::Cancelled), "{error:?}");
    assert!(unfinished(&target).is_empty());
    assert!(!below(&target, &source.join("large.bin")).exists());
    // Folders don't stay closed to others.
    for folder in ["", "sub", "sub/deeper"] {
        let folder = source.join(folder);
        let (before, after) = (folder.metadata().unwrap(), below(&target, &folder).metadata().unwrap());
        assert_eq!(before.mode(), after.mode());
    }
    // A restore that nobody waits for any more ends, too.
    let target = temp.path().join("dropped");
    store.answers.store(1, Ordering::SeqCst);
    let request = request_for(&repository, &target).await;
    let task = tokio::spawn(restore(Arc::clone(&repository), request, |_| (), CancellationToken::new()));
    until(|| !unfinished(&target).is_empty()).await;
    task.abort();
    until(|| unfinished(&target).is_empty()).await;
    // And one that is cancelled before it begins.
    let request = request_for(&repository, &temp.path().join("never made")).await;
    let result = restore(repository, request, |_| (), cancel).await;
    assert!(matches!(result, Err(RestoreError::Cancelled)));
}

#[tokio::test]
async fn what_takes_the_place_of_a_file_meanwhile_is_kept_and_the_file_counts_as_failed() {
    let temp = tempfile::tempdir().unwrap();
    let target = temp.path().join("target");
    let (source, _) = backed_up(temp.path()).await;
    let (store, repository) = Slow::open(&temp.path().join("archive")).await;
    store.answers.store(0, Ordering::SeqCst);
    let request = request_for(&repository, &target).await;
    let task = tokio::spawn(restore(Arc::clone(&repository), request, |_| (), CancellationToken::new()));
    let taken = below(&target, &source.join("large.bin"));
    until(|| taken.parent().unwrap().is_dir()).await;
    fs::write(&taken, "of somebody else").unwrap();
    store.answers.store(usize::MAX, Ordering::SeqCst);
    until(|| {
        store.released.notify_waiters();
        task.is_finished()
    })
    .await;
    let report = task.await.unwrap().unwrap();
    assert!(!report.is_complete() && report.kept.is_empty(), "{report:?}");
    assert_eq!(report.failed.items.len(), 1, "{:?}", report.failed);
    assert_eq!(report.failed.items[0].path, source.join("large.bin"));
    assert!(report.failed.items[0].reason.contains("came there meanwhile"), "{:?}", report.failed);
    assert_eq!(fs::read_to_string(&taken).unwrap(), "of somebody else");
    assert!(unfinished(&target).is_empty());
}

#[tokio::test]
async fn an_archive_that_goes_away_ends_the_restore_and_the_next_one_goes_on() {
    let temp = tempfile::tempdir().unwrap();
    let target = temp.path().join("target");
    let (source, _) = backed_up(temp.path()).await;
    let (store, repository) = Slow::open(&temp.path().join("archive")).await;
    store.gone.store(true, Ordering::SeqCst);
    let error = try_restore(&repository, request_for(&repository, &target).await).await.unwrap_err();
    assert!(matches!(error, RestoreError::Repository(_)), "{error:?}");
    assert!(error.to_string().contains("nobody answers"), "{error}");
    assert!(unfinished(&target).is_empty());
    store.gone.store(false, Ordering::SeqCst);
    let request = RestoreRequest {
        overwrite: Overwrite::Changed,
        special: Special::Restore,
        ..request_for(&repository, &target).await
    };
    assert!(try_restore(&repository, request).await.unwrap().is_complete());
    assert_same(&source, &target);
}

#[tokio::test]
async fn many_files_are_restored_in_several_batches() {
    let temp = tempfile::tempdir().unwrap();
    let (source, target) = (temp.path().join("source"), temp.path().join("target"));
    for folder in 0..60 {
        let dir = source.join(format!("folder {folder}/below"));
        fs::create_dir_all(&dir).unwrap();
        for file in 0..100u64 {
            // Some contents occur several times.
            fs::write(dir.join(format!("file {file}")), noise(file * folder % 500, 40 * file as usize))
                .unwrap();
        }
        if folder > 0 {
            let first = source.join("folder 0/below/file 7");
            fs::hard_link(first, dir.join("link")).unwrap();
        }
        fs::set_permissions(&dir, Permissions::from_mode(0o500)).unwrap();
    }
    let repository = init(&temp.path().join("archive")).await;
    run(&repository, request(&source)).await;
    let report = restore_all(&repository, &target, Special::Withhold).await;
    assert_eq!((report.files, report.links), (6000, 59));
    assert_same(&source, &target);
}
