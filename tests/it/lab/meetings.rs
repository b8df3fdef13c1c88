//! Two people in one network look for each other's computer, compare the words, and become friends: both of them, or none.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use e2e::lab::{Host, Lab, Site, SiteKind};
use e2e::{Computer, need_lab, say, wait_for, wait_until};
use serde_json::{Value, json};

/// Until one who shows himself is listed.
const LISTED: Duration = Duration::from_secs(5);
/// How long the people have.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the app says to the daemon.
fn api(computer: &Computer, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let mut socket = UnixStream::connect(computer.home().join("run/control.sock")).unwrap();
    let body = if *body == Value::Null { String::new() } else { body.to_string() };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    (status, serde_json::from_str(body).unwrap_or_default())
}

fn near(computer: &Computer) -> Value {
    api(computer, "GET", "/v1/near", &Value::Null).1
}

#[track_caller]
fn look(computer: &Computer) {
    let (status, view) = api(computer, "POST", "/v1/near", &json!({}));
    assert_eq!(status, 200, "{view:#}");
    assert!(view["open_until"].is_string(), "{view:#}");
}

/// The newest meeting.
fn meeting(computer: &Computer) -> Value {
    near(computer)["meetings"].as_array().and_then(|all| all.last().cloned()).unwrap_or_default()
}

#[track_caller]
fn say_of(computer: &Computer, what: &str, body: &Value) -> Value {
    let id = meeting(computer)["id"].as_u64().unwrap();
    let (status, view) = api(computer, "POST", &format!("/v1/near/meetings/{id}/{what}"), body);
    assert_eq!(status, 200, "{view:#}");
    view
}

fn friends(computer: &Computer) -> usize {
    computer.kith(&["friends", "--json"]).json().as_array().unwrap().len()
}

/// Two computers in one network that list each other.
struct Two {
    _site: Site,
    anna: Computer,
    bert: Computer,
    third: Host,
}

impl Two {
    #[track_caller]
    fn start(lab: &Lab) -> Self {
        let mut site = lab.site(SiteKind::plain());
        let (second, third) = (site.add_host(), site.add_host());
        let (anna, bert) = (Computer::in_host("anna", site.host()), Computer::in_host("bert", &second));
        anna.start();
        bert.start();
        look(&anna);
        assert_eq!(near(&anna)["computers"], json!([]), "bert does not show himself");
        look(&bert);
        let two = Self { _site: site, anna, bert, third };
        for (one, other) in [(&two.anna, &two.bert), (&two.bert, &two.anna)] {
            let ((), took) = wait_for("both to be listed", LISTED, || {
                let listed = near(one)["computers"].take();
                (listed[0]["device_id"] == other.device_id() && listed[0]["name"] == other.name())
                    .then_some(())
            });
            say(&format!("{} sees {} after {took:?}", one.name(), other.name()));
        }
        two
    }

    /// Anna asks; both see the same words.
    #[track_caller]
    fn ask(&self) -> String {
        let ask = json!({ "device_id": self.bert.device_id() });
        let (status, asked) = api(&self.anna, "POST", "/v1/near/meetings", &ask);
        assert_eq!((status, &asked["asked_here"]), (200, &json!(true)), "{asked:#}");
        let comparing = |computer: &Computer| {
            let meeting = meeting(computer);
            (meeting["state"] == "comparing").then(|| meeting["safety_words"].as_str().unwrap().to_owned())
        };
        let (here, _) = wait_for("words at anna's", LISTED, || comparing(&self.anna));
        let (there, _) = wait_for("words at bert's", LISTED, || comparing(&self.bert));
        assert_eq!(here, there);
        assert_eq!(here.split(' ').count(), 6, "{here}");
        assert_eq!(meeting(&self.bert)["name"], "anna");
        assert_eq!(meeting(&self.bert)["device_id"], self.anna.device_id());
        here
    }

