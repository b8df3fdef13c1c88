//! The description of a device: what it is called, and where its services are (UPnP Device Architecture 1.1, section 2.3).

pub use super::xml::Malformed;
use super::xml::{LONGEST_TEXT, Step, walk};

/// Largest description, bytes. Real ones have 3 to 10 KiB.
pub(super) const LARGEST: usize = 256 * 1024;
/// Most services of interest that are kept.
const MOST_SERVICES: usize = 8;

/// What is of interest in a description, unchecked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// `URLBase`, to which other URLs are relative.
    pub base: Option<String>,
    /// `manufacturer` of the device itself.
    pub maker: Option<String>,
    /// `modelName` of the device itself.
    pub model: Option<String>,
    /// `presentationURL` of the device itself.
    pub page: Option<String>,
    /// The services of interest, in the order they stand there.
    pub services: Vec<Described>,
}

/// A service as a description names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// What it is.
    pub kind: Kind,
    /// `controlURL`.
    pub control: String,
}

/// Services that make mappings. Ordered: the first is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `WANIPConnection:2`.
    Ip2,
    /// `WANIPConnection:1`.
    Ip1,
    /// `WANPPPConnection:1`.
    Ppp1,
    /// `WANIPv6FirewallControl:1`.
    Firewall,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Ip2, Self::Ip1, Self::Ppp1, Self::Firewall];

    /// Its name in UPnP.
    #[must_use]
    pub const fn urn(self) -> &'static str {
        match self {
            Self::Ip2 => "urn:schemas-upnp-org:service:WANIPConnection:2",
            Self::Ip1 => "urn:schemas-upnp-org:service:WANIPConnection:1",
            Self::Ppp1 => "urn:schemas-upnp-org:service:WANPPPConnection:1",
            Self::Firewall => "urn:schemas-upnp-org:service:WANIPv6FirewallControl:1",
        }
    }
}

/// Reads a description.
///
/// # Errors
/// If it is no well-formed description within the bounds.
pub fn parse(document: &[u8]) -> Result<Description, Malformed> {
    if document.len() > LARGEST {
        return Err(Malformed::Size);
    }
    let mut found = Description::default();
    let mut root = false;
    let (mut kind, mut control) = (None, None);
    walk(document, |path, step| {
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        match (names.as_slice(), step) {
            (["root"], Step::Open) => root = true,
            ([.., "service"], Step::Open) => (kind, control) = (None, None),
            ([.., "service"], Step::Close(_)) => {
                if let (Some(kind), Some(control)) = (kind.take(), control.take())
                    && found.services.len() < MOST_SERVICES
                {
                    found.services.push(Described { kind, control });
                }
            }
            ([.., "service", "serviceType"], Step::Close(Some(text))) => {
                kind = Kind::ALL.into_iter().find(|kind| kind.urn() == text);
            }
            ([.., "service", "controlURL"], Step::Close(text)) => control = kept(text),
            (["root", "URLBase"], Step::Close(text)) => found.base = kept(text),
            (["root", "device", "manufacturer"], Step::Close(text)) => found.maker = kept(text),
            (["root", "device", "modelName"], Step::Close(text)) => found.model = kept(text),
            (["root", "device", "presentationURL"], Step::Close(text)) => found.page = kept(text),
            _ => {}
        }
    })?;
    if root { Ok(found) } else { Err(Malformed::Other) }
}

/// A text that is there and was not cut off.
fn kept(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty() && text.len() < LONGEST_TEXT).map(str::to_owned)
}
