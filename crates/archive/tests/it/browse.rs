//! Looking into snapshots.

use std::fs;
use std::path::{Path, PathBuf};

use futures::StreamExt;
use kith_archive::BackupRequest;
use kith_archive::browse::{BrowseError, FindError, find, ls, resolve_snapshot, walk};
use kith_archive::tree::NodeKind;

use crate::support::*;

#[tokio::test]
async fn folders_are_listed_and_files_are_themselves() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    make_files(&source);
    let repository = init(&temp.path().join("archive")).await;
    run(&repository, request(&source)).await;
    let snapshots = repository.snapshots().await.unwrap().snapshots;
    let snapshot = resolve_snapshot(&snapshots, "latest").unwrap();
    let root = ls(&repository, snapshot, None).await.unwrap();
    let first: PathBuf = source.components().take(2).collect();
    assert_eq!(root.iter().map(|entry| &entry.path).collect::<Vec<_>>(), [&first]);
    let entries = ls(&repository, snapshot, Some(&source)).await.unwrap();
    assert_eq!(entries.len(), fs::read_dir(&source).unwrap().count());
    assert!(entries.iter().all(|entry| entry.path.symlink_metadata().is_ok()));
    // The first `/` may be left out.
    let relative = source.strip_prefix("/").unwrap().join("small.txt");
    let file = ls(&repository, snapshot, Some(&relative)).await.unwrap();
    assert_eq!(file.len(), 1);
    assert_eq!(
        (&file[0].path, file[0].node.kind, file[0].node.size),
        (&source.join("small.txt"), NodeKind::File, 13)
    );
    let all: Vec<_> = walk(&repository, snapshot, Some(&source)).map(Result::unwrap).collect().await;
    assert_eq!(all[0].path, source);
    assert_eq!(all.len(), fingerprint(&source).len());
    let mut paths: Vec<_> = all.iter().map(|entry| entry.path.clone()).collect();
    paths.dedup();
    assert_eq!(paths.len(), all.len());
    let one: Vec<_> = walk(&repository, snapshot, Some(&source.join("link"))).collect().await;
    assert_eq!(one.len(), 1);

    let check = async |path: &str, expected: &str| {
        let path = source.join(path);
        let error = ls(&repository, snapshot, Some(&path)).await.unwrap_err();
        assert_eq!(error.to_string().replace(source.to_str().unwrap(), "S"), expected);
        let walked: Vec<Result<_, BrowseError>> = walk(&repository, snapshot, Some(&path)).collect().await;
        assert!(matches!(walked[..], [Err(_)]));
    };
    check("sub/missing/x", "the snapshot has no S/sub/missing").await;
    check("small.txt/x", "S/small.txt is not a folder in the snapshot").await;
    check("../x", "the path S/../x must not contain \"..\"").await;
}

#[tokio::test]
async fn every_version_of_a_name_is_found_once() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    fs::create_dir_all(source.join("a/b")).unwrap();
    fs::write(source.join("a/b/note.txt"), "one").unwrap();
    fs::write(source.join("a/note.md"), "unchanged").unwrap();
    let repository = init(&temp.path().join("archive")).await;
    let mut ids = Vec::new();
    for (second, content) in [(1, "one"), (2, "one"), (3, "three"), (4, "three")] {
        if fs::read_to_string(source.join("a/b/note.txt")).unwrap() != content {
            fs::write(source.join("a/b/note.txt"), content).unwrap();
        }
        let time = jiff::Timestamp::from_second(1_700_000_000 + second).unwrap();
        ids.push(run(&repository, BackupRequest { time, ..request(&source) }).await.snapshot);
    }
    let snapshots = repository.snapshots().await.unwrap().snapshots;
    let look = async |pattern: &str, limit: usize| {
        let finds = find(&repository, &snapshots, pattern, limit).await.unwrap();
        assert!(finds.unreadable.is_empty());
        let found: Vec<_> = finds
            .found
            .into_iter()
            .map(|found| {
                (found.path.strip_prefix(&source).unwrap().to_owned(), found.snapshot, found.node.size)
            })
            .collect();
        (found, finds.limited)
    };
    let note = Path::new("a/b/note.txt").to_owned();
    let both = vec![(note.clone(), ids[3], 5), (note.clone(), ids[1], 3)];
    assert_eq!(look("note.txt", 10).await, (both.clone(), false));
    assert_eq!(look("*.t?t", 10).await, (both.clone(), false));
    assert_eq!(look("**/b/*", 10).await, (both.clone(), false));
    assert_eq!(look(&format!("{}/a/b/*.txt", source.display()), 10).await, (both.clone(), false));
    assert_eq!(look("note.txt", 1).await, (both[..1].to_vec(), true));
    assert_eq!(look("note.{md,rs}", 10).await, (vec![("a/note.md".into(), ids[3], 9)], false));
    assert_eq!(look("b/*.txt", 10).await, (Vec::new(), false));
    assert_eq!(look("NOTE.TXT", 10).await, (Vec::new(), false));
    let Err(FindError::Pattern { pattern, .. }) = find(&repository, &snapshots, "a[", 10).await else {
        panic!("the pattern was accepted")
    };
    assert_eq!(pattern, "a[");
}
