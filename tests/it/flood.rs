//! A flood of strangers at the inbound port of a real daemon, and a friend who wants to get in.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use e2e::{
    Computer, Random, alone, forget_memory_peak, memory_peak_kib, memory_resident_kib, pair, release_binary,
    say, wait_for, wait_until,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

const IDLE: usize = 3000;
const NEW_PER_SECOND: usize = 2000;
/// What a new stranger does is done after this time, and he leaves.
const STAY: Duration = Duration::from_millis(800);
/// Everything together never takes longer.
const LONGEST: Duration = Duration::from_secs(90);

/// Longest wait for what has no bound of its own, on a machine with much else to do.
const SOON: Duration = Duration::from_secs(30);
const FRIEND_IS_IN: Duration = Duration::from_secs(2);
/// Whoever was thrown out once pauses for up to a second: that may happen to one dial of four, and he is in by then.
const IN_BY_THEN: Duration = Duration::from_secs(10);
/// How often he is to get in.
const TIMES: usize = 4;
/// Measurements that are repeated, because the flood stood still meanwhile.
const MOST_REPEATED: usize = 4;
/// Longest time in which the flooding thread does nothing. If it was longer, the machine stood still, and nobody was measured.
const STOOD_STILL: Duration = Duration::from_millis(500);
/// Least strangers a second, beside the idle ones.
const A_FLOOD: usize = NEW_PER_SECOND * 9 / 10;
const MOST_GROWTH_KIB: u64 = 64 * 1024;

/// From where strangers come: as many networks as this, one after the other.
#[derive(Clone, Copy)]
enum From {
    ManyNetworks,
    TheFriendsAddress,
}

impl From {
    fn address(self, number: usize) -> Ipv4Addr {
        match self {
            Self::ManyNetworks => Ipv4Addr::new(127, 10, u8::try_from(number % 64).unwrap(), 1),
            Self::TheFriendsAddress => Ipv4Addr::LOCALHOST,
        }
    }
}

/// What new strangers say.
struct Words {
    said: Vec<Vec<u8>>,
    random: Random,
    /// Of the ClientHello without a real tag, where its tag is.
    tag_at: usize,
}

/// Characters of a tag.
const TAG: usize = 52;

impl Words {
    /// What a friend says who has the key: caught on its way, and never delivered.
    fn caught(friend: &Computer) -> Self {
        let trap = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = trap.local_addr().unwrap().port().to_string();
        let hello = std::thread::scope(|scope| {
            let caught = scope.spawn(|| {
                let (mut dialer, _) = trap.accept().unwrap();
                let mut head = [0; 5];
                dialer.read_exact(&mut head).unwrap();
                let mut hello = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
                dialer.read_exact(&mut hello).unwrap();
                [&head, hello.as_slice()].concat()
            });
            friend.kith(&["probe", "127.0.0.1", &port, "--expect", "anna"]).ended(1);
            caught.join().unwrap()
        });
        let suffix = hello.windows(8).position(|part| part == b".invalid").expect("a tag in the ClientHello");
        let tag_at = suffix - TAG;
        let mut untagged = hello.clone();
        // The number of the extension that the name is in, before three lengths and a kind.
        assert_eq!(untagged[tag_at - 9..tag_at - 7], [0, 0]);
        untagged[tag_at - 9..tag_at - 7].copy_from_slice(&[0xfa, 0xfa]);
        let said = vec![
            Vec::new(),
            b"\x16\x03\x01\x00\x00\xff not what it seems".to_vec(),
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            hello[..hello.len() / 2].to_vec(),
            untagged,
            hello.clone(),
            hello,
        ];
        Self { said, random: Random::new(7), tag_at }
    }

    /// What the n-th stranger says. The last of the kinds has a tag that nobody made.
    fn of(&mut self, number: usize) -> Vec<u8> {
        let kind = number % self.said.len();
        let mut said = self.said[kind].clone();
        if kind == self.said.len() - 1 {
            let letters = b"abcdefghijklmnopqrstuvwxyz234567";
            for letter in &mut said[self.tag_at..self.tag_at + TAG - 1] {
                *letter = letters[usize::try_from(self.random.below(32)).unwrap()];
            }
        }
        said
    }
}