    #[track_caller]
    fn wait_ended(&self, longest: Duration) {
        for computer in [&self.anna, &self.bert] {
            wait_until("the meeting to end", longest, || meeting(computer)["state"] == "ended");
        }
        self.assert_strangers();
    }

    #[track_caller]
    fn assert_strangers(&self) {
        assert_eq!((friends(&self.anna), friends(&self.bert)), (0, 0));
    }

    #[track_caller]
    fn wait_friends(&self) {
        wait_until("both to be linked", Duration::from_secs(5), || {
            friends(&self.anna) == 1
                && self.anna.linked("bert")
                && friends(&self.bert) == 1
                && self.bert.linked("anna")
        });
    }
}

#[test]
fn two_people_become_friends_when_both_have_confirmed_and_not_before() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("meeting");
    let two = Two::start(&lab);
    let words = two.ask();
    say_of(&two.anna, "confirm", &json!({ "own": true }));
    std::thread::sleep(Duration::from_secs(2));
    two.assert_strangers();
    assert_eq!(meeting(&two.bert)["state"], "comparing");
    let confirmed = Instant::now();
    say_of(&two.bert, "confirm", &json!({ "own": true, "quota_bytes": 7_000_000_000_u64 }));
    two.wait_friends();
    say(&format!("linked {:?} after the second confirmation", confirmed.elapsed()));
    for (one, other) in [(&two.anna, "bert"), (&two.bert, "anna")] {
        let friend = one.friend(other);
        assert_eq!(friend["safety_words"], words);
        assert_eq!((&friend["own"], &friend["path"]), (&json!(true), &json!("lan")));
        assert_eq!(meeting(one)["state"], "friends");
        assert_eq!(near(one)["computers"][0]["friend"], other);
    }
    assert_eq!(two.anna.friend("bert")["offered_bytes"], 7_000_000_000_u64);
}

#[test]
fn own_computers_are_own_only_if_both_people_said_so_and_the_order_of_the_confirmations_does_not_matter() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("meeting-own");
    let two = Two::start(&lab);
    two.ask();
    say_of(&two.bert, "confirm", &json!({ "own": true }));
    wait_until("anna to hear it", LISTED, || meeting(&two.anna)["confirmed_there"] == true);
    two.assert_strangers();
    say_of(&two.anna, "confirm", &json!({}));
    two.wait_friends();
    assert_eq!(
        (&two.anna.friend("bert")["own"], &two.bert.friend("anna")["own"]),
        (&json!(false), &json!(false))
    );
}

#[test]
fn nothing_happens_where_one_refuses_or_closes_or_goes_away() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("meeting-refused");
    let two = Two::start(&lab);
    // The one who is asked does not want it, after the other has confirmed.
    two.ask();
    say_of(&two.anna, "confirm", &json!({}));
    say_of(&two.bert, "refuse", &json!({}));
    two.wait_ended(LISTED);
    assert!(meeting(&two.anna)["outcome"].as_str().unwrap().contains("did not want it"));
    let (status, _) = api(&two.anna, "POST", "/v1/near/meetings/1/confirm", &json!({}));
    assert_eq!(status, 409, "there is nothing to confirm any more");
    // The one who asked changes his mind, after the other has confirmed.
    two.ask();
    say_of(&two.bert, "confirm", &json!({}));
    say_of(&two.anna, "refuse", &json!({}));
    two.wait_ended(LISTED);
    // The one who is asked agrees, and then changes his mind.
    two.ask();
    say_of(&two.bert, "confirm", &json!({}));
    // Who refuses before the other one is told that he agreed has never agreed.
    wait_until("anna to hear of the first", LISTED, || meeting(&two.anna)["confirmed_there"] == true);
    say_of(&two.bert, "refuse", &json!({}));
    say_of(&two.anna, "confirm", &json!({}));
    two.wait_ended(LISTED);
    // Bert stops looking.
    two.ask();
    assert_eq!(api(&two.bert, "DELETE", "/v1/near", &Value::Null).0, 204);
    two.wait_ended(LISTED);
    wait_until("bert to be gone from the list", LISTED, || near(&two.anna)["computers"] == json!([]));
    let (status, _) =
        api(&two.anna, "POST", "/v1/near/meetings", &json!({ "device_id": two.bert.device_id() }));
    assert_eq!(status, 404);
    // His computer is switched off in the middle of it.
    look(&two.bert);
    wait_until("bert to be listed again", LISTED, || near(&two.anna)["computers"][0]["name"] == "bert");
    two.ask();
    say_of(&two.anna, "confirm", &json!({}));
    two.bert.kill();
    wait_until("the meeting to end", LISTED, || meeting(&two.anna)["state"] == "ended");
    assert_eq!(friends(&two.anna), 0);
}

