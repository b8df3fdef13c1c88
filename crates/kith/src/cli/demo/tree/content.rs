//! Files by their content: large and small, random and text, doubles, sparse, empty.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::Maker;

const BUFFER: usize = 128 * 1024;
/// The parts that together make the whole.
const PHOTOS: u64 = 8;
const LOGS: u64 = 3;
/// One small file per so many bytes.
const BYTES_PER_LETTER: u64 = 100_000;
const LARGEST_LETTER: u64 = 8 * 1024;
const WORDS: [&str; 16] = [
    "opened", "a", "letter", "from", "the", "archive", "in", "Zürich", "and", "answered", "it", "with",
    "three", "pages", "of", "news",
];

impl Maker<'_> {
    pub(super) fn content(&mut self, total: u64) -> io::Result<()> {
        for folder in ["photos", "videos", "logs", "letters", "odd sizes"] {
            fs::create_dir(self.root.join(folder))?;
        }
        let mut left = total;
        let photo = total * 6 / 100;
        for number in 1..=PHOTOS {
            self.incompressible(&format!("photos/{number:04}.raw"), photo, &mut left)?;
        }
        let double = self.root.join("photos/0001 (copy).raw");
        fs::copy(self.root.join("photos/0001.raw"), &double)?;
        File::options().write(true).open(&double)?.set_modified(self.random.moment())?;
        left = left.saturating_sub(photo);
        for number in 1..=LOGS {
            self.text(&format!("logs/{number}.log"), total * 6 / 100, &mut left)?;
        }
        self.sparse(total * 8 / 100, &mut left)?;
        self.letters(total / BYTES_PER_LETTER, &mut left)?;
        self.odd_sizes(total, &mut left)?;
        let rest = left;
        self.incompressible("videos/summer.mp4", rest, &mut left)
    }

    fn incompressible(&mut self, name: &str, size: u64, left: &mut u64) -> io::Result<()> {
        let mut file = File::create_new(self.root.join(name))?;
        let mut buffer = vec![0; BUFFER];
        let mut missing = size;
        while missing > 0 {
            self.stop.check()?;
            let part = usize::try_from(missing).unwrap_or(BUFFER).min(BUFFER);
            self.random.fill(&mut buffer[..part]);
            file.write_all(&buffer[..part])?;
            missing -= part as u64;
        }
        *left = left.saturating_sub(size);
        file.set_modified(self.random.moment())
    }

    fn text(&mut self, name: &str, size: u64, left: &mut u64) -> io::Result<()> {
        let file = File::create_new(self.root.join(name))?;
        let mut out = BufWriter::with_capacity(BUFFER, file);
        let mut written = 0;
        let mut line = String::new();
        for number in 1_u64.. {
            line.clear();
            line.push_str(&format!("{number:08} {:08} anna", self.random.below(100_000_000)));
            for _ in 0..6 {
                line.push(' ');
                line.push_str(WORDS[usize::try_from(self.random.below(16)).unwrap_or(0)]);
            }
            line.push('\n');
            if written + line.len() as u64 > size {
                break;
            }
            out.write_all(line.as_bytes())?;
            written += line.len() as u64;
            if number % 4096 == 0 {
                self.stop.check()?;
            }
        }
        *left = left.saturating_sub(written);
        out.into_inner().map_err(io::IntoInnerError::into_error)?.set_modified(self.random.moment())
    }

    /// A disk image: holes with some data in between, and holes at both ends; and a file that is nothing but a hole.
    fn sparse(&mut self, size: u64, left: &mut u64) -> io::Result<()> {
        let file = File::create_new(self.root.join("disk image with holes.img"))?;
        file.set_len(size)?;
        let mut island = vec![0; 32 * 1024];
        for part in [1, 4, 5, 11] {
            self.random.fill(&mut island);
            file.write_all_at(&island, (size / 16 * part) & !4095)?;
        }
        file.set_modified(self.random.moment())?;
        *left = left.saturating_sub(size);
        let file = File::create_new(self.root.join("only a hole.img"))?;
        file.set_len(1_000_003)?;
        file.set_modified(self.random.moment())
    }

    /// Many small files, in folders of a hundred.
    fn letters(&mut self, number: u64, left: &mut u64) -> io::Result<()> {
        let mut buffer = vec![0; usize::try_from(LARGEST_LETTER).unwrap_or(0)];
        for index in 0..number {
            self.stop.check()?;
            let folder = self.root.join(format!("letters/{:03}", index / 100));
            if index % 100 == 0 {
                fs::create_dir(&folder)?;
            }
            let size = self.random.below(LARGEST_LETTER);
            let content = &mut buffer[..usize::try_from(size).unwrap_or(0)];
            self.random.fill(content);
            let mut file = File::create_new(folder.join(format!("{index:05}.eml")))?;
            file.write_all(content)?;
            file.set_modified(self.random.moment())?;
            *left = left.saturating_sub(size);
        }
        Ok(())
    }

    /// Sizes around those at which chunks, blocks and packs end.
    fn odd_sizes(&mut self, total: u64, left: &mut u64) -> io::Result<()> {
        let sizes = [0, 1, 2, 4095, 4096, 4097, 65_535, 65_536, 524_287, 524_288, 524_289];
        for size in sizes.into_iter().filter(|size| size * 50 < total) {
            self.incompressible(&format!("odd sizes/{size}"), size, left)?;
        }
        // Zeros that are data, not a hole.
        let zeros = total / 200;
        let path = self.root.join("odd sizes/zeros");
        fs::write(&path, vec![0; usize::try_from(zeros).unwrap_or(0)])?;
        *left = left.saturating_sub(zeros);
        set_old(&path)
    }
}

/// A time long ago, for files whose time is not what they are about.
pub(super) fn set_old(path: &Path) -> io::Result<()> {
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(1_234_567_890, 123_456_789);
    File::options().write(true).open(path)?.set_modified(old)
}
