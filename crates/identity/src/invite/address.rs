//! What counts as an address that can be dialled: "host:port", "1.2.3.4:port" or "[v6]:port".

use std::net::{Ipv6Addr, SocketAddr};

use thiserror::Error;

use crate::name::sanitise_name;

/// The longest host name (RFC 1035, section 2.3.4).
const MAX_HOST: usize = 253;
/// The longest part of a host name between two dots.
const MAX_LABEL: usize = 63;

/// A text is not an address that can be dialled.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is not an address: it must be HOST:PORT or [IPV6]:PORT, with a port from 1 to 65535")]
pub struct AddressError {
    text: String,
}

/// The address in its canonical form.
pub(super) fn normalise(text: &str) -> Result<String, AddressError> {
    let error = || AddressError { text: sanitise_name(text) };
    let text = text.trim();
    if let Ok(address) = text.parse::<SocketAddr>() {
        let scoped = matches!(address, SocketAddr::V6(v6) if v6.scope_id() != 0);
        if address.port() == 0 || address.ip().is_unspecified() || scoped {
            return Err(error());
        }
        return Ok(address.to_string());
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(error)?;
    let is_number = !port.is_empty() && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    let port: u16 = port.parse().map_err(|_| error())?;
    if !is_number || port == 0 || !is_host_name(host) {
        return Err(error());
    }
    Ok(format!("{}:{port}", host.to_ascii_lowercase()))
}

fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // What consists of digits and dots only is meant to be an IPv4 address, and a wrong one, since it did not parse.
    let looks_like_v4 = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let name = host.strip_suffix('.').unwrap_or(host);
    name.len() <= MAX_HOST
        && !looks_like_v4
        && host.parse::<Ipv6Addr>().is_err()
        && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(normalise(text).as_deref(), Ok(expected));
    }

    #[test]
    fn addresses_and_names_with_a_port_are_taken() {
        check("192.168.1.20:4242", "192.168.1.20:4242");
        check(" [2001:DB8::1]:4242 ", "[2001:db8::1]:4242");
        check("Home.Example.org:443", "home.example.org:443");
        check("nas_1:4242", "nas_1:4242");
    }

    #[test]
    fn what_can_not_be_dialled_is_refused_and_named() {
        for text in [
            "",
            ":4242",
            "host",
            "host:",
            "host:0",
            "host:65536",
            "host:+80",
            "0.0.0.0:4242",
            "[::]:4242",
            "1.2.3:80",
            "2001:db8::1:4242",
            "[fe80::1%3]:4242",
            "-host:1",
            "ho st:1",
            "a..b:1",
            "host:80:90",
            "hö:1",
        ] {
            let error = normalise(text).unwrap_err().to_string();
            assert!(error.contains("is not an address"), "{text}: {error}");
        }
        assert!(normalise(&format!("{}:1", "a".repeat(64))).is_err());
        assert!(normalise(&format!("{}:1", "a.".repeat(140))).is_err());
    }
}
