//! What is announced and asked, as packets. `docs/protocol.md` specifies it.

use std::net::IpAddr;

use data_encoding::HEXLOWER;
use kith_identity::{DeviceId, sanitise_name};

use crate::dns::{self, Data, Message, Name, Writer, kind};
use crate::tag::LanTag;

/// The layout of the text that this Kith writes and reads.
const VERSION: &[u8] = b"v=1";
/// Seconds for which others may keep what they heard.
const TTL: u32 = 120;
/// Tags in one string of the text: with their name they stay below 255 bytes.
const TAGS_OF_A_STRING: usize = 31;
/// Strings with tags.
const TAG_STRINGS: usize = 4;
/// The number of tags is always a multiple of this: it says little about the number of friends.
pub(crate) const TAGS_ROUNDED_TO: usize = 8;
/// Most tags of a packet.
pub(crate) const MOST_TAGS: usize = TAGS_OF_A_STRING * TAG_STRINGS / TAGS_ROUNDED_TO * TAGS_ROUNDED_TO;
/// Most addresses of each family in a packet.
pub(crate) const MOST_ADDRESSES: usize = 4;
/// Most bytes of a name, which is a string of the text.
const LONGEST_NAME: usize = 200;
/// Most announcements that are read from one packet.
const MOST_INSTANCES: usize = 8;

/// The name under which something is announced: 8 random bytes, drawn by whoever announces. It means nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instance(String);

impl Instance {
    /// The name made of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; 8]) -> Self {
        Self(HEXLOWER.encode(&bytes))
    }

    /// What stands in a packet, if it is such a name.
    fn read(label: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(label).ok()?;
        let bytes: [u8; 8] = HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()?;
        Some(Self::new(bytes))
    }

    fn service_name(&self) -> Name {
        service().below(&self.0)
    }

    fn host_name(&self) -> Name {
        local().below(&self.0)
    }
}

/// One thing that is announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Under which name.
    pub instance: Instance,
    /// Where it listens.
    pub port: u16,
    /// At which addresses, in its own words.
    pub addresses: Vec<IpAddr>,
    /// By which its friends recognise it.
    pub tags: Vec<LanTag>,
    /// What everybody may know, while a person looks for computers nearby.
    pub about: Option<About>,
}

/// What a computer tells everybody in its network while its person looks for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Its name; made safe when it is read.
    pub name: String,
    /// Its device id, unproved.
    pub device_id: DeviceId,
    /// By which it is asked for pairing, once it is open. Everybody may know it.
    pub token: [u8; 16],
}

/// What a packet says of Kith computers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Who is there? Those who are named are known already.
    Question {
        /// Known to the asker.
        known: Vec<Instance>,
    },
    /// They are there, and these are gone.
    Told {
        /// Those who are there.
        there: Vec<Announcement>,
        /// Those who have taken their announcement back.
        gone: Vec<Instance>,
    },
}

fn local() -> Name {
    Name::new(&["local"])
}

fn service() -> Name {
    Name::new(&["_kith", "_tcp", "local"])
}

/// Asks who is there.
pub(crate) fn question() -> Vec<u8> {
    let mut writer = Writer::query();
    writer.question(&service(), kind::PTR);
    writer.finish()
}

impl Announcement {
    /// The packet that says it, whole: what does not fit is left out.
    pub(crate) fn to_packet(&self) -> Vec<u8> {
        let (name, host) = (self.instance.service_name(), self.instance.host_name());
        let mut writer = Writer::response();
        writer.pointer(&service(), TTL, &name);
        writer.service(&name, TTL, self.port, &host);
        writer.text(&name, TTL, &self.text());
        for of_v4 in [true, false] {
            let of_family = self.addresses.iter().filter(|ip| ip.is_ipv4() == of_v4);
            for ip in of_family.take(MOST_ADDRESSES) {
                writer.address(&host, TTL, *ip);
            }
        }
        debug_assert!(
            writer.length() <= dns::LONGEST_WRITTEN,
            "an announcement of {} bytes",
            writer.length()
        );
        writer.finish()
    }

    fn text(&self) -> Vec<Vec<u8>> {
        let mut strings = vec![VERSION.to_vec()];
        let tags = &self.tags[..self.tags.len().min(MOST_TAGS)];
        for (number, tags) in tags.chunks(TAGS_OF_A_STRING).enumerate() {
            let mut string = format!("t{number}=").into_bytes();
            string.extend(tags.iter().flat_map(|tag| tag.0));
            strings.push(string);
        }
        if let Some(About { name, device_id, token }) = &self.about {
            let name = &name[..name.floor_char_boundary(LONGEST_NAME)];
            strings.push([b"id=", device_id.as_bytes().as_slice()].concat());
            strings.push([b"k=", token.as_slice()].concat());
            strings.push([b"n=", name.as_bytes()].concat());
        }
        strings
    }
}

