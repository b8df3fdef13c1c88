//! Network changes by comparing the addresses every few seconds.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(5);

/// Tells when this computer's addresses changed.
pub struct NetworkWatch {
    known: Vec<IpAddr>,
}

impl NetworkWatch {
    /// Starts watching.
    ///
    /// # Errors
    /// Never on this system.
    pub fn start() -> io::Result<Self> {
        Ok(Self { known: super::local_addresses() })
    }

    /// Waits for the next change.
    ///
    /// # Errors
    /// Never on this system.
    pub async fn changed(&mut self) -> io::Result<()> {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let now = super::local_addresses();
            if now != self.known {
                self.known = now;
                return Ok(());
            }
        }
    }
}
