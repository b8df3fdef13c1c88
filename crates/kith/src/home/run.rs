//! What exists only while a daemon runs: the ports it really got, and the API's token.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Home, HomeError, write_atomically};

/// The ports that the running daemon really uses; they differ from the settings when those were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ports {
    /// Process id of the daemon.
    pub pid: u32,
    /// Port of the API on 127.0.0.1 and ::1.
    pub control: u16,
    /// Port of the app on 127.0.0.1 and ::1.
    pub app: u16,
    /// The inbound port, if it is bound.
    pub listener: Option<u16>,
}

impl Home {
    /// Tells the command line which ports are in use.
    ///
    /// # Errors
    /// [`HomeError::File`].
    pub fn write_ports(&self, ports: Ports) -> Result<(), HomeError> {
        let text = serde_json::to_vec(&ports)
            .map_err(|error| HomeError::Damaged { path: self.ports_file(), problem: error.to_string() })?;
        self.write_run(self.ports_file(), &text)
    }

    /// The ports of the running daemon, `None` when it left none.
    ///
    /// # Errors
    /// [`HomeError::File`] when it can't be read, [`HomeError::Damaged`] when it is no such file.
    pub fn read_ports(&self) -> Result<Option<Ports>, HomeError> {
        let path = self.ports_file();
        let Some(text) = self.read_run(path.clone())? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|error| HomeError::Damaged {
            path,
            problem: format!("it does not list ports ({error})"),
        })
    }

    /// Stores the API's bearer token, readable by the owner alone.
    ///
    /// # Errors
    /// [`HomeError::File`].
    pub fn write_token(&self, token: &str) -> Result<(), HomeError> {
        self.write_run(self.token_file(), token.as_bytes())
    }

    /// The API's bearer token, `None` when no daemon left one.
    ///
    /// # Errors
    /// [`HomeError::File`].
    pub fn read_token(&self) -> Result<Option<String>, HomeError> {
        Ok(self.read_run(self.token_file())?.map(|text| text.trim().to_owned()))
    }

    /// Removes what a daemon leaves behind: socket, ports, token. A missing file is fine.
    ///
    /// # Errors
    /// [`HomeError::File`] for the first that stays.
    pub fn clear_run(&self) -> Result<(), HomeError> {
        for path in [self.control_socket(), self.ports_file(), self.token_file()] {
            match std::fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(HomeError::File { action: "remove", path, source }),
            }
        }
        Ok(())
    }

    /// The file with the ports in use.
    pub fn ports_file(&self) -> PathBuf {
        self.run_dir().join("ports.json")
    }

    /// The file with the API's token.
    pub fn token_file(&self) -> PathBuf {
        self.run_dir().join("token")
    }

    fn write_run(&self, path: PathBuf, content: &[u8]) -> Result<(), HomeError> {
        write_atomically(&path, content, 0o600).map_err(|source| HomeError::File {
            action: "write",
            path,
            source,
        })
    }

    fn read_run(&self, path: PathBuf) -> Result<Option<String>, HomeError> {
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(HomeError::File { action: "read", path, source }),
        }
    }
}
