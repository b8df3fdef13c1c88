//! Directories as restic stores them: a tree is a list of nodes in JSON, and its id is the hash of these bytes.
//!
//! What is written here equals what restic 0.14 writes in UTC, byte for byte, so that both programs find each other's
//! trees unchanged. One thing differs: a symbolic link whose target is not UTF-8 keeps its bytes in `linktarget_raw`,
//! as newer versions of restic do, where 0.14 loses them.

mod go_json;
mod json;
mod printable;
#[cfg(test)]
mod tests;
mod time;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

pub use crate::id::BlobId;
use data_encoding::BASE64;
pub use time::{FileTime, TimeError};

/// The bits of Go's `os.FileMode` beyond the permissions: what the `mode` of a node is made of.
pub mod mode {
    /// A directory.
    pub const DIR: u32 = 1 << 31;
    /// A symbolic link.
    pub const SYMLINK: u32 = 1 << 27;
    /// A device; a block device without [`CHAR_DEVICE`].
    pub const DEVICE: u32 = 1 << 26;
    /// A FIFO.
    pub const NAMED_PIPE: u32 = 1 << 25;
    /// A socket.
    pub const SOCKET: u32 = 1 << 24;
    /// The setuid bit.
    pub const SETUID: u32 = 1 << 23;
    /// The setgid bit.
    pub const SETGID: u32 = 1 << 22;
    /// A character device, together with [`DEVICE`].
    pub const CHAR_DEVICE: u32 = 1 << 21;
    /// The sticky bit.
    pub const STICKY: u32 = 1 << 20;

    /// From the mode of `stat(2)`.
    #[must_use]
    pub fn from_unix(unix: u32) -> u32 {
        let kind = match unix & 0o170_000 {
            0o040_000 => DIR,
            0o120_000 => SYMLINK,
            0o060_000 => DEVICE,
            0o020_000 => DEVICE | CHAR_DEVICE,
            0o010_000 => NAMED_PIPE,
            0o140_000 => SOCKET,
            _ => 0,
        };
        let special = [(0o4000, SETUID), (0o2000, SETGID), (0o1000, STICKY)];
        special.iter().filter(|(bit, _)| unix & bit != 0).fold(kind | unix & 0o777, |mode, (_, go)| mode | go)
    }

    /// Permissions, setuid, setgid and sticky bits as `chmod(2)` takes them.
    #[must_use]
    pub fn to_unix_permissions(mode: u32) -> u32 {
        let special = [(0o4000, SETUID), (0o2000, SETGID), (0o1000, STICKY)];
        special.iter().filter(|(_, go)| mode & go != 0).fold(mode & 0o777, |unix, (bit, _)| unix | bit)
    }
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A block device.
    BlockDevice,
    /// A character device.
    CharDevice,
    /// A FIFO.
    Fifo,
    /// A socket. Never written by a backup.
    Socket,
    /// Something that this version doesn't know.
    Unknown,
}

impl NodeKind {
    /// The word in the JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Dir => "dir",
            Self::Symlink => "symlink",
            Self::BlockDevice => "dev",
            Self::CharDevice => "chardev",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::Unknown => "",
        }
    }

    fn parse(text: &str) -> Self {
        [Self::File, Self::Dir, Self::Symlink, Self::BlockDevice, Self::CharDevice, Self::Fifo, Self::Socket]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .unwrap_or(Self::Unknown)
    }
}

