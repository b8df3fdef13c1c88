//! The log file: readable without a journal, and bounded.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

use super::{Home, open_private};

/// A log file is closed and renamed before it grows beyond this.
pub const LOG_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Number of log files kept, the current one included: `kith.log`, `kith.log.1`, ...
pub const LOG_FILES: usize = 4;

/// Appends to the home's log file and rotates it. Clones write to the same file.
///
/// Serves as `tracing_subscriber`'s writer; give it whole lines, so that none is torn between two files.
#[derive(Debug, Clone)]
pub struct LogFile {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: File,
    written: u64,
    limit: u64,
}

impl LogFile {
    /// Opens the log of a home for appending.
    ///
    /// # Errors
    /// What the system said.
    pub fn open(home: &Home) -> io::Result<Self> {
        Self::with_limit(home.log_file(), LOG_FILE_BYTES)
    }

    pub(super) fn with_limit(path: PathBuf, limit: u64) -> io::Result<Self> {
        let file = append_to(&path)?;
        let written = file.metadata()?.len();
        Ok(Self { inner: Arc::new(Mutex::new(Inner { path, file, written, limit })) })
    }
}

impl Write for LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let size = line.len() as u64;
        if inner.written > 0 && inner.written + size > inner.limit {
            inner.rotate()?;
        }
        inner.file.write_all(line)?;
        inner.written += size;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = Self;

    fn make_writer(&'a self) -> Self::Writer {
        self.clone()
    }
}

impl Inner {
    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..LOG_FILES).rev() {
            let from = if number == 1 { self.path.clone() } else { numbered(&self.path, number - 1) };
            match std::fs::rename(&from, numbered(&self.path, number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.file = append_to(&self.path)?;
        self.written = 0;
        Ok(())
    }
}

/// The last lines of a home's log, oldest first, over all its files. No log yet gives no lines.
///
/// # Errors
/// What the system said.
pub fn tail(home: &Home, lines: usize) -> io::Result<Vec<String>> {
    let path = home.log_file();
    let mut last = VecDeque::with_capacity(lines.min(10_000));
    let files = (1..LOG_FILES).rev().map(|number| numbered(&path, number)).chain([path.clone()]);
    for file in files {
        let reader = match File::open(&file) {
            Ok(file) => BufReader::new(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for line in reader.split(b'\n') {
            if last.len() == lines {
                last.pop_front();
            }
            last.push_back(String::from_utf8_lossy(&line?).into_owned());
        }
    }
    // With no lines wanted, the loop above holds one back.
    last.truncate(lines);
    Ok(last.into())
}

fn append_to(path: &Path) -> io::Result<File> {
    open_private(path, OpenOptions::new().append(true))
}

fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}
