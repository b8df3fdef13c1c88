//! Who may ask: the checks before any handler sees a request that came over TCP.
//!
//! A page of any web site can make a browser send requests to the loopback address, and a name under an attacker's control can resolve to it
//! (DNS rebinding); so can any program of any user of this computer. Hence, in this order: the `Host` must be ours, an
//! `Origin` must be exactly ours, and a token must be shown.

use http::header::{self, HeaderMap};
use http::{Method, Request, StatusCode, Uri};

use super::answer::Refusal;
use super::connection::Door;
use super::shared::Shared;
use crate::app;
use crate::backend::FailureKind;

/// What a request has proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// It asks for something that everybody may have: the shell of the app, the exchange of a code.
    None,
    /// It comes from the person: a token, or a user that the socket admits.
    Person,
}

/// Lets a request pass or says why not.
pub(super) fn admit<B>(shared: &Shared, door: Door, request: &Request<B>) -> Result<Proof, Refusal> {
    let port = match door {
        // The kernel has said who is calling, and no browser speaks to a Unix socket.
        Door::Socket => return Ok(Proof::Person),
        Door::Api => shared.bound.api_port,
        Door::App => shared.bound.app_port,
    };
    let host = own_host(request.uri(), request.headers(), port)?;
    check_origin(request.method(), request.headers(), host)?;
    if door == Door::App && app::is_public(request.method(), request.uri().path()) {
        return Ok(Proof::None);
    }
    let admitted = bearer(request.headers()).is_some_and(|token| match door {
        Door::App => shared.sessions.contains(token),
        Door::Api | Door::Socket => shared.token.matches(token),
    });
    if admitted { Ok(Proof::Person) } else { Err(without_token(door)) }
}

/// The request's host if it is one of the three names of this computer with our port, else 421.
fn own_host<'r>(uri: &'r Uri, headers: &'r HeaderMap, port: u16) -> Result<&'r str, Refusal> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        _ => None,
    };
    host.filter(|host| is_own(host, port))
        // An absolute request target counts more than the header: both must be ours.
        .filter(|_| uri.authority().is_none_or(|authority| is_own(authority.as_str(), port)))
        .ok_or_else(|| {
            Refusal::new(
                StatusCode::MISDIRECTED_REQUEST,
                FailureKind::Refused,
                "the request is for another host than this computer's loopback address",
            )
            .with_hint(format!("use 127.0.0.1:{port}"))
        })
}

fn is_own(authority: &str, port: u16) -> bool {
    let Some((name, digits)) = authority.rsplit_once(':') else { return false };
    digits.bytes().all(|byte| byte.is_ascii_digit())
        && digits.parse() == Ok(port)
        && (name == "127.0.0.1" || name == "[::1]" || name.eq_ignore_ascii_case("localhost"))
}

fn check_origin(method: &Method, headers: &HeaderMap, host: &str) -> Result<(), Refusal> {
    let foreign = || {
        Refusal::new(StatusCode::FORBIDDEN, FailureKind::Refused, "requests from other web pages are refused")
    };
    let mut origins = headers.get_all(header::ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => {}
        (Some(origin), None)
            if origin.to_str().is_ok_and(|origin| {
                origin.strip_prefix("http://").is_some_and(|rest| rest.eq_ignore_ascii_case(host))
            }) => {}
        _ => return Err(foreign()),
    }
    // Browsers say it themselves too. A person may follow a link to the (empty) shell; nothing else comes from another site.
    let reading = matches!(*method, Method::GET | Method::HEAD);
    let navigating = headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate");
    match headers.get("sec-fetch-site").map(http::HeaderValue::as_bytes) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) if reading && navigating => Ok(()),
        Some(_) => Err(foreign()),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

fn without_token(door: Door) -> Refusal {
    let refusal = Refusal::new(StatusCode::UNAUTHORIZED, FailureKind::Refused, "no valid token was shown");
    match door {
        Door::App => refusal.with_hint("open the app with `kith open`"),
        Door::Api | Door::Socket => refusal.with_hint(
            "send `Authorization: Bearer` with the token from the daemon's home; it changes at every start",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_names_with_our_port_are_ours() {
        for own in ["127.0.0.1:4243", "localhost:4243", "LocalHost:4243", "[::1]:4243"] {
            assert!(is_own(own, 4243), "{own}");
        }
        for foreign in [
            "127.0.0.1",
            "127.0.0.1:4244",
            "127.0.0.1:+4243",
            "127.0.0.1.evil.example:4243",
            "evil.example:4243",
            "user@127.0.0.1:4243",
            "127.0.0.2:4243",
            "localhost.:4243",
            "::1:4243",
            ":4243",
            "",
        ] {
            assert!(!is_own(foreign, 4243), "{foreign}");
        }
    }
}
