use super::*;
use crate::daemon::db::Db;

fn request(set: &str) -> Request {
    Request {
        kind: JobKind::Backup,
        set: Some(set.to_owned()),
        friend: "bert".to_owned(),
        friend_id: DeviceId::from_bytes([1; 32]),
        archive: "a".to_owned(),
    }
}

fn jobs(directory: &std::path::Path) -> Arc<Jobs> {
    let history = History::new(Db::open(&directory.join("state.db")).unwrap());
    Jobs::new(history, Known::default(), broadcast::Sender::new(16))
}

async fn ended(jobs: &Arc<Jobs>, id: u64) -> JobView {
    loop {
        let view = jobs.get(id, |_| None).await.unwrap();
        if view.state.is_over() {
            return view;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_job_that_panics_has_failed_and_makes_room_for_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let jobs = jobs(directory.path());
    let panics: Work = Arc::new(|_| Box::pin(async { panic!("a fault") }));
    // One friend takes one job at a time: the second waits for the first.
    let first = jobs.start(request("a"), panics).await.unwrap();
    let fine: Work = Arc::new(|_| Box::pin(std::future::ready(Ended::plain(JobState::Complete))));
    let second = jobs.start(request("b"), fine).await.unwrap();
    let first = ended(&jobs, first.id).await;
    assert_eq!(first.state, JobState::Failed);
    assert!(first.error.unwrap().contains("a fault in the program"));
    assert_eq!(ended(&jobs, second.id).await.state, JobState::Complete);
}

#[tokio::test]
async fn the_jobs_of_a_set_that_is_removed_are_cancelled_and_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let jobs = jobs(directory.path());
    let waits: Work = Arc::new(|handle: Handle| {
        Box::pin(async move {
            handle.cancel.cancelled().await;
            Ended::plain(JobState::Cancelled)
        })
    });
    let (a, b) = (
        jobs.start(request("a"), waits.clone()).await.unwrap(),
        jobs.start(request("b"), waits).await.unwrap(),
    );
    jobs.cancel_set("b").await;
    assert_eq!(ended(&jobs, b.id).await.state, JobState::Cancelled);
    assert!(!jobs.get(a.id, |_| None).await.unwrap().state.is_over());
    jobs.cancel_friend(&DeviceId::from_bytes([1; 32])).await;
    assert_eq!(ended(&jobs, a.id).await.state, JobState::Cancelled);
}
