//! The service files, judged by the programs that will read them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn text(file: &str) -> String {
    std::fs::read_to_string(repository().join("systemd").join(file)).unwrap()
}

/// True when the program is there. Where it isn't, the test says so and passes, but never in continuous integration.
fn installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{program} must be installed where CI=true");
        println!("skipped: {program} is not installed");
    }
    found
}

/// A copy of a unit whose program exists on every machine.
fn copy_with_program(directory: &Path, file: &str) -> PathBuf {
    let unit = text(file);
    let starts = ["daemon", "hub"].map(|command| format!("ExecStart=/usr/bin/kith {command}\n"));
    assert!(starts.iter().any(|start| unit.contains(start)));
    let path = directory.join(Path::new(file).file_name().unwrap());
    std::fs::write(&path, unit.replace("/usr/bin/kith", "/bin/sh")).unwrap();
    path
}

fn everything(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// `systemd-analyze verify` finds nothing to say.
fn verified_clean(file: &str, scope: &str) {
    if !installed("systemd-analyze") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let unit = copy_with_program(directory.path(), file);
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no", scope]).arg(unit).env("XDG_RUNTIME_DIR", directory.path());
    let output = command.output().unwrap();
    assert!(output.status.success() && everything(&output).trim().is_empty(), "{}", everything(&output));
}

#[test]
fn the_system_unit_is_valid() {
    verified_clean("kith.service", "--system");
}

#[test]
fn the_user_unit_is_valid() {
    verified_clean("user/kith.service", "--user");
}

#[test]
fn the_unit_of_a_hub_is_valid() {
    verified_clean("kith-hub.service", "--system");
}

#[test]
fn the_unit_of_a_hub_has_no_rights_and_is_hardly_exposed() {
    let unit = text("kith-hub.service");
    let has = |line: &str| assert!(unit.lines().any(|other| other == line), "{line} is missing");
    for line in [
        "ExecStart=/usr/bin/kith hub",
        "User=kith-hub",
        "StateDirectory=kith-hub",
        "CapabilityBoundingSet=",
        "PrivateUsers=yes",
        "ProtectHome=yes",
        "ProtectSystem=strict",
        "Type=notify",
        "ExecReload=kill -HUP $MAINPID",
        "UMask=0077",
    ] {
        has(line);
    }
    // The right to open port 443 is given by a drop-in only.
    assert!(!unit.lines().any(|line| line.starts_with("AmbientCapabilities=")));
    if !installed("systemd-analyze") {
        return;
    }
    let mut command = Command::new("systemd-analyze");
    let output = command
        .args(["security", "--no-pager", "--offline=true", "--threshold=15"])
        .arg(repository().join("systemd/kith-hub.service"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", everything(&output));
}

#[test]
fn the_system_unit_is_exposed_by_two_points_at_most() {
    if !installed("systemd-analyze") {
        return;
    }
    let unit = repository().join("systemd/kith.service");
    let mut command = Command::new("systemd-analyze");
    let output = command
        .args(["security", "--no-pager", "--offline=true", "--threshold=20"])
        .arg(unit)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", everything(&output));
    assert!(everything(&output).contains("Overall exposure level for kith.service: "));
}

#[test]
fn the_system_unit_reads_every_file_and_writes_its_state_alone() {
    let unit = text("kith.service");
    let has = |line: &str| assert!(unit.lines().any(|other| other == line), "{line} is missing");
    has("User=kith");
    has("AmbientCapabilities=CAP_DAC_READ_SEARCH");
    has("CapabilityBoundingSet=CAP_DAC_READ_SEARCH");
    has("ProtectHome=read-only");
    has("ProtectSystem=strict");
    has("StateDirectory=kith");
    // Both would hide files from the backup.
    assert!(!unit.lines().any(|line| line.starts_with("PrivateUsers=") || line.starts_with("DynamicUser=")));
}

#[test]
fn both_units_speak_notify_and_reload_by_signal() {
    for file in ["kith.service", "user/kith.service"] {
        let unit = text(file);
        for line in ["Type=notify", "ExecReload=kill -HUP $MAINPID", "Restart=on-failure", "UMask=0077"] {
            assert!(unit.lines().any(|other| other == line), "{line} is missing in {file}");
        }
    }
}

#[test]
fn the_system_user_is_made_by_sysusers() {
    if !installed("systemd-sysusers") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("etc")).unwrap();
    let mut command = Command::new("systemd-sysusers");
    command
        .arg(format!("--root={}", root.path().display()))
        .arg(repository().join("systemd/kith.sysusers.conf"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", everything(&output));
    let users = std::fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    let kith = users.lines().find(|line| line.starts_with("kith:")).unwrap();
    assert!(kith.contains(":/var/lib/kith:") && kith.ends_with("nologin"), "{kith}");
    let hub = users.lines().find(|line| line.starts_with("kith-hub:")).unwrap();
    assert!(hub.contains(":/var/lib/kith-hub:") && hub.ends_with("nologin"), "{hub}");
    assert!(std::fs::read_to_string(root.path().join("etc/group")).unwrap().contains("kith:"));
}

#[test]
fn the_bounds_for_long_lines_are_settings_of_this_kernel_and_enough_for_a_link() {
    let text = std::fs::read_to_string(repository().join("systemd/kith.sysctl.conf")).unwrap();
    let settings =
        text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = "));
    let mut names = Vec::new();
    for (name, value) in settings {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        let known = std::fs::read_to_string(&path).unwrap();
        let [least, first, most] = [0, 1, 2].map(|at| {
            let number = |text: &str| text.split_ascii_whitespace().nth(at).unwrap().parse::<u64>().unwrap();
            (number(&known), number(value))
        });
        // What a small connection gets stays as it is.
        assert!(least.0 == least.1 && first.1 <= first.0.max(131_072), "{name}: {known}");
        // A link's sixteen mebibytes, which the kernel counts double.
        assert_eq!(most.1, 32 << 20, "{name}");
        names.push(name.to_owned());
    }
    assert_eq!(names, ["net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"]);
}

#[test]
fn the_launchd_property_list_is_valid() {
    let file = repository().join("systemd/launchd/net.kith.daemon.plist");
    let list = text("launchd/net.kith.daemon.plist");
    assert!(list.contains("<string>net.kith.daemon</string>") && list.contains("<string>daemon</string>"));
    if !installed("python3") {
        return;
    }
    let program = "import plistlib, sys\n\
        d = plistlib.load(open(sys.argv[1], 'rb'))\n\
        assert d['Label'] == 'net.kith.daemon', d\n\
        assert d['ProgramArguments'][1:] == ['daemon'], d\n\
        assert d['KeepAlive'] == {'SuccessfulExit': False}, d\n\
        assert d['Umask'] == 0o077, d\n";
    let output = Command::new("python3").args(["-c", program]).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", everything(&output));
}
