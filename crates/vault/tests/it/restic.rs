//! Stock restic against the vault.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::{Fixture, Server, bytes_of, files, succeeded};

/// Runs restic; `None` if it is not installed.
async fn restic(repository: String, arguments: &[&str]) -> Option<Output> {
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let run = tokio::task::spawn_blocking(move || {
        Command::new("restic")
            .args(["--no-cache", "--repo", &repository])
            .args(arguments)
            .env("RESTIC_PASSWORD", "a test")
            .output()
    });
    match run.await.unwrap() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: restic is not installed");
            None
        }
        output => Some(output.unwrap()),
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_restic_cannot_make_a_repository_with_its_key_here_and_says_so() {
    let f = Fixture::new().await;
    let server = Server::start(f.vault(), &f.owner).await;
    let repository = format!("rest:http://127.0.0.1:{}/laptop/", server.port);
    let Some(output) = restic(repository, &["init"]).await else { return };
    assert!(!output.status.success());
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("403"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_restic_backs_up_checks_restores_and_prunes_through_the_vault() {
    let f = Fixture::new().await;
    let directory = f.directory.path();
    let source = directory.join("source");
    std::fs::create_dir_all(source.join("sub")).unwrap();
    for number in 0..20_u64 {
        std::fs::write(
            source.join(format!("sub/file {number}")),
            bytes_of(number, 150_000 * number as usize),
        )
        .unwrap();
    }
    // A repository without its keys, and the keys put there by hand, as a person at this disk would.
    let local = directory.join("local");
    let Some(output) = restic(text(&local).to_owned(), &["init"]).await else { return };
    succeeded(&output);
    f.post("/a/config", &std::fs::read(local.join("config")).unwrap()).await.expect_ok();
    Command::new("cp").arg("-r").arg(local.join("keys")).arg(f.archive()).status().unwrap();

    let server = Server::start(f.vault(), &f.owner).await;
    let repository = format!("rest:http://127.0.0.1:{}/a/", server.port);
    let run = async |arguments: &[&str]| succeeded(&restic(repository.clone(), arguments).await.unwrap());
    run(&["backup", text(&source)]).await;
    std::fs::remove_file(source.join("sub/file 3")).unwrap();
    std::fs::write(source.join("new"), b"new").unwrap();
    run(&["backup", text(&source)]).await;
    assert_eq!(
        serde_json::from_str::<Vec<serde_json::Value>>(&run(&["snapshots", "--json"]).await).unwrap().len(),
        2
    );
    run(&["check", "--read-data"]).await;
    let target = directory.join("target");
    run(&["restore", "latest", "--target", text(&target)]).await;
    let restored = target.join(source.strip_prefix("/").unwrap());
    assert_eq!(files(&restored).len(), 20);
    for file in files(&source) {
        let copy = restored.join(file.strip_prefix(&source).unwrap());
        assert!(std::fs::read(&file).unwrap() == std::fs::read(copy).unwrap(), "{}", file.display());
    }
    run(&["forget", "--keep-last", "1", "--prune"]).await;
    run(&["check", "--read-data"]).await;
    let (live, held) = f.usage();
    assert!(live > 0 && held > 0, "{live} {held}");
    assert!(!files(&f.root().join("ALICE/held/a/snapshots")).is_empty());
    assert!(!files(&f.root().join("ALICE/held/a/data")).is_empty());
    assert_eq!(f.list("locks").await, []);

    // The directory itself is a repository, too.
    drop(server);
    succeeded(&restic(text(&f.archive()).to_owned(), &["check", "--read-data"]).await.unwrap());
}
