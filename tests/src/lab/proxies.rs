//! Proxies on routers, for those inside.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use crate::wait_until;

use super::miniupnpd::listens;
use super::router::Router;
use super::{Shared, processes};

const SOCKS_PORT: u16 = 1080;
const HTTP_PORT: u16 = 3128;
/// Longest time for one to listen.
const START: Duration = Duration::from_secs(5);

/// Starts `microsocks`.
pub(super) fn start_socks(shared: &Shared, router: &Router, login: Option<(&str, &str)>) -> SocketAddr {
    let mut command = router.command("microsocks");
    command.args(["-i", &router.lan_address().to_string(), "-p", &SOCKS_PORT.to_string()]);
    if let Some((user, password)) = login {
        command.args(["-u", user, "-P", password]);
    }
    start(shared, router, command, "microsocks", SOCKS_PORT)
}

/// Starts `tinyproxy`, which lets through to any port.
pub(super) fn start_http(shared: &Shared, router: &Router, login: Option<(&str, &str)>) -> SocketAddr {
    let settings = shared.directory.path().join(format!("{}.tinyproxy", router.name()));
    let login = login.map(|(user, password)| format!("BasicAuth {user} {password}\n")).unwrap_or_default();
    let text = format!(
        "Port {HTTP_PORT}\nListen {}\nTimeout 600\nMaxClients 100\nLogLevel Connect\n{login}",
        router.lan_address()
    );
    std::fs::write(&settings, text).unwrap();
    let mut command = router.command("tinyproxy");
    command.arg("-d").arg("-c").arg(&settings);
    start(shared, router, command, "tinyproxy", HTTP_PORT)
}

fn start(shared: &Shared, router: &Router, mut command: Command, what: &str, port: u16) -> SocketAddr {
    let log = shared.directory.path().join(format!("{}.{what}.log", router.name()));
    let id = processes::start(shared, &mut command, &log);
    wait_until(&format!("{what} of {}", router.name()), START, || {
        if let Some(ended) = shared.processes.ended(id) {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            panic!("{what} of {} ended ({ended}): {said}", router.name());
        }
        listens(id, &["tcp", "tcp6"], port)
    });
    SocketAddr::new(router.lan_address().into(), port)
}
