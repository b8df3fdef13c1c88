//! Why a friend can't be reached: gathers what is known of both computers, and has the doctor judge it.

mod addresses;
mod ask;
mod attempts;
pub(crate) mod firewall;
mod gateway;
mod history;
mod memory;
mod ports;
mod side;
mod sought;
mod watch;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use jiff::Timestamp;
use kith_control::terminal::safe;
use kith_control::view::ReportCodeView;
use kith_control::{DoctorRequest, Failure, FailureKind};
use kith_doctor::facts::{Facts, LinkFacts, Pair, Source, There};
use kith_doctor::{Diagnosis, diagnose, report};
use kith_peer::{CandidateKind, Connection, PeerState};
use kith_wire::Side as End;

use super::core::{Core, lock};
use super::failure::failure;
use super::roster::Friend;

use self::gateway::Patience;

pub(super) use self::ask::Asked;
pub(super) use self::history::{Histories, record};
pub(super) use self::memory::{Memory, keep, meet_routers};
pub(super) use self::sought::Sought;
pub(super) use self::watch::{Notice, watch};

/// How long a friend who is not linked may take to be, while the rest is looked at.
const LINK: Duration = Duration::from_millis(2500);
/// How much longer, while a call that others pass on is under way.
const CALL: Duration = Duration::from_millis(4500);
/// Longest wait for what the friend says over a link.
const ANSWER: Duration = Duration::from_millis(6500);
/// Longest wait for a link and what the friend says.
const ALL: Duration = Duration::from_millis(9000);

/// What the other end said.
enum Told {
    /// Its half.
    Side(Box<kith_doctor::Side>),
    /// Its program is older, or there is no link.
    Nothing,
    /// There is a link, and nothing comes by it.
    Silent,
}

impl Core {
    /// One cause, and one thing to do.
    pub(super) async fn doctor(self: &Arc<Self>, request: DoctorRequest) -> Result<Diagnosis, Failure> {
        let Some(name) = request.friend else {
            if request.with.is_some() {
                return Err(failure(
                    FailureKind::Invalid,
                    "a report code is of one friend's computer",
                    "name the friend, too: `kith doctor FRIEND --with -`",
                ));
            }
            let mut here = self.side(None, Patience::Long).await;
            self.add_sent_rules(&mut here, None, request.firewall).await;
            return Ok(diagnose(&Facts { here, ..Facts::default() }));
        };
        let friend = self.find_friend(&name)?;
        let pasted = request.with.map(|line| report::decode(&line)).transpose().map_err(|error| {
            failure(
                FailureKind::Invalid,
                error.to_string(),
                "have the friend run `kith doctor --code`, and paste the whole line that it prints",
            )
        })?;
        let silent = AtomicBool::new(false);
        let told = async {
            match pasted {
                Some(side) => Some(There { side, source: Source::Code }),
                None => match self.told_by(&friend).await {
                    Told::Side(side) => Some(There { side: *side, source: Source::Link }),
                    Told::Silent => {
                        silent.store(true, Relaxed);
                        None
                    }
                    Told::Nothing => None,
                },
            }
        };
        let here = self.side(Some(&friend), Patience::Long);
        let (mut here, there) = tokio::join!(here, told);
        self.add_sent_rules(&mut here, Some(&friend), request.firewall).await;
        let friend = self.find_friend(&name)?;
        let mut pair = self.pair(&friend);
        if silent.load(Relaxed) {
            // The link is there by name only.
            pair.link = None;
        }
        // What a person pasted may be old, or somebody else's.
        let is_pasted = there.as_ref().is_some_and(|there| there.source == Source::Code);
        let is_history = pair.link.is_none() && !is_pasted;
        let diagnosis = diagnose(&Facts { here, friend: Some(pair), there });
        if is_history {
            self.history_cause(&friend.device_id, diagnosis.verdict.code, diagnosis.verdict.part);
        }
        Ok(diagnosis)
    }

