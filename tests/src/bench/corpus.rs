//! What is backed up: `media`, large files that don't compress, and `docs`, many small files of text.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{Options, Scratch};
use crate::write_random;

/// Files of the corpus `media`.
const MEDIA_FILES: u64 = 256;

/// A directory of files.
pub(super) struct Corpus {
    pub(super) name: &'static str,
    pub(super) path: PathBuf,
    pub(super) files: u64,
    pub(super) bytes: u64,
}

impl Corpus {
    fn at(name: &'static str, path: PathBuf) -> Self {
        let (mut files, mut bytes) = (0, 0);
        let mut open = vec![path.clone()];
        while let Some(path) = open.pop() {
            for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
                match entry.metadata() {
                    Ok(meta) if meta.is_dir() => open.push(entry.path()),
                    Ok(meta) => {
                        files += 1;
                        bytes += meta.len();
                    }
                    Err(_) => {}
                }
            }
        }
        Self { name, path, files, bytes }
    }

    /// What it is, in words.
    pub(super) fn describe(&self) -> String {
        let what = match self.name {
            "media" => "seeded bytes that don't compress",
            _ => "the sources of the project's dependencies",
        };
        format!("{:.0} MB in {} files, {what}", self.bytes as f64 / 1e6, self.files)
    }
}

/// Makes what was asked for.
pub(super) fn make(scratch: &Scratch, options: &Options) -> Result<Vec<Corpus>, String> {
    let wanted = |name: &str| options.corpus.as_deref().is_none_or(|only| only == name);
    let mut corpora = Vec::new();
    if wanted("media") {
        let path = scratch.fresh("media")?;
        write_random(&path, 4242, options.media_bytes, options.media_bytes.div_ceil(MEDIA_FILES));
        corpora.push(Corpus::at("media", path));
    }
    if wanted("docs") {
        let path = scratch.fresh("docs")?;
        for package in packages()?.into_iter().step_by(options.docs_every) {
            let name = package.file_name().unwrap_or_default();
            copy(&package, &path.join(name))
                .map_err(|error| format!("{} can't be copied: {error}", package.display()))?;
        }
        corpora.push(Corpus::at("docs", path));
    }
    Ok(corpora)
}

/// The directories of all packages that this project depends on, on any system, as far as they were fetched.
fn packages() -> Result<Vec<PathBuf>, String> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["metadata", "--format-version", "1", "--locked"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = cargo.output().map_err(|error| format!("{cargo:?} does not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("{cargo:?} failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata names no packages")?;
    let fetched: BTreeSet<PathBuf> = packages
        .iter()
        .filter(|package| !package["source"].is_null())
        .filter_map(|package| Some(Path::new(package["manifest_path"].as_str()?).parent()?.to_owned()))
        .filter(|directory| directory.is_dir())
        .collect();
    if fetched.is_empty() {
        return Err("cargo's cache has no sources: `cargo fetch` brings them".to_owned());
    }
    Ok(fetched.into_iter().collect())
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (kind, to) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &to)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), &to)?;
        }
    }
    Ok(())
}