/// Takes back what was announced under a name.
pub(crate) fn goodbye(instance: &Instance) -> Vec<u8> {
    let mut writer = Writer::response();
    writer.pointer(&service(), 0, &instance.service_name());
    writer.finish()
}

/// What a packet says of Kith computers; none if it is about others, or malformed. Takes any bytes.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<Packet> {
    if !concerns_us(bytes) {
        return None;
    }
    let message = dns::parse(bytes)?;
    if message.is_response { told(&message) } else { asked(&message) }
}

/// Whether a packet may say something of Kith computers: most of those in a network are about printers and loudspeakers.
pub(crate) fn concerns_us(bytes: &[u8]) -> bool {
    let mark = b"_kith";
    bytes.windows(mark.len()).any(|window| window.eq_ignore_ascii_case(mark))
}

fn asked(message: &Message) -> Option<Packet> {
    let service = service();
    let of_ours = message.questions.iter().any(|question| {
        let all = question.name == service && [kind::PTR, kind::ANY].contains(&question.kind);
        all || question.name.first_below(&service).is_some()
    });
    of_ours.then(|| {
        let known = message.records.iter().filter(|record| record.name == service && record.ttl >= TTL / 2);
        let known = known.filter_map(|record| match &record.data {
            Data::Pointer(target) => Instance::read(target.first_below(&service)?),
            _ => None,
        });
        Packet::Question { known: known.collect() }
    })
}

fn told(message: &Message) -> Option<Packet> {
    let service = service();
    let (mut there, mut gone) = (Vec::new(), Vec::new());
    let pointers = message.records.iter().filter(|record| record.name == service);
    for record in pointers.take(MOST_INSTANCES) {
        let Data::Pointer(name) = &record.data else { continue };
        let Some(instance) = name.first_below(&service).and_then(Instance::read) else { continue };
        if record.ttl == 0 {
            gone.push(instance);
        } else {
            there.extend(announcement(message, instance, name));
        }
    }
    (!there.is_empty() || !gone.is_empty()).then_some(Packet::Told { there, gone })
}

fn announcement(message: &Message, instance: Instance, name: &Name) -> Option<Announcement> {
    let of = |name: &Name| {
        let name = name.clone();
        message.records.iter().filter(move |record| record.name == name && record.ttl > 0).map(|r| &r.data)
    };
    let (port, host) = of(name).find_map(|data| match data {
        Data::Service { port, target } if *port != 0 => Some((*port, target)),
        _ => None,
    })?;
    let strings = of(name).find_map(|data| match data {
        Data::Text(strings) => Some(strings),
        _ => None,
    })?;
    if !strings.iter().any(|string| string == VERSION) {
        return None;
    }
    let addresses = of(host).filter_map(|data| match data {
        Data::Address(ip) => Some(ip.to_canonical()),
        _ => None,
    });
    let addresses = addresses.take(2 * MOST_ADDRESSES).collect();
    let value = |key: &str| {
        strings.iter().find_map(|string| string.strip_prefix(key.as_bytes())?.strip_prefix(b"=".as_slice()))
    };
    let tags = (0..TAG_STRINGS).filter_map(|number| value(&format!("t{number}")));
    let tags =
        tags.flat_map(|bytes| bytes.as_chunks::<{ LanTag::LENGTH }>().0).copied().map(LanTag).collect();
    Some(Announcement { instance, port, addresses, tags, about: about(value) })
}

