//! What a computer tells its friends so that they are recognised when they call.

use std::fmt;

use kith_identity::{DialInKey, ReachKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Most bytes of the message: two keys, and room for what comes later.
pub const DIAL_IN_LIMIT: usize = 4096;

/// The keys of the sender. The receiver keeps them in the place of older ones before it answers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DialInKeys {
    /// By which the sender recognises the receiver's calls from now on.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub key: DialInKey,
    /// By which the sender will call if it has lost everything but its 24 words.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub recovery: DialInKey,
    /// The sender's half of what the two know and nobody else. Releases before 0.2 tell none.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "reach_to_hex",
        deserialize_with = "reach_from_hex"
    )]
    pub reach: Option<ReachKey>,
}

impl fmt::Debug for DialInKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DialInKeys").finish_non_exhaustive()
    }
}

fn to_hex<S: Serializer>(key: &DialInKey, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&key.to_hex())
}

fn from_hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DialInKey, D::Error> {
    let text = String::deserialize(deserializer)?;
    DialInKey::from_hex(&text).ok_or_else(|| de::Error::custom("a dial-in key has 64 hexadecimal digits"))
}

fn reach_to_hex<S: Serializer>(key: &Option<ReachKey>, serializer: S) -> Result<S::Ok, S::Error> {
    match key {
        Some(key) => serializer.serialize_str(&key.to_hex()),
        None => serializer.serialize_none(),
    }
}

fn reach_from_hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ReachKey>, D::Error> {
    let parsed = |text: String| {
        ReachKey::from_hex(&text).ok_or_else(|| de::Error::custom("a reach key has 64 hexadecimal digits"))
    };
    Option::<String>::deserialize(deserializer)?.map(parsed).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_travel_as_hexadecimal_digits_and_are_never_shown() {
        let keys = DialInKeys {
            key: DialInKey::from_bytes([0xab; 32]),
            recovery: DialInKey::from_bytes([1; 32]),
            reach: None,
        };
        let json = serde_json::to_string(&keys).unwrap();
        assert_eq!(json, format!(r#"{{"key":"{}","recovery":"{}"}}"#, "ab".repeat(32), "01".repeat(32)));
        assert_eq!(serde_json::from_str::<DialInKeys>(&json).unwrap(), keys);
        let with_reach = DialInKeys { reach: Some(ReachKey::from_bytes([2; 32])), ..keys.clone() };
        let text = serde_json::to_string(&with_reach).unwrap();
        assert!(text.ends_with(&format!(r#","reach":"{}"}}"#, "02".repeat(32))), "{text}");
        assert_eq!(serde_json::from_str::<DialInKeys>(&text).unwrap(), with_reach);
        assert!(serde_json::from_str::<DialInKeys>(&text.replace("02", "0x")).is_err());
        assert!(!format!("{keys:?}").contains("ab"));
        for wrong in [json.replacen("ab", "", 1), json.replacen("ab", "AB", 1), json.replace("key", "kay")] {
            assert!(serde_json::from_str::<DialInKeys>(&wrong).is_err(), "{wrong}");
        }
        let grown = json.replacen('{', r#"{"more":1,"#, 1);
        assert_eq!(serde_json::from_str::<DialInKeys>(&grown).unwrap(), keys);
    }
}
