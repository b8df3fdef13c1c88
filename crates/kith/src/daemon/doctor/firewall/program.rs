//! Programs of the system are asked, without a shell, and files of the system are read: never for long, never much.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::Instant;

/// Where the programs may be. They are not looked for elsewhere: the path is the person's, the daemon may be the system's.
const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/usr/libexec/ApplicationFirewall"];
/// Most bytes that are read of what a program prints.
const MOST_PRINTED: u64 = 8 << 20;
/// Most bytes that are read of a file.
const MOST_IN_FILE: u64 = 64 << 10;

/// What was found where a file of the system may be.
#[derive(Debug)]
pub(super) enum SmallFile {
    /// Its start.
    Text(String),
    /// There is none.
    Absent,
    /// There is one, and it may not be read.
    Unreadable,
}

impl SmallFile {
    /// What is in it; nothing if it is not there or can't be read.
    pub(super) fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Absent | Self::Unreadable => String::new(),
        }
    }
}

/// What a program prints, all of it, where it says that it succeeded; none: it is not there, may not do it, took too long or printed too
/// much.
pub(super) async fn spoken(program: &str, arguments: &[&str], until: Instant) -> Option<String> {
    let path = found(program)?;
    match tokio::time::timeout_at(until, run(&path, arguments)).await {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => {
            tracing::debug!(%error, program, "can't be run");
            None
        }
        Err(_elapsed) => {
            tracing::debug!(program, "took too long");
            None
        }
    }
}

fn found(program: &str) -> Option<PathBuf> {
    DIRECTORIES.iter().map(|directory| Path::new(directory).join(program)).find(|path| path.is_file())
}

/// What the program prints; none if it fails or prints too much. It ends with this future.
async fn run(program: &Path, arguments: &[&str]) -> std::io::Result<Option<String>> {
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut text = Vec::new();
    if let Some(output) = child.stdout.take() {
        output.take(MOST_PRINTED + 1).read_to_end(&mut text).await?;
    }
    if text.len() as u64 > MOST_PRINTED {
        return Ok(None);
    }
    let is_done = child.wait().await?.success();
    Ok(is_done.then(|| String::from_utf8_lossy(&text).into_owned()))
}

/// The start of a file of the system.
pub(super) async fn small_file(path: &Path) -> SmallFile {
    let file = match tokio::fs::File::open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return SmallFile::Absent,
        Err(_denied) => return SmallFile::Unreadable,
    };
    let mut text = Vec::new();
    match file.take(MOST_IN_FILE).read_to_end(&mut text).await {
        Err(_broken) if text.is_empty() => SmallFile::Unreadable,
        // What was read before an error counts.
        _ => SmallFile::Text(String::from_utf8_lossy(&text).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_program_that_hangs_fails_or_is_not_there_says_nothing() {
        let soon = || Instant::now() + Duration::from_millis(200);
        assert_eq!(spoken("sleep", &["60"], soon()).await, None);
        assert_eq!(spoken("no-such-program", &[], soon()).await, None);
        let later = || Instant::now() + Duration::from_secs(20);
        assert_eq!(spoken("false", &[], later()).await, None);
        assert_eq!(spoken("printf", &["a; b"], later()).await.as_deref(), Some("a; b"));
    }

    #[tokio::test]
    async fn a_program_that_prints_without_end_says_nothing() {
        assert_eq!(spoken("yes", &[], Instant::now() + Duration::from_secs(20)).await, None);
    }
}