/// One extended attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtendedAttribute {
    /// Its name with the namespace, as in `user.comment`.
    pub name: OsString,
    /// Its value.
    pub value: Vec<u8>,
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The name in its directory: any bytes. What comes from a repository may be hostile: see [`Node::has_safe_name`].
    pub name: OsString,
    /// What it is.
    pub kind: NodeKind,
    /// Permissions and kind as Go's `os.FileMode`, see [`mode`].
    pub mode: u32,
    /// When the content was last changed.
    pub modified: FileTime,
    /// When it was last read; we write the time of modification here, as restic does by default.
    pub accessed: FileTime,
    /// When content or metadata were last changed.
    pub changed: FileTime,
    /// Number of the owner.
    pub uid: u32,
    /// Number of the group.
    pub gid: u32,
    /// Name of the owner, empty if unknown.
    pub user: String,
    /// Name of the group, empty if unknown.
    pub group: String,
    /// The inode number.
    pub inode: u64,
    /// The number of the device (file system) it lies on.
    pub device_id: u64,
    /// Bytes of content, for files.
    pub size: u64,
    /// Number of hard links.
    pub links: u64,
    /// Where a symbolic link points.
    pub link_target: OsString,
    /// Extended attributes, in the system's order.
    pub extended_attributes: Vec<ExtendedAttribute>,
    /// The device number of a device.
    pub device: u64,
    /// The blobs of the content in order; `None` for everything but files.
    pub content: Option<Vec<BlobId>>,
    /// The tree of a directory.
    pub subtree: Option<BlobId>,
}

impl Node {
    /// An empty node of a kind.
    #[must_use]
    pub fn new(name: impl Into<OsString>, kind: NodeKind) -> Self {
        Self {
            name: name.into(),
            kind,
            mode: 0,
            modified: FileTime::default(),
            accessed: FileTime::default(),
            changed: FileTime::default(),
            uid: 0,
            gid: 0,
            user: String::new(),
            group: String::new(),
            inode: 0,
            device_id: 0,
            size: 0,
            links: 0,
            link_target: OsString::new(),
            extended_attributes: Vec::new(),
            device: 0,
            content: None,
            subtree: None,
        }
    }

    /// Whether the name is one component of a path and nothing else. A node for which this is false was not written by an
    /// honest backup and must not be restored.
    #[must_use]
    pub fn has_safe_name(&self) -> bool {
        is_safe_name(&self.name)
    }

    /// Appends the JSON of the node.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"name\":");
        go_json::write_name(out, self.name.as_bytes());
        out.extend_from_slice(b",\"type\":\"");
        out.extend_from_slice(self.kind.as_str().as_bytes());
        out.push(b'"');
        write_number(out, "mode", self.mode.into(), Zero::Omitted);
        for (name, time) in [("mtime", self.modified), ("atime", self.accessed), ("ctime", self.changed)] {
            write_key(out, name);
            out.push(b'"');
            time.write(out);
            out.push(b'"');
        }
        write_number(out, "uid", self.uid.into(), Zero::Written);
        write_number(out, "gid", self.gid.into(), Zero::Written);
        write_text(out, "user", self.user.as_bytes());
        write_text(out, "group", self.group.as_bytes());
        write_number(out, "inode", self.inode, Zero::Omitted);
        write_number(out, "device_id", self.device_id, Zero::Omitted);
        write_number(out, "size", self.size, Zero::Omitted);
        write_number(out, "links", self.links, Zero::Omitted);
        write_text(out, "linktarget", self.link_target.as_bytes());
        if self.link_target.to_str().is_none() {
            write_text(out, "linktarget_raw", BASE64.encode(self.link_target.as_bytes()).as_bytes());
        }
        self.write_attributes(out);
        write_number(out, "device", self.device, Zero::Omitted);
        write_key(out, "content");
        match &self.content {
            None => out.extend_from_slice(b"null"),
            Some(ids) => {
                out.push(b'[');
                for (number, id) in ids.iter().enumerate() {
                    if number > 0 {
                        out.push(b',');
                    }
                    write_id(out, id);
                }
                out.push(b']');
            }
        }
        if let Some(id) = &self.subtree {
            write_key(out, "subtree");
            write_id(out, id);
        }
        out.push(b'}');
    }

    fn write_attributes(&self, out: &mut Vec<u8>) {
        if self.extended_attributes.is_empty() {
            return;
        }
        write_key(out, "extended_attributes");
        for (number, attribute) in self.extended_attributes.iter().enumerate() {
            out.extend_from_slice(if number == 0 { b"[{\"name\":" } else { b",{\"name\":" });
            go_json::write_string(out, attribute.name.as_bytes());
            out.extend_from_slice(b",\"value\":\"");
            out.extend_from_slice(BASE64.encode(&attribute.value).as_bytes());
            out.extend_from_slice(b"\"}");
        }
        out.push(b']');
    }
}

