//! Tests of the home: where it lies, who may use it, what its files refuse.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

fn home() -> (TempDir, Home) {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path().join("home"));
    home.prepare().unwrap();
    (dir, home)
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_home_is_the_first_that_is_named() {
    let all = Environment {
        kith_home: Some("/env/kith".into()),
        state_directory: Some("/var/lib/kith-2/kith:/var/lib/other".into()),
        xdg_data_home: Some("/xdg".into()),
        user_home: Some("/home/anna".into()),
        superuser: false,
    };
    let check = |flag: Option<&str>, environment: &Environment, expected: &str| {
        let home = Home::resolve(flag.map(PathBuf::from), environment).unwrap();
        assert_eq!(home.root(), Path::new(expected));
    };
    check(Some("/flag"), &all, "/flag");
    check(None, &all, "/env/kith");
    let unit = Environment { kith_home: None, ..all.clone() };
    check(None, &unit, "/var/lib/kith-2/kith");
    let xdg = Environment { state_directory: Some("/var/lib/cron".into()), ..unit };
    check(None, &xdg, "/xdg/kith");
    let plain = Environment { xdg_data_home: Some("relative".into()), ..xdg };
    check(None, &plain, "/home/anna/.local/share/kith");
    check(None, &Environment { superuser: true, ..plain }, SYSTEM_HOME);
    let here = std::env::current_dir().unwrap().join("here");
    check(Some("here"), &all, here.to_str().unwrap());
}

#[test]
fn nothing_that_names_a_home_is_an_error_that_says_what_to_do() {
    let error = Home::resolve(None, &Environment::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no home for Kith: neither --home, KITH_HOME, XDG_DATA_HOME nor HOME is set; name a directory with --home"
    );
}

#[test]
fn the_command_line_tries_the_users_daemon_before_the_systems() {
    let user = Environment { user_home: Some("/home/anna".into()), ..Environment::default() };
    let roots = |flag: Option<&str>, environment: &Environment| {
        let homes = Home::candidates(flag.map(PathBuf::from), environment).unwrap();
        homes.iter().map(|home| home.root().display().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(roots(None, &user), ["/home/anna/.local/share/kith", SYSTEM_HOME]);
    assert_eq!(roots(Some("/flag"), &user), ["/flag"]);
    let root = Environment { superuser: true, user_home: Some("/root".into()), ..Environment::default() };
    assert_eq!(roots(None, &root), [SYSTEM_HOME, "/root/.local/share/kith"]);
    assert_eq!(roots(None, &Environment::default()), [SYSTEM_HOME]);
}

#[test]
fn a_prepared_home_is_private() {
    let (_dir, home) = home();
    for path in [home.root().to_path_buf(), home.run_dir(), home.logs_dir(), home.root().join("secrets")] {
        assert_eq!(mode(&path), 0o700, "{}", path.display());
    }
    home.prepare().unwrap();
    assert_eq!(home.path_of(Path::new("vault")), home.root().join("vault"));
    assert_eq!(home.path_of(Path::new("/srv/kith")), Path::new("/srv/kith"));
}

#[test]
fn the_systems_home_lets_its_group_reach_the_socket_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let environment =
        Environment { state_directory: Some(dir.path().join("kith").into()), ..Environment::default() };
    let home = Home::resolve(None, &environment).unwrap();
    assert!(home.is_system() && Home::at(SYSTEM_HOME).is_system());
    home.prepare().unwrap();
    assert_eq!(mode(home.root()), 0o710);
    assert_eq!(mode(&home.run_dir()), 0o750);
    assert_eq!((mode(&home.logs_dir()), mode(&home.root().join("secrets"))), (0o700, 0o700));
}

#[test]
fn a_home_that_cannot_be_made_or_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().display().to_string();
    let missing = Home::at(dir.path().join("none"));
    assert_eq!(
        missing.check_readable().unwrap_err().to_string(),
        format!(
            "there is no Kith home at {at}/none; start `kith daemon` once to make it, or name another with --home"
        )
    );
    std::fs::write(dir.path().join("file"), "").unwrap();
    let below_file = Home::at(dir.path().join("file/home"));
    let text = below_file.prepare().unwrap_err().to_string();
    assert_eq!(
        text,
        format!("can't make the directory {at}/file/home: a part of the path is a file, not a directory")
    );
    let long = Home::at(dir.path().join("x".repeat(120)));
    let text = long.prepare().unwrap_err().to_string();
    assert!(
        text.ends_with("has more than the 103 bytes that a Unix socket may have; choose a shorter --home"),
        "{text}"
    );
    assert!(!long.exists());
}

