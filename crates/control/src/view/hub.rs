//! Hubs, by which computers find and reach each other.

use jiff::Timestamp;
use kith_identity::DeviceId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A hub that this computer uses, or would use if another were away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HubView {
    /// The hub's device id.
    #[schema(value_type = String)]
    pub device_id: DeviceId,
    /// How people call it: the host of its address.
    pub name: String,
    /// Where it is dialled, `host:port`, the best first.
    pub addresses: Vec<String>,
    /// What it is used for.
    pub role: HubRole,
    /// Names of the friends whose hub it is, if it is `borrowed`.
    pub friends: Vec<String>,
    /// How it stands.
    pub state: HubState,
    /// Why it refuses, or why there is no connection to it, a sentence; null when that is not known, or all is well.
    pub why: Option<String>,
    /// Since when the connection to it is up.
    pub connected_since: Option<Timestamp>,
    /// How long it takes to answer, milliseconds; null when that is not known.
    pub round_trip_ms: Option<u64>,
    /// Where it will be, or is by now; null if it has announced nothing.
    pub moves: Option<HubMoveView>,
}

/// What a hub is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HubRole {
    /// The one that is used first.
    Primary,
    /// The one that takes over while the primary is away.
    Alternate,
    /// One that the settings name, which has assigned the two others and is asked again when both are away.
    Registration,
    /// One of a friend who is reached by no other way.
    Borrowed,
}

/// How a hub stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HubState {
    /// It is connected, and friends find this computer there.
    Registered,
    /// It does nothing for this computer.
    Refused,
    /// It is dialled.
    Connecting,
    /// It is dialled when another is away.
    StandingBy,
}

impl HubState {
    /// The word of the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Refused => "refused",
            Self::Connecting => "connecting",
            Self::StandingBy => "standing-by",
        }
    }
}

/// A hub announced another address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HubMoveView {
    /// From when on it is found there.
    pub at: Timestamp,
    /// Where, `host:port`.
    pub to: Vec<String>,
    /// Whether that time has come.
    pub done: bool,
    /// What the person should do, a sentence without a full stop at its end; null: nothing.
    pub next_step: Option<String>,
}

impl HubView {
    /// What it is used for, in words.
    #[must_use]
    pub fn role_words(&self) -> String {
        match self.role {
            HubRole::Primary => "the first one".to_owned(),
            HubRole::Alternate => "takes over while the first one is away".to_owned(),
            HubRole::Registration => "assigned the others".to_owned(),
            HubRole::Borrowed if self.friends.is_empty() => "a friend’s".to_owned(),
            HubRole::Borrowed => format!("used to reach {}", self.friends.join(", ")),
        }
    }

    /// How it stands, in words.
    #[must_use]
    pub fn state_words(&self) -> String {
        let with_reason = |words: &str| match &self.why {
            Some(why) => format!("{words}: {why}"),
            None => words.to_owned(),
        };
        match self.state {
            HubState::Registered => match self.round_trip_ms {
                Some(ms) => format!("registered, {} ms there and back", ms.max(1)),
                None => "registered".to_owned(),
            },
            HubState::Refused => with_reason("does nothing for this computer"),
            HubState::Connecting => with_reason("not connected"),
            HubState::StandingBy => "stands by".to_owned(),
        }
    }

    /// What is to be known of its moving, a sentence without a full stop at its end; none if it stays. `when` writes a time.
    #[must_use]
    pub fn notice(&self, when: impl Fn(Timestamp) -> String) -> Option<String> {
        let HubMoveView { at, to, done, next_step } = self.moves.as_ref()?;
        let (name, to, at) = (&self.name, to.join(", "), when(*at));
        let mut notice = if *done {
            format!("the hub {name} has moved to {to}, since {at}")
        } else {
            format!("the hub {name} moves to {to} on {at}: this computer follows by itself")
        };
        if let Some(step) = next_step {
            notice.push_str("; ");
            notice.push_str(step);
        }
        Some(notice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(role: HubRole, state: HubState) -> HubView {
        HubView {
            device_id: DeviceId::from_bytes([1; 32]),
            name: "hub.example".into(),
            addresses: vec!["hub.example:4287".into()],
            role,
            friends: Vec::new(),
            state,
            why: None,
            connected_since: None,
            round_trip_ms: None,
            moves: None,
        }
    }

    #[test]
    fn a_hub_is_told_of_in_words() {
        let registered = HubView { round_trip_ms: Some(0), ..hub(HubRole::Primary, HubState::Registered) };
        assert_eq!(registered.state_words(), "registered, 1 ms there and back");
        let refused = HubView { why: Some("it is full".into()), ..hub(HubRole::Borrowed, HubState::Refused) };
        assert_eq!(refused.state_words(), "does nothing for this computer: it is full");
        let friends = vec!["anna".to_owned(), "bert".to_owned()];
        assert_eq!(HubView { friends, ..refused }.role_words(), "used to reach anna, bert");
    }

    #[test]
    fn a_move_is_told_ahead_with_what_is_left_to_do() {
        let at = Timestamp::from_second(1_780_000_000).unwrap();
        let moving = |done, next_step: Option<&str>| HubView {
            moves: Some(HubMoveView {
                at,
                to: vec!["new.example:443".into()],
                done,
                next_step: next_step.map(str::to_owned),
            }),
            ..hub(HubRole::Primary, HubState::Registered)
        };
        let notice = |hub: HubView| hub.notice(|at| at.to_string());
        assert_eq!(
            notice(moving(false, None)).unwrap(),
            "the hub hub.example moves to new.example:443 on 2026-05-28T20:26:40Z: this computer follows by itself"
        );
        assert_eq!(
            notice(moving(true, Some("write it down"))).unwrap(),
            "the hub hub.example has moved to new.example:443, since 2026-05-28T20:26:40Z; write it down"
        );
        assert_eq!(notice(hub(HubRole::Primary, HubState::Registered)), None);
    }
}
