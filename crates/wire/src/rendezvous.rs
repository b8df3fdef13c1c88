//! What a computer asks of one that helps it to find and reach others: a *carrier*, which is a friend or a hub.
//!
//! A carrier keeps nothing for good. Whoever is connected tells it all at once, and again after every change, what it is to keep
//! ([`Registration`]): records for others to find, and the tags under which messages are awaited.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use http::{Method, Response, StatusCode};
use kith_identity::{DeviceId, DialInTag, HubToken, PairTag, Sealed};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::body::{Body, empty_body, json_body};

/// Who says this in his hello serves as a carrier.
pub const RENDEZVOUS_CAPABILITY: &str = "rendezvous";
/// Who says this in his hello carries the traffic of those who can't reach each other.
pub const RELAY_CAPABILITY: &str = "relay";
/// Who says this in his hello is a hub: he carries for many, and is no friend.
pub const HUB_CAPABILITY: &str = "hub";

/// Most records of one computer at one carrier: three days' tags would be more than anybody needs, one is left for each friend.
pub const MOST_RECORDS: usize = 512;
/// Most tags under which one computer awaits messages at one carrier: three days' for each friend.
pub const MOST_WATCHED: usize = 3 * 512;
/// Most bytes of a sealed record.
pub const SEALED_RECORD_LIMIT: usize = 9 * 1024;
/// Most bytes of a sealed message.
pub const SEALED_POST_LIMIT: usize = 4 * 1024;
/// Most bytes of a registration.
pub const REGISTRATION_LIMIT: usize = 1024 * 1024;
/// Most bytes of the answer to a [`Search`].
pub const FOUND_LIMIT: usize = 1024 * 1024;
/// Most bytes of all other messages of this module.
pub const RENDEZVOUS_LIMIT: usize = 8 * 1024;
/// Most prefixes of one search.
pub const MOST_PREFIXES: usize = 64;

/// `PUT /kith/v1/rendezvous`: all that the carrier is to keep for the sender, in the place of what it kept before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Records for others.
    pub records: Vec<Deposit>,
    /// Messages under these tags are for the sender.
    pub watch: Vec<PairTag>,
}

/// A record as it lies with a carrier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deposit {
    /// Under which it is found.
    pub tag: PairTag,
    /// Which nobody but the two of the tag can read.
    pub record: Sealed,
    /// For how many more seconds it is to be kept.
    pub lives: u32,
}

/// The answer to a [`Registration`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// How many hexadecimal digits of a tag a search gives: as few as leave enough others beside what is searched.
    pub prefix_digits: u8,
    /// What the carrier relays for the sender; null: nothing.
    pub relay: Option<RelayTerms>,
    /// Hubs that the sender is to use from now on, the primary and the alternate, `kith://DEVICEID@host:port`. Empty: no news.
    #[serde(default)]
    pub assigned: Vec<HubAddress>,
    /// Where the carrier will be found from a time on, if that changes.
    #[serde(default)]
    pub moves: Option<Moves>,
}

/// What a carrier relays for one computer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayTerms {
    /// Bytes in a second, both directions together; null: as many as there are.
    pub bytes_per_second: Option<u64>,
    /// Bytes that are left for it today; null: as many as it wants.
    pub bytes_left: Option<u64>,
}

/// A carrier announces another address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moves {
    /// From when on, Unix seconds.
    pub at: u64,
    /// Where it will be, `host:port`.
    pub to: Vec<String>,
}

/// `POST /kith/v1/records`: the records whose tags begin like this.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Search {
    /// Hexadecimal digits, as many as [`Registered::prefix_digits`] says.
    pub prefixes: Vec<String>,
}

/// The answer to a [`Search`]: what was searched, and others beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// At most [`FOUND_LIMIT`] bytes of them.
    pub records: Vec<Deposit>,
}

/// `POST /kith/v1/post` to a carrier, and `POST /kith/v1/posted` from it to whoever awaits it: a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Post {
    /// Who awaits it.
    pub tag: PairTag,
    /// What only he can read.
    pub message: Sealed,
}

/// The answer to a [`Post`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// To how many it was handed.
    pub to: u32,
}

/// `GET /kith/v1/observed`, which needs no hello: from where the asker's connection comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// `ip:port`.
    pub from: String,
}

impl Observed {
    /// Answers the question of whoever is connected from `from`; none if that is not his own address, as behind a proxy of ours or at
    /// the end of a relay.
    #[must_use]
    pub fn answer(method: &Method, from: Option<SocketAddr>) -> Response<Body> {
        if method != Method::GET {
            return Refused::answer(StatusCode::METHOD_NOT_ALLOWED, "this question is asked with GET");
        }
        let Some(from) = from else {
            let reason = "your address is not seen here: this connection doesn't come straight from you";
            return Refused::answer(StatusCode::NOT_FOUND, reason);
        };
        let observed = Self { from: SocketAddr::new(from.ip().to_canonical(), from.port()).to_string() };
        json_body(&observed).map_or_else(
            |error| Refused::answer(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
            Response::new,
        )
    }

    /// The address, if it is one that a connection can come from.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        let from: SocketAddr = self.from.parse().ok()?;
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let is_nobodys = from.ip().is_unspecified() || from.ip().is_multicast() || from.port() == 0;
        (!is_nobodys).then_some(from)
    }
}

