//! Whatever is broken between two friends, the doctor names it, and nothing else.

use e2e::faults::{Options, run};
use e2e::{need, need_lab, say};

#[test]
fn the_doctor_names_what_is_broken_and_blames_nothing_else() {
    let programs = ["microsocks", "tinyproxy", "python3", "openssl"];
    if !need_lab() || !programs.into_iter().all(need) {
        return;
    }
    let report = run(&Options::default(), &|text| say(text));
    say(&report.to_string());
    assert_eq!(report.broken_promises(), Vec::<String>::new(), "{report}");
}