/// Strangers, for as long as this lives.
struct Flood {
    stop: Arc<AtomicBool>,
    opened: Arc<AtomicUsize>,
    idle: Arc<AtomicUsize>,
    pauses: Arc<Mutex<Pauses>>,
    thread: Option<JoinHandle<()>>,
    begun: Instant,
}

/// How long the flooding thread did nothing.
struct Pauses {
    round: Instant,
    longest: Duration,
}

impl Pauses {
    fn until(&self, now: Instant) -> Duration {
        self.longest.max(now - self.round)
    }
}

impl Flood {
    fn begin(to: u16, from: From, mut words: Words) -> Self {
        let (stop, opened, idle) = (Arc::new(AtomicBool::new(false)), Arc::default(), Arc::default());
        let begun = Instant::now();
        let pauses = Arc::new(Mutex::new(Pauses { round: begun, longest: Duration::ZERO }));
        let mut flood = Self { stop, opened, idle, pauses, thread: None, begun };
        let (stop, opened, idle) = (flood.stop.clone(), flood.opened.clone(), flood.idle.clone());
        let pauses = flood.pauses.clone();
        flood.thread = Some(std::thread::spawn(move || {
            let to = SocketAddr::from((Ipv4Addr::LOCALHOST, to));
            let mut crowd = Crowd { to, from, sitting: Vec::new(), looked_at: 0 };
            let mut passing = VecDeque::new();
            while !stop.load(Ordering::Relaxed) && begun.elapsed() < LONGEST {
                {
                    let (mut pauses, now) = (pauses.lock().unwrap(), Instant::now());
                    *pauses = Pauses { round: now, longest: pauses.until(now) };
                }
                crowd.sit();
                idle.store(crowd.sitting.len(), Ordering::Relaxed);
                let due = usize::try_from(begun.elapsed().as_millis()).unwrap() * NEW_PER_SECOND / 1000;
                // Who is late makes up for it, but not at once.
                for number in (opened.load(Ordering::Relaxed)..due).take(NEW_PER_SECOND / 20) {
                    opened.fetch_add(1, Ordering::Relaxed);
                    if let Some(stranger) = knock(from.address(number), to) {
                        passing.push_back((Instant::now(), stranger, Some(words.of(number))));
                    }
                }
                for (since, stranger, said) in &mut passing {
                    if since.elapsed() >= Duration::from_millis(10)
                        && let Some(said) = said.take()
                    {
                        // Whoever was thrown out can't say it any more.
                        drop(stranger.write_all(&said));
                    }
                }
                while passing.front().is_some_and(|(since, ..)| since.elapsed() >= STAY) {
                    passing.pop_front();
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }));
        flood
    }

    /// New strangers per second, up to now.
    fn pace(&self) -> usize {
        let milliseconds = usize::try_from(self.begun.elapsed().as_millis()).unwrap().max(1);
        self.opened.load(Ordering::Relaxed) * 1000 / milliseconds
    }

    /// Waits until as many have come as should have, and says how many a second: after a pause it makes up for what it missed.
    #[track_caller]
    fn wait_at_pace(&self) -> usize {
        let flooding = || Some(self.pace()).filter(|pace| *pace >= A_FLOOD);
        wait_for("the flood to be one", SOON, flooding).0
    }

    /// The longest time in which it did nothing since the last question.
    fn longest_pause(&self) -> Duration {
        let (mut pauses, now) = (self.pauses.lock().unwrap(), Instant::now());
        let longest = pauses.until(now);
        *pauses = Pauses { round: now, longest: Duration::ZERO };
        longest
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its failure shows in what was asserted of it.
            drop(thread.join());
        }
    }
}

/// Those who come and say nothing, and come again when they are thrown out.
struct Crowd {
    to: SocketAddr,
    from: From,
    sitting: Vec<Socket>,
    looked_at: usize,
}

impl Crowd {
    fn sit(&mut self) {
        for number in self.sitting.len()..(self.sitting.len() + 100).min(IDLE) {
            self.sitting.extend(knock(self.from.address(number), self.to));
        }
        for _ in 0..self.sitting.len().min(100) {
            self.looked_at = (self.looked_at + 1) % self.sitting.len();
            let mut bytes = [MaybeUninit::uninit(); 512];
            let is_there = match self.sitting[self.looked_at].recv(&mut bytes) {
                Ok(length) => length > 0,
                Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected),
            };
            if !is_there && let Some(again) = knock(self.from.address(self.looked_at), self.to) {
                self.sitting[self.looked_at] = again;
            }
        }
    }
}

