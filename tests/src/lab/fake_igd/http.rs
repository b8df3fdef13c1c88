//! As much of HTTP as control points speak.

use std::io::{self, Read, Write};
use std::net::TcpStream;

/// Longest request that is read.
const LONGEST: usize = 64 * 1024;

/// A request.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: String,
    pub(super) path: String,
    headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Call {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }
}

/// Reads a request.
pub(super) fn read(stream: &mut TcpStream) -> io::Result<Call> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(call) = parse(&bytes) {
            return Ok(call);
        }
        let length = stream.read(&mut buffer)?;
        if length == 0 || bytes.len() > LONGEST {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&buffer[..length]);
    }
}

/// The request, if all of it is there.
fn parse(bytes: &[u8]) -> Option<Call> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ').map(str::to_owned);
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect();
    let call = Call { method: words.next()?, path: words.next()?, headers, body: String::new() };
    let length: usize = call.header("content-length").parse().unwrap_or(0);
    let body = bytes.get(end..end + length)?;
    Some(Call { body: String::from_utf8_lossy(body).into_owned(), ..call })
}

/// Answers a request, and closes.
pub(super) fn write(stream: &mut TcpStream, status: &str, body: &[u8]) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/xml; charset=\"utf-8\"\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)
}