#[test]
fn a_home_of_somebody_else_is_refused_with_its_owner() {
    let error = HomeError::Denied { path: "/var/lib/kith".into(), owner: Some(998), user: 1000 };
    assert_eq!(
        error.to_string(),
        "the Kith home /var/lib/kith may not be read by user 1000 (it belongs to user 998); \
         run this as its owner, or name another with --home"
    );
    let (_dir, home) = home();
    assert!(home.check_readable().is_ok());
    if nix::unistd::geteuid().is_root() {
        // The superuser reads everything: only the sentence above can be tested.
        return;
    }
    chmod(home.root(), 0o000);
    assert!(matches!(home.check_readable(), Err(HomeError::Denied { .. })));
    chmod(home.root(), 0o700);
}

#[test]
fn secrets_come_back_as_they_were_stored_and_are_private() {
    let (_dir, home) = home();
    let secrets = home.secrets();
    for secret in Secret::ALL {
        assert!(!secrets.exists(secret) && secrets.read(secret).unwrap().is_none());
        secrets.write(secret, secret.file_name().as_bytes()).unwrap();
        assert_eq!(secrets.read(secret).unwrap().unwrap().as_slice(), secret.file_name().as_bytes());
        assert_eq!(mode(&secrets.path(secret)), 0o600);
    }
    secrets.write(Secret::DialInKey, b"new").unwrap();
    assert_eq!(secrets.read(Secret::DialInKey).unwrap().unwrap().as_slice(), b"new");
    let names = std::fs::read_dir(home.root().join("secrets")).unwrap().count();
    assert_eq!(names, Secret::ALL.len(), "a temporary file stayed");
}

#[test]
fn a_secret_that_others_can_read_is_refused_with_the_command_to_run() {
    let (_dir, home) = home();
    let secrets = home.secrets();
    secrets.write(Secret::Phrase, b"words").unwrap();
    let path = secrets.path(Secret::Phrase);
    for open in [0o640, 0o604, 0o660] {
        chmod(&path, open);
        let at = path.display();
        assert_eq!(
            secrets.read(Secret::Phrase).unwrap_err().to_string(),
            format!(
                "{at} is open to other users (mode {open:03o}): a secret must be readable by its owner alone; run: chmod 600 {at}"
            )
        );
    }
    let directory = home.root().join("secrets");
    chmod(&directory, 0o755);
    let at = directory.display();
    assert_eq!(
        home.prepare().unwrap_err().to_string(),
        format!(
            "{at} is open to other users (mode 755): a secret must be readable by its owner alone; run: chmod 700 {at}"
        )
    );
}

#[test]
fn a_secret_of_another_user_is_refused() {
    let (_dir, home) = home();
    if !nix::unistd::geteuid().is_root() {
        // Only the superuser can give a file away.
        return;
    }
    home.secrets().write(Secret::Phrase, b"words").unwrap();
    let path = home.secrets().path(Secret::Phrase);
    std::os::unix::fs::chown(&path, Some(4242), None).unwrap();
    let at = path.display();
    assert_eq!(
        home.secrets().read(Secret::Phrase).unwrap_err().to_string(),
        format!("{at} belongs to user 4242, not to user 0: it is not used; run: chown 0 {at}")
    );
}

#[test]
fn what_the_superuser_writes_belongs_to_the_owner_of_the_home() {
    let (_dir, home) = home();
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    std::os::unix::fs::chown(home.root(), Some(4242), Some(4242)).unwrap();
    write_atomically(&home.settings_file(), b"", 0o600).unwrap();
    assert_eq!(std::fs::metadata(home.settings_file()).unwrap().uid(), 4242);
}

