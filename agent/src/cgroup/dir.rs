//! One cgroup directory with its files kept open.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use procview::memory::MemoryLevel;
use procview::parse::{memory_max, number};

/// Enough for every cgroup file that is written in one go; a longer one takes a second try.
const FIRST_READ: usize = 8 * 1024;

/// The longest of the short files: two numbers of 20 digits.
const SHORT: usize = 48;

/// How long a file that was not there is taken to be missing, microseconds. A controller can be
/// enabled in a living cgroup.
const MISSING_FOR: u64 = 5_000_000;

/// A cgroup directory, shared by every container that has it in its chain.
///
/// A cgroup file that is kept open and read again with pread(2) costs 0.4 us instead of 2, and a
/// removed cgroup gives ENODEV, so a stale file is always noticed.
#[derive(Debug)]
pub struct Dir {
    path: PathBuf,
    files: Mutex<Vec<(&'static str, State)>>,
    gone: AtomicBool,
    budget: Arc<Budget>,
    recent: Mutex<Option<(u64, MemoryLevel)>>,
}

#[derive(Debug, Clone)]
enum State {
    Open(Arc<File>),
    MissingUntil(u64),
}

/// The content of a short file.
#[derive(Debug, Clone, Copy)]
pub struct Short {
    text: [u8; SHORT],
    length: usize,
}

impl Deref for Short {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.text[..self.length]
    }
}

/// How many files may be kept open. Each takes a descriptor and 4.4 KiB of kernel memory.
#[derive(Debug)]
struct Budget {
    open: AtomicUsize,
    most: usize,
}

/// What is wrong with a cgroup file.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The kernel or this cgroup does not have the file.
    #[error("{0} is not there")]
    Missing(PathBuf),
    /// The cgroup was removed.
    #[error("the cgroup of {0} was removed")]
    Gone(PathBuf),
    /// Anything else.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Dir {
    fn new(path: PathBuf, budget: Arc<Budget>) -> Self {
        Self {
            path,
            files: Mutex::default(),
            gone: AtomicBool::new(false),
            budget,
            recent: Mutex::default(),
        }
    }

    /// Where the directory is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a read found that the cgroup was removed.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Replaces `text` by the content of the file called `name`, which the kernel must write in
    /// one go, as it does all cgroup files but lists of tasks.
    ///
    /// # Errors
    /// See [`ReadError`]; `text` is empty then.
    pub fn read(&self, name: &'static str, text: &mut Vec<u8>) -> Result<(), ReadError> {
        text.clear();
        let file = self.file(name)?;
        let result = read_at_once(&file, text);
        result.map_err(|error| {
            text.clear();
            self.failed(name, error)
        })
    }

    /// The content of the file called `name`, one of those that hold a number or two.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn short(&self, name: &'static str) -> Result<Short, ReadError> {
        let file = self.file(name)?;
        let mut text = [0; SHORT];
        let length = file
            .read_at(&mut text, 0)
            .map_err(|error| self.failed(name, error))?;
        Ok(Short { text, length })
    }

    /// The number that is the whole content of the file called `name`.
    pub fn number(&self, name: &'static str) -> Option<u64> {
        number(self.short(name).ok()?.trim_ascii())
    }

    /// The limit in the file called `name`, `None` for none.
    pub fn limit(&self, name: &'static str) -> Option<u64> {
        memory_max(&self.short(name).ok()?)
    }

    /// Notices that the directory was removed, for one of which no file is kept open.
    pub fn probe(&self) {
        if !self.path.exists() {
            self.gone.store(true, Ordering::Relaxed);
        }
    }

    /// The file called `name`, opened if it is not kept open.
    fn file(&self, name: &'static str) -> Result<Arc<File>, ReadError> {
        let known = lock(&self.files)
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, state)| state.clone());
        match known {
            Some(State::Open(file)) => return Ok(file),
            Some(State::MissingUntil(until)) if crate::clock::boottime() < until => {
                return Err(ReadError::Missing(self.path.join(name)));
            }
            _ => {}
        }
        match File::open(self.path.join(name)) {
            Ok(file) => {
                let file = Arc::new(file);
                if self.budget.take() {
                    self.keep(name, State::Open(Arc::clone(&file)));
                }
                Ok(file)
            }
            Err(error) => Err(self.failed(name, error)),
        }
    }

    fn keep(&self, name: &'static str, state: State) {
        let mut files = lock(&self.files);
        let is_open = |state: &State| matches!(state, State::Open(_));
        match files.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => {
                if is_open(known) {
                    self.budget.give_back(1);
                }
                *known = state;
            }
            None => files.push((name, state)),
        }
    }

    fn failed(&self, name: &'static str, error: io::Error) -> ReadError {
        let path = self.path.join(name);
        match error.raw_os_error() {
            // A file of a removed cgroup that was open, or one that went while it was opened.
            Some(libc::ENODEV) => {
                self.gone.store(true, Ordering::Relaxed);
                ReadError::Gone(path)
            }
            Some(libc::ENOENT) if !self.path.exists() => {
                self.gone.store(true, Ordering::Relaxed);
                ReadError::Gone(path)
            }
            // The kernel says EOPNOTSUPP for pressure that was switched off.
            Some(libc::ENOENT | libc::EOPNOTSUPP) => {
                self.keep(
                    name,
                    State::MissingUntil(crate::clock::boottime() + MISSING_FOR),
                );
                ReadError::Missing(path)
            }
            _ => ReadError::Io {
                path,
                source: error,
            },
        }
    }

    /// Closes the files kept open, but those called as `keep` says; the next read opens them
    /// again.
    pub fn close_files(&self, keep: &[&str]) {
        let mut files = lock(&self.files);
        let before = count_open(&files);
        files.retain(|(name, _)| keep.contains(name));
        self.budget.give_back(before - count_open(&files));
    }

    /// The memory of an ancestor, which all its containers share, as it was at most `age`
    /// microseconds ago.
    pub fn recent_memory(
        &self,
        now: u64,
        age: u64,
        read: impl FnOnce() -> MemoryLevel,
    ) -> MemoryLevel {
        if let Some((at, level)) = *lock(&self.recent)
            && now.saturating_sub(at) < age
        {
            return level;
        }
        let level = read();
        *lock(&self.recent) = Some((now, level));
        level
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        self.close_files(&[]);
    }
}

