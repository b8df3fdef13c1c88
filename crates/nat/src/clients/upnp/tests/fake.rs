//! A gateway device on this computer that says whatever a test wants it to say.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

use super::super::Upnp;
use super::super::search::Places;
use crate::{Answer, Lifetime, MapRequest, Nonce, Request, UnmapRequest, Uplink};

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) from: IpAddr,
    pub(super) path: String,
    /// The action's name; empty for a GET.
    pub(super) action: String,
    /// The service's name.
    pub(super) service: String,
    pub(super) body: String,
}

impl Asked {
    /// The text of the first element of that name.
    pub(super) fn value(&self, name: &str) -> &str {
        let after = self.body.split_once(&format!("<{name}>")).map_or("", |(_, after)| after);
        after.split_once("</").map_or("", |(value, _)| value)
    }
}

/// What is answered.
pub(super) enum Say {
    /// Status 200 and this body.
    Body(Vec<u8>),
    /// These bytes, whatever they are.
    Raw(Vec<u8>),
    /// These bytes, then silence.
    ThenHang(Vec<u8>),
    /// These bytes, one a second.
    Drip(Vec<u8>),
    /// These bytes again and again.
    Flood(Vec<u8>),
}

impl From<String> for Say {
    fn from(body: String) -> Self {
        Self::Body(body.into())
    }
}

/// The device. It ends when it is dropped.
pub(super) struct Fake {
    pub(super) http: SocketAddr,
    pub(super) ssdp: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// Bytes that were taken from it.
    pub(super) written: Arc<Mutex<usize>>,
    tasks: JoinSet<()>,
}

impl Fake {
    /// A device that answers searches with its own description.
    pub(super) async fn start(ip: &str, say: impl Fn(&Asked) -> Say + Send + Sync + 'static) -> Self {
        Self::with_locations(ip, |http| vec![format!("http://{http}/rootDesc.xml")], say).await
    }

    /// A device that answers each search with these locations.
    pub(super) async fn with_locations(
        ip: &str,
        locations: impl Fn(SocketAddr) -> Vec<String>,
        say: impl Fn(&Asked) -> Say + Send + Sync + 'static,
    ) -> Self {
        let ip: IpAddr = ip.parse().unwrap();
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let udp = UdpSocket::bind((ip, 0)).await.unwrap();
        let (http, ssdp) = (listener.local_addr().unwrap(), udp.local_addr().unwrap());
        let (asked, written, say) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::default(), Arc::new(say));
        let mut tasks = JoinSet::new();
        tasks.spawn(search(udp, locations(http)));
        let (log, count) = (Arc::clone(&asked), Arc::clone(&written));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, from) = listener.accept().await.unwrap();
                let (log, count, say) = (Arc::clone(&log), Arc::clone(&count), Arc::clone(&say));
                connections.spawn(async move {
                    let mut stream = stream;
                    let Some(asked) = read(&mut stream, from.ip()).await else { return };
                    log.lock().unwrap().push(asked.clone());
                    write(stream, say(&asked), &count).await;
                });
            }
        });
        Self { http, ssdp, asked, written, tasks }
    }

    /// Nobody listens there any more.
    pub(super) async fn stop(&mut self) {
        self.tasks.shutdown().await;
    }

    pub(super) fn uplink(&self) -> Uplink {
        Uplink { index: 1, interface: "lo".to_owned(), gateway: self.http.ip(), local: self.http.ip() }
    }

    pub(super) fn places(&self) -> Places {
        Places { gateway: self.ssdp, group: self.ssdp }
    }

    pub(super) async fn ask(&self, upnp: &Upnp, request: Request) -> Answer {
        upnp.ask_at(&self.uplink(), request, self.places()).await
    }

    /// A client that has found this device.
    pub(super) async fn found(&self) -> Upnp {
        let upnp = Upnp::default();
        let answer = self.ask(&upnp, Request::Discover).await;
        assert!(matches!(answer, Answer::Found(_)), "{answer:?}");
        self.asked.lock().unwrap().clear();
        upnp
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The names of the actions that were asked for.
    pub(super) fn actions(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.action).collect()
    }
}

async fn search(udp: UdpSocket, locations: Vec<String>) {
    let mut buffer = [0; 2048];
    loop {
        let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let Some(target) = text.lines().find_map(|line| line.strip_prefix("ST: ")) else { continue };
        for location in &locations {
            let reply = format!("HTTP/1.1 200 OK\r\nST: {target}\r\nLOCATION: {location}\r\nEXT:\r\n\r\n");
            udp.send_to(reply.as_bytes(), from).await.unwrap();
        }
    }
}

async fn read(stream: &mut TcpStream, from: IpAddr) -> Option<Asked> {
    let mut whole = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let length = stream.read(&mut buffer).await.ok().filter(|length| *length > 0)?;
        whole.extend_from_slice(&buffer[..length]);
        let text = String::from_utf8_lossy(&whole);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let field = |name: &str| {
            let prefix = format!("{name}:");
            head.lines()
                .find(|line| line.to_ascii_lowercase().starts_with(&prefix))
                .map_or("", |line| line[prefix.len()..].trim())
        };
        if body.len() < field("content-length").parse().unwrap_or(0) {
            continue;
        }
        let soap = field("soapaction").trim_matches('"').to_owned();
        let (service, action) = soap.split_once('#').unwrap_or_default();
        return Some(Asked {
            from,
            path: head.split(' ').nth(1)?.to_owned(),
            action: action.to_owned(),
            service: service.to_owned(),
            body: body.to_owned(),
        });
    }
}