#[test]
fn nothing_happens_where_nobody_answers_for_two_minutes() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("meeting-late");
    let two = Two::start(&lab);
    let begun = Instant::now();
    two.ask();
    say_of(&two.anna, "confirm", &json!({}));
    two.wait_ended(PATIENCE + Duration::from_secs(10));
    let took = begun.elapsed();
    assert!(took > PATIENCE - Duration::from_secs(2) && took < PATIENCE + Duration::from_secs(8), "{took:?}");
    let (status, view) = api(&two.bert, "POST", "/v1/near/meetings/1/confirm", &json!({}));
    assert!(status == 409 || status == 404, "{view:#}");
}

#[test]
fn whoever_was_not_asked_and_does_not_look_is_neither_seen_nor_open_and_both_may_ask_at_once() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("meeting-glare");
    let two = Two::start(&lab);
    let carl = Computer::in_host("carl", &two.third);
    carl.start();
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(near(&carl)["open_until"], Value::Null);
    assert_eq!(near(&carl)["computers"], json!([]));
    for computer in [&two.anna, &two.bert] {
        assert!(!near(computer)["computers"].to_string().contains("carl"));
    }
    // Both press the button.
    std::thread::scope(|scope| {
        for (one, other) in [(&two.anna, &two.bert), (&two.bert, &two.anna)] {
            let ask = json!({ "device_id": other.device_id() });
            scope.spawn(move || api(one, "POST", "/v1/near/meetings", &ask));
        }
    });
    let open = |computer: &Computer| {
        let meetings = near(computer)["meetings"].as_array().cloned().unwrap_or_default();
        let open: Vec<Value> =
            meetings.into_iter().filter(|meeting| meeting["state"] == "comparing").collect();
        (open.len() == 1).then(|| open[0].clone())
    };
    let (here, _) = wait_for("one meeting at anna's", LISTED, || open(&two.anna));
    let (there, _) = wait_for("one meeting at bert's", LISTED, || open(&two.bert));
    assert_eq!(here["safety_words"], there["safety_words"]);
    for (computer, meeting) in [(&two.anna, here), (&two.bert, there)] {
        let path = format!("/v1/near/meetings/{}/confirm", meeting["id"]);
        assert_eq!(api(computer, "POST", &path, &json!({})).0, 200);
    }
    two.wait_friends();
}

#[test]
fn where_nothing_may_be_announced_the_app_says_why() {
    if !need_lab() {
        return;
    }
    let lab = Lab::new("meeting-off");
    let site = lab.site(SiteKind::plain());
    let anna = Computer::in_host_with("anna", site.host(), "[network]\noutbound-only = true\n");
    anna.start();
    let (status, refused) = api(&anna, "POST", "/v1/near", &json!({}));
    assert_eq!(status, 403, "{refused:#}");
    assert!(refused["message"].as_str().unwrap().contains("network.outbound-only"), "{refused:#}");
    assert!(near(&anna)["unavailable"].as_str().unwrap().contains("network.outbound-only"));
}
