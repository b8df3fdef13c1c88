//! Where the processor time of a first backup goes: each stage of the engine alone, on one thread, over the whole corpus.

use super::Scratch;
use super::corpus::Corpus;
use super::engine::Engine;

/// The stages with their processor seconds, in the order of the work.
pub(super) fn of(engine: &Engine, scratch: &Scratch, corpus: &Corpus) -> Result<Vec<(String, f64)>, String> {
    let out = scratch.fresh("stages")?;
    let mut command = engine.command(&["stages"], &[&corpus.path, &out]);
    let output = command.output().map_err(|error| format!("{command:?} does not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    scratch.remove("stages")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let stages = text.lines().filter_map(|line| {
        let (seconds, name) = line.split_once(' ')?;
        Some((name.to_owned(), seconds.parse().ok()?))
    });
    Ok(stages.collect())
}
