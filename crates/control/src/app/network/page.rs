//! The link to a router's own page. The router says where it is, and a router may say anything.

use std::net::IpAddr;

use http::Uri;
use maud::{Markup, html};

use crate::view::GatewayView;

/// The address of a router's page, if it is one that may be linked to: `http` or `https` at a private address that belongs to
/// one of our routers. Put together anew, so that nothing is in it that another reader could take otherwise.
pub(super) fn link(gateway: &GatewayView, gateways: &[GatewayView]) -> Option<String> {
    let uri: Uri = gateway.page.as_deref()?.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let authority = uri.authority()?;
    if authority.as_str().contains('@') {
        return None;
    }
    let host = authority.host();
    let ip: IpAddr = host.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
    let ours = gateways.iter().any(|known| known.address.parse() == Ok(ip));
    if !ours || !is_private(ip) {
        return None;
    }
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    if !path.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\\"'<>`".contains(&byte)) {
        return None;
    }
    let host = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
    let port = authority.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{scheme}://{host}{port}{path}"))
}

/// Addresses that only a computer of the same network has. Link-local ones of IPv6 are not among them: browsers can't open them.
const fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            // 100.64.0.0/10 lies between a provider and its customers (RFC 6598).
            ip.is_private() || ip.is_link_local() || (first == 100 && second & 0xc0 == 64)
        }
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

/// A link that gives the router's page neither our window nor our address.
pub(super) fn anchor(link: &str, words: &str) -> Markup {
    html! { a href=(link) target="_blank" rel="noopener noreferrer" { (words) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(page: &str, expected: Option<&str>) {
        let gateway = |address: &str, page: &str| GatewayView {
            address: address.to_owned(),
            interface: "eth0".to_owned(),
            state: "mapped".to_owned(),
            model: None,
            page: Some(page.to_owned()),
            protocols: Vec::new(),
        };
        let all = [
            gateway("192.168.1.1", page),
            gateway("203.0.113.1", page),
            gateway("fd00::1", page),
            gateway("fe80::1", page),
            gateway("127.0.0.1", page),
        ];
        assert_eq!(link(&all[0], &all).as_deref(), expected, "{page}");
    }

    #[test]
    fn pages_of_routers_are_linked_to() {
        check("http://192.168.1.1", Some("http://192.168.1.1/"));
        check("http://192.168.1.1:8080/cgi-bin/luci?a=b", Some("http://192.168.1.1:8080/cgi-bin/luci?a=b"));
        check("https://192.168.1.1/", Some("https://192.168.1.1/"));
        check("http://[fd00::1]/", Some("http://[fd00::1]/"));
    }

    #[test]
    fn nothing_else_is_linked_to() {
        for page in [
            "javascript:alert(1)",
            "data:text/html,x",
            "ftp://192.168.1.1/",
            "file:///etc/passwd",
            "/relative",
            "",
            // A public address, one that is no router of ours, one of this computer, a name.
            "http://203.0.113.1/",
            "http://192.168.1.9/",
            "http://127.0.0.1:4244/",
            "http://fritz.box/",
            "http://[fe80::1]/",
            // Readers who see different hosts in it.
            "http://192.168.1.1@evil.example/",
            "http://evil.example@192.168.1.1/",
            "http://192.168.1.1\\@evil.example/",
            "http://192.168.1.1/\"><script>alert(1)</script>",
            "http://192.168.1.1/\u{202e}x",
            "http://0xc0a80101/",
            "//192.168.1.1/",
        ] {
            check(page, None);
        }
    }
}
