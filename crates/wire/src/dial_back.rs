//! Proof from outside: one computer asks a friend to call at an address that it believes to lead to its own listener.
//!
//! The friend sends one ClientHello there that carries the asker's nonce, and answers what he met. That answer only explains: what
//! proves is the nonce at the asker's listener.

use std::net::{IpAddr, SocketAddr};

use kith_identity::DialBackNonce;
use serde::{Deserialize, Serialize};

/// Who says this in his hello can be asked for dial-backs.
pub const DIAL_BACK_CAPABILITY: &str = "dial-back";
/// Most addresses of one request: one of each family.
pub const MOST_DIAL_BACK_ADDRESSES: usize = 2;
/// The least port that is called. Below it are other services, to which no ClientHello goes on a friend's word.
pub const LEAST_DIAL_BACK_PORT: u16 = 1024;
/// Most bytes of a request or its answer.
pub const DIAL_BACK_LIMIT: usize = 4 * 1024;
/// The longest text of an IP address with its port has 58 characters.
const MOST_ADDRESS_BYTES: usize = 64;
const MOST_DETAIL_BYTES: usize = 300;

/// A request as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DialBackRequest {
    /// Where to call, `ip:port`.
    pub addresses: Vec<String>,
    /// What to bring, 32 hex digits.
    pub nonce: String,
}

/// A request whose form was found to be right: one or two addresses of different families, no names, no privileged ports. It says
/// nothing on whether these addresses may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialBackOrder {
    addresses: Vec<SocketAddr>,
    nonce: DialBackNonce,
}

/// What is wrong with the form of a request or an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialBackRefusal {
    /// There is nothing to do.
    #[error("a dial-back was asked for without an address")]
    NoAddress,
    /// Too many addresses.
    #[error("a dial-back goes to one address of each family at most")]
    TooManyAddresses,
    /// A name, or something else.
    #[error("a dial-back goes to an address of the form IP:PORT, and {0:?} is none")]
    NoIpAddress(String),
    /// The port belongs to other services.
    #[error("a dial-back goes to ports from {LEAST_DIAL_BACK_PORT} on, and {0} is below")]
    PrivilegedPort(u16),
    /// The nonce is none.
    #[error("the nonce of a dial-back has 32 hexadecimal digits")]
    BadNonce,
    /// Too many or too long entries.
    #[error("the answer to a dial-back is longer than the protocol allows")]
    AnswerTooLong,
}

impl DialBackOrder {
    /// An order to call at these addresses.
    ///
    /// # Errors
    /// See [`DialBackRefusal`].
    pub fn new(addresses: &[SocketAddr], nonce: DialBackNonce) -> Result<Self, DialBackRefusal> {
        // An IPv4 address in the clothes of IPv6 is what it is underneath. Scopes mean nothing on another computer.
        let addresses: Vec<SocketAddr> = addresses
            .iter()
            .map(|address| SocketAddr::new(address.ip().to_canonical(), address.port()))
            .collect();
        match addresses.as_slice() {
            [] => return Err(DialBackRefusal::NoAddress),
            [_] => {}
            [one, other] if one.is_ipv4() != other.is_ipv4() => {}
            _ => return Err(DialBackRefusal::TooManyAddresses),
        }
        match addresses.iter().find(|address| address.port() < LEAST_DIAL_BACK_PORT) {
            Some(address) => Err(DialBackRefusal::PrivilegedPort(address.port())),
            None => Ok(Self { addresses, nonce }),
        }
    }

    /// Where to call, in canonical form: one or two.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What to bring.
    #[must_use]
    pub const fn nonce(&self) -> DialBackNonce {
        self.nonce
    }

    /// The request that says this.
    #[must_use]
    pub fn request(&self) -> DialBackRequest {
        DialBackRequest {
            addresses: self.addresses.iter().map(ToString::to_string).collect(),
            nonce: self.nonce.to_string(),
        }
    }
}

impl DialBackRequest {
    /// Checks the form of what a friend asks.
    ///
    /// # Errors
    /// See [`DialBackRefusal`].
    pub fn check(&self) -> Result<DialBackOrder, DialBackRefusal> {
        if self.addresses.len() > MOST_DIAL_BACK_ADDRESSES {
            return Err(DialBackRefusal::TooManyAddresses);
        }
        let parse = |text: &String| {
            let refused = || DialBackRefusal::NoIpAddress(text.chars().take(MOST_ADDRESS_BYTES).collect());
            text.parse().map_err(|_| refused())
        };
        let addresses: Vec<SocketAddr> = self.addresses.iter().map(parse).collect::<Result<_, _>>()?;
        let nonce = self.nonce.parse().map_err(|_| DialBackRefusal::BadNonce)?;
        DialBackOrder::new(&addresses, nonce)
    }
}

/// What came of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DialBackAnswer {
    /// One for each address.
    pub results: Vec<DialBackResult>,
}

/// What came of one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DialBackResult {
    /// Which, `ip:port` in canonical form.
    pub address: String,
    /// What the friend met there.
    pub outcome: DialBackOutcome,
    /// More of it, in the friend's words: text for people, to be shown like any text of a stranger.
    pub detail: Option<String>,
}

/// What a friend met at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DialBackOutcome {
    /// A connection, and the ClientHello went into it. Whether it arrived where it should, the listener knows.
    Sent,
    /// A RST.
    Refused,
    /// Nothing.
    NoResponse,
    /// The network said no.
    Unreachable,
    /// He didn't call: the asker has no connection to him that comes from this IP address.
    NotAllowed,
    /// He didn't call: the last time was a moment ago, or he is calling for too many friends.
    TooSoon,
    /// Something that a newer program says.
    #[serde(other)]
    Unknown,
}

