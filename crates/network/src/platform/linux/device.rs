//! What `/sys/class/net` says of an interface (sysfs-class-net in the kernel's ABI documents).

use std::path::{Path, PathBuf};

use super::read as read_file;
use crate::kind::{Device, Port};

/// Where the kernel shows its interfaces.
const DEVICES: &str = "/sys/class/net";
/// These files have a line or a few.
const MOST_BYTES: u64 = 4096;
/// Most ports of a bridge that are looked at.
const MOST_PORTS: usize = 1024;

/// What is known of an interface; none without sysfs, or where it shows another network namespace's devices.
pub(super) fn read(name: &str, index: u32) -> Option<Device> {
    read_in(Path::new(DEVICES), name, index)
}

fn read_in(devices: &Path, name: &str, index: u32) -> Option<Device> {
    let device = directory(devices, name)?;
    let number = |file: &str| read_file(&device.join(file), MOST_BYTES).trim().parse::<u32>().ok();
    // Sysfs belongs to the namespace in which it was mounted: another device may have the same name there.
    if number("ifindex") != Some(index) {
        return None;
    }
    Some(Device {
        tun: device.join("tun_flags").exists(),
        hardware_type: number("type"),
        device_type: device_type(&read_file(&device.join("uevent"), MOST_BYTES)),
        ports: ports(devices, &device),
    })
}

/// The kernel's name for a kind of device, from a `uevent` file.
fn device_type(uevent: &str) -> Option<String> {
    uevent.lines().find_map(|line| line.strip_prefix("DEVTYPE=")).map(|name| name.trim().to_owned())
}

fn ports(devices: &Path, device: &Path) -> Option<Vec<Port>> {
    if !device.join("bridge").is_dir() {
        return None;
    }
    let ports = std::fs::read_dir(device.join("brif")).ok()?;
    let ports = ports.take(MOST_PORTS).filter_map(|entry| {
        let name = entry.ok()?.file_name().to_string_lossy().into_owned();
        let tun = directory(devices, &name).is_some_and(|port| port.join("tun_flags").exists());
        Some(Port { name, tun })
    });
    Some(ports.collect())
}

/// The directory of a device, if its name is one that can't lead elsewhere.
fn directory(devices: &Path, name: &str) -> Option<PathBuf> {
    let plain = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
    plain.then(|| devices.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Something like sysfs, from paths and contents. Paths that end with a slash are directories.
    fn sysfs(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if path.to_string_lossy().ends_with('/') {
                fs::create_dir_all(&path).unwrap();
            } else {
                fs::write(&path, content).unwrap();
            }
        }
        root
    }

    #[test]
    fn a_bridge_is_read_with_its_ports() {
        let root = sysfs(&[
            ("br0/ifindex", "7\n"),
            ("br0/type", "1\n"),
            ("br0/uevent", "DEVTYPE=bridge\nINTERFACE=br0\nIFINDEX=7\n"),
            ("br0/bridge/", ""),
            ("br0/brif/machine", ""),
            ("br0/brif/enp3s0", ""),
            ("machine/tun_flags", "0x1002\n"),
            ("enp3s0/ifindex", "2\n"),
        ]);
        let mut device = read_in(root.path(), "br0", 7).unwrap();
        device.ports.as_mut().unwrap().sort_by(|a, b| a.name.cmp(&b.name));
        let port = |name: &str, tun| Port { name: name.to_owned(), tun };
        assert_eq!(
            device,
            Device {
                tun: false,
                hardware_type: Some(1),
                device_type: Some("bridge".to_owned()),
                ports: Some(vec![port("enp3s0", false), port("machine", true)]),
            }
        );
        assert_eq!(read_in(root.path(), "enp3s0", 2), Some(Device::default()));
    }

    #[test]
    fn a_device_of_another_namespace_with_the_same_name_is_not_believed() {
        let root = sysfs(&[("eth0/ifindex", "2\n"), ("eth0/tun_flags", "")]);
        assert_eq!(read_in(root.path(), "eth0", 9), None);
        assert!(read_in(root.path(), "eth0", 2).unwrap().tun);
    }

    #[test]
    fn what_is_missing_or_garbage_is_left_out() {
        let root =
            sysfs(&[("eth0/ifindex", "2"), ("eth0/type", "\0\u{fffd}x"), ("eth0/uevent", "=\nDEVTYPE\n\n")]);
        assert_eq!(read_in(root.path(), "eth0", 2), Some(Device::default()));
        for name in ["", ".", "..", "../eth0", "eth0/../eth0", "gone"] {
            assert_eq!(read_in(root.path(), name, 2), None, "{name}");
        }
    }
}
