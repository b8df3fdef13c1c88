//! The description and the actions over HTTP.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::script::{Description, ReadBack};
use super::state::Ask;
use super::{Request, Shared, http, soap, ssdp};

/// Longest time without a byte from the other side.
const SILENCE: Duration = Duration::from_secs(5);
/// Written again and again by an endless description.
const MORE: [u8; 4096] = [b' '; 4096];

/// Serves until the router ends.
pub(super) fn serve(shared: &Shared, listener: &TcpListener) {
    std::thread::scope(|scope| {
        while !shared.ended() {
            let mut state = shared.state();
            if state.expire(Instant::now()) {
                state.apply(&shared.router);
            }
            drop(state);
            if !ssdp::readable(listener) {
                continue;
            }
            let Ok((stream, from)) = listener.accept() else { continue };
            // Whoever asks may go away meanwhile.
            scope.spawn(move || drop(answer(shared, stream, from)));
        }
    });
}

fn answer(shared: &Shared, mut stream: TcpStream, from: SocketAddr) -> std::io::Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    let call = http::read(&mut stream)?;
    let script = shared.state().script.clone();
    match (call.method.as_str(), call.path.as_str()) {
        ("GET", "/description.xml") => {
            note(shared, from, "GET", vec![("path".to_owned(), call.path)], None);
            describe(
                shared,
                &mut stream,
                script.description,
                &soap::description(script.version, script.description),
            )
        }
        ("GET", "/connection.xml") => {
            note(shared, from, "GET", vec![("path".to_owned(), call.path)], None);
            let read_back = script.read_back == ReadBack::Offered;
            http::write(&mut stream, "200 OK", soap::actions(script.version, read_back).as_bytes())
        }
        ("POST", "/control" | "/common") => {
            let (action, arguments) = soap::parse(call.header("soapaction"), &call.body);
            let outcome = shared.state().act(&shared.router, from.ip(), &action, &Ask(&arguments));
            note(shared, from, &action, arguments, outcome.as_ref().err().copied());
            match outcome {
                Ok(results) => http::write(
                    &mut stream,
                    "200 OK",
                    soap::done(script.version, &action, &results).as_bytes(),
                ),
                Err(code) => {
                    let body = soap::refused(code, script.error_text);
                    http::write(&mut stream, "500 Internal Server Error", body.as_bytes())
                }
            }
        }
        _ => http::write(&mut stream, "404 Not Found", b""),
    }
}

fn note(shared: &Shared, from: SocketAddr, what: &str, arguments: Vec<(String, String)>, error: Option<u16>) {
    shared.state().note(Request { at: Instant::now(), from, what: what.to_owned(), arguments, error });
}

fn describe(shared: &Shared, stream: &mut TcpStream, kind: Description, text: &[u8]) -> std::io::Result<()> {
    match kind {
        Description::NotFound => http::write(stream, "404 Not Found", b""),
        Description::Hanging => {
            while !shared.ended() {
                std::thread::sleep(ssdp::PAUSE);
            }
            Ok(())
        }
        Description::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nConnection: close\r\n\r\n<?xml version=\"1.0\"?><root>")?;
            while !shared.ended() {
                stream.write_all(&MORE)?;
            }
            Ok(())
        }
        Description::Trickling => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nConnection: close\r\n\r\n")?;
            let mut next = Instant::now();
            for byte in text {
                while Instant::now() < next {
                    if shared.ended() {
                        return Ok(());
                    }
                    std::thread::sleep(ssdp::PAUSE);
                }
                stream.write_all(&[*byte])?;
                next += Duration::from_secs(1);
            }
            Ok(())
        }
        _ => http::write(stream, "200 OK", text),
    }
}
