//! Tests of the settings: what is accepted, and every refusal's sentence.

mod edits;
mod layers;
mod sample;
mod values;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::home::Home;

/// A home and an administrator's directory of their own.
struct World {
    dir: TempDir,
    sources: SettingsSources,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("etc/conf.d")).unwrap();
        std::fs::create_dir(dir.path().join("home")).unwrap();
        let home = Home::at(dir.path().join("home"));
        let sources = SettingsSources::files(&dir.path().join("etc"), &home);
        Self { dir, sources }
    }

    /// A world whose home has this settings file.
    fn with(text: &str) -> Self {
        let world = Self::new();
        world.write("home/kith.toml", text);
        world
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    fn write(&self, relative: &str, text: &str) {
        std::fs::write(self.path(relative), text).unwrap();
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.sources.home_file).unwrap()
    }

    fn variable(&mut self, name: &str, value: &str) {
        self.sources.environment.push((name.to_owned(), value.to_owned()));
    }

    fn load(&self) -> Loaded {
        self.sources.load().unwrap()
    }

    /// The error's sentence, with this world's directory written as `TMP`.
    fn sentence<T>(&self, result: Result<T, SettingsError>) -> String {
        let text = result.err().expect("it should have been refused").to_string();
        text.replace(&self.dir.path().display().to_string(), "TMP")
    }

    fn refusal(&self) -> String {
        self.sentence(self.sources.load())
    }
}

/// The settings of a home with this file.
fn settings(text: &str) -> Settings {
    World::with(text).load().into_settings()
}

/// The refusal of a home's file, without its place.
fn problem(text: &str) -> String {
    let sentence = World::with(text).refusal();
    sentence.split_once(": ").map(|(_, problem)| problem.to_owned()).unwrap_or(sentence)
}

/// The repository's root.
fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
