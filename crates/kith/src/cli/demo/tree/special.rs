//! Everything that is not content: names, links, kinds, modes, times, attributes, owners.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::sys::stat::{Mode, SFlag};
use nix::unistd::{Gid, Uid};

use super::Maker;
use super::content::set_old;

/// Folders in each other.
const DEPTH: usize = 60;
/// Names that programs get wrong.
const NAMES: [&str; 25] = [
    "two words and a dot.",
    " spaces at both ends ",
    "-rf",
    "--help",
    "...",
    "~",
    "new\nline",
    "tab\tand\rreturn",
    "bell\u{7} and \u{1b}[31mred\u{1b}[0m",
    "back\\slash",
    "quotes \" ' `",
    "*?[a-z]{b,c}",
    "$HOME $(true) `true` ;&|<>",
    "%2e%2e%2f %s %n",
    "CON",
    "colon: star* question?",
    "🦊 and 👩‍👩‍👧‍👦.txt",
    "שלום עולם.txt",
    "مرحبا بالعالم.txt",
    "\u{202e}gpj.exe",
    "写真 2024年.jpg",
    "e\u{301} in two parts",
    "\u{e9} in one part",
    "Upper and lower",
    "upper and lower",
];

impl Maker<'_> {
    pub(super) fn special(&mut self) -> io::Result<()> {
        let root = nix::unistd::geteuid().is_root();
        self.names()?;
        self.deep()?;
        self.links()?;
        self.kinds(root)?;
        self.times()?;
        self.attributes(root)?;
        self.modes(root)?;
        if root {
            self.owners()?;
        }
        Ok(())
    }

    fn folder(&self, name: &str) -> io::Result<PathBuf> {
        let folder = self.root.join(name);
        fs::create_dir(&folder)?;
        Ok(folder)
    }

    fn names(&mut self) -> io::Result<()> {
        let folder = self.folder("names")?;
        for name in NAMES {
            // Some file systems take two of these for one, or refuse them.
            self.where_possible("some names", small(&folder.join(name), name.as_bytes()))?;
        }
        small(&folder.join("x".repeat(255)), b"the longest name")?;
        fs::create_dir(folder.join("empty folder"))?;
        let bytes = |name: &[u8]| OsString::from_vec(name.to_vec());
        let kind = "names that are not UTF-8";
        self.where_possible(kind, small(&folder.join(bytes(b"caf\xe9 \xff\xfe.txt")), b"latin"))?;
        let odd = folder.join(bytes(b"\xc3\x28 folder"));
        self.where_possible(kind, fs::create_dir(&odd).and_then(|()| small(&odd.join("inside"), b"inside")))?;
        self.where_possible(kind, symlink(OsStr::new("plain"), folder.join(bytes(b"link \x80"))))?;
        self.where_possible(
            kind,
            symlink(bytes(b"target \x80"), folder.join("link to a name that is not UTF-8")),
        )
    }

    fn deep(&self) -> io::Result<()> {
        let mut folder = self.folder("deep")?;
        for level in 1..=DEPTH {
            folder.push(format!("level {level:02} of many"));
            fs::create_dir(&folder)?;
        }
        small(&folder.join("at the bottom"), b"far down")
    }

    fn links(&self) -> io::Result<()> {
        let folder = self.folder("links")?;
        fs::create_dir(folder.join("elsewhere"))?;
        small(&folder.join("one"), b"one file with three names")?;
        fs::hard_link(folder.join("one"), folder.join("two"))?;
        fs::hard_link(folder.join("one"), folder.join("elsewhere/three"))?;
        small(&folder.join("same content, not linked"), b"one file with three names")?;
        let large = folder.join("large, with two names");
        fs::copy(self.root.join("letters/000/00000.eml"), &large)?;
        set_old(&large)?;
        fs::hard_link(&large, folder.join("elsewhere/large"))?;
        for (name, target) in [
            ("to a file", "one"),
            ("to a folder", "elsewhere"),
            ("to nothing", "no such file"),
            ("to itself", "to itself"),
            ("upwards", "../../../.."),
            ("absolute", "/nonexistent/place"),
            ("with a slash at the end", "elsewhere/"),
        ] {
            let link = folder.join(name);
            symlink(target, &link)?;
            let old = nix::sys::time::TimeSpec::new(987_654_321, 987_654_321);
            nix::sys::stat::utimensat(
                nix::fcntl::AT_FDCWD,
                &link,
                &old,
                &old,
                nix::sys::stat::UtimensatFlags::NoFollowSymlink,
            )?;
        }
        symlink("t".repeat(1000), folder.join("to a long target"))
    }

    fn kinds(&mut self, root: bool) -> io::Result<()> {
        let folder = self.folder("kinds")?;

        nix::unistd::mkfifo(&folder.join("fifo"), Mode::from_bits_truncate(0o640))?;
        nix::unistd::mkfifo(&folder.join("another fifo"), Mode::from_bits_truncate(0o600))?;
        // The file stays when its program is gone.
        self.where_possible("sockets", UnixListener::bind(folder.join("socket")).map(drop))?;
        if root {
            let mode = Mode::from_bits_truncate(0o600);
            let null = nix::sys::stat::makedev(1, 3);
            let made = nix::sys::stat::mknod(&folder.join("device"), SFlag::S_IFCHR, mode, null);
            self.where_possible("devices", made.map_err(io::Error::from))?;
        }
        Ok(())
    }

    fn times(&mut self) -> io::Result<()> {
        let folder = self.folder("times")?;
        let epoch = SystemTime::UNIX_EPOCH;
        for (name, time) in [
            ("1938", epoch - Duration::new(1_000_000_000, 1)),
            ("1969, a nanosecond before 1970", epoch - Duration::from_nanos(1)),
            ("1970", epoch),
            ("2001, a nanosecond", epoch + Duration::new(1_000_000_000, 1)),
            ("2009, almost a second", epoch + Duration::new(1_234_567_890, 999_999_999)),
            ("2100", epoch + Duration::new(4_102_444_800, 500_000_000)),
        ] {
            let path = folder.join(name);
            small(&path, name.as_bytes())?;
            let set = File::options().write(true).open(&path).and_then(|file| file.set_modified(time));
            self.where_possible("very old and very late times", set)?;
        }
        File::open(&folder)?.set_modified(epoch + Duration::new(86_400, 7))
    }

    fn attributes(&mut self, root: bool) -> io::Result<()> {
        let folder = self.folder("attributes")?;
        let file = folder.join("file");
        small(&file, b"with attributes")?;
        let kind = "extended attributes";
        self.where_possible(kind, xattr::set(&file, "user.comment", "größer".as_bytes()))?;
        self.where_possible(kind, xattr::set(&file, "user.bytes", &[0, 255, 10, 0]))?;
        self.where_possible(kind, xattr::set(&file, "user.nothing", b""))?;
        self.where_possible(kind, xattr::set(&file, "user.long", &[b'v'; 1000]))?;
        self.where_possible(kind, xattr::set(&folder, "user.of a folder", b"yes"))?;
        let listed = folder.join("with an access list");
        small(&listed, b"for one more user")?;
        let set = xattr::set(&listed, "system.posix_acl_access", &access_list());
        self.where_possible("access control lists", set)?;
        if root {
            let program = folder.join("program with a capability");
            small(&program, b"#!/bin/sh\n")?;
            fs::set_permissions(&program, Permissions::from_mode(0o755))?;
            // Revision 2 of the kernel's format: CAP_NET_BIND_SERVICE, permitted and effective.
            let mut value = [0_u8; 20];
            value[..8].copy_from_slice(&[1, 0, 0, 2, 0, 4, 0, 0]);
            self.where_possible("capabilities", xattr::set(&program, "security.capability", &value))?;
        }
        Ok(())
    }

    fn modes(&mut self, root: bool) -> io::Result<()> {
        let folder = self.folder("modes")?;
        let mut modes = vec![0o400, 0o444, 0o600, 0o640, 0o664, 0o700, 0o751, 0o777, 0o4755, 0o2755, 0o6711];
        let mut folders = vec![0o555, 0o700, 0o1777, 0o2775];
        if root {
            // Nobody else could back these up.
            modes.extend([0o000, 0o200, 0o111]);
            folders.push(0o000);
        }
        for mode in modes {
            let path = folder.join(format!("file {mode:04o}"));
            small(&path, b"modes")?;
            fs::set_permissions(&path, Permissions::from_mode(mode))?;
        }
        for mode in folders {
            let path = folder.join(format!("folder {mode:04o}"));
            fs::create_dir(&path)?;
            small(&path.join("inside"), b"inside")?;
            fs::set_permissions(&path, Permissions::from_mode(mode))?;
        }
        Ok(())
    }

    /// Owners that this computer may know, and some that it surely does not.
    fn owners(&mut self) -> io::Result<()> {
        let folder = self.folder("owners")?;
        for (user, group) in [(1, 1), (1000, 100), (65_534, 65_534), (3_000_000_000, 3_000_000_001)] {
            let path = folder.join(format!("{user} {group}"));
            small(&path, b"somebody's")?;
            let given = nix::unistd::chown(&path, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
            self.where_possible("files of other owners", given.map_err(io::Error::from))?;
        }
        Ok(())
    }
}

fn small(path: &Path, content: &[u8]) -> io::Result<()> {
    fs::write(path, content)?;
    set_old(path)
}

/// The kernel's form of an access control list: one more user may read.
fn access_list() -> Vec<u8> {
    const NOBODY: u32 = u32::MAX;
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in
        [(0x01_u16, 6_u16, NOBODY), (0x02, 4, 1234), (0x04, 4, NOBODY), (0x10, 4, NOBODY), (0x20, 0, NOBODY)]
    {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}
