//! Notices for the stand-in.

use kith_control::view::NoticeView;
use kith_doctor::{Code, Weight};

use super::{ago, device};

fn notice(code: Code, friend: Option<(u8, &str)>, sentence: &str, step: &str) -> NoticeView {
    NoticeView {
        code,
        friend: friend.map(|(_, name)| name.to_owned()),
        friend_id: friend.map(|(seed, _)| device(seed)),
        friend_ids: friend.map(|(seed, _)| device(seed)).into_iter().collect(),
        doctor_id: friend.map(|(seed, _)| device(seed)),
        part: code.part(),
        weight: code.weight(),
        sentence: sentence.to_owned(),
        next_step: Some(step.to_owned()),
        since: ago(420),
    }
}

/// A way in that was lost, a friend with a fault, and one who is off.
pub(crate) fn several() -> Vec<NoticeView> {
    let lost = "the router here (FRITZ!Box 7590) has stopped letting friends in";
    let step = "switch on UPnP on the router's page (http://192.168.1.1/), or forward TCP port 4242 to 192.168.1.23:4242 by hand";
    let stopped =
        "something answers where Ben’s workshop's computer should be, and says that no Kith runs there";
    let off = "attic's computer is off, asleep, or without a network, as far as can be seen from here";
    let quiet = notice(
        Code::Offline,
        Some((3, "attic")),
        off,
        "ask attic whether the computer is on and Kith runs there; backups go on by themselves when it is back",
    );
    vec![
        notice(Code::MappingLost, None, lost, step),
        notice(
            Code::NotRunning,
            Some((2, "Ben’s workshop")),
            stopped,
            "ask Ben’s workshop to start Kith, and to look at `kith status` there",
        ),
        NoticeView { weight: Weight::Note, ..quiet },
    ]
}
