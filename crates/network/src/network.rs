//! The handle, and the task that watches.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use crate::burst::Burst;
use crate::news::News;
use crate::platform::{self, KernelNews};
use crate::sleep::SleepWatch;
use crate::snapshot::Snapshot;

/// Between two looks at the clocks.
const TICK: Duration = Duration::from_secs(10);
/// Between two looks at the network where the kernel doesn't tell.
const POLL: Duration = Duration::from_secs(5);
/// Pause after a look at the network before the next one: where routes change without end, as with a routing daemon or a card
/// that flaps, neither the looks nor what others do upon the news may take all of the computer's time.
const PAUSE: Duration = Duration::from_secs(1);
/// Pause before the kernel is asked for news again after it refused.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// The network as it is now, and the news of its changes. Cheap to clone; the watching ends with the last clone.
#[derive(Clone, Debug)]
pub struct Network {
    news: watch::Receiver<News>,
    /// None if it is played.
    _task: Option<Arc<AbortOnDropHandle<()>>>,
}

impl Network {
    /// Looks at the network at once, then watches it. Never fails: where the kernel gives no news, it is looked at every
    /// five seconds.
    ///
    /// The first look is taken before it returns, as by [`Snapshot::take`]: call it on a thread that may block, which is
    /// `tokio::task::spawn_blocking(Network::start)` from asynchronous code.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn start() -> Self {
        // Before the first look, so that nothing is missed between the two.
        let source = Source::start();
        let (sender, news) = watch::channel(News::new(Snapshot::take()));
        let task = tokio::spawn(run(source, sender));
        Self { news, _task: Some(Arc::new(AbortOnDropHandle::new(task))) }
    }

    /// A network that the holder of the sender plays, for tests and simulations: it begins with this snapshot, and what is
    /// sent is the news.
    #[must_use]
    pub fn played(snapshot: Snapshot) -> (Self, watch::Sender<News>) {
        let (sender, news) = watch::channel(News::new(snapshot));
        (Self { news, _task: None }, sender)
    }

    /// The newest look at the network.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.news.borrow().snapshot.clone()
    }

    /// The news: changed with every change of the network that matters to other computers and with every resume. It ends
    /// with the last clone of this handle.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<News> {
        let mut news = self.news.clone();
        // Whoever asks has the newest in his hands.
        news.mark_unchanged();
        news
    }
}

/// How long it is since some moment, by a clock that goes on while the computer sleeps and that nobody sets; where the system has
/// none, by the time of day.
#[must_use]
pub fn through_sleep() -> Duration {
    platform::clocks().through_sleep
}

async fn run(source: Source, news: watch::Sender<News>) {
    let mut sleep = SleepWatch::new(platform::clocks());
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut events = SourceAndTick { source, tick };
    let mut due = Instant::now();
    loop {
        let burst = gather(&mut events, due).await;
        // After a resume the network's messages come first, mostly.
        let slept = sleep.look(platform::clocks());
        if burst.is_empty() && slept.is_none() {
            continue;
        }
        let look = tokio::task::spawn_blocking(Snapshot::take).await;
        due = Instant::now() + PAUSE;
        let Ok(snapshot) = look else { continue };
        let mut changed = false;
        news.send_if_modified(|news| {
            let before = news.changes;
            let told = news.update(snapshot, &burst, slept);
            changed = news.changes != before;
            told
        });
        if let Some(slept) = slept {
            info!(seconds = slept.as_secs(), "the computer woke from sleep");
        }
        if changed {
            debug!(?burst, "the network changed");
        }
    }
}

/// Waits for something to happen, and then for the time when a look is due: what happens until then belongs to it.
async fn gather(events: &mut impl Events, due: Instant) -> Burst {
    let mut burst = events.next().await;
    while Instant::now() < due {
        if let Ok(more) = timeout_at(due, events.next()).await {
            burst.merge(more);
        }
    }
    burst
}

/// What happens, one after the other.
trait Events {
    /// The next; an empty one if it is only time to look at the clocks. May be dropped and called again.
    fn next(&mut self) -> impl Future<Output = Burst> + Send;
}

struct SourceAndTick {
    source: Source,
    tick: Interval,
}

impl Events for SourceAndTick {
    async fn next(&mut self) -> Burst {
        tokio::select! {
            burst = self.source.next() => burst,
            _ = self.tick.tick() => Burst::default(),
        }
    }
}

/// Where the news come from.
struct Source {
    kernel: Option<KernelNews>,
    /// When to look, without the kernel's news.
    look: Instant,
    /// When to ask the kernel again; never where it can't tell at all.
    ask: Option<Instant>,
    warned: bool,
}

