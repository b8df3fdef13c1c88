//! Announcements in the local network.

use kith_near::Packet;

use crate::outcome::{Outcome, judged};

/// Most announcements, and most addresses of each, that one packet leads to.
const MOST: usize = 8;

pub(super) fn packet(datagram: &[u8]) -> Outcome {
    let packet = kith_near::read(datagram);
    if let Some(Packet::Told { there, gone }) = &packet {
        assert!(there.len() + gone.len() <= MOST, "{packet:?}");
        for one in there {
            assert!(one.port != 0 && one.addresses.len() <= MOST, "{one:?}");
            assert!(one.tags.len() * 8 <= datagram.len(), "more tags than were said");
            if let Some(about) = &one.about {
                assert_eq!(kith_identity::sanitise_name(&about.name), about.name, "a name that deceives");
            }
        }
    }
    judged(packet.is_some(), &packet)
}
