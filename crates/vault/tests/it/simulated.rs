//! A disk that remembers every change and sync, so that its state after a crash at any call can be made: only what was
//! synced, everything, or any mixture. And one that fails at a call.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kith_vault::{Clock, LocalDisk, Medium, MediumFile};
use nix::errno::Errno;

/// Clocks that go when told to.
#[derive(Debug)]
pub(crate) struct TestClock {
    monotonic: AtomicU64,
    wall: AtomicU64,
}

impl TestClock {
    /// At a time of day, in milliseconds since 1970.
    pub(crate) fn at(wall: u64) -> Arc<Self> {
        Arc::new(Self { monotonic: AtomicU64::new(7_000_000), wall: AtomicU64::new(wall) })
    }

    /// Both clocks go on.
    pub(crate) fn pass(&self, milliseconds: u64) {
        self.monotonic.fetch_add(milliseconds, Ordering::SeqCst);
        self.wall.fetch_add(milliseconds, Ordering::SeqCst);
    }

    /// Somebody sets the clock.
    pub(crate) fn set_wall(&self, milliseconds: u64) {
        self.wall.store(milliseconds, Ordering::SeqCst);
    }

    pub(crate) fn wall_ms(&self) -> u64 {
        self.wall.load(Ordering::SeqCst)
    }
}

impl Clock for TestClock {
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.monotonic.load(Ordering::SeqCst))
    }

    fn wall(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.wall_ms())
    }
}

/// One call, with paths below the root; files are named by number, as they change their names.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    Create {
        path: PathBuf,
        file: u64,
    },
    Write {
        file: u64,
        bytes: Vec<u8>,
    },
    Modified {
        file: u64,
        time: SystemTime,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
        file: u64,
    },
    Remove {
        path: PathBuf,
        file: u64,
    },
    MakeDirectory {
        path: PathBuf,
    },
    RemoveDirectory {
        path: PathBuf,
    },
    SyncFile {
        file: u64,
    },
    SyncDirectory {
        path: PathBuf,
    },
    SyncEverything,
    /// One that was taken out, to see whether it is missed.
    Nothing,
}

#[derive(Debug, Default)]
struct State {
    log: Vec<Call>,
    names: HashMap<PathBuf, u64>,
    next_file: u64,
    fail_at: Option<(usize, Fault)>,
    /// Calls so far, failed ones included.
    calls: usize,
    failed: Option<Failed>,
}

/// What happens at the call that was chosen.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// It fails, without an effect.
    Fails(Errno),
    /// If it is a sync it has no effect, and nobody is told. That is what a vault would see that ignores the failure.
    Swallowed,
}

/// The call that failed.
#[derive(Debug, Clone)]
pub(crate) struct Failed {
    /// What it was to do; paths below the root.
    pub(crate) what: String,
    /// How many calls had had an effect before it.
    pub(crate) position: usize,
}

impl Failed {
    /// What would have been durable after it is not.
    pub(crate) fn is_sync(&self) -> bool {
        self.what.starts_with("sync")
    }

