//! One cgroup directory with its files kept open.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Deref;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use procview::memory::MemoryLevel;
use procview::parse::{memory_max, number};

use super::budget::Budget;
use super::watch::{Told, Watch};
use crate::lock::lock;

/// Enough for every cgroup file that is written in one go; a longer one takes a second try.
const FIRST_READ: usize = 8 * 1024;

/// The longest of the short files: two numbers of 20 digits.
const SHORT: usize = 48;

/// How long a remembered limit is trusted without a look, microseconds: a controller that is
/// switched off takes its files away without a write to them.
const TRUSTED_FOR: u64 = 1_000_000;

/// How long a file that was not there is taken to be missing, microseconds. A controller can be
/// enabled in a living cgroup.
const MISSING_FOR: u64 = 5_000_000;

/// A cgroup directory, shared by every container that has it in its chain.
///
/// It is the directory with this inode number, not the one that has the path later: a runtime that restarts
/// a container makes another of the same path, and the kernel gives no number twice.
///
/// A cgroup file that is kept open and read again with pread(2) costs 0.4 us instead of 2, and fails
/// with ENODEV once the cgroup was removed.
#[derive(Debug)]
pub struct Dir {
    path: Arc<Path>,
    inode: u64,
    files: Mutex<Vec<(&'static str, State)>>,
    gone: AtomicBool,
    budget: Arc<Budget>,
    recent: Mutex<Option<(u64, MemoryLevel)>>,
    settings: Mutex<Settings>,
    watch: Arc<Watch>,
    told: Arc<Told>,
    /// Whether its removal is told. Else it has to be looked at each time.
    is_watched: AtomicBool,
}

/// What is remembered of files that only write(2) changes.
#[derive(Debug, Default)]
struct Settings {
    /// Whether writes are told; `None` before the first try to watch the directory.
    watched: Option<bool>,
    /// The number of writes at which all of `known` was read.
    writes: u64,
    known: Vec<Setting>,
}

#[derive(Debug)]
struct Setting {
    name: &'static str,
    at: u64,
    text: Short,
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
    pub(super) fn new(path: Arc<Path>, inode: u64, budget: Arc<Budget>, watch: Arc<Watch>) -> Self {
        Self {
            path,
            inode,
            files: Mutex::default(),
            gone: AtomicBool::new(false),
            budget,
            recent: Mutex::default(),
            settings: Mutex::default(),
            watch,
            told: Arc::default(),
            is_watched: AtomicBool::new(false),
        }
    }

    /// Where the directory is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its inode number, which no other cgroup ever has.
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Wants to be told when it is removed, from before now on.
    pub(super) fn follow(&self) {
        let is_watched = self.watch.removal(&self.path, &self.told);
        self.is_watched.store(is_watched, Ordering::Release);
        // It may have been removed before that.
        self.look();
    }

    /// Whether the cgroup was removed, by what is known since the last [`refresh`](super::Dirs::refresh).
    pub fn is_gone(&self) -> bool {
        if self.told.take_doubt() || !self.is_watched.load(Ordering::Acquire) {
            self.look();
        }
        self.was_gone()
    }

    /// Whether it was seen to be removed.
    pub(super) fn was_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Looks whether the directory at its path is still this one.
    fn look(&self) {
        let is_this = |found: fs::Metadata| found.ino() == self.inode;
        let is_there = match fs::metadata(&self.path) {
            Ok(found) => is_this(found),
            // For want of memory, say: that tells nothing of the directory.
            Err(error) => !is_absence(&error),
        };
        if !is_there {
            self.gone.store(true, Ordering::Release);
        }
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

    /// The content of a short file that only write(2) changes, from memory if nobody wrote to
    /// this directory since it was read. [`refresh`](super::Dirs::refresh) has to be called before.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn setting(&self, name: &'static str, now: u64) -> Result<Short, ReadError> {
        let writes = {
            let mut settings = lock(&self.settings);
            // Watched before it is read: what is written in between is told.
            if settings.watched.is_none() {
                settings.watched = Some(self.watch.writes(&self.path, &self.told));
            }
            let writes = self.told.writes();
            if settings.writes != writes {
                settings.known.clear();
                settings.writes = writes;
            }
            let known = settings.known.iter().find(|known| known.name == name);
            if let Some(known) = known.filter(|known| now.saturating_sub(known.at) < TRUSTED_FOR) {
                return Ok(known.text);
            }
            writes
        };
        let text = self.short(name)?;
        let mut settings = lock(&self.settings);
        if settings.watched == Some(true) && settings.writes == writes {
            settings.known.retain(|known| known.name != name);
            // A directory has few of them, and a node thousands of directories.
            settings.known.reserve_exact(1);
            settings.known.push(Setting {
                name,
                at: now,
                text,
            });
        }
        Ok(text)
    }

    /// The limit in the file called `name`, `None` for none. See [`setting`](Self::setting).
    pub fn limit(&self, name: &'static str, now: u64) -> Option<u64> {
        memory_max(&self.setting(name, now).ok()?)
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
        match self.open(name, OpenOptions::new().read(true)) {
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

    /// Opens the file called `name` of this directory and no other.
    ///
    /// # Errors
    /// Those of open(2); ENODEV if the directory is gone.
    pub fn open(&self, name: &str, options: &OpenOptions) -> io::Result<File> {
        let file = options.open(self.path.join(name))?;
        // What has the path now had it before, or the number would be another one.
        self.look();
        if self.was_gone() {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        Ok(file)
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
            None => {
                files.reserve_exact(1);
                files.push((name, state));
            }
        }
    }

    fn failed(&self, name: &'static str, error: io::Error) -> ReadError {
        let path = self.path.join(name);
        match error.raw_os_error() {
            // A file that was open, or is being opened, is gone: with its cgroup, or by itself, since a
            // controller or its pressure was switched off (EOPNOTSUPP, too).
            Some(libc::ENODEV | libc::ENOENT | libc::EOPNOTSUPP) => {
                self.look();
                if self.was_gone() {
                    return ReadError::Gone(path);
                }
                let until = crate::clock::boottime() + MISSING_FOR;
                self.keep(name, State::MissingUntil(until));
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

/// Whether an error says that something is not there.
pub(super) fn is_absence(error: &io::Error) -> bool {
    let errno = error.raw_os_error();
    matches!(errno, Some(libc::ENOENT | libc::ENOTDIR | libc::ENODEV))
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
