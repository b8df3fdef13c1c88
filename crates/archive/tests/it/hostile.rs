//! Repositories that try to write outside the target, or to pass off one thing for another.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::StreamExt;
use kith_archive::browse::{self, BrowseError};
use kith_archive::check::{CheckDepth, Finding, check};
use kith_archive::restore::{Overwrite, RestoreReport, RestoreRequest, Special, restore};
use kith_archive::tree::{Node, NodeKind, mode};
use kith_archive::{BlobId, Repository, Snapshot};
use tokio_util::sync::CancellationToken;

use crate::forge::{Forge, symlink_node};

const ALL: [Overwrite; 3] = [Overwrite::Never, Overwrite::Changed, Overwrite::Always];

async fn restore_to(
    repository: &Arc<Repository>,
    snapshot: &Snapshot,
    target: &Path,
    overwrite: Overwrite,
) -> RestoreReport {
    let request = RestoreRequest {
        overwrite,
        special: Special::Restore,
        ..RestoreRequest::new(snapshot.clone(), target)
    };
    restore(Arc::clone(repository), request, |_| (), CancellationToken::new()).await.unwrap()
}

/// Everything below a directory with its content, sorted.
fn listing(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(at) = left.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let content = if metadata.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            if metadata.is_dir() {
                left.push(path.clone());
            }
            found.push((path.strip_prefix(dir).unwrap().to_owned(), content));
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn names_that_are_more_than_a_name_are_not_restored() {
    let temp = tempfile::tempdir().unwrap();
    let room = temp.path().join("room");
    fs::create_dir(&room).unwrap();
    let mut forge = Forge::default();
    let outside = room.join("absolute").to_str().unwrap().to_owned();
    let names = ["..", "../x", "../../x", "a/b", "/x", ".", "", "nul\0byte", "trailing/", &outside];
    let mut nodes = vec![forge.file("good", b"good")];
    for name in names {
        nodes.push(forge.file(name, b"evil"));
        nodes.push(symlink_node(name, "/etc"));
        let inner = forge.file("x", b"evil");
        nodes.push(forge.dir(name, vec![inner]));
        let mut fifo = Node::new(name, NodeKind::Fifo);
        fifo.mode = 0o644 | mode::NAMED_PIPE;
        nodes.push(fifo);
    }
    let folder = forge.dir("folder", nodes.clone());
    nodes.push(folder);
    let root = forge.tree(nodes);
    let (repository, snapshot) = forge.write(&temp.path().join("archive"), root).await;
    for overwrite in ALL {
        let target = room.join("target");
        let report = restore_to(&repository, &snapshot, &target, overwrite).await;
        assert_eq!(report.failed.total, 2 * 4 * names.len() as u64);
        assert!(report.failed.items.iter().all(|failure| failure.reason.contains("not a valid file name")));
        let expected: Vec<(PathBuf, Vec<u8>)> =
            [("target", ""), ("target/folder", ""), ("target/folder/good", "good"), ("target/good", "good")]
                .map(|(path, content)| (path.into(), content.into()))
                .into();
        assert_eq!(listing(&room), expected);
    }
}

#[tokio::test]
async fn a_path_never_leads_through_a_symbolic_link() {
    let temp = tempfile::tempdir().unwrap();
    for overwrite in ALL {
        let temp = tempfile::tempdir_in(temp.path()).unwrap();
        let (room, outside) = (temp.path().join("room"), temp.path().join("outside"));
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "mine").unwrap();
        let before = listing(&outside);
        let inside = |forge: &mut Forge| {
            let deep = forge.file("file", b"evil");
            let deep = forge.dir("deep", vec![deep]);
            let file = forge.file("file", b"evil");
            forge.dir("way", vec![deep, file])
        };
        // The link first, then through it: in one tree, and in a second restore.
        let mut forge = Forge::default();
        let dir = inside(&mut forge);
        let root = forge.tree(vec![symlink_node("way", outside.to_str().unwrap()), dir.clone()]);
        let (one, one_snapshot) = forge.write(&temp.path().join("one"), root).await;
        let mut forge = Forge::default();
        let dir = inside(&mut forge);
        let root = forge.tree(vec![dir]);
        let (two, two_snapshot) = forge.write(&temp.path().join("two"), root).await;
        let mut forge = Forge::default();
        let root = forge.tree(vec![symlink_node("way", outside.to_str().unwrap())]);
        let (link, link_snapshot) = forge.write(&temp.path().join("link"), root).await;

        restore_to(&one, &one_snapshot, &room.join("one"), overwrite).await;
        assert_eq!(listing(&outside), before);
        restore_to(&link, &link_snapshot, &room.join("two"), overwrite).await;
        assert!(room.join("two/way").is_symlink());
        let report = restore_to(&two, &two_snapshot, &room.join("two"), overwrite).await;
        assert_eq!(listing(&outside), before);
        if overwrite == Overwrite::Never {
            assert_eq!(report.failed.total, 1);
            assert_eq!(report.failed.items[0].path, Path::new("/way"));
            assert!(report.failed.items[0].reason.contains("not followed"), "{:?}", report.failed);
        } else {
            assert!(report.is_complete(), "{:?}", report.failed);
            assert_eq!(fs::read(room.join("two/way/deep/file")).unwrap(), b"evil");
            assert!(!room.join("two/way").is_symlink());
        }
    }
}