/// Whether `name` is a single component of a path: not empty, not `.` or `..`, without `/` and NUL.
#[must_use]
pub fn is_safe_name(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    !bytes.is_empty() && bytes != b"." && bytes != b".." && !bytes.iter().any(|byte| matches!(byte, b'/' | 0))
}

/// Whether a number of zero stands in the JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Zero {
    Written,
    Omitted,
}

fn write_key(out: &mut Vec<u8>, key: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}

fn write_number(out: &mut Vec<u8>, key: &str, number: u64, zero: Zero) {
    if number == 0 && zero == Zero::Omitted {
        return;
    }
    write_key(out, key);
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

fn write_text(out: &mut Vec<u8>, key: &str, text: &[u8]) {
    if !text.is_empty() {
        write_key(out, key);
        go_json::write_string(out, text);
    }
}

fn write_id(out: &mut Vec<u8>, id: &BlobId) {
    let mut text = [0; 64];
    data_encoding::HEXLOWER.encode_mut(id.as_bytes(), &mut text);
    out.push(b'"');
    out.extend_from_slice(&text);
    out.push(b'"');
}

/// Builds the bytes of a tree from the JSON of its nodes, which come in the order of their names.
pub struct TreeWriter {
    bytes: Vec<u8>,
    empty: bool,
}

impl Default for TreeWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl TreeWriter {
    /// A tree without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: b"{\"nodes\":[".to_vec(), empty: true }
    }

    /// Appends a node given as the JSON that [`Node::write_json`] made.
    pub fn push_json(&mut self, node: &[u8]) {
        if !self.empty {
            self.bytes.push(b',');
        }
        self.empty = false;
        self.bytes.extend_from_slice(node);
    }

    /// The bytes of the tree's blob.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(b"]}\n");
        self.bytes
    }
}

/// A directory's entries, sorted by the bytes of their names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    /// The entries.
    pub nodes: Vec<Node>,
}

/// The content of a tree blob is not what a tree looks like.
#[derive(Debug, thiserror::Error)]
#[error("it is not a directory listing: {0}")]
pub struct TreeError(String);

impl Tree {
    /// Reads the content of a tree blob.
    ///
    /// # Errors
    /// It is not the JSON of a tree.
    pub fn parse(bytes: &[u8]) -> Result<Self, TreeError> {
        let json: json::TreeJson<'_> =
            serde_json::from_slice(bytes).map_err(|error| TreeError(error.to_string()))?;
        let nodes = json.nodes.unwrap_or_default();
        Ok(Self { nodes: nodes.into_iter().map(Node::try_from).collect::<Result<_, _>>()? })
    }

    /// The bytes of the tree's blob.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = TreeWriter::new();
        let mut json = Vec::new();
        for node in &self.nodes {
            json.clear();
            node.write_json(&mut json);
            writer.push_json(&json);
        }
        writer.finish()
    }

    /// The entry with a name. Fast if the tree is sorted, as every honest tree is; right in any case.
    #[must_use]
    pub fn find(&self, name: &OsStr) -> Option<&Node> {
        match self.nodes.binary_search_by(|node| node.name.as_bytes().cmp(name.as_bytes())) {
            Ok(at) => Some(&self.nodes[at]),
            Err(at) => {
                let around = at.saturating_sub(1)..(at + 1).min(self.nodes.len());
                let sorted = self.nodes[around].windows(2).all(|pair| pair[0].name < pair[1].name);
                if sorted { None } else { self.nodes.iter().find(|node| node.name == name) }
            }
        }
    }
}
