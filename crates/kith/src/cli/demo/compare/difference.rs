//! What can be different.

use std::ffi::OsString;
use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

use crate::cli::output::{safe, size};

/// One difference of one entry.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Difference {
    /// Relative to the folder.
    pub(in super::super) path: PathBuf,
    pub(in super::super) what: What,
}

/// What differs between the original (before) and the copy (after).
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum What {
    Missing,
    Extra,
    Kind { before: Kind, after: Kind },
    Mode { before: u32, after: u32 },
    Owner { before: (u32, u32), after: (u32, u32) },
    Modified { before: (i64, i64), after: (i64, i64) },
    Size { before: u64, after: u64 },
    Content { at: u64 },
    Holes { before: u64, after: u64 },
    Target { before: PathBuf, after: PathBuf },
    Device { before: u64, after: u64 },
    Attribute { name: OsString, how: &'static str },
    Links,
    Unreadable(String),
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Kind {
    File,
    Directory,
    Symlink,
    Fifo,
    Socket,
    BlockDevice,
    CharDevice,
    Other,
}

impl Kind {
    pub(super) fn of(metadata: &Metadata) -> Self {
        let kind = metadata.file_type();
        match () {
            () if kind.is_file() => Self::File,
            () if kind.is_dir() => Self::Directory,
            () if kind.is_symlink() => Self::Symlink,
            () if kind.is_fifo() => Self::Fifo,
            () if kind.is_socket() => Self::Socket,
            () if kind.is_block_device() => Self::BlockDevice,
            () if kind.is_char_device() => Self::CharDevice,
            () => Self::Other,
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("not restored"),
            Self::Extra => f.write_str("restored, but it is not in the original"),
            Self::Kind { before, after } => write!(f, "was a {before}, is a {after}"),
            Self::Mode { before, after } => write!(f, "mode was {before:04o}, is {after:04o}"),
            Self::Owner { before, after } => {
                write!(f, "owner was {}:{}, is {}:{}", before.0, before.1, after.0, after.1)
            }
            Self::Modified { before, after } => {
                write!(f, "time was {}.{:09}, is {}.{:09}", before.0, before.1, after.0, after.1)
            }
            Self::Size { before, after } => write!(f, "had {before} bytes, has {after}"),
            Self::Content { at } => write!(f, "other content from byte {at} on"),
            Self::Holes { before, after } => {
                write!(f, "its holes are filled: {} of data became {}", size(*before), size(*after))
            }
            Self::Target { before, after } => {
                let (before, after) = (before.to_string_lossy(), after.to_string_lossy());
                write!(f, "pointed to {}, points to {}", safe(&before), safe(&after))
            }
            Self::Device { before, after } => write!(f, "was device {before:#x}, is {after:#x}"),
            Self::Attribute { name, how } => {
                write!(f, "its attribute {} {how}", safe(&name.to_string_lossy()))
            }
            Self::Links => f.write_str("is not linked to the same names"),
            Self::Unreadable(error) => write!(f, "can't be read: {error}"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::Directory => "folder",
            Self::Symlink => "symbolic link",
            Self::Fifo => "FIFO",
            Self::Socket => "socket",
            Self::BlockDevice => "block device",
            Self::CharDevice => "character device",
            Self::Other => "thing of unknown kind",
        })
    }
}
