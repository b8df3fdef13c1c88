//! A meeting: two computers whose people look for each other in one network, in both roles. Three requests of one `kith-join/1` connection,
//! which holds as long as the meeting does: whoever ends it has changed his mind.
//!
//! The dialer holds a one-time certificate of the token that the other announced to everybody, so it proves nothing. What protects is that
//! both people compare the same words before either computer tells the other its keys.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use kith_identity::tls::EXPORTER_LENGTH;
use kith_identity::{Commitment, DeviceId, Identity, MeetingNumber, OneTimeKey, sanitise_name};
use kith_wire::{Body, VersionRange, boxed, collect, json_body, paths};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

use crate::join::{JoinError, JoinMessage, JoinRefusal, connect, proof, proved, refusal, refuse};
use crate::outbound::Outbound;

/// How long the people have.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Longest wait for an answer that no person has to give.
const ANSWER: Duration = Duration::from_secs(15);
/// Between two looks whether the other side is still there.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Most bytes of a message of a meeting.
const LIMIT: usize = 64 * 1024;

#[derive(Serialize, Deserialize)]
struct Knock {
    wire: VersionRange,
    /// Proof of the dialer's identity over the exporter, hex.
    proof: String,
    /// What binds the dialer to his number, hex.
    commitment: String,
    name: String,
}

/// A number, hex.
#[derive(Serialize, Deserialize)]
struct NamedBy {
    number: String,
}

/// A meeting that this computer has asked for. It ends when this is dropped, and the other side notices.
pub struct Meeting {
    sender: SendRequest<Body>,
    _connection: AbortOnDropHandle<()>,
    theirs: MeetingNumber,
    address: String,
}

impl fmt::Debug for Meeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meeting").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Asks another computer for a meeting: dials its addresses, proves who we are, binds us to `number`, and takes theirs.
///
/// # Errors
/// See [`JoinError`].
pub async fn ask(
    outbound: &Outbound,
    identity: &Identity,
    key: &OneTimeKey,
    other: DeviceId,
    addresses: &[String],
    number: &MeetingNumber,
    name: &str,
) -> Result<Meeting, JoinError> {
    let (stream, address) = connect(outbound, identity, key, other, addresses).await?;
    let knock = Knock {
        wire: VersionRange::OURS,
        proof: proof(identity, &stream)?,
        commitment: number.commitment(&identity.device_id()).to_hex(),
        name: name.to_owned(),
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| JoinError::Broken(error.to_string()))?;
    let connection = AbortOnDropHandle::new(tokio::spawn(async move {
        // Its failure shows in the exchange.
        drop(connection.await);
    }));
    let told: NamedBy = in_time(ANSWER, exchange(&mut sender, paths::MEET, &knock)).await?;
    let theirs = MeetingNumber::from_hex(&told.number)
        .ok_or_else(|| JoinError::Broken("the other computer told no number".into()))?;
    Ok(Meeting { sender, _connection: connection, theirs, address })
}

impl Meeting {
    /// The number of the other.
    #[must_use]
    pub const fn theirs(&self) -> &MeetingNumber {
        &self.theirs
    }

    /// Where it was reached, `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Tells our number, and waits for the other's person.
    ///
    /// # Errors
    /// See [`JoinError`]; it is refused if the person does.
    pub async fn wait(&mut self, number: &MeetingNumber) -> Result<(), JoinError> {
        let told = NamedBy { number: number.to_hex() };
        let answer: serde_json::Value =
            in_time(PATIENCE + ANSWER, exchange(&mut self.sender, paths::MEET_NUMBER, &told)).await?;
        drop(answer);
        Ok(())
    }