#[tokio::test]
async fn links_in_the_target_are_replaced_or_kept_but_never_followed() {
    let temp = tempfile::tempdir().unwrap();
    let mut forge = Forge::default();
    let file = forge.file("file", b"from the snapshot");
    let mut fifo = Node::new("fifo", NodeKind::Fifo);
    fifo.mode = 0o600 | mode::NAMED_PIPE;
    let root = forge.tree(vec![fifo, file, symlink_node("link", "elsewhere")]);
    let (repository, snapshot) = forge.write(&temp.path().join("archive"), root).await;
    for overwrite in ALL {
        let temp = tempfile::tempdir_in(temp.path()).unwrap();
        let (target, outside) = (temp.path().join("target"), temp.path().join("outside"));
        fs::create_dir(&target).unwrap();
        fs::write(&outside, "from the snapshot").unwrap();
        let before = outside.metadata().unwrap();
        for name in ["file", "fifo", "link"] {
            symlink(&outside, target.join(name)).unwrap();
        }
        let report = restore_to(&repository, &snapshot, &target, overwrite).await;
        assert!(report.is_complete(), "{:?}", report.failed);
        let after = outside.metadata().unwrap();
        assert_eq!(before.modified().unwrap(), after.modified().unwrap());
        assert_eq!(before.permissions(), after.permissions());
        assert_eq!(fs::read(&outside).unwrap(), b"from the snapshot");
        let kept = overwrite == Overwrite::Never;
        assert_eq!(report.kept.total, if kept { 3 } else { 0 });
        assert_eq!(target.join("file").is_symlink(), kept);
        assert_eq!(fs::read_link(target.join("link")).unwrap() == Path::new("elsewhere"), !kept);
    }
}

#[tokio::test]
async fn two_names_of_one_inode_with_different_content_are_two_files() {
    let temp = tempfile::tempdir().unwrap();
    let mut forge = Forge::default();
    let mut nodes = Vec::new();
    for (name, content) in [("a", "one"), ("b", "two"), ("c", "one")] {
        let mut node = forge.file(name, content.as_bytes());
        (node.links, node.inode, node.device_id) = (3, 7, 1);
        nodes.push(node);
    }
    let mut link = symlink_node("d", "a");
    (link.links, link.inode, link.device_id) = (3, 7, 1);
    nodes.push(link);
    let root = forge.tree(nodes);
    let (repository, snapshot) = forge.write(&temp.path().join("archive"), root).await;
    let target = temp.path().join("target");
    let report = restore_to(&repository, &snapshot, &target, Overwrite::Never).await;
    assert!(report.is_complete(), "{:?}", report.failed);
    assert_eq!(report.links, 1);
    for (name, content) in [("a", "one"), ("b", "two"), ("c", "one"), ("d", "one")] {
        assert_eq!(fs::read(target.join(name)).unwrap(), content.as_bytes());
    }
}

