//! Makes the C library's allocator give memory back: an idle daemon is to be small, also after a large job.
//!
//! By default glibc keeps an arena for every thread, and lets the size from which blocks are mapped one by one grow to 32
//! MiB, so that packs end up in arenas that are never trimmed. What mallopt(3) sets can also be said by the environment,
//! but only before a program starts: hence the program starts itself anew, once.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Two threads that work without waiting for each other; blocks from 1 MiB are mapped and unmapped one by one; the top of
/// an arena is given back from 512 KiB.
const TUNING: [(&str, &str); 3] =
    [("MALLOC_ARENA_MAX", "2"), ("MALLOC_MMAP_THRESHOLD_", "1048576"), ("MALLOC_TRIM_THRESHOLD_", "524288")];

/// Starts this program anew with a tuned allocator, unless it was, or the person has tuned it. Goes on as it is where
/// that can't be done: memory then is larger, and nothing else is different.
pub(super) fn tune() {
    if cfg!(not(all(target_os = "linux", target_env = "gnu")))
        || TUNING.iter().any(|(name, _)| std::env::var_os(name).is_some())
    {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| OsString::from("kith"));
    let error = Command::new(program).arg0(name).args(arguments).envs(TUNING).exec();
    drop(error);
}
