//! Tests of the queue: data in, commands out.

use super::*;

fn target(set: &str, friend: &str) -> Target {
    Target { set: set.into(), friend: friend.into(), archive: format!("archive at {friend}") }
}

fn start(id: u64, set: &str, friend: &str) -> Command {
    Command::Start { id: JobId(id), target: target(set, friend) }
}

fn stop(id: u64) -> Command {
    Command::Stop { id: JobId(id) }
}

/// A queue with these requests in it, and the commands they led to.
fn queue(limit: usize, requests: &[(&str, &str)]) -> (Queue, Vec<Command>) {
    let mut queue = Queue::new(limit);
    let mut commands = Vec::new();
    for (set, friend) in requests {
        commands.extend(queue.request(target(set, friend), 0).unwrap().1);
    }
    (queue, commands)
}

fn state(queue: &Queue, id: u64) -> JobState {
    queue.job(JobId(id)).unwrap().state.clone()
}

#[test]
fn friends_are_served_side_by_side_and_each_one_in_order() {
    let (mut queue, commands) = queue(4, &[("a", "bert"), ("b", "bert"), ("a", "cleo")]);
    assert_eq!(commands, [start(1, "a", "bert"), start(3, "a", "cleo")]);
    assert_eq!(queue.ended(JobId(3), 5), []);
    assert_eq!(queue.ended(JobId(1), 6), [start(2, "b", "bert")]);
    assert_eq!(state(&queue, 2), JobState::Running { since_ms: 6 });
    assert_eq!(state(&queue, 1), JobState::Finished { at_ms: 6, result: JobResult::Done });
}

#[test]
fn one_archive_has_one_writer_even_with_two_friends_names() {
    let mut queue = Queue::new(4);
    let same = |friend: &str| Target { set: "a".into(), friend: friend.into(), archive: "one".into() };
    assert_eq!(queue.request(same("bert"), 0).unwrap().1.len(), 1);
    assert_eq!(queue.request(same("cleo"), 0).unwrap().1, []);
}

#[test]
fn no_more_than_the_limit_run_at_once() {
    let (mut limited, commands) = queue(2, &[("a", "bert"), ("a", "cleo"), ("a", "dora"), ("a", "emil")]);
    assert_eq!(commands, [start(1, "a", "bert"), start(2, "a", "cleo")]);
    assert_eq!(limited.ended(JobId(2), 1), [start(3, "a", "dora")]);
    assert_eq!(limited.ended(JobId(1), 1), [start(4, "a", "emil")]);
    let (_, commands) = queue(0, &[("a", "bert"), ("a", "cleo")]);
    assert_eq!(commands, [start(1, "a", "bert")]);
}

#[test]
fn asking_twice_is_one_job() {
    let (mut queue, _) = queue(1, &[("a", "bert"), ("a", "cleo")]);
    assert_eq!(queue.request(target("a", "bert"), 1).unwrap(), (JobId(1), vec![]));
    assert_eq!(queue.request(target("a", "cleo"), 1).unwrap(), (JobId(2), vec![]));
    assert_eq!(queue.jobs().count(), 2);
    assert_eq!(queue.ended(JobId(1), 2), [start(2, "a", "cleo")]);
    assert_eq!(queue.request(target("a", "bert"), 3).unwrap().0, JobId(3));
}

#[test]
fn a_running_job_is_told_to_stop_and_holds_its_friend_until_it_has() {
    let (mut queue, _) = queue(4, &[("a", "bert"), ("b", "bert")]);
    assert_eq!(queue.cancel(JobId(1), 5).unwrap(), [stop(1)]);
    assert_eq!(queue.cancel(JobId(1), 6).unwrap(), []);
    assert_eq!(state(&queue, 1), JobState::Stopping { since_ms: 5, then: AfterStop::Cancelled });
    let (again, commands) = queue.request(target("a", "bert"), 7).unwrap();
    assert_eq!((again, commands), (JobId(3), vec![]));
    assert_eq!(queue.ended(JobId(1), 8), [start(2, "b", "bert")]);
    assert_eq!(state(&queue, 1), JobState::Finished { at_ms: 8, result: JobResult::Cancelled });
}

#[test]
fn a_waiting_job_is_cancelled_at_once() {
    let (mut queue, _) = queue(1, &[("a", "bert"), ("b", "bert")]);
    assert_eq!(queue.cancel(JobId(2), 5).unwrap(), []);
    assert_eq!(state(&queue, 2), JobState::Finished { at_ms: 5, result: JobResult::Cancelled });
    assert_eq!(queue.cancel(JobId(2), 6).unwrap_err().to_string(), "backup job 2 is over already");
    assert_eq!(queue.cancel(JobId(9), 6).unwrap_err().to_string(), "there is no backup job 9");
}