fn about<'a>(value: impl Fn(&str) -> Option<&'a [u8]>) -> Option<About> {
    let device_id = DeviceId::from_bytes(value("id")?.try_into().ok()?);
    let token = value("k")?.try_into().ok()?;
    let name = sanitise_name(std::str::from_utf8(value("n")?).ok()?);
    Some(About { name, device_id, token })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn full() -> Announcement {
        Announcement {
            instance: Instance::new([0xab; 8]),
            port: 4242,
            addresses: [
                "192.168.1.7",
                "10.0.0.1",
                "10.0.0.2",
                "10.0.0.3",
                "2001:db8::1",
                "fd00::1",
                "fd00::2",
                "fe80::1",
            ]
            .map(|ip| ip.parse().unwrap())
            .to_vec(),
            tags: (0..MOST_TAGS)
                .map(|n| LanTag((n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()))
                .collect(),
            about: None,
        }
    }

    fn about() -> About {
        About { name: "Anna's laptop".into(), device_id: DeviceId::from_bytes([7; 32]), token: [9; 16] }
    }

    fn there(bytes: &[u8]) -> Vec<Announcement> {
        match read(bytes) {
            Some(Packet::Told { there, .. }) => there,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_fullest_announcement_fits_into_one_packet_and_is_read_whole() {
        let packet = full().to_packet();
        assert!(packet.len() <= dns::LONGEST_WRITTEN, "{} bytes", packet.len());
        assert_eq!(there(&packet), [full()]);
    }

    #[test]
    fn a_name_and_a_device_id_appear_only_where_they_are_told_to_everybody() {
        let open = Announcement { tags: Vec::new(), about: Some(about()), ..full() };
        let packet = open.to_packet();
        assert_eq!(there(&packet), [open]);
        let has = |packet: &[u8], part: &[u8]| packet.windows(part.len()).any(|window| window == part);
        assert!(has(&packet, b"Anna's laptop") && has(&packet, &[7; 32]));
        let packet = full().to_packet();
        assert!(!has(&packet, b"Anna") && !has(&packet, b"id="));
    }

    #[test]
    fn names_are_made_safe_and_fit() {
        let name = "\u{202e}evil\n".to_owned() + &"ß".repeat(300);
        let open = Announcement { about: Some(About { name, ..about() }), ..full() };
        let open = Announcement { tags: Vec::new(), ..open };
        let read = there(&open.to_packet()).remove(0).about.unwrap();
        assert!(read.name.starts_with("evil ß") && read.name.chars().count() <= 64, "{}", read.name);
    }

    #[test]
    fn who_asks_is_understood_with_what_is_known_already() {
        assert_eq!(read(&question()), Some(Packet::Question { known: Vec::new() }));
        let mut writer = Writer::query();
        writer.question(&service(), kind::PTR);
        let known = [Instance::new([1; 8]), Instance::new([2; 8])];
        writer.pointer(&service(), TTL, &known[0].service_name());
        // Hardly known any more.
        writer.pointer(&service(), TTL / 2 - 1, &known[1].service_name());
        let mut bytes = writer.finish();
        assert_eq!(read(&bytes), Some(Packet::Question { known: vec![known[0].clone()] }));
        // Others ask for other things.
        let at = bytes.windows(5).position(|window| window == b"_kith").unwrap();
        bytes[at + 1] = b'x';
        assert_eq!(read(&bytes), None);
    }

    #[test]
    fn a_goodbye_names_who_is_gone_and_nothing_else() {
        let gone = Instance::new([3; 8]);
        assert_eq!(read(&goodbye(&gone)), Some(Packet::Told { there: Vec::new(), gone: vec![gone] }));
    }

    #[test]
    fn what_is_not_whole_or_of_another_version_is_passed_over() {
        let instance = Instance::new([1; 8]);
        let (name, host) = (instance.service_name(), instance.host_name());
        let packet = |port: u16, version: &[u8], with_service: bool| {
            let mut writer = Writer::response();
            writer.pointer(&service(), TTL, &name);
            if with_service {
                writer.service(&name, TTL, port, &host);
            }
            writer.text(&name, TTL, &[version.to_vec()]);
            read(&writer.finish())
        };
        assert!(packet(4242, b"v=1", true).is_some());
        assert_eq!(packet(0, b"v=1", true), None);
        assert_eq!(packet(4242, b"v=2", true), None);
        assert_eq!(packet(4242, b"v=1", false), None);
        // A name that is none of ours.
        let mut writer = Writer::response();
        writer.pointer(&service(), TTL, &service().below("printer"));
        assert_eq!(read(&writer.finish()), None);
    }

    proptest! {
        #[test]
        fn no_change_of_a_packet_makes_the_reader_panic_or_keep_much(at in 0usize..2000, to in any::<u8>(), cut in 0usize..2000) {
            let mut bytes = full().to_packet();
            let length = bytes.len();
            bytes[at % length] = to;
            bytes.truncate(cut.max(12));
            if let Some(Packet::Told { there, gone }) = read(&bytes) {
                prop_assert!(there.len() + gone.len() <= MOST_INSTANCES);
                for one in there {
                    prop_assert!(one.addresses.len() <= 2 * MOST_ADDRESSES && one.tags.len() <= MOST_TAGS + TAG_STRINGS);
                }
            }
        }
    }
}
