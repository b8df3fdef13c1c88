//! Who may use the Unix socket. Other users can only be played by root: elsewhere those tests say so and pass.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use kith_control::{Client, ClientError, ControlConfig, ControlServer};
use nix::unistd::{Group, Uid};

use crate::stand_in::{StandIn, empty};

/// A user that owns nothing.
const STRANGER: u32 = 65_534;

/// Names the socket for the other user's half of these tests.
const SOCKET: &str = "KITH_TEST_SOCKET";

/// The other user's half, run in a process of its own. Prints what came of it.
#[test]
fn another_user_asks_for_the_status() {
    let Some(socket) = std::env::var_os(SOCKET) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = runtime.block_on(async { Client::connect(Path::new(&socket)).await?.status().await });
    match result {
        Ok(status) => println!("outcome: admitted to {}", status.name),
        Err(ClientError::NotAllowed(why)) => println!("outcome: not allowed: {why}"),
        Err(error) => println!("outcome: {error:?}"),
    }
}

struct Home {
    _folder: tempfile::TempDir,
    program: PathBuf,
    socket: PathBuf,
    server: ControlServer,
}

/// A home that everybody may enter, with a copy of this program that everybody may run.
async fn open_home(group: Option<String>) -> Home {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("ask");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    for path in [folder.path(), &program] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let socket = folder.path().join("control.sock");
    let config = ControlConfig { group, ..ControlConfig::new(0, 0, socket.clone()) };
    let server = ControlServer::start(config, Arc::new(StandIn::new(empty()))).await.unwrap();
    Home { _folder: folder, program, socket, server }
}

async fn ask_as(home: &Home, uid: u32, gid: u32) -> String {
    let mut command = Command::new(&home.program);
    command.args(["--exact", "admission::another_user_asks_for_the_status", "--nocapture"]);
    command.env_clear().env(SOCKET, &home.socket).current_dir("/").uid(uid).gid(gid);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let outcome = text.lines().find_map(|line| line.split_once("outcome: "));
    outcome.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr))).1.to_owned()
}

fn loosen(socket: &Path) {
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o666)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_is_for_its_owner_only_and_another_user_learns_who_may() {
    let home = open_home(None).await;
    let mode = std::fs::metadata(&home.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    if Uid::effective().is_root() {
        let outcome = ask_as(&home, STRANGER, STRANGER).await;
        assert!(outcome.starts_with("not allowed: "), "{outcome}");
        assert!(outcome.contains("only root"), "{outcome}");
    }
    drop(home.server);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_is_refused_by_the_kernels_word_even_if_the_file_lets_him_in() {
    if !Uid::effective().is_root() {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    let home = open_home(None).await;
    loosen(&home.socket);
    let outcome = ask_as(&home, STRANGER, STRANGER).await;
    assert_eq!(outcome, "not allowed: only root may control this daemon");
    assert_eq!(ask_as(&home, 0, 0).await, "admitted to study");
    drop(home.server);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_the_group_are_admitted_and_the_file_lets_them() {
    if !Uid::effective().is_root() {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    // Any group of this system that is not the stranger's will do.
    let Some(group) =
        ["users", "games", "daemon", "nogroup"].into_iter().find_map(|name| Group::from_name(name).unwrap())
    else {
        return;
    };
    let home = open_home(Some(group.name.clone())).await;
    let mode = std::fs::metadata(&home.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    assert_eq!(ask_as(&home, STRANGER, group.gid.as_raw()).await, "admitted to study");
    loosen(&home.socket);
    let outcome = ask_as(&home, STRANGER - 1, STRANGER - 1).await;
    assert!(outcome.starts_with("not allowed: ") && outcome.contains(&group.name), "{outcome}");
    drop(home.server);
}
