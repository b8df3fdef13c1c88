//! Linux: `/proc` knows the sockets and whose they are.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use kith_identity::sanitise_name;
use socket2::SockRef;
use tokio::net::TcpStream;

use super::PortHolder;

/// The state LISTEN in `/proc/self/net/tcp`.
const LISTEN: &str = "0A";

pub(super) fn port_holder(port: u16) -> Option<PortHolder> {
    let inodes: HashSet<String> = ["/proc/self/net/tcp", "/proc/self/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, port))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .find(|pid| has_socket(*pid, &inodes))
        .map(|pid| PortHolder { pid, program: program_name(pid) })
}

/// TCP_USER_TIMEOUT: sent data that nobody acknowledges for this long ends the connection. TCP_NOTSENT_LOWAT: the kernel
/// takes no more than this beyond what it can send, so that what matters doesn't queue behind megabytes of bulk.
pub(crate) fn set_tcp_limits(stream: &TcpStream, user_timeout: Duration, not_sent: u32) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(user_timeout))?;
    socket.set_tcp_notsent_lowat(not_sent)
}

/// The inodes of the sockets that listen on `port`, from the text of `/proc/self/net/tcp`: local address in field 1, state in
/// field 3, inode in field 9.
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    let suffix = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let listens = *fields.get(3)? == LISTEN && fields.get(1)?.ends_with(&suffix);
            listens.then(|| fields.get(9).map(|inode| (*inode).to_owned())).flatten()
        })
        .collect()
}

fn has_socket(pid: u32, inodes: &HashSet<String>) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors.flatten().any(|descriptor| {
        fs::read_link(descriptor.path()).is_ok_and(|target| {
            let inode = target.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']'));
            inode.is_some_and(|inode| inodes.contains(inode))
        })
    })
}

/// The file name of the program, else the short name that the kernel keeps.
fn program_name(pid: u32) -> String {
    let executable = fs::read_link(format!("/proc/{pid}/exe")).ok();
    let name =
        executable.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let name = name.or_else(|| fs::read_to_string(format!("/proc/{pid}/comm")).ok());
    sanitise_name(name.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1092 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1609 1 0000 100 0 0 10 0
   1: 0100007F:1092 0100007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 1610 1 0000 100 0 0 10 0
   2: 0100007F:1093 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1611 1 0000 100 0 0 10 0
   broken line
";

    #[test]
    fn only_sockets_that_listen_on_the_port_count() {
        assert_eq!(listening_inodes(TABLE, 4242), ["1609"]);
        assert_eq!(listening_inodes(TABLE, 4243), ["1611"]);
        assert!(listening_inodes(TABLE, 80).is_empty());
        assert!(listening_inodes("", 80).is_empty());
    }

    #[test]
    fn our_own_listening_socket_is_found_under_our_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = port_holder(listener.local_addr().unwrap().port()).unwrap();
        assert_eq!(holder.pid, std::process::id());
        assert!(holder.program.starts_with("kith_listener"), "{holder:?}");
    }
}
