//! What people see who look in with telnet or a browser.

use std::net::SocketAddr;

/// One line: enough to know that the port is reachable and how one is seen from here, and nothing about whose it is.
pub(crate) fn line(from: SocketAddr) -> String {
    format!("this port is open; you come from {from}\r\n")
}

/// The same for a browser. A `HEAD` request gets the head alone.
pub(crate) fn http(from: SocketAddr, head_only: bool) -> String {
    let body = line(from);
    let length = body.len();
    let shown = if head_only { "" } else { &body };
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n{shown}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_GREETING;

    #[test]
    fn the_greeting_is_one_short_line_that_names_nobody() {
        let from = "203.0.113.5:40222".parse().unwrap();
        assert_eq!(line(from), "this port is open; you come from 203.0.113.5:40222\r\n");
        let longest = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535".parse().unwrap();
        assert!(line(longest).len() <= MAX_GREETING);
        assert!(!line(from).to_lowercase().contains("kith"));
        assert!(!http(from, false).to_lowercase().contains("kith"));
    }

    #[test]
    fn a_browser_gets_a_complete_http_answer() {
        let from = "[2001:db8::7]:40222".parse().unwrap();
        let answer = http(from, false);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
        assert_eq!(body, "this port is open; you come from [2001:db8::7]:40222\r\n");
        assert!(http(from, true).ends_with("\r\n\r\n"));
    }
}