fn count_open(files: &[(&'static str, State)]) -> usize {
    let is_open = |(_, state): &&(_, State)| matches!(state, State::Open(_));
    files.iter().filter(is_open).count()
}

impl Budget {
    fn take(&self) -> bool {
        let took = self.open.fetch_add(1, Ordering::Relaxed) < self.most;
        if !took {
            self.give_back(1);
        }
        took
    }

    fn give_back(&self, count: usize) {
        self.open.fetch_sub(count, Ordering::Relaxed);
    }
}

/// Reads a file that the kernel renders as a whole for each read at offset 0.
pub(crate) fn read_at_once(file: &File, text: &mut Vec<u8>) -> io::Result<()> {
    let mut size = FIRST_READ;
    loop {
        text.resize(size, 0);
        let length = file.read_at(text, 0)?;
        if length < size {
            text.truncate(length);
            return Ok(());
        }
        size *= 4;
    }
}

/// All directories in use, so that containers share those of their common ancestors.
#[derive(Debug)]
pub struct Dirs {
    budget: Arc<Budget>,
    known: Mutex<HashMap<PathBuf, Weak<Dir>>>,
}

impl Dirs {
    /// `most_open` files are kept open at most, over all directories.
    pub fn new(most_open: usize) -> Self {
        Self {
            budget: Arc::new(Budget {
                open: AtomicUsize::new(0),
                most: most_open,
            }),
            known: Mutex::default(),
        }
    }

    /// The directory at `path`. One that was removed is not given out again, since another may
    /// have its name by now.
    pub fn get(&self, path: PathBuf) -> Arc<Dir> {
        let mut known = lock(&self.known);
        if let Some(dir) = known.get(&path).and_then(Weak::upgrade)
            && !dir.is_gone()
        {
            return dir;
        }
        let dir = Arc::new(Dir::new(path.clone(), Arc::clone(&self.budget)));
        known.insert(path, Arc::downgrade(&dir));
        dir
    }

    /// Forgets directories that no container uses any more.
    pub fn sweep(&self) {
        lock(&self.known).retain(|_, dir| dir.strong_count() > 0);
    }

    /// How many files are kept open.
    pub fn open_files(&self) -> usize {
        self.budget.open.load(Ordering::Relaxed)
    }

    /// Whether more files would be kept open if they were allowed to.
    pub fn is_full(&self) -> bool {
        self.open_files() >= self.budget.most
    }
}

/// Locks without regard to poison: a panic answers one request and leaves plain values behind.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