/// Begins a connection and doesn't wait for it. It will end in a reset, so that no port stays taken.
fn knock(from: Ipv4Addr, to: SocketAddr) -> Option<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
    socket.set_nonblocking(true).ok()?;
    socket.set_linger(Some(Duration::ZERO)).ok()?;
    socket.bind(&SocketAddr::from((from, 0)).into()).ok()?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(nix::libc::EINPROGRESS) => None,
        _ => Some(socket),
    }
}

/// There are as many sockets in this process as in the daemon.
fn raise_file_limit() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(16_384), hard).unwrap();
}

#[track_caller]
fn check(from: From) {
    // Others' work would count against the two seconds.
    let _alone = alone();
    raise_file_limit();
    let anna = Computer::new("anna", "").of_program(release_binary());
    // What is to be shown is a dial to the flooded port: the friend can't be dialled himself.
    let bert = Computer::new("bert", "[network]\noutbound-only = true\n").of_program(release_binary());
    anna.start();
    bert.start();
    pair(&anna, &bert);
    let words = Words::caught(&bert);
    forget_memory_peak(anna.pid());
    let before = memory_resident_kib(anna.pid());
    let flood = Flood::begin(anna.port(), from, words);
    wait_until("the flood to rise", SOON, || {
        flood.idle.load(Ordering::Relaxed) == IDLE && flood.begun.elapsed() >= Duration::from_secs(2)
    });
    let (mut times, mut repeated) = (Vec::new(), Vec::new());
    while times.len() < TIMES {
        flood.wait_at_pace();
        flood.longest_pause();
        let since = bert.friend("anna")["connected_since"].clone();
        let asked = Instant::now();
        bert.kith(&["ra"]).ok();
        wait_until("the friend to get in", SOON, || {
            let anna = bert.friend("anna");
            anna["connected"] == true && anna["connected_since"] != since
        });
        let (time, pause) = (asked.elapsed(), flood.longest_pause());
        if pause > STOOD_STILL && repeated.len() < MOST_REPEATED {
            repeated.push((time, pause));
        } else {
            times.push(time);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(anna.linked("bert"));
    // The most that it ever was, not what is left when somebody looks.
    let most = memory_peak_kib(anna.pid());
    let (pace, growth) = (flood.wait_at_pace(), most.saturating_sub(before));
    let lasted = flood.begun.elapsed();
    drop(flood);
    say(&format!(
        "{pace} new strangers a second for {lasted:?} beside {IDLE} idle ones: the friend was in after {times:?}; \
         not counted, as the flood stood still: {repeated:?}; {before} KiB resident before, at most {most} KiB"
    ));
    assert!(lasted < LONGEST, "the flood had ended already");
    times.sort();
    assert!(times[TIMES - 2] < FRIEND_IS_IN, "the friend got in after {times:?}");
    assert!(times[TIMES - 1] < IN_BY_THEN, "the friend got in after {times:?}");
    assert!(growth < MOST_GROWTH_KIB, "it grew by {growth} KiB");
    // When it is over nothing is left of it.
    let person = wait_until("a person to be greeted", Duration::from_secs(5), || {
        let mut said = String::new();
        // What the flood has left behind in queues may still push him out.
        let greeted = std::net::TcpStream::connect(("127.0.0.1", anna.port())).and_then(|mut stream| {
            stream.write_all(b"hello\r\n")?;
            stream.read_to_string(&mut said)
        });
        greeted.is_ok() && said.starts_with("this port is open")
    });
    assert!(person < Duration::from_secs(5));
}

#[test]
fn a_friend_gets_in_within_two_seconds_while_thousands_of_strangers_come_from_everywhere() {
    check(From::ManyNetworks);
}

#[test]
fn a_friend_gets_in_within_two_seconds_while_thousands_of_strangers_come_from_his_own_address() {
    check(From::TheFriendsAddress);
}
