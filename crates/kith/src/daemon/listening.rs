//! The inbound port: kept open as the settings say.

use std::sync::Arc;
use std::time::Duration;

use kith_control::Event;
use kith_listener::{Listener, ListenerConfig};
use tracing::error;

use super::core::{Core, lock};

/// Between two tries to get a port that is in use.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// Tries again to open the port while it can't be had.
pub(super) async fn keep(core: Arc<Core>) {
    loop {
        tokio::time::sleep(TRY_AGAIN).await;
        if lock(&core.listener_error).is_some() {
            core.apply_listener().await;
        }
    }
}

impl Core {
    /// Opens, moves or closes the port as the settings say. A port that can't be had is never replaced by another: a
    /// manual forwarding on the router would lead nowhere.
    pub(super) async fn apply_listener(&self) {
        let _one_at_a_time = self.binding.lock().await;
        self.bind_listener().await;
        self.apply_nat();
    }

    async fn bind_listener(&self) {
        let settings = self.settings();
        if settings.network.outbound_only {
            if let Some(listener) = self.set_listener(None) {
                listener.shutdown().await;
            }
            *lock(&self.listener_error) = None;
            return;
        }
        let config = ListenerConfig {
            port: settings.listener.port.get(),
            bind: settings.listener.bind.clone(),
            greeting: settings.listener.greeting,
            ..ListenerConfig::default()
        };
        let outcome = match self.listener() {
            Some(listener) => listener.rebind(&config).await,
            None => match Listener::start(&config, self.faces.clone(), self.incoming.clone()) {
                Ok(listener) => {
                    self.set_listener(Some(listener));
                    Ok(())
                }
                Err(error) => Err(error),
            },
        };
        let message = outcome.err().map(|error| super::with_sources(&error));
        let mut known = lock(&self.listener_error);
        if *known != message {
            if let Some(message) = &message {
                error!("friends can't connect to this computer: {message}");
            }
            *known = message;
            drop(known);
            self.tell(Event::Status);
        }
    }
}
