//! Proxies: SOCKS version 5 (RFC 1928, passwords by RFC 1929) and HTTP CONNECT (RFC 9110, section 9.3.6). Names are resolved by the proxy.

use std::fmt;
use std::time::Duration;

use data_encoding::BASE64;
use http::{Request, StatusCode, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_socks::tcp::Socks5Stream;
use tokio_util::task::AbortOnDropHandle;

use crate::dial::{DialError, ProxyFault};

/// How long a proxy may take: it may have to wait for a connection of its own.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyKind {
    /// SOCKS version 5.
    Socks5,
    /// HTTP CONNECT.
    HttpConnect,
}

/// A proxy. `Debug` hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// How it is spoken to.
    pub kind: ProxyKind,
    /// Where it is, `host:port`.
    pub address: String,
    /// User name and password.
    pub login: Option<(String, String)>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let login = self.login.as_ref().map(|(user, _)| user);
        f.debug_struct("Proxy")
            .field("kind", &self.kind)
            .field("address", &self.address)
            .field("user", &login)
            .finish()
    }
}

impl Proxy {
    /// Has it connect to `host:port` over a connection to it.
    pub(super) async fn ask(&self, stream: TcpStream, host: &str, port: u16) -> Result<TcpStream, DialError> {
        let asking = async {
            match self.kind {
                ProxyKind::Socks5 => self.ask_socks(stream, host, port).await,
                ProxyKind::HttpConnect => self.ask_http(stream, host, port).await,
            }
        };
        tokio::time::timeout(ANSWER_TIMEOUT, asking).await.unwrap_or_else(|_elapsed| {
            Err(self.down(&format!("did not answer within {} s", ANSWER_TIMEOUT.as_secs())))
        })
    }

    async fn ask_socks(&self, stream: TcpStream, host: &str, port: u16) -> Result<TcpStream, DialError> {
        use tokio_socks::Error;
        let asked = match &self.login {
            Some((user, password)) => {
                Socks5Stream::connect_with_password_and_socket(stream, (host, port), user, password).await
            }
            None => Socks5Stream::connect_with_socket(stream, (host, port)).await,
        };
        asked.map(Socks5Stream::into_inner).map_err(|error| match error {
            Error::ConnectionRefused => DialError::Refused,
            Error::HostUnreachable | Error::NetworkUnreachable | Error::TtlExpired => {
                DialError::Unreachable(format!("the proxy {} can't reach it", self.address))
            }
            Error::ConnectionNotAllowedByRuleset => self.failed("does not allow connections to it"),
            Error::NoAcceptableAuthMethods | Error::UnknownAuthMethod if self.login.is_none() => {
                self.failed("wants a user name and a password; write them into network.proxy, as socks5://user:password@host:port")
            }
            Error::NoAcceptableAuthMethods | Error::UnknownAuthMethod => {
                self.failed("takes no user name and password; take them out of network.proxy")
            }
            Error::PasswordAuthFailure(_) => self.failed("refused the user name and password in network.proxy"),
            Error::InvalidResponseVersion => self.failed("does not speak SOCKS 5; is it an HTTP proxy?"),
            Error::Io(error) => self.failed(&format!("broke the connection off: {error}")),
            other => self.failed(&format!("failed: {other}")),
        })
    }

    async fn ask_http(&self, stream: TcpStream, host: &str, port: u16) -> Result<TcpStream, DialError> {
        let broke = |error: &hyper::Error| {
            if error.is_parse() {
                self.failed("does not speak HTTP; is it a SOCKS proxy?")
            } else {
                self.failed(&format!("broke the connection off: {error}"))
            }
        };
        let authority =
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let mut request = Request::connect(&authority).header(header::HOST, &authority);
        if let Some((user, password)) = &self.login {
            let login = BASE64.encode(format!("{user}:{password}").as_bytes());
            request = request.header(header::PROXY_AUTHORIZATION, format!("Basic {login}"));
        }
        let request = request
            .body(kith_wire::empty_body())
            .map_err(|error| self.failed(&format!("can't be asked for it: {error}")))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| broke(&error))?;
        let _driver = AbortOnDropHandle::new(tokio::spawn(connection.with_upgrades()));
        let answer = sender.send_request(request).await.map_err(|error| broke(&error))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(self.refused(status));
        }
        let upgraded = hyper::upgrade::on(answer).await.map_err(|error| broke(&error))?;
        match upgraded.downcast::<TokioIo<TcpStream>>() {
            // Nobody behind it speaks before we do.
            Ok(parts) if parts.read_buf.is_empty() => Ok(parts.io.into_inner()),
            _ => Err(self.failed("said something of its own in the place of the friend")),
        }
    }

    fn refused(&self, status: StatusCode) -> DialError {
        let status_text = status.to_string();
        match status {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED if self.login.is_none() => {
                self.failed("wants a user name and a password; write them into network.proxy, as http://user:password@host:port")
            }
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                self.failed("refused the user name and password in network.proxy")
            }
            StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED => {
                self.failed(&format!("does not allow connections to it ({status_text}); many allow port 443 only"))
            }
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                DialError::Unreachable(format!("the proxy {} can't reach it ({status_text})", self.address))
            }
            _ => self.failed(&format!("refused: {status_text}")),
        }
    }

    /// There is no connection to the proxy itself.
    pub(super) fn unreachable(&self, error: &DialError) -> DialError {
        self.down(&format!("can't be reached: {error}"))
    }

    fn down(&self, what: &str) -> DialError {
        DialError::Proxy(ProxyFault::Down, self.sentence(what))
    }

    fn failed(&self, what: &str) -> DialError {
        DialError::Proxy(ProxyFault::Refuses, self.sentence(what))
    }

    fn sentence(&self, what: &str) -> String {
        format!("the proxy {} {what}", self.address)
    }
}