async fn write(mut stream: TcpStream, say: Say, written: &Mutex<usize>) {
    let (bytes, drip, flood, hang) = match say {
        Say::Body(body) => {
            let fault = body.windows(7).any(|part| part == b":Fault>");
            let status = if fault { "500 Internal Server Error" } else { "200 OK" };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
            ([head.into_bytes(), body].concat(), false, false, false)
        }
        Say::Raw(bytes) => (bytes, false, false, false),
        Say::ThenHang(bytes) => (bytes, false, false, true),
        Say::Drip(bytes) => (bytes, true, false, false),
        Say::Flood(bytes) => (bytes, false, true, false),
    };
    loop {
        for part in bytes.chunks(if drip { 1 } else { 16 * 1024 }) {
            if stream.write_all(part).await.is_err() {
                return;
            }
            *written.lock().unwrap() += part.len();
            if drip {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        if !flood {
            break;
        }
    }
    if hang {
        std::future::pending::<()>().await;
    }
    drop(stream.shutdown().await);
    // A RST for unread bytes could overtake the answer.
    drop(stream.read(&mut [0; 16]).await);
}

pub(super) const IP1: &str = "urn:schemas-upnp-org:service:WANIPConnection:1";
pub(super) const IP2: &str = "urn:schemas-upnp-org:service:WANIPConnection:2";
pub(super) const PPP1: &str = "urn:schemas-upnp-org:service:WANPPPConnection:1";
pub(super) const FIREWALL: &str = "urn:schemas-upnp-org:service:WANIPv6FirewallControl:1";

/// A description with these services, by type and control URL.
pub(super) fn description(services: &[(&str, &str)]) -> String {
    let services: String = services
        .iter()
        .map(|(kind, control)| {
            format!("<service><serviceType>{kind}</serviceType><controlURL>{control}</controlURL></service>")
        })
        .collect();
    format!(
        "<?xml version=\"1.0\"?><root xmlns=\"urn:schemas-upnp-org:device-1-0\"><device>\
         <deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType>\
         <manufacturer>Maker</manufacturer><modelName>Model 7</modelName><presentationURL>/</presentationURL>\
         <deviceList><device><modelName>inner</modelName><deviceList><device>\
         <serviceList>{services}</serviceList></device></deviceList></device></deviceList></device></root>"
    )
}

/// A response of `asked`'s action.
pub(super) fn done(asked: &Asked, values: &[(&str, &str)]) -> Say {
    let values: String = values.iter().map(|(name, value)| format!("<{name}>{value}</{name}>")).collect();
    let (action, service) = (&asked.action, &asked.service);
    format!(
        "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
         <u:{action}Response xmlns:u=\"{service}\">{values}</u:{action}Response></s:Body></s:Envelope>"
    )
    .into()
}

/// A UPnP error.
pub(super) fn fault(code: u16, words: &str) -> Say {
    format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><s:Fault>\
         <faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>\
         <UPnPError xmlns=\"urn:schemas-upnp-org:control-1-0\"><errorCode>{code}</errorCode>\
         <errorDescription>{words}</errorDescription></UPnPError></detail></s:Fault></s:Body></s:Envelope>"
    )
    .into()
}

/// Answers what comes before mappings, and the rest by `rest`.
pub(super) fn router(
    service: &'static str,
    rest: impl Fn(&Asked) -> Say + Send + Sync + 'static,
) -> impl Fn(&Asked) -> Say + Send + Sync + 'static {
    move |asked| match asked.action.as_str() {
        "" => description(&[(service, "/ctl")]).into(),
        "GetExternalIPAddress" => done(asked, &[("NewExternalIPAddress", "11.0.113.5")]),
        "GetFirewallStatus" => done(asked, &[("FirewallEnabled", "1"), ("InboundPinholeAllowed", "1")]),
        _ => rest(asked),
    }
}

/// The answer to a read-back.
pub(super) fn entry(asked: &Asked, client: &str, port: &str, label: &str, lease: &str) -> Say {
    let values = [
        ("NewInternalPort", port),
        ("NewInternalClient", client),
        ("NewEnabled", "1"),
        ("NewPortMappingDescription", label),
        ("NewLeaseDuration", lease),
    ];
    done(asked, &values)
}

pub(super) fn map(external_port: u16) -> MapRequest {
    MapRequest {
        internal_port: 4242,
        external_port,
        external_ip: None,
        lifetime: Lifetime::Seconds(3600),
        nonce: Nonce([0; 12]),
        label: "Kith & <study>".to_owned(),
        any_port: false,
        pinhole: None,
    }
}

pub(super) const fn unmap(external_port: u16) -> UnmapRequest {
    UnmapRequest { internal_port: 4242, external_port, nonce: Nonce([0; 12]), pinhole: None, former: None }
}