/// `POST /kith/v1/relay`: the sender wants to be joined with the other one who names the same session, and pays for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayRequest {
    /// Agreed between the two, 16 random bytes.
    pub session: PairTag,
}

/// The answer to a [`RelayRequest`]: how the sender's own connection is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayLeg {
    /// The server name of the ClientHello that opens it, in the form of a [`DialInTag`]. It is worth something once.
    pub name: String,
    /// For how many seconds.
    pub lives: u32,
}

impl RelayLeg {
    /// The tag in the name.
    #[must_use]
    pub fn tag(&self) -> Option<DialInTag> {
        DialInTag::from_server_name(&self.name)
    }
}

/// What a carrier sends over a leg when both are there; all that follows is the other computer's.
pub const RELAY_READY: &[u8; 8] = b"kith-on\n";

/// A refusal; the body of every answer of this module that is no success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// A sentence.
    pub reason: String,
}

impl Refused {
    /// An answer that refuses, for this reason.
    #[must_use]
    pub fn answer(status: StatusCode, reason: &str) -> Response<Body> {
        let body = json_body(&Self { reason: reason.to_owned() });
        let mut response = Response::new(body.unwrap_or_else(|_| empty_body()));
        *response.status_mut() = status;
        response
    }
}

/// A hub and where it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HubAddress {
    /// Its device id.
    pub id: DeviceId,
    /// `host:port`.
    pub at: String,
}

const HUB_SCHEME: &str = "kith://";
/// As of a domain name with a port.
const MOST_HUB_BYTES: usize = 280;

/// A text is no address of a hub.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hub is written as kith://DEVICEID@host:port, and this text is something else")]
pub struct ParseHubError;

impl FromStr for HubAddress {
    type Err = ParseHubError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix(HUB_SCHEME).ok_or(ParseHubError)?;
        let (id, at) = rest.split_once('@').ok_or(ParseHubError)?;
        let id = id.parse().map_err(|_| ParseHubError)?;
        let (host, port) = at.rsplit_once(':').ok_or(ParseHubError)?;
        let port: u16 = port.parse().map_err(|_| ParseHubError)?;
        let is_clean =
            !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/');
        if port == 0 || !is_clean || text.len() > MOST_HUB_BYTES {
            return Err(ParseHubError);
        }
        Ok(Self { id, at: at.to_owned() })
    }
}

impl fmt::Display for HubAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HUB_SCHEME}{}@{}", self.id, self.at)
    }
}

impl Serialize for HubAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HubAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A hub that lets in whom its owner chose, and the token for it: `kith://DEVICEID:TOKEN@host:port`. It is written where the address of a
/// hub is; it stays with whom it was given to, and is told to nobody but that hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubInvite {
    /// Which hub, and where.
    pub hub: HubAddress,
    /// What lets the computer in; none where everybody is.
    pub token: Option<HubToken>,
}

impl HubInvite {
    /// The whole line, the token included.
    #[must_use]
    pub fn reveal(&self) -> String {
        match &self.token {
            Some(token) => format!("{HUB_SCHEME}{}:{}@{}", self.hub.id, token.reveal(), self.hub.at),
            None => self.hub.to_string(),
        }
    }
}

impl FromStr for HubInvite {
    type Err = ParseHubError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix(HUB_SCHEME).ok_or(ParseHubError)?;
        let (who, at) = rest.split_once('@').ok_or(ParseHubError)?;
        let (id, token) = match who.split_once(':') {
            Some((id, token)) => (id, Some(token.parse().map_err(|_| ParseHubError)?)),
            None => (who, None),
        };
        Ok(Self { hub: format!("{HUB_SCHEME}{id}@{at}").parse()?, token })
    }
}

/// `PUT /kith/v1/admission` to a hub that lets in whom its owner chose: once, before the first registration. 204 says that the sender is let
/// in from now on, also without the token. To say it again does no harm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubAdmission {
    /// As [`HubToken::reveal`] writes it.
    pub token: String,
}

impl Registration {
    /// Refuses what no honest computer asks for.
    ///
    /// # Errors
    /// Names what is too much.
    pub fn check(&self) -> Result<(), crate::WireError> {
        let too_long = |field| Err(crate::WireError::TooLong { field });
        if self.records.len() > MOST_RECORDS {
            return too_long("list of records");
        }
        if self.records.iter().any(|deposit| deposit.record.as_bytes().len() > SEALED_RECORD_LIMIT) {
            return too_long("address record");
        }
        if self.watch.len() > MOST_WATCHED {
            return too_long("list of tags");
        }
        Ok(())
    }
}