#[test]
fn a_pause_stops_what_runs_and_goes_on_with_it_first() {
    let (mut queue, _) = queue(1, &[("a", "bert"), ("a", "cleo")]);
    assert_eq!(queue.pause(Some(100), 10), [stop(1)]);
    assert_eq!((queue.is_paused(99), queue.is_paused(100), queue.wake_at()), (true, false, Some(100)));
    assert_eq!(queue.ended(JobId(1), 11), []);
    assert_eq!(state(&queue, 1), JobState::Waiting);
    assert_eq!(queue.request(target("a", "dora"), 50).unwrap().1, []);
    assert_eq!(queue.tick(100), [start(1, "a", "bert")]);
    assert_eq!((queue.wake_at(), queue.is_paused(50)), (None, false));
}

#[test]
fn a_job_that_stops_for_a_pause_starts_again_only_when_it_has_stopped() {
    let (mut queue, _) = queue(4, &[("a", "bert")]);
    assert_eq!(queue.pause(None, 1), [stop(1)]);
    assert_eq!(queue.wake_at(), None);
    assert_eq!(queue.resume(2), []);
    assert_eq!(queue.ended(JobId(1), 3), [start(1, "a", "bert")]);
}

#[test]
fn a_job_cancelled_during_a_pause_stays_cancelled() {
    let (mut queue, _) = queue(4, &[("a", "bert")]);
    queue.pause(None, 1);
    assert_eq!(queue.cancel(JobId(1), 2).unwrap(), []);
    assert_eq!(queue.ended(JobId(1), 3), []);
    assert_eq!(queue.resume(4), []);
    assert_eq!(state(&queue, 1), JobState::Finished { at_ms: 3, result: JobResult::Cancelled });
}

#[test]
fn a_pause_that_is_over_already_stops_nothing() {
    let (mut queue, _) = queue(4, &[("a", "bert")]);
    assert_eq!(queue.pause(Some(5), 5), []);
    assert_eq!(state(&queue, 1), JobState::Running { since_ms: 0 });
}

#[test]
fn the_queue_is_bounded() {
    let mut queue = Queue::new(1);
    for number in 0..JOBS_MAX {
        queue.request(target(&number.to_string(), "bert"), 0).unwrap();
    }
    let full = queue.request(target("one more", "bert"), 0).unwrap_err();
    assert_eq!(full.to_string(), "1000 backup jobs are waiting already; wait until some are done");
    for number in 1..=JOBS_MAX as u64 {
        queue.ended(JobId(number), number);
    }
    assert_eq!(queue.jobs().count(), FINISHED_KEPT);
    assert_eq!(queue.jobs().next().unwrap().id, JobId(1000));
}

#[test]
fn an_end_nobody_waits_for_changes_nothing() {
    let (mut queue, _) = queue(1, &[("a", "bert"), ("b", "bert")]);
    assert_eq!(queue.ended(JobId(2), 1), []);
    assert_eq!(queue.ended(JobId(7), 1), []);
    assert_eq!((state(&queue, 1), state(&queue, 2)), (JobState::Running { since_ms: 0 }, JobState::Waiting));
}

/// Any order of requests and ends keeps the promises; the same order gives the same commands.
#[test]
fn random_histories_keep_one_job_per_friend_and_replay_alike() {
    let play = |seed: u64| {
        let mut random = seed;
        let mut next = move |below: u64| {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (random >> 33) % below
        };
        let mut queue = Queue::new(3);
        let mut all = Vec::new();
        let mut running: Vec<(JobId, Target)> = Vec::new();
        for now in 0..2000 {
            let pick = |next: &mut dyn FnMut(u64) -> u64| target(&next(4).to_string(), &next(5).to_string());
            let commands = match next(10) {
                0..5 => queue.request(pick(&mut next), now).unwrap().1,
                5..8 if !running.is_empty() => {
                    let (id, _) = running.swap_remove(usize::try_from(next(running.len() as u64)).unwrap());
                    queue.ended(id, now)
                }
                8 => queue.pause(Some(now + next(20)), now),
                _ => queue.cancel(JobId(1 + next(now + 1)), now).unwrap_or_default(),
            };
            let commands: Vec<_> = commands.into_iter().chain(queue.tick(now)).collect();
            for command in &commands {
                if let Command::Start { id, target } = command {
                    running.push((*id, target.clone()));
                }
            }
            let friends: std::collections::BTreeSet<_> =
                running.iter().map(|(_, target)| &target.friend).collect();
            assert!(running.len() <= 3 && friends.len() == running.len(), "seed {seed}, step {now}");
            all.extend(commands);
        }
        all
    };
    for seed in 0..50 {
        assert_eq!(play(seed), play(seed));
    }
}
