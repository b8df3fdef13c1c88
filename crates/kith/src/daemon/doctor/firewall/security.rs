//! Security software that may stop connections beside the firewall.

use std::fs;
use std::io::Read;
use std::path::Path;

/// Most processes that are looked at.
const MOST_PROCESSES: usize = 16 * 1024;
/// Most bytes of the list of profiles.
const MOST_PROFILES: u64 = 256 << 10;
/// Longest name of a profile that is told.
const LONGEST_PROFILE: usize = 64;

/// Products that filter connections, by the names of their processes, of which the kernel keeps 15 bytes. Scanners of files
/// (clamd) are none.
const PRODUCTS: [(&str, &str); 24] = [
    ("bdsecd", "Bitdefender"),
    ("bdservicehost", "Bitdefender"),
    ("cbagentd", "Carbon Black"),
    ("cbdaemon", "Carbon Black"),
    ("ds_agent", "Trend Micro Deep Security"),
    ("ds_am", "Trend Micro Deep Security"),
    ("eea", "ESET"),
    ("egui", "ESET"),
    ("esets_daemon", "ESET"),
    ("falcon-sensor", "CrowdStrike Falcon"),
    ("falcon-sensor-b", "CrowdStrike Falcon"),
    ("kesl", "Kaspersky Endpoint Security"),
    ("mdatp", "Microsoft Defender"),
    ("opensnitchd", "OpenSnitch"),
    ("portmaster-core", "Portmaster"),
    ("portmaster-star", "Portmaster"),
    ("s1-agent", "SentinelOne"),
    ("s1-network", "SentinelOne"),
    ("s1-orchestrator", "SentinelOne"),
    ("savd", "Sophos"),
    ("sentineld", "SentinelOne"),
    ("sophos_manageme", "Sophos"),
    ("sophos_threat_d", "Sophos"),
    ("wdavdaemon", "Microsoft Defender"),
];

/// What is found on this computer, as a person calls it.
pub(super) fn found() -> Vec<String> {
    let mut found = Vec::new();
    found.extend(selinux(&text(Path::new("/sys/fs/selinux/enforce"))));
    found.extend(apparmor(&text(Path::new("/sys/kernel/security/apparmor/profiles"))));
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten().take(MOST_PROCESSES);
    let names = processes
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .map(|entry| text(&entry.path().join("comm")));
    found.extend(products(names));
    found
}

fn text(path: &Path) -> String {
    let mut text = Vec::new();
    if let Ok(file) = fs::File::open(path) {
        // What can't be read is not there.
        file.take(MOST_PROFILES).read_to_end(&mut text).ok();
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Only where it enforces anything.
fn selinux(enforce: &str) -> Option<String> {
    (enforce.trim() == "1").then(|| "SELinux (enforcing)".to_owned())
}

/// Only where a profile is for this program: `/usr/bin/kith (enforce)`.
fn apparmor(profiles: &str) -> Option<String> {
    let is_ours = |name: &str| name.split('/').any(|part| part == "kith");
    let mut enforced = profiles.lines().filter_map(|line| line.trim().strip_suffix(" (enforce)"));
    let name = enforced.find(|name| is_ours(name) && name.len() <= LONGEST_PROFILE)?;
    Some(format!("AppArmor ({name})"))
}

/// Each product once.
fn products(processes: impl Iterator<Item = String>) -> Vec<String> {
    let mut products: Vec<String> = Vec::new();
    for process in processes {
        let product = PRODUCTS.iter().find(|(name, _)| *name == process.trim());
        if let Some((_, product)) =
            product.filter(|(_, product)| !products.iter().any(|known| known == product))
        {
            products.push((*product).to_owned());
        }
    }
    products
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_stop_connections_is_told_and_nothing_else_is() {
        assert_eq!(selinux("1"), Some("SELinux (enforcing)".to_owned()));
        assert_eq!((selinux("0"), selinux("")), (None, None));
        let profiles = "/usr/bin/man (enforce)\nkithara (enforce)\n/usr/sbin/cupsd (enforce)\n";
        assert_eq!(apparmor(profiles), None);
        assert_eq!(apparmor("kith (complain)\n"), None);
        let profiles = format!("{profiles}/usr/bin/kith (enforce)\n");
        assert_eq!(apparmor(&profiles), Some("AppArmor (/usr/bin/kith)".to_owned()));
        let processes = ["kith\n", "clamd\n", "falcon-sensor\n", "falcon-sensor-b\n", "opensnitchd\n"];
        assert_eq!(products(processes.map(str::to_owned).into_iter()), ["CrowdStrike Falcon", "OpenSnitch"]);
    }

    #[test]
    fn names_of_processes_are_no_longer_than_the_kernel_keeps() {
        assert!(PRODUCTS.iter().all(|(process, _)| process.len() <= 15));
    }
}