#[test]
fn a_file_too_large_for_a_secret_is_refused() {
    let (_dir, home) = home();
    home.secrets().write(Secret::StateKey, &vec![0; 65 * 1024]).unwrap();
    let text = home.secrets().read(Secret::StateKey).unwrap_err().to_string();
    assert!(text.ends_with("state.key is damaged: 66560 bytes are more than any secret has"), "{text}");
}

#[test]
fn a_failed_write_keeps_the_old_content() {
    let (_dir, home) = home();
    let path = home.root().join("file");
    std::fs::create_dir(&path).unwrap();
    assert!(write_atomically(&path, b"new", 0o600).is_err());
    assert!(path.is_dir());
    assert_eq!(
        std::fs::read_dir(home.root())
            .unwrap()
            .filter(|e| e.as_ref().unwrap().path().extension().is_some())
            .count(),
        0
    );
}

#[test]
fn a_second_daemon_is_refused_with_the_firsts_pid_until_that_ends() {
    let (_dir, home) = home();
    assert_eq!(home.running_daemon(), None);
    let first = DaemonLock::acquire(&home).unwrap();
    let pid = std::process::id();
    assert_eq!(home.running_daemon(), i32::try_from(pid).ok());
    assert_eq!(
        DaemonLock::acquire(&home).unwrap_err().to_string(),
        format!(
            "another Kith daemon (pid {pid}) already runs in {}; stop it first, or choose another --home",
            home.root().display()
        )
    );
    drop(first);
    assert_eq!(home.running_daemon(), None);
    DaemonLock::acquire(&home).unwrap();
}

#[test]
fn ports_and_token_are_found_until_they_are_cleared() {
    let (_dir, home) = home();
    assert_eq!((home.read_ports().unwrap(), home.read_token().unwrap()), (None, None));
    let ports = Ports { pid: 7, control: 4243, app: 50_000, listener: None };
    home.write_ports(ports).unwrap();
    home.write_token("abc").unwrap();
    assert_eq!(
        (home.read_ports().unwrap(), home.read_token().unwrap()),
        (Some(ports), Some("abc".to_owned()))
    );
    assert_eq!((mode(&home.token_file()), mode(&home.ports_file())), (0o600, 0o600));
    std::fs::write(home.ports_file(), "{}").unwrap();
    let text = home.read_ports().unwrap_err().to_string();
    assert!(text.contains("ports.json is damaged: it does not list ports (missing field"), "{text}");
    home.clear_run().unwrap();
    home.clear_run().unwrap();
    assert_eq!((home.read_ports().unwrap(), home.read_token().unwrap()), (None, None));
}

#[test]
fn a_socket_is_live_while_somebody_listens() {
    let (_dir, home) = home();
    assert_eq!(home.socket_state(), SocketState::Absent);
    let listener = std::os::unix::net::UnixListener::bind(home.control_socket()).unwrap();
    assert_eq!(home.socket_state(), SocketState::Live);
    drop(listener);
    // A program that another test starts at this moment has a copy of the listener until it runs.
    let begin = std::time::Instant::now();
    while home.socket_state() != SocketState::Absent {
        assert!(begin.elapsed() < std::time::Duration::from_secs(60), "{:?}", home.socket_state());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn logs_are_bounded_and_their_end_spans_files() {
    let (_dir, home) = home();
    assert!(tail(&home, 5).unwrap().is_empty());
    let mut log = LogFile::with_limit(home.log_file(), 100).unwrap();
    for number in 0..100 {
        writeln!(log, "line {number:03}").unwrap();
    }
    let expected: Vec<String> = (85..100).map(|number| format!("line {number:03}")).collect();
    assert_eq!(tail(&home, 15).unwrap(), expected);
    assert!(tail(&home, 0).unwrap().is_empty());
    let files: Vec<_> = std::fs::read_dir(home.logs_dir()).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(files.len(), LOG_FILES);
    assert!(files.iter().all(|file| file.metadata().unwrap().len() <= 100));
    drop(log);
    let mut again = LogFile::open(&home).unwrap();
    writeln!(again, "after a restart").unwrap();
    assert_eq!(tail(&home, 2).unwrap(), ["line 099", "after a restart"]);
    assert_eq!(mode(&home.log_file()), 0o600);
}