#[tokio::test]
async fn a_blob_in_the_place_of_another_is_noticed() {
    let temp = tempfile::tempdir().unwrap();
    let mut forge = Forge::default();
    let good = forge.file("good", b"good");
    let mut swapped = good.clone();
    swapped.name = "swapped".into();
    let id = BlobId::of(b"the real content");
    forge.blob_as(id, "data", b"other content");
    swapped.content = Some(vec![good.content.as_ref().unwrap()[0], id]);
    // The index tells a wrong length: what follows would be written to the wrong place.
    let mut longer = forge.file("longer", b"0123456789");
    forge.lie("uncompressed_length", 3);
    longer.content.as_mut().unwrap().push(BlobId::of(b"good"));
    let mut shorter = forge.file("shorter", b"abcdefghij");
    forge.lie("length", 40);
    shorter.size = 8;
    let mut unknown = good.clone();
    unknown.name = "unknown".into();
    unknown.content = Some(vec![BlobId::of(b"nowhere")]);
    let root = forge.tree(vec![good, longer, shorter, swapped, unknown]);
    let (repository, snapshot) = forge.write(&temp.path().join("archive"), root).await;
    let target = temp.path().join("target");
    let report = restore_to(&repository, &snapshot, &target, Overwrite::Never).await;
    let failed: Vec<&Path> = report.failed.items.iter().map(|failure| failure.path.as_path()).collect();
    assert_eq!(failed, ["/longer", "/shorter", "/swapped", "/unknown"].map(Path::new));
    assert!(report.failed.items[2].reason.contains("not what its id says"), "{:?}", report.failed);
    assert!(report.failed.items[3].reason.contains("missing in the archive's index"), "{:?}", report.failed);
    assert_eq!(listing(&target), [(PathBuf::from("good"), b"good".to_vec())]);
    let report = check(Arc::clone(&repository), CheckDepth::ReadData, |_| (), CancellationToken::new());
    let findings = report.await.unwrap().findings.items;
    let lost = findings.iter().find_map(|finding| match finding {
        Finding::LostFiles { count, examples, .. } => Some((*count, examples.clone())),
        _ => None,
    });
    let expected = ["/longer", "/shorter", "/swapped", "/unknown"].map(PathBuf::from).to_vec();
    assert_eq!(lost, Some((4, expected)), "{findings:?}");
}

#[tokio::test]
async fn bottomless_folders_end() {
    let temp = tempfile::tempdir().unwrap();
    let mut forge = Forge::default();
    let mut node = forge.dir("d", Vec::new());
    for _ in 0..browse::DEEPEST + 10 {
        node = forge.dir("d", vec![node]);
    }
    let root = forge.tree(vec![node]);
    let (repository, snapshot) = forge.write(&temp.path().join("archive"), root).await;
    let errors: Vec<BrowseError> =
        browse::walk(&repository, &snapshot, None).filter_map(|item| async { item.err() }).collect().await;
    assert!(matches!(errors[..], [BrowseError::TooDeep { .. }]), "{errors:?}");
    let finds = browse::find(&repository, std::slice::from_ref(&snapshot), "nothing", 10).await.unwrap();
    assert!(matches!(finds.unreadable[..], [BrowseError::TooDeep { .. }]));
    let report = check(repository, CheckDepth::Structure, |_| (), CancellationToken::new()).await.unwrap();
    let [Finding::UnreadableFolder { reason, .. }] = &report.findings.items[..] else {
        panic!("{:?}", report.findings)
    };
    assert!(reason.contains("too deep"), "{reason}");
}

#[tokio::test]
async fn names_of_any_bytes_are_listed_found_and_restored() {
    let temp = tempfile::tempdir().unwrap();
    let target = temp.path().join("target");
    let name = OsString::from_vec(b"caf\xe9 \xff".to_vec());
    let mut forge = Forge::default();
    let file = forge.file(&name, b"latin");
    let folder = forge.dir("folder", vec![file]);
    let root = forge.tree(vec![folder]);
    let (repository, snapshot) = forge.write(&temp.path().join("archive"), root).await;
    let path = Path::new("/folder").join(&name);
    let found = browse::ls(&repository, &snapshot, Some(&path)).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0].path, found[0].node.size), (&path, 5));
    for pattern in ["caf*", "/folder/caf*", "folder/*", "**/caf*", "caf? ?"] {
        let finds = browse::find(&repository, std::slice::from_ref(&snapshot), pattern, 10).await.unwrap();
        assert_eq!(finds.found.len(), 1, "{pattern}");
        assert_eq!(finds.found[0].path, path);
    }
    let request = RestoreRequest { path: Some(path.clone()), ..RestoreRequest::new(snapshot, &target) };
    restore(repository, request, |_| (), CancellationToken::new()).await.unwrap();
    let restored = target.join(OsStr::from_bytes(&path.as_os_str().as_bytes()[1..]));
    assert_eq!(fs::read(restored).unwrap(), b"latin");
}