    /// Its first word or two.
    pub(crate) fn kind(&self) -> String {
        self.what
            .split(' ')
            .take_while(|word| !word.contains('/') && !word.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

impl State {
    /// Counts a call, and says what is wrong with it.
    fn count(&mut self, what: std::fmt::Arguments<'_>, root: &Path) -> Option<Fault> {
        let call = self.calls;
        self.calls += 1;
        let (at, fault) = self.fail_at?;
        let what = what.to_string().replace(&format!("{}", root.display()), "");
        let failed = Failed { what, position: self.log.len() };
        if at != call || (matches!(fault, Fault::Swallowed) && !failed.is_sync()) {
            return None;
        }
        self.failed = Some(failed);
        Some(fault)
    }
}

/// A real directory with a protocol of what is done to it.
#[derive(Debug, Clone)]
pub(crate) struct SimulatedDisk {
    root: PathBuf,
    state: Arc<Mutex<State>>,
}

impl SimulatedDisk {
    pub(crate) fn new(root: &Path) -> Arc<Self> {
        Arc::new(Self { root: root.to_owned(), state: Arc::default() })
    }

    /// The call of this number fails, without an effect; those after it work.
    pub(crate) fn failing(root: &Path, call: usize, errno: Errno) -> Arc<Self> {
        let disk = Self::new(root);
        disk.lock().fail_at = Some((call, Fault::Fails(errno)));
        disk
    }

    /// The call of this number, if it is a sync, does nothing and says that it did. [`Self::failed`] tells of it all the same.
    pub(crate) fn swallowing(root: &Path, call: usize) -> Arc<Self> {
        let disk = Self::new(root);
        disk.lock().fail_at = Some((call, Fault::Swallowed));
        disk
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn log(&self) -> Vec<Call> {
        self.lock().log.clone()
    }

    /// How many calls there were.
    pub(crate) fn position(&self) -> usize {
        self.lock().log.len()
    }

    /// How many calls there were, the one that failed included.
    pub(crate) fn calls(&self) -> usize {
        self.lock().calls
    }

    /// The call that failed.
    pub(crate) fn failed(&self) -> Option<Failed> {
        self.lock().failed.clone()
    }

    fn below(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).unwrap().to_owned()
    }

    /// Counts the call and fails it if it is the one.
    fn enter(&self, what: std::fmt::Arguments<'_>) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        match state.count(what, &self.root) {
            Some(Fault::Fails(errno)) => Err(errno.into()),
            Some(Fault::Swallowed) | None => Ok(state),
        }
    }

    /// As [`Self::enter`], for a sync, of which this is noted.
    fn sync(&self, what: std::fmt::Arguments<'_>, call: Option<Call>) -> io::Result<()> {
        let mut state = self.lock();
        match state.count(what, &self.root) {
            Some(Fault::Fails(errno)) => return Err(errno.into()),
            Some(Fault::Swallowed) => {}
            None => state.log.extend(call),
        }
        Ok(())
    }

    fn open(&self, path: &Path, file: Box<dyn MediumFile>, state: &mut State) -> Box<dyn MediumFile> {
        let name = self.below(path);
        let number = match state.names.get(&name) {
            Some(number) => *number,
            None => {
                state.next_file += 1;
                let number = state.next_file;
                state.names.insert(name.clone(), number);
                state.log.push(Call::Create { path: name, file: number });
                number
            }
        };
        Box::new(SimulatedFile { file, number, disk: self.clone() })
    }
}

impl Medium for SimulatedDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn MediumFile>> {
        let mut state = self.enter(format_args!("create {}", path.display()))?;
        let file = LocalDisk::default().create(path)?;
        Ok(self.open(path, file, &mut state))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn MediumFile>> {
        let mut state = self.enter(format_args!("append {}", path.display()))?;
        let file = LocalDisk::default().append(path)?;
        Ok(self.open(path, file, &mut state))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.enter(format_args!("rename {}", to.display()))?;
        LocalDisk::default().rename_new(from, to)?;
        let (from, to) = (self.below(from), self.below(to));
        let file = state.names.remove(&from).unwrap();
        state.names.insert(to.clone(), file);
        state.log.push(Call::Rename { from, to, file });
        Ok(())
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.enter(format_args!("replace {}", to.display()))?;
        LocalDisk::default().replace(from, to)?;
        let (from, to) = (self.below(from), self.below(to));
        let file = state.names.remove(&from).unwrap();
        state.names.insert(to.clone(), file);
        state.log.push(Call::Rename { from, to, file });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.enter(format_args!("remove {}", path.display()))?;
        LocalDisk::default().remove(path)?;
        let path = self.below(path);
        let file = state.names.remove(&path).unwrap();
        state.log.push(Call::Remove { path, file });
        Ok(())
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.enter(format_args!("mkdir {}", path.display()))?;
        let is_new = !path.exists();
        LocalDisk::default().make_directory(path)?;
        if is_new && path != self.root {
            state.log.push(Call::MakeDirectory { path: self.below(path) });
        }
        Ok(())
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.enter(format_args!("rmdir {}", path.display()))?;
        LocalDisk::default().remove_directory(path)?;
        state.log.push(Call::RemoveDirectory { path: self.below(path) });
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let call = path.starts_with(&self.root).then(|| Call::SyncDirectory { path: self.below(path) });
        self.sync(format_args!("sync directory {}", path.display()), call)
    }

    fn sync_everything(&self, _: &Path) -> io::Result<()> {
        self.sync(format_args!("sync everything"), Some(Call::SyncEverything))
    }
}

struct SimulatedFile {
    file: Box<dyn MediumFile>,
    number: u64,
    disk: SimulatedDisk,
}

impl MediumFile for SimulatedFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.enter(format_args!("write"))?;
        self.file.write_all(bytes)?;
        state.log.push(Call::Write { file: self.number, bytes: bytes.to_vec() });
        Ok(())
    }

    fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        let mut state = self.disk.enter(format_args!("set time"))?;
        self.file.set_modified(time)?;
        state.log.push(Call::Modified { file: self.number, time });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.sync(format_args!("sync file"), Some(Call::SyncFile { file: self.number }))
    }
}

/// What a crash leaves of that which was not synced.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Leaves {
    /// Nothing.
    Nothing,
    /// All of it: the process died, not the system.
    Everything,
    /// Some of it, by chance.
    Some(u64),
}

#[derive(Debug, Clone, Default)]
struct Content {
    bytes: Vec<u8>,
    modified: Option<SystemTime>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Directory,
    File(u64),
}

