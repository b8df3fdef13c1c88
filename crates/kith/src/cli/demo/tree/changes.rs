//! A few changes to the generated folder, as a day brings them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::Random;

/// Changes the folder and says how. Blocks.
pub(in super::super) fn change(root: &Path) -> io::Result<Vec<&'static str>> {
    let photo = root.join("photos/0003.raw");
    let old = fs::read(&photo)?;
    let mut inserted = vec![0; 1000];
    Random(1).fill(&mut inserted);
    let mut file = File::create(&photo)?;
    file.write_all(&inserted)?;
    file.write_all(&old)?;
    drop(file);

    let mut log = File::options().append(true).open(root.join("logs/1.log"))?;
    log.write_all(b"one line more\n")?;
    drop(log);

    fs::rename(root.join("letters"), root.join("old letters"))?;
    fs::remove_file(root.join("old letters/000/00001.eml"))?;
    fs::write(root.join("a new letter.txt"), "Dear Bert,\n")?;
    Ok(vec![
        "1000 bytes are put in at the beginning of a large file, a line at the end of another;",
        "the folder of all letters gets another name, one letter goes, one comes.",
    ])
}
