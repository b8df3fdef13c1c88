//! The pictures of the README, made anew with `KITH_PICTURES=$PWD/docs/images cargo test -p kith-control --test it readme`.

use kith_control::view::{JobState, JobView};

use crate::browser::chromium;
use crate::harness::start_with;
use crate::pressed::open;
use crate::stand_in::{State, device, diagnoses, rich};

#[tokio::test(flavor = "multi_thread")]
async fn what_the_readme_shows_is_in_the_window_without_a_complaint() {
    let Some(program) = chromium() else { return };
    let diagnosis = diagnoses::mapping_off_here();
    let mut state = State { diagnosis, ..rich() };
    // Two friends, and nothing that went wrong: what is usual.
    let attic = state.status.friends.pop().unwrap();
    let is_usual = |job: &JobView| matches!(job.state, JobState::Running | JobState::Complete);
    for jobs in [&mut state.jobs, &mut state.status.jobs] {
        jobs.retain(|job| job.friend_id != attic.device_id && is_usual(job));
    }
    let running = start_with(state).await;
    let mut browser = open(&running, program).await;
    let doctor = format!("location.hash = \"#/doctor/{}\", true", device(1));
    for (name, height, go, shows) in [
        ("app", 1180, "location.hash = \"#/\", true", "#near-title"),
        ("doctor", 960, doctor.as_str(), "#diagnosis-title"),
    ] {
        browser.value(go).await;
        browser.until(&format!("document.querySelector(\"{shows}\")?.getClientRects().length > 0")).await;
        for scheme in ["light", "dark"] {
            browser.window(1180, height, scheme).await;
            browser.picture_of_window(&format!("{name}-{scheme}")).await;
            let over = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
            assert_eq!(browser.value(over).await, 0, "{name}, {scheme}: something is wider than the window");
        }
    }
    assert_eq!(browser.complaints, [""; 0]);
    running.stop().await;
}