    /// What this computer says of itself, in one line.
    pub(super) async fn report_code(
        self: &Arc<Self>,
        friend: Option<String>,
    ) -> Result<ReportCodeView, Failure> {
        let side = match friend {
            Some(name) => {
                let friend = self.find_friend(&name)?;
                self.side_for(&friend).await
            }
            None => self.side(None, Patience::Long).await.told(),
        };
        let code =
            report::encode(&side).map_err(|error| Failure::new(FailureKind::Failed, error.to_string()))?;
        let note = "it holds this computer's addresses, its router's model, its firewall's rules and when it slept last; no keys and no names of files";
        Ok(ReportCodeView { code, note: note.to_owned() })
    }

    /// What the friend's computer says of itself, if it can be asked in any way.
    async fn told_by(self: &Arc<Self>, friend: &Friend) -> Told {
        let Some(peers) = self.peers() else { return Told::Nothing };
        let until = tokio::time::Instant::now() + ALL;
        let link = match peers.link(&friend.device_id) {
            Some(link) => link,
            None => {
                let asked = Timestamp::now().as_second();
                peers.dial_now(&friend.device_id);
                let linked = peers.wait_for_link(&friend.device_id, LINK).await;
                let linked = match linked {
                    None if self.somebody_helps(friend) => self.wait_for_call(friend, asked, CALL).await,
                    linked => linked,
                };
                match linked {
                    Some(link) => link,
                    None => return Told::Nothing,
                }
            }
        };
        let until = until.min(tokio::time::Instant::now() + ANSWER);
        match tokio::time::timeout_at(until, ask::ask(&link)).await {
            Ok(Some(side)) => Told::Side(Box::new(side)),
            Ok(None) => Told::Nothing,
            // Nothing at all was heard of it meanwhile, not even an answer to a ping.
            Err(_elapsed) if link.silent_for() >= ANSWER => Told::Silent,
            Err(_elapsed) => Told::Nothing,
        }
    }

    /// The friend, as this computer knows him.
    fn pair(&self, friend: &Friend) -> Pair {
        let state = self.peers().and_then(|peers| peers.state(&friend.device_id)).unwrap_or_default();
        let addresses = friend.all_addresses();
        let sought = self.sought.borrow().get(&friend.device_id).copied().unwrap_or_default();
        let record = self
            .reach_memory
            .borrow()
            .friends
            .get(&friend.device_id)
            .and_then(|memory| i64::try_from(memory.record.as_ref()?.record.issued).ok());
        let seen = friend.last_seen.map(Timestamp::as_second);
        Pair {
            name: safe(&friend.name).replace('`', "'"),
            link: state.connection.as_ref().map(|connection| self.link_facts(connection)),
            last_seen: seen,
            alive: record,
            alive_by: record
                .map(|_| "his computer renewed its addresses with somebody whom both know".to_owned()),
            answered: sought.heard,
            unanswered: sought.silent,
            help_error: help_error(&state),
            habit: self.sleep_habit(&friend.device_id),
            any_address: !addresses.is_empty(),
            calls_only: friend.condition.is_some_and(|condition| condition.outbound_only),
            trouble: friend.trouble.clone(),
            clock_ahead: lock(&self.clocks).get(&friend.device_id).copied(),
            offered: friend.offered_bytes,
            stored: friend.stored_there_bytes,
        }
    }

    fn link_facts(&self, connection: &Connection) -> LinkFacts {
        LinkFacts {
            path: connection.path().as_str().to_owned(),
            relayed_by: self.relay_name(connection.way),
            dialled: connection.side == End::Dialer,
            since: Timestamp::try_from(connection.since).ok().map(Timestamp::as_second),
            remote: connection.remote.to_string(),
        }
    }
}

/// What calls by the help of others came to.
fn help_error(state: &PeerState) -> Option<String> {
    let helped = |kind| matches!(kind, CandidateKind::Punched | CandidateKind::Relayed);
    let newest = state.attempts.iter().rev().find(|attempt| helped(attempt.kind))?;
    Some(safe(&newest.error.to_string()).into_owned())
}