impl DialBackAnswer {
    /// Refuses what no honest friend says.
    ///
    /// # Errors
    /// [`DialBackRefusal::AnswerTooLong`].
    pub fn check(&self) -> Result<(), DialBackRefusal> {
        let too_long = |result: &DialBackResult| {
            result.address.len() > MOST_ADDRESS_BYTES
                || result.detail.as_ref().is_some_and(|detail| detail.len() > MOST_DETAIL_BYTES)
        };
        if self.results.len() > MOST_DIAL_BACK_ADDRESSES || self.results.iter().any(too_long) {
            return Err(DialBackRefusal::AnswerTooLong);
        }
        Ok(())
    }

    /// What he says of this IP address.
    #[must_use]
    pub fn of(&self, ip: IpAddr) -> Option<&DialBackResult> {
        let said_of = |result: &&DialBackResult| {
            result.address.parse().is_ok_and(|found: SocketAddr| found.ip() == ip.to_canonical())
        };
        self.results.iter().find(said_of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &str = "000102030405060708090a0b0c0d0e0f";

    fn check(addresses: &[&str], nonce: &str) -> Result<Vec<String>, DialBackRefusal> {
        let addresses = addresses.iter().map(|&address| address.to_owned()).collect();
        let order = DialBackRequest { addresses, nonce: nonce.to_owned() }.check()?;
        assert_eq!(order.nonce().to_string(), NONCE);
        assert_eq!(order.request().check().as_ref(), Ok(&order));
        Ok(order.request().addresses)
    }

    #[test]
    fn one_address_of_each_family_is_taken_and_brought_into_its_plain_form() {
        let expected = ["11.0.113.5:4242", "[2001:db8::5]:1024"].map(str::to_owned);
        assert_eq!(check(&["11.0.113.5:4242", "[2001:db8::5]:1024"], NONCE), Ok(expected.to_vec()));
        assert_eq!(check(&["[::ffff:11.0.113.5]:4242"], NONCE), Ok(expected[..1].to_vec()));
    }

    #[test]
    fn names_privileged_ports_and_crowds_are_refused() {
        assert_eq!(check(&[], NONCE), Err(DialBackRefusal::NoAddress));
        for two_of_a_kind in [["11.0.0.1:4242", "11.0.0.1:4243"], ["[::ffff:11.0.0.1]:4242", "11.0.0.2:4242"]]
        {
            assert_eq!(check(&two_of_a_kind, NONCE), Err(DialBackRefusal::TooManyAddresses));
        }
        assert_eq!(check(&["nonsense"; 3], NONCE), Err(DialBackRefusal::TooManyAddresses));
        for name in
            ["home.example:4242", "localhost:4242", "11.0.0.1", "11.0.0.1:70000", "11.0.0.1:4242 ", ""]
        {
            assert_eq!(check(&[name], NONCE), Err(DialBackRefusal::NoIpAddress(name.into())), "{name}");
        }
        for port in [0, 22, 80, 1023] {
            let address = format!("11.0.0.1:{port}");
            assert_eq!(check(&[&address], NONCE), Err(DialBackRefusal::PrivilegedPort(port)));
        }
        assert_eq!(check(&["11.0.0.1:4242"], "0001"), Err(DialBackRefusal::BadNonce));
    }

    #[test]
    fn a_refusal_quotes_no_more_of_a_long_address_than_an_address_has() {
        let refusal = check(&[&"x".repeat(4000)], NONCE).unwrap_err();
        assert!(refusal.to_string().len() < 200, "{refusal}");
    }

    #[test]
    fn an_answer_has_words_that_programs_agree_on_and_takes_those_of_newer_ones() {
        let text = r#"{"results":[{"address":"11.0.0.1:4242","outcome":"no-response","detail":null},
            {"address":"[2001:db8::5]:4242","outcome":"eaten","detail":"by a grue","new":1}]}"#;
        let answer: DialBackAnswer = serde_json::from_str(text).unwrap();
        assert_eq!(answer.check(), Ok(()));
        let outcome = |ip: &str| answer.of(ip.parse().unwrap()).map(|result| result.outcome);
        assert_eq!(outcome("11.0.0.1"), Some(DialBackOutcome::NoResponse));
        assert_eq!(outcome("::ffff:11.0.0.1"), Some(DialBackOutcome::NoResponse));
        assert_eq!(outcome("2001:db8::5"), Some(DialBackOutcome::Unknown));
        assert_eq!(outcome("11.0.0.2"), None);
        let words = [
            (DialBackOutcome::Sent, "\"sent\""),
            (DialBackOutcome::Refused, "\"refused\""),
            (DialBackOutcome::Unreachable, "\"unreachable\""),
            (DialBackOutcome::NotAllowed, "\"not-allowed\""),
            (DialBackOutcome::TooSoon, "\"too-soon\""),
        ];
        for (outcome, word) in words {
            assert_eq!(serde_json::to_string(&outcome).unwrap(), word);
        }
    }

    #[test]
    fn an_answer_that_is_a_flood_is_refused() {
        let result = |detail: &str| DialBackResult {
            address: "11.0.0.1:4242".into(),
            outcome: DialBackOutcome::Sent,
            detail: Some(detail.into()),
        };
        let answers = [vec![result(""); 3], vec![result(&"x".repeat(301))]];
        for results in answers {
            assert_eq!(DialBackAnswer { results }.check(), Err(DialBackRefusal::AnswerTooLong));
        }
    }
}
