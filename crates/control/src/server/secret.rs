//! Tokens and one-time codes: random, compared in constant time, never shown by accident.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use subtle::{Choice, ConstantTimeEq};
use tokio::time::Instant;

use super::ControlError;

/// How long a one-time code is worth something.
pub(crate) const CODE_LIFETIME: Duration = Duration::from_secs(30);

/// Open codes at a time; the oldest goes first.
const MAX_CODES: usize = 8;

/// Open pages at a time; the one that has been quiet for longest goes first.
const MAX_SESSIONS: usize = 32;

/// Attempts to exchange a code: at most this many at once...
const EXCHANGE_BURST: u32 = 20;

/// ...and one more after each such time. Guessing 128 bits is hopeless anyway; this keeps it cheap for us.
const EXCHANGE_INTERVAL: Duration = Duration::from_millis(250);

/// 256 random bits that open the API. No Display, no Serialize; Debug tells nothing.
pub struct Token([u8; 32]);

impl Token {
    pub(super) fn random() -> Result<Self, ControlError> {
        random().map(Self)
    }

    /// The text that goes after `Bearer `. For the token file and nothing else.
    #[must_use]
    pub fn reveal(&self) -> String {
        BASE64URL_NOPAD.encode(&self.0)
    }

    pub(super) fn matches(&self, presented: &str) -> bool {
        decode::<32>(presented).is_some_and(|bytes| self.0.ct_eq(&bytes).into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(..)")
    }
}

/// The tokens of open pages.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<VecDeque<Token>>);

impl Sessions {
    /// Lets one more page in.
    pub(crate) fn open(&self) -> Result<String, ControlError> {
        let token = Token::random()?;
        let text = token.reveal();
        let mut open = lock(&self.0);
        if open.len() == MAX_SESSIONS {
            open.pop_front();
        }
        open.push_back(token);
        Ok(text)
    }

    /// Whether this is the token of an open page. Always compares with all of them.
    pub(super) fn contains(&self, presented: &str) -> bool {
        let Some(bytes) = decode::<32>(presented) else { return false };
        let mut open = lock(&self.0);
        let mut found = None;
        for (position, token) in open.iter().enumerate() {
            if token.0.ct_eq(&bytes).into() {
                found = Some(position);
            }
        }
        // Used last = thrown out last.
        if let Some(token) = found.and_then(|position| open.remove(position)) {
            open.push_back(token);
            return true;
        }
        false
    }
}

/// One-time codes that have not been used yet.
#[derive(Default)]
pub(crate) struct Codes(Mutex<VecDeque<Code>>);

struct Code {
    bytes: [u8; 16],
    ends: Instant,
}

impl Codes {
    pub(crate) fn issue(&self) -> Result<String, ControlError> {
        let bytes = random()?;
        let mut open = lock(&self.0);
        if open.len() == MAX_CODES {
            open.pop_front();
        }
        open.push_back(Code { bytes, ends: Instant::now() + CODE_LIFETIME });
        Ok(BASE64URL_NOPAD.encode(&bytes))
    }

    /// Uses a code up. True once, and only in time.
    pub(crate) fn redeem(&self, presented: &str) -> bool {
        let Some(bytes) = decode::<16>(presented) else { return false };
        let now = Instant::now();
        let mut open = lock(&self.0);
        open.retain(|code| code.ends > now);
        let before = open.len();
        let mut hit = Choice::from(0);
        open.retain(|code| {
            let same = code.bytes.ct_eq(&bytes);
            hit |= same;
            !bool::from(same)
        });
        debug_assert!(before - open.len() <= 1);
        hit.into()
    }
}

/// A token bucket for the exchange of codes.
pub(crate) struct ExchangeLimit(Mutex<Bucket>);

struct Bucket {
    left: u32,
    filled: Instant,
}

impl Default for ExchangeLimit {
    fn default() -> Self {
        Self(Mutex::new(Bucket { left: EXCHANGE_BURST, filled: Instant::now() }))
    }
}

impl ExchangeLimit {
    /// Whether one more attempt is allowed now.
    pub(crate) fn take(&self) -> bool {
        let now = Instant::now();
        let mut bucket = lock(&self.0);
        let earned = now.duration_since(bucket.filled).as_millis() / EXCHANGE_INTERVAL.as_millis();
        if earned > 0 {
            bucket.left =
                EXCHANGE_BURST.min(bucket.left.saturating_add(u32::try_from(earned).unwrap_or(u32::MAX)));
            bucket.filled = now;
        }
        let allowed = bucket.left > 0;
        bucket.left = bucket.left.saturating_sub(1);
        allowed
    }
}

fn random<const N: usize>() -> Result<[u8; N], ControlError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| ControlError::Random(error.to_string()))?;
    Ok(bytes)
}

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    // The length first: what is presented may be long.
    if text.len() != BASE64URL_NOPAD.encode_len(N) {
        return None;
    }
    BASE64URL_NOPAD.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// A panic elsewhere leaves nothing half done in these lists.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_matches_itself_and_nothing_else() {
        let (one, other) = (Token::random().unwrap(), Token::random().unwrap());
        assert!(one.matches(&one.reveal()));
        assert!(!one.matches(&other.reveal()));
        for wrong in ["", "x", &one.reveal()[1..], &format!("{}A", one.reveal()), &"\u{e9}".repeat(22)] {
            assert!(!one.matches(wrong), "{wrong}");
        }
        assert_eq!(format!("{one:?}"), "Token(..)");
    }

    #[tokio::test(start_paused = true)]
    async fn a_code_opens_once() {
        let codes = Codes::default();
        let code = codes.issue().unwrap();
        assert!(!codes.redeem("AAAAAAAAAAAAAAAAAAAAAA"));
        assert!(codes.redeem(&code));
        assert!(!codes.redeem(&code));
    }

    #[tokio::test(start_paused = true)]
    async fn a_code_ends_after_thirty_seconds() {
        let codes = Codes::default();
        let (early, late) = (codes.issue().unwrap(), codes.issue().unwrap());
        tokio::time::advance(Duration::from_millis(29_999)).await;
        assert!(codes.redeem(&early));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!codes.redeem(&late));
    }

    #[tokio::test(start_paused = true)]
    async fn open_codes_are_bounded_and_the_oldest_goes() {
        let codes = Codes::default();
        let first = codes.issue().unwrap();
        let last = (0..MAX_CODES).map(|_| codes.issue().unwrap()).last().unwrap();
        assert!(!codes.redeem(&first));
        assert!(codes.redeem(&last));
    }

    #[test]
    fn the_quietest_page_makes_room_for_a_new_one() {
        let sessions = Sessions::default();
        let (busy, quiet) = (sessions.open().unwrap(), sessions.open().unwrap());
        for _ in 2..MAX_SESSIONS {
            sessions.open().unwrap();
        }
        assert!(sessions.contains(&busy));
        sessions.open().unwrap();
        assert!(sessions.contains(&busy));
        assert!(!sessions.contains(&quiet));
    }

    #[tokio::test(start_paused = true)]
    async fn exchanging_codes_is_limited_and_recovers() {
        let limit = ExchangeLimit::default();
        assert!((0..EXCHANGE_BURST).all(|_| limit.take()));
        assert!(!limit.take());
        tokio::time::advance(EXCHANGE_INTERVAL).await;
        assert!(limit.take());
        assert!(!limit.take());
    }
}