impl Source {
    fn start() -> Self {
        let mut source = Self { kernel: None, look: Instant::now() + POLL, ask: None, warned: false };
        source.ask();
        source
    }

    fn ask(&mut self) {
        self.ask = None;
        match KernelNews::open() {
            Ok(kernel) => {
                self.kernel = kernel;
                if self.warned && self.kernel.is_some() {
                    info!("the system tells again when the network changes");
                    self.warned = false;
                }
            }
            Err(error) => self.refused(&error),
        }
    }

    fn refused(&mut self, error: &std::io::Error) {
        self.kernel = None;
        self.ask = Some(Instant::now() + ASK_AGAIN);
        if self.warned {
            debug!(%error, "the system still doesn't tell when the network changes");
        } else {
            warn!(%error, "the system doesn't tell when the network changes; looking every {} s instead", POLL.as_secs());
            self.warned = true;
        }
    }

    /// Waits for the next burst of messages, or for the time of the next look. May be dropped and called again.
    async fn next(&mut self) -> Burst {
        let mut burst = Burst::default();
        if let Some(kernel) = &mut self.kernel {
            match kernel.burst().await {
                Ok(burst) => return burst,
                Err(error) => self.refused(&error),
            }
            self.look = Instant::now();
        }
        tokio::time::sleep_until(self.look).await;
        self.look = Instant::now() + POLL;
        if self.ask.is_some_and(|ask| ask <= Instant::now()) {
            self.ask();
        }
        burst.look();
        burst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(50);

    /// Something about another interface with every step.
    struct Churn {
        index: u32,
        ticks: Interval,
    }

    impl Events for Churn {
        async fn next(&mut self) -> Burst {
            self.ticks.tick().await;
            self.index += 1;
            let mut burst = Burst::default();
            burst.interface(self.index);
            burst
        }
    }

    #[tokio::test]
    async fn the_watch_ends_with_the_last_clone() {
        let network = tokio::task::spawn_blocking(Network::start).await.unwrap();
        let mut news = network.watch();
        assert!(!news.has_changed().unwrap());
        let clone = network.clone();
        drop(network);
        assert_eq!(clone.snapshot(), news.borrow_and_update().snapshot);
        drop(clone);
        let end = async { while news.changed().await.is_ok() {} };
        assert!(tokio::time::timeout(Duration::from_secs(10), end).await.is_ok());
    }

    #[tokio::test]
    async fn a_played_network_tells_what_is_sent() {
        let (network, sender) = Network::played(Snapshot::default());
        let mut news = network.watch();
        assert!(!news.has_changed().unwrap());
        sender.send_modify(|news| news.resumes += 1);
        assert!(news.changed().await.is_ok());
        assert_eq!(news.borrow().resumes, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn without_the_kernels_news_the_network_is_looked_at_every_five_seconds() {
        let mut source = Source { kernel: None, look: Instant::now() + POLL, ask: None, warned: true };
        let start = Instant::now();
        for _ in 0..3 {
            assert!(!source.next().await.is_empty());
        }
        assert_eq!(start.elapsed(), 3 * POLL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_that_never_rests_is_looked_at_at_once_and_then_once_a_second() {
        let start = Instant::now();
        let mut churn = Churn { index: 0, ticks: tokio::time::interval_at(start + STEP, STEP) };
        let (mut due, mut looks, mut seen) = (start, Vec::new(), Burst::default());
        while looks.len() < 4 {
            seen.merge(gather(&mut churn, due).await);
            looks.push(start.elapsed());
            due = Instant::now() + PAUSE;
        }
        assert_eq!(looks[0], STEP);
        assert!(looks.windows(2).all(|pair| pair[1] - pair[0] == PAUSE), "{looks:?}");
        // Nothing of what happened between the looks is lost.
        let mut all = Burst::default();
        (1..=churn.index).for_each(|index| all.interface(index));
        assert_eq!(seen, all);
        assert!(churn.index >= 60, "{}", churn.index);
    }

    #[tokio::test(start_paused = true)]
    async fn a_kernel_that_refused_is_asked_again_and_warned_of_once() {
        let mut source = Source { kernel: None, look: Instant::now(), ask: None, warned: false };
        source.refused(&std::io::Error::other("refused"));
        assert!(source.warned && source.kernel.is_none());
        let start = Instant::now();
        while source.ask.is_some() {
            assert!(!source.next().await.is_empty());
        }
        assert!(start.elapsed() >= ASK_AGAIN && start.elapsed() <= ASK_AGAIN + POLL);
        assert_eq!(
            (source.kernel.is_some(), source.warned),
            (cfg!(target_os = "linux"), !cfg!(target_os = "linux"))
        );
    }
}