    /// The connection is over: the other has ended the meeting.
    pub async fn ended(&self) {
        while !self.sender.is_closed() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Both people have agreed: tells our keys, and takes theirs.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub async fn join(mut self, message: &JoinMessage) -> Result<JoinMessage, JoinError> {
        let answer: JoinMessage = in_time(ANSWER, exchange(&mut self.sender, paths::JOIN, message)).await?;
        answer.check().map_err(JoinError::Broken)?;
        Ok(answer)
    }
}

async fn in_time<T>(
    longest: Duration,
    exchange: impl Future<Output = Result<T, JoinError>>,
) -> Result<T, JoinError> {
    let late = |_elapsed| JoinError::Broken("the other computer did not answer in time".into());
    tokio::time::timeout(longest, exchange).await.map_err(late)?
}

async fn exchange<T: DeserializeOwned>(
    sender: &mut SendRequest<Body>,
    path: &str,
    message: &(impl Serialize + Sync),
) -> Result<T, JoinError> {
    let broken = |error: &dyn fmt::Display| JoinError::Broken(error.to_string());
    let request = Request::post(path)
        .header(header::HOST, "kith")
        .header(header::CONTENT_TYPE, "application/json")
        .body(json_body(message).map_err(|error| broken(&error))?)
        .map_err(|error| broken(&error))?;
    sender.ready().await.map_err(|error| ended(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| ended(&error))?;
    let status = answer.status();
    let body = collect(boxed(answer.into_body()), LIMIT).await.map_err(|error| broken(&error))?;
    if status == StatusCode::OK {
        return serde_json::from_slice(&body).map_err(|error| broken(&error));
    }
    let refusal: Result<JoinRefusal, _> = serde_json::from_slice(&body);
    Err(JoinError::Refused(refusal.map_or_else(|_| format!("it answered {status}"), |r| r.reason)))
}

fn ended(error: &hyper::Error) -> JoinError {
    match refusal(error) {
        Some(_refused) => JoinError::Refused("it does not look for computers nearby any more".into()),
        None => JoinError::Broken("the other computer ended it".into()),
    }
}

/// Judges one meeting at the listening end. It is dropped when the meeting is over, for whatever reason.
pub trait MeetJudge: Send + Sync {
    /// Somebody asks, who has proved this device id: our number, or the sentence of a refusal.
    ///
    /// # Errors
    /// The refusal.
    fn knock(&self, asker: DeviceId, name: String) -> Result<MeetingNumber, JoinRefusal>;
    /// He has told the number that he was bound to: waits for our person.
    ///
    /// # Errors
    /// The refusal.
    fn decide(&self, theirs: MeetingNumber) -> impl Future<Output = Result<(), JoinRefusal>> + Send;
    /// His person has agreed too. Called only after our person has.
    ///
    /// # Errors
    /// The refusal.
    fn join(&self, message: JoinMessage) -> impl Future<Output = Result<JoinMessage, JoinRefusal>> + Send;
}

/// How far a meeting has come.
enum Step {
    Nothing,
    Bound(DeviceId, Commitment),
    Agreed,
    Over,
}

/// Serves the one meeting of a connection.
pub async fn serve<S, J>(stream: S, exporter: [u8; EXPORTER_LENGTH], judge: J)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    J: MeetJudge + 'static,
{
    let (judge, step) = (Arc::new(judge), Arc::new(Mutex::new(Step::Nothing)));
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (judge, step) = (judge.clone(), step.clone());
        async move {
            let taken = std::mem::replace(&mut *lock(&step), Step::Over);
            let (response, next) = match answer(request, exporter, taken, &*judge).await {
                Ok(answered) => answered,
                Err(reason) => (refuse(StatusCode::FORBIDDEN, &reason), Step::Over),
            };
            *lock(&step) = next;
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .keep_alive(true)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    drop(tokio::time::timeout(PATIENCE + 2 * ANSWER, serving).await);
}

/// The answer, and how far the meeting has come with it. One that was refused is over.
async fn answer<J: MeetJudge>(
    request: Request<Incoming>,
    exporter: [u8; EXPORTER_LENGTH],
    step: Step,
    judge: &J,
) -> Result<(Response<Body>, Step), String> {
    if request.method() != Method::POST {
        return Err("nothing but a meeting is served here".into());
    }
    let path = request.uri().path().to_owned();
    let body = collect(boxed(request.into_body()), LIMIT)
        .await
        .map_err(|error| format!("the request broke off: {error}"))?;
    let (answer, next) = go_on(&path, &body, &exporter, step, judge).await?;
    Ok((Response::new(json_body(&answer).map_err(|error| error.to_string())?), next))
}

/// One step of the meeting.
async fn go_on<J: MeetJudge>(
    path: &str,
    body: &[u8],
    exporter: &[u8; EXPORTER_LENGTH],
    step: Step,
    judge: &J,
) -> Result<(serde_json::Value, Step), String> {
    let reason = |refusal: JoinRefusal| refusal.reason;
    let (answer, next) = match (step, path) {
        (Step::Nothing, paths::MEET) => {
            let knock: Knock = parsed(body)?;
            VersionRange::OURS.agree(knock.wire).map_err(|error| error.to_string())?;
            let asker = proved(&knock.proof, exporter)?;
            let commitment = Commitment::from_hex(&knock.commitment)
                .ok_or("what binds the asker to his number is not understood")?;
            let number = judge.knock(asker, sanitise_name(&knock.name)).map_err(reason)?;
            (serde_json::to_value(NamedBy { number: number.to_hex() }), Step::Bound(asker, commitment))
        }
        (Step::Bound(asker, commitment), paths::MEET_NUMBER) => {
            let told: NamedBy = parsed(body)?;
            let number = MeetingNumber::from_hex(&told.number).ok_or("the number is not understood")?;
            if !commitment.binds(&asker, &number) {
                return Err("this is not the number that the asker was bound to".into());
            }
            judge.decide(number).await.map_err(reason)?;
            (Ok(serde_json::json!({})), Step::Agreed)
        }
        (Step::Agreed, paths::JOIN) => {
            let message: JoinMessage = parsed(body)?;
            message.check()?;
            VersionRange::OURS.agree(message.wire).map_err(|error| error.to_string())?;
            (serde_json::to_value(judge.join(message).await.map_err(reason)?), Step::Over)
        }
        _ => return Err("nothing but a meeting is served here, one step after the other".into()),
    };
    Ok((answer.map_err(|error| error.to_string())?, next))
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("not a message of a meeting: {error}"))
}

fn lock(step: &Mutex<Step>) -> std::sync::MutexGuard<'_, Step> {
    step.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use kith_identity::IdentitySeed;
    use kith_identity::tls::{self, ExporterRole};
    use kith_wire::Report;
    use serde_json::{Value, json};

    use super::*;

    const EXPORTER: [u8; EXPORTER_LENGTH] = [5; EXPORTER_LENGTH];

    /// A person who agrees or not, and what was asked of the computer.
    struct Person {
        agrees: bool,
        asked: Mutex<Vec<String>>,
    }

    impl Person {
        fn new(agrees: bool) -> Self {
            Self { agrees, asked: Mutex::default() }
        }

        fn note(&self, what: String) {
            self.asked.lock().unwrap().push(what);
        }

        fn asked(&self) -> Vec<String> {
            self.asked.lock().unwrap().clone()
        }
    }

    impl MeetJudge for Person {
        fn knock(&self, asker: DeviceId, name: String) -> Result<MeetingNumber, JoinRefusal> {
            self.note(format!("{name} {}", asker == anna().device_id()));
            Ok(MeetingNumber::from_bytes([2; 16]))
        }

        async fn decide(&self, theirs: MeetingNumber) -> Result<(), JoinRefusal> {
            self.note(theirs.to_hex());
            if self.agrees { Ok(()) } else { Err(JoinRefusal { reason: "no".into() }) }
        }

        async fn join(&self, message: JoinMessage) -> Result<JoinMessage, JoinRefusal> {
            self.note(message.report.name.clone());
            Ok(message)
        }
    }

    fn anna() -> Identity {
        Identity::from_seed(&IdentitySeed::from_bytes([1; 32])).unwrap()
    }

    fn number() -> MeetingNumber {
        MeetingNumber::from_bytes([7; 16])
    }

    fn knock(exporter: &[u8; EXPORTER_LENGTH]) -> Value {
        let proof = tls::exporter_proof(&anna(), exporter, ExporterRole::Dialer);
        json!({
            "wire": VersionRange::OURS,
            "proof": data_encoding::HEXLOWER.encode(&proof),
            "commitment": number().commitment(&anna().device_id()).to_hex(),
            "name": "anna\u{202e}",
        })
    }

    fn join() -> Value {
        serde_json::to_value(JoinMessage {
            wire: VersionRange::OURS,
            program: "kith".into(),
            invite: String::new(),
            own: false,
            dial_in: "the key".into(),
            recovery: String::new(),
            reach: String::new(),
            report: Report { name: "anna".into(), ..Report::default() },
        })
        .unwrap()
    }

    /// Takes steps one after the other, as far as they are answered; the last answer, or the refusal.
    async fn steps(person: &Person, steps: &[(&str, Value)]) -> Result<Value, String> {
        let mut step = Step::Nothing;
        let mut last = Value::Null;
        for (path, body) in steps {
            let (answer, next) = go_on(path, body.to_string().as_bytes(), &EXPORTER, step, person).await?;
            (last, step) = (answer, next);
        }
        Ok(last)
    }

    fn told(number: &MeetingNumber) -> Value {
        json!({ "number": number.to_hex() })
    }

    #[tokio::test]
    async fn three_steps_lead_to_the_keys_of_the_other() {
        let person = Person::new(true);
        let all =
            [(paths::MEET, knock(&EXPORTER)), (paths::MEET_NUMBER, told(&number())), (paths::JOIN, join())];
        assert_eq!(steps(&person, &all).await.unwrap()["dial_in"], "the key");
        assert_eq!(person.asked(), ["anna true", &number().to_hex(), "anna"]);
    }

    #[tokio::test]
    async fn nobody_who_leaves_out_a_step_or_takes_one_twice_gets_on() {
        let [first, second, third] =
            [(paths::MEET, knock(&EXPORTER)), (paths::MEET_NUMBER, told(&number())), (paths::JOIN, join())];
        for wrong in [
            vec![third.clone()],
            vec![second.clone()],
            vec![first.clone(), third.clone()],
            vec![first.clone(), first.clone()],
            vec![first.clone(), second.clone(), second.clone()],
            vec![first, second, third.clone(), third],
            vec![(paths::HELLO, json!({}))],
        ] {
            let person = Person::new(true);
            let refused = steps(&person, &wrong).await.unwrap_err();
            assert!(refused.contains("one step after the other"), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_number_that_is_not_the_one_he_was_bound_to_is_shown_to_nobody() {
        let person = Person::new(true);
        let other = MeetingNumber::from_bytes([8; 16]);
        let both = [(paths::MEET, knock(&EXPORTER)), (paths::MEET_NUMBER, told(&other))];
        let refused = steps(&person, &both).await.unwrap_err();
        assert!(refused.contains("bound to"), "{refused}");
        assert_eq!(person.asked(), ["anna true"]);
    }

    #[tokio::test]
    async fn keys_are_not_taken_from_one_whom_the_person_refused() {
        let person = Person::new(false);
        let all =
            [(paths::MEET, knock(&EXPORTER)), (paths::MEET_NUMBER, told(&number())), (paths::JOIN, join())];
        assert_eq!(steps(&person, &all).await.unwrap_err(), "no");
        assert_eq!(person.asked().len(), 2);
    }

    #[tokio::test]
    async fn an_identity_that_is_not_proved_for_this_very_connection_is_refused() {
        let person = Person::new(true);
        let refused = steps(&person, &[(paths::MEET, knock(&[6; EXPORTER_LENGTH]))]).await.unwrap_err();
        assert!(refused.contains("does not hold"), "{refused}");
        assert!(person.asked().is_empty());
    }
}
