//! Requests to the archive at a friend, by way of the owner's daemon, as the command line makes them.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use e2e::Computer;

/// What a request came to.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    #[expect(dead_code, reason = "shown when a test fails")]
    body: String,
}

/// One request; `path` begins with the archive's. An error means that nobody knows whether it was done.
pub(super) fn ask(
    owner: &Computer,
    friend: &str,
    (method, path): (&str, &str),
    as_of: Option<u64>,
    body: &[u8],
) -> std::io::Result<Answer> {
    let mut stream = UnixStream::connect(owner.home().join("run/control.sock"))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let as_of = as_of.map(|at| format!("kith-as-of: {at}\r\n")).unwrap_or_default();
    let head = format!(
        "{method} /v1/friends/{friend}/store{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Length: {}\r\n{as_of}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    // Whoever refuses may close before he has read everything.
    let sent = stream.write_all(body);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer).ok_or_else(|| sent.err().unwrap_or_else(|| std::io::ErrorKind::UnexpectedEof.into()))
}

/// The answer if it is whole.
fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let field = |name: &str| {
        head.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.eq_ignore_ascii_case(name))
    };
    let rest = &bytes[end + 4..];
    let body = if let Some((_, length)) = field("content-length") {
        rest.get(..length.trim().parse().ok()?)?.to_vec()
    } else if field("transfer-encoding").is_some() {
        unchunked(rest)?
    } else {
        rest.to_vec()
    };
    Some(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
}

fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(end + 2..end + 2 + length)?);
        rest = rest.get(end + 2 + length + 2..)?;
    }
}
