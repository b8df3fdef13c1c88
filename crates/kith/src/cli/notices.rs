//! What the daemon has found to be in the way by itself, below the state.

use kith_control::view::NoticeView;
use kith_doctor::Weight;

use super::output::{line, note, safe, time};

/// Those that somebody should look at on standard error, the others as a line of the state.
pub(super) fn show(notices: &[NoticeView]) {
    for notice in notices {
        match notice.weight {
            Weight::Fault => note(words(notice)),
            _ => line(safe(&words(notice))),
        }
    }
}

/// `NOTICE: the router here has stopped letting friends in (since 2026-11-22 10:00). To do: ... (`kith doctor` says more)`.
fn words(notice: &NoticeView) -> String {
    let head = match notice.weight {
        Weight::Fault => "NOTICE: ",
        _ => "",
    };
    let mut words = format!("{head}{} (since {})", notice.sentence, time(notice.since));
    if let Some(step) = &notice.next_step {
        words = format!("{words}. To do: {step}");
    }
    format!("{words}. `{}` says more.", command(notice))
}

/// The doctor for the same; by the friend's name where a shell takes it as it is.
fn command(notice: &NoticeView) -> String {
    let is_plain = |name: &&String| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_'))
    };
    match (notice.friend.as_ref().filter(is_plain), &notice.doctor_id) {
        (Some(name), _) => format!("kith doctor {name}"),
        (None, Some(id)) => format!("kith doctor {id}"),
        (None, None) => "kith doctor".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use kith_doctor::{Code, Part};
    use kith_identity::{Identity, IdentitySeed};

    use super::*;

    fn notice(friend: Option<&str>) -> NoticeView {
        let id = Identity::from_seed(&IdentitySeed::from_bytes([1; 32])).unwrap().device_id();
        NoticeView {
            code: Code::FirewallOut,
            friend: friend.map(str::to_owned),
            friend_id: friend.map(|_| id),
            friend_ids: friend.map(|_| id).into_iter().collect(),
            doctor_id: Some(id),
            part: Part::FirewallHere,
            weight: Weight::Fault,
            sentence: "the firewall of this computer drops connections to friends".to_owned(),
            next_step: Some("allow them".to_owned()),
            since: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_notice_says_what_since_when_what_to_do_and_where_to_read_on() {
        let said = words(&notice(Some("bert")));
        assert!(
            said.starts_with("NOTICE: the firewall of this computer drops connections to friends (since ")
        );
        assert!(said.ends_with("). To do: allow them. `kith doctor bert` says more."), "{said}");
        let quiet = NoticeView { weight: Weight::Note, next_step: None, ..notice(Some("bert")) };
        assert!(words(&quiet).starts_with("the firewall"));
    }

    #[test]
    fn the_command_has_a_name_only_where_a_shell_takes_it_as_it_is() {
        let id = notice(None).doctor_id.unwrap();
        for name in ["", "Anna's laptop", "a`b`", "-x", "$(x)"] {
            assert_eq!(command(&notice(Some(name))), format!("kith doctor {id}"), "{name}");
        }
        assert_eq!(command(&NoticeView { doctor_id: None, ..notice(None) }), "kith doctor");
    }
}
