//! What the operating system said, in words for a person.

use std::fmt;
use std::io::{self, ErrorKind};

use nix::errno::Errno;

/// An error of the operating system. Printed, it is a reason in words, without a number.
#[derive(Debug)]
pub struct SystemError(io::Error);

impl SystemError {
    /// The kind of error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind()
    }
}

impl From<io::Error> for SystemError {
    fn from(error: io::Error) -> Self {
        Self(error)
    }
}

impl std::error::Error for SystemError {}

impl fmt::Display for SystemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(errno) = self.0.raw_os_error().map(Errno::from_raw) else { return self.0.fmt(f) };
        f.write_str(match errno {
            Errno::ENOENT => "it is not there",
            Errno::EACCES | Errno::EPERM => "no permission",
            Errno::EEXIST => "something of that name is there already",
            Errno::ENOTDIR => "a part of the path is no folder",
            Errno::EISDIR => "it is a folder",
            Errno::ELOOP => "symbolic links lead in a circle",
            Errno::ENAMETOOLONG => "the name is too long",
            Errno::ENOSPC => "the disk is full",
            Errno::EDQUOT => "the quota on the disk is used up",
            Errno::EROFS => "the file system is read-only",
            Errno::EIO => "the disk reports an error",
            Errno::EMFILE | Errno::ENFILE => "too many files are open",
            Errno::ESTALE | Errno::ENOTCONN => "the network drive is not connected any more",
            Errno::UnknownErrno => "an unknown error of the system",
            other => other.desc(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_of_the_system_is_told_by_its_number() {
        for number in 0..200 {
            let text = SystemError::from(io::Error::from_raw_os_error(number)).to_string();
            assert!(!text.contains("os error") && !text.is_empty(), "{number}: {text}");
        }
        let missing = std::fs::read("/nowhere/at/all").unwrap_err();
        assert_eq!(SystemError::from(missing).to_string(), "it is not there");
        assert_eq!(SystemError::from(io::Error::other("its own words")).to_string(), "its own words");
    }
}