#[derive(Debug, Default)]
struct Image {
    names: BTreeMap<PathBuf, Node>,
    synced: HashMap<u64, Content>,
    written: HashMap<u64, Content>,
    /// Changes of names that are not durable.
    pending: Vec<Call>,
}

/// Makes the directory that a crash after these calls leaves.
pub(crate) fn make_image(root: &Path, calls: &[Call], leaves: Leaves) {
    let mut image = Image::default();
    calls.iter().for_each(|call| image.call(call));
    let mut chance = Chance(match leaves {
        Leaves::Some(seed) => seed,
        _ => 0,
    });
    for call in std::mem::take(&mut image.pending) {
        let stays = match leaves {
            Leaves::Nothing => false,
            Leaves::Everything => true,
            Leaves::Some(_) => chance.below(2) == 0,
        };
        if stays {
            image.apply(&call);
        }
    }
    std::fs::create_dir(root).unwrap();
    for (path, node) in &image.names {
        let path = root.join(path);
        match node {
            Node::Directory => std::fs::create_dir(path).unwrap(),
            Node::File(file) => {
                let synced = image.synced.get(file).cloned().unwrap_or_default();
                let written = image.written[file].clone();
                let content = match (leaves, chance.below(3)) {
                    (Leaves::Everything, _) | (Leaves::Some(_), 0) => written,
                    (Leaves::Some(_), 1) => {
                        let (from, to) = (synced.bytes.len(), written.bytes.len());
                        let cut = from + chance.below(1 + to.saturating_sub(from) as u64) as usize;
                        Content { bytes: written.bytes[..cut.min(to)].to_vec(), ..synced }
                    }
                    _ => synced,
                };
                std::fs::write(&path, content.bytes).unwrap();
                if let Some(time) = content.modified {
                    std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
                }
            }
        }
    }
}

impl Image {
    fn call(&mut self, call: &Call) {
        match call {
            Call::Write { file, bytes } => self.written.get_mut(file).unwrap().bytes.extend(bytes),
            Call::Modified { file, time } => self.written.get_mut(file).unwrap().modified = Some(*time),
            Call::SyncFile { file } => {
                self.synced.insert(*file, self.written[file].clone());
            }
            Call::SyncEverything => {
                self.synced = self.written.clone();
                std::mem::take(&mut self.pending).iter().for_each(|call| self.apply(call));
            }
            Call::SyncDirectory { path } => {
                let pending: Vec<_> = std::mem::take(&mut self.pending).into_iter().enumerate().collect();
                let last_done = |file: u64| {
                    let done = pending.iter().rev().find(|(_, c)| c.file() == Some(file) && c.touches(path));
                    done.map(|(position, _)| *position)
                };
                for (position, call) in &pending {
                    if call.touches(path) {
                        self.apply(call);
                    } else if call.file().and_then(last_done).is_none_or(|done| done < *position) {
                        // What happened to a file before that is outdone.
                        self.pending.push(call.clone());
                    }
                }
            }
            Call::Create { file, .. } => {
                self.written.insert(*file, Content::default());
                self.pending.push(call.clone());
            }
            Call::Nothing => {}
            names => self.pending.push(names.clone()),
        }
    }

    /// A change of a name becomes durable.
    fn apply(&mut self, call: &Call) {
        let has_parent = |image: &Self, path: &Path| {
            let parent = path.parent().unwrap();
            parent.as_os_str().is_empty() || image.names.get(parent) == Some(&Node::Directory)
        };
        match call {
            Call::MakeDirectory { path } if has_parent(self, path) => {
                self.names.insert(path.clone(), Node::Directory);
            }
            Call::RemoveDirectory { path } => {
                self.names.remove(path);
            }
            Call::Create { path: to, file } | Call::Rename { to, file, .. } => {
                self.names.retain(|_, node| *node != Node::File(*file));
                if has_parent(self, to) {
                    self.names.insert(to.clone(), Node::File(*file));
                }
            }
            Call::Remove { file, .. } => self.names.retain(|_, node| *node != Node::File(*file)),
            _ => {}
        }
    }
}

impl Call {
    /// The file whose name changes.
    fn file(&self) -> Option<u64> {
        match self {
            Self::Create { file, .. } | Self::Rename { file, .. } | Self::Remove { file, .. } => Some(*file),
            _ => None,
        }
    }

    /// Changes a name in this directory.
    fn touches(&self, directory: &Path) -> bool {
        match self {
            Self::Create { path, .. }
            | Self::Remove { path, .. }
            | Self::MakeDirectory { path }
            | Self::RemoveDirectory { path } => path.parent() == Some(directory),
            Self::Rename { from, to, .. } => {
                from.parent() == Some(directory) || to.parent() == Some(directory)
            }
            _ => false,
        }
    }
}

/// Numbers that look like chance and are the same for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
