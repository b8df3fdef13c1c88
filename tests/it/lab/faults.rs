//! What breaks between two friends, and what the doctor says of it: the whole table of `cargo run -p e2e --bin faults`.

use e2e::faults::{Options, run};
use e2e::{need, need_lab, say};

#[test]
fn what_breaks_is_named_by_the_doctor_and_nothing_that_is_whole() {
    let programs = ["microsocks", "tinyproxy", "python3", "openssl"];
    if !need_lab() || !programs.into_iter().all(need) {
        return;
    }
    // Beside other tests: each case is three computers that mostly wait.
    let keep = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults");
    let report = run(&Options { jobs: 3, keep: Some(keep), ..Options::default() }, &|text| say(text));
    say(&report.to_string());
    let broken = report.broken_promises();
    assert!(broken.is_empty(), "not kept: {}", broken.join("; "));
}