impl Registered {
    /// Refuses what no honest carrier answers.
    ///
    /// # Errors
    /// Names what is too much.
    pub fn check(&self) -> Result<(), crate::WireError> {
        if self.prefix_digits > 32 || self.assigned.len() > 2 {
            return Err(crate::WireError::TooLong { field: "answer to a registration" });
        }
        match &self.moves {
            Some(moves) => crate::hello::check_addresses(&moves.to),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_is_read_as_it_is_written() {
        let id = DeviceId::from_bytes([7; 32]);
        for at in ["hub.example:443", "203.0.113.5:4287", "[2001:db8::1]:4287"] {
            let hub = HubAddress { id, at: at.into() };
            assert_eq!(hub.to_string().parse(), Ok(hub));
        }
        let clean = HubAddress { id, at: "h:1".into() }.to_string();
        for wrong in [
            "",
            "kith://",
            &clean.replace("kith", "http"),
            &clean.replace(":1", ""),
            &clean.replace(":1", ":0"),
            &clean.replace(":1", ":65536"),
            &clean.replace("@h", "@"),
            &clean.replace("@h", "@h h"),
            &clean.replace("@h", "@h/x"),
            &clean.replacen('B', "C", 1).replacen('B', "C", 1)[..20],
        ] {
            assert_eq!(wrong.parse::<HubAddress>(), Err(ParseHubError), "{wrong}");
        }
    }

    #[test]
    fn a_token_goes_with_the_address_of_its_hub_and_shows_in_nothing_but_its_line() {
        use kith_identity::DialInSecret;
        let hub = HubAddress { id: DeviceId::from_bytes([7; 32]), at: "[2001:db8::1]:4287".into() };
        let token = DialInSecret::from_bytes([1; 32]).hub_token_key().token(1_800_000_000);
        let invite = HubInvite { hub: hub.clone(), token: Some(token) };
        assert_eq!(invite.reveal().parse(), Ok(invite.clone()));
        assert!(!format!("{invite:?}").contains(&token.reveal()));
        let open = HubInvite { hub: hub.clone(), token: None };
        assert_eq!((open.reveal(), open.reveal().parse()), (hub.to_string(), Ok(open)));
        let line = invite.reveal();
        assert_eq!(
            line.parse::<HubAddress>(),
            Err(ParseHubError),
            "an address that is told others has no token"
        );
        for wrong in
            [line.replace("kith", "http"), line.replacen(&token.reveal(), "", 1), line.replace('@', ":")]
        {
            assert_eq!(wrong.parse::<HubInvite>(), Err(ParseHubError), "{wrong}");
        }
    }

    #[test]
    fn a_registration_is_bounded() {
        let deposit = |bytes| Deposit {
            tag: PairTag::from_bytes([1; 16]),
            record: Sealed::from_bytes(vec![0; bytes]),
            lives: 60,
        };
        let registration = Registration { records: vec![deposit(SEALED_RECORD_LIMIT)], watch: Vec::new() };
        assert_eq!(registration.check(), Ok(()));
        for (too_much, field) in [
            (
                Registration { records: vec![deposit(SEALED_RECORD_LIMIT + 1)], ..Default::default() },
                "address record",
            ),
            (
                Registration { records: vec![deposit(1); MOST_RECORDS + 1], ..Default::default() },
                "list of records",
            ),
            (
                Registration {
                    watch: vec![PairTag::from_bytes([0; 16]); MOST_WATCHED + 1],
                    ..Default::default()
                },
                "list of tags",
            ),
        ] {
            assert_eq!(too_much.check(), Err(crate::WireError::TooLong { field }));
        }
    }

    #[tokio::test]
    async fn whoever_asks_is_told_from_where_he_comes_in_its_plain_form() {
        for (from, said) in [
            ("11.0.113.5:4242", "11.0.113.5:4242"),
            ("[::ffff:11.0.113.5]:50000", "11.0.113.5:50000"),
            ("[2001:db8::5]:4242", "[2001:db8::5]:4242"),
        ] {
            let answer = Observed::answer(&Method::GET, from.parse().ok());
            assert_eq!(answer.status(), StatusCode::OK);
            let body = crate::collect(answer.into_body(), RENDEZVOUS_LIMIT).await.unwrap();
            let observed: Observed = serde_json::from_slice(&body).unwrap();
            assert_eq!((observed.from.as_str(), observed.address()), (said, said.parse().ok()));
        }
        let hidden = Observed::answer(&Method::GET, None);
        assert_eq!(hidden.status(), StatusCode::NOT_FOUND);
        let body = crate::collect(hidden.into_body(), RENDEZVOUS_LIMIT).await.unwrap();
        assert!(serde_json::from_slice::<Refused>(&body).unwrap().reason.contains("doesn't come straight"));
        let posted = Observed::answer(&Method::POST, "11.0.113.5:4242".parse().ok());
        assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn an_address_from_which_no_connection_comes_was_not_observed() {
        for lie in
            ["", "11.0.113.5", "11.0.113.5:0", "0.0.0.0:4242", "[::]:1", "224.0.0.1:4242", "[ff02::1]:1"]
        {
            assert_eq!(Observed { from: lie.into() }.address(), None, "{lie}");
        }
    }
}
