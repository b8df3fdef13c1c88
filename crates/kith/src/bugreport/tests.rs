use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::*;
use crate::home::{Home, Secret};

const SETTINGS: &str = r#"
name = "zelda's study"
[listener]
port = 4300
bind = ["192.168.3.4"]
advertise = ["zelda.example.org:4711"]
[vault]
path = "/srv/zelda vault"
default-quota = "7GB"
[network]
proxy = "socks5://zelda:hunter2@zproxy:1080"
hubs = []
[[set]]
name = "tax papers"
paths = ["/home/zelda/tax papers"]
to = ["xaver"]
exclude = ["*.zelda"]
"#;

fn facts(settings: &str, log: &[&str]) -> Facts {
    Facts {
        made: "2026-11-21T16:50:52Z".parse().unwrap(),
        system: System {
            version: "0.1.0",
            system: "linux",
            architecture: "x86_64",
            libc: "gnu",
            kernel: "6.12.0-zeldas-amd64".into(),
            distribution: Some(("debian".into(), "13".into())),
            systemd: true,
            service: None,
            host: "zeldahost.zelda.example".into(),
            user: Some("zeldauser".into()),
            user_home: Some("/home/zelda".into()),
        },
        home: "/home/zelda/.local/share/kith".into(),
        daemon: Daemon::Absent,
        settings: Loaded::of_text(Path::new("/home/zelda/kith.toml"), settings)
            .map_err(|error| error.to_string()),
        storage: Storage::default(),
        log: Ok(log.iter().map(|line| (*line).to_owned()).collect()),
    }
}

#[track_caller]
fn contains(report: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(report.contains(wanted), "no {wanted:?} in\n{report}");
    }
}

#[test]
fn a_report_without_a_daemon_has_settings_and_log_and_no_name() {
    let report = compose(&facts(
        SETTINGS,
        &[
            "2026-11-21T16:50:52Z  INFO ready device=x name=zelda's study",
            "2026-11-21T16:50:53Z  WARN job failed job=1 set=\"tax papers\" friend=xaver error=\"/home/zelda/tax papers/a: Permission denied (os error 13)\"",
            "2026-11-21T16:50:53Z  WARN a file at zproxy, by zeldauser on zeldahost, hunter2",
        ],
    ));
    for private in ["zelda", "xaver", "tax", "hunter2", "zproxy", "192.168.3.4", "/srv", "/home"] {
        assert!(!report.to_lowercase().contains(private), "{private} in\n{report}");
    }
    contains(
        &report,
        &[
            "no daemon runs in this home",
            "listener.port: 4300   (file)",
            "listener.greeting: true   (default)",
            "listener.bind: [address-1 (private IPv4)]   (file)",
            ":4711]",
            "vault.default-quota: \"7GB\"   (file)",
            "network.proxy: set   (file)",
            "name: \"this-computer\"   (file)",
            "kernel: 6.12.0-",
            "distribution: debian 13",
            "ready device=",
            "name=this-computer",
            "set=set-1 friend=friend-1",
            "Permission denied (os error 13)",
            "set-1: 1 paths, to friend-1, 0 alternates, 1 patterns",
            "== replaced",
        ],
    );
}

#[test]
fn a_report_with_broken_settings_says_so_and_hides_their_words() {
    let report = compose(&facts("zeldas-key = \"zelda\"", &[]));
    contains(&report, &["they can't be read", "the last 0 lines"]);
    assert!(!report.contains("zelda"), "{report}");
}

#[test]
fn the_log_of_a_report_is_bounded_and_keeps_its_newest_lines() {
    let old = format!("2026-11-21T16:50:52Z  INFO ready {}", "listening ".repeat(400));
    let mut lines = vec![old.as_str(); 3_000];
    lines.push("2026-11-21T16:50:59Z  INFO ended");
    let report = compose(&facts("", &lines));
    assert!(report.len() < 4 << 20, "{}", report.len());
    contains(&report, &["16:50:59Z  INFO ended"]);
    assert!(!report.contains("the last 3001 lines"));
}

fn home(directory: &Path) -> Home {
    let home = Home::at(directory.join("home"));
    home.prepare().unwrap();
    home
}

fn write(path: &Path, bytes: usize, mode: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, vec![0; bytes]).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn modes_that_let_others_in_are_named_and_right_ones_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let home = home(directory.path());
    home.secrets().write(Secret::Phrase, b"words").unwrap();
    write(&home.state_db(), 100, 0o600);
    write(&home.log_file(), 100, 0o600);
    assert_eq!(Storage::look(&home, &home.root().join("vault")).faults, Vec::<String>::new());
    for path in [home.secrets().path(Secret::Phrase), home.state_db(), home.root().to_owned()] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    write(&home.root().join("secrets/note of mine"), 3, 0o600);
    let storage = Storage::look(&home, &home.root().join("vault"));
    assert_eq!(
        storage.faults,
        [
            "the home has mode 755; it should have 700 or less",
            "secrets/phrase has mode 755; it should have 600 or less",
            "state.db has mode 755; it should have 600 or less"
        ]
    );
    assert_eq!(storage.foreign_secrets, 1);
}

#[test]
fn a_vault_is_counted_by_kind() {
    let directory = tempfile::tempdir().unwrap();
    let (home, vault) = (home(directory.path()), directory.path().join("vault"));
    write(&vault.join(".kith-vault"), 0, 0o600);
    std::fs::write(vault.join(".kith-vault"), "kith-vault 2\n").unwrap();
    for (path, bytes) in [
        ("tmp/7", 1),
        ("OWNER/archive/config", 2),
        ("OWNER/archive/data/ab/pack", 30),
        ("OWNER/archive/data/cd/pack", 40),
        ("OWNER/archive/index/x", 5),
        ("OWNER/archive/snapshots/x", 6),
        ("OWNER/held/archive/data/ab/x.1.2.3", 7),
        ("OWNER/state/00001", 8),
        ("OTHER/.record/incarnation", 9),
    ] {
        write(&vault.join(path), bytes, 0o600);
    }
    let storage = Storage::look(&home, &vault);
    assert_eq!((storage.vault_version, storage.owners, storage.cut_off), (Some(2), 2, false));
    let counted: Vec<_> = storage.vault.into_iter().collect();
    assert_eq!(
        counted,
        [
            ("config", (1, 2)),
            ("held", (1, 7)),
            ("index", (1, 5)),
            ("packs", (2, 70)),
            ("records", (1, 9)),
            ("snapshots", (1, 6)),
            ("state objects", (1, 8)),
            ("the vault's own", (1, 13)),
            ("unfinished", (1, 1)),
        ]
    );
}

#[test]
fn neither_a_secret_nor_what_friends_store_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let (home, vault) = (home(directory.path()), directory.path().join("vault"));
    // Whoever opens one of these waits for ever.
    let mut traps: Vec<_> = Secret::ALL.iter().map(|secret| home.secrets().path(*secret)).collect();
    traps.push(home.token_file());
    traps.push(vault.join("OWNER/archive/data/ab/pack"));
    traps.push(vault.join("OWNER/archive/config"));
    for trap in &traps {
        std::fs::create_dir_all(trap.parent().unwrap()).unwrap();
        mkfifo(trap, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    }
    let (done, looked) = mpsc::channel();
    std::thread::spawn(move || {
        System::look(&home);
        done.send(Box::new(Storage::look(&home, &vault)))
    });
    let storage = looked.recv_timeout(Duration::from_secs(20)).expect("something was opened");
    assert_eq!(storage.vault.get("packs"), Some(&(1, 0)));
}
