//! The file system of a view, without FUSE: names, attributes, open files.
//!
//! Whose view it is is a parameter of every operation ([`Caller`]), so the same file system
//! serves a view by caller and one by container.

mod budget;
mod cpu_dir;
mod error;
mod handle;
mod node;
mod numa_dir;
mod trigger;

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

pub(crate) use cpu_dir::is_cpu;
pub use cpu_dir::{CpuDir, Shown};
pub use error::FsError;
pub use handle::Handles;
pub use node::{Attributes, Entry, FixedDir, Kind, Node, Nodes, Sight};
pub use numa_dir::{NumaDir, NumaEntry};
use procview::file::{File, Resource};
use procview::numa::Nodes as NumaNodes;

use crate::clock;
use crate::report::metrics::Metrics;
use crate::view::{Owner, View};
use budget::Budgets;
use handle::OpenFile;
pub use trigger::{Answer, Readiness, Wake};
use trigger::{Order, Triggers};

/// The inode number of the mount's root.
pub const ROOT: u64 = FixedDir::Root as u64 + 1;

/// Who asks.
#[derive(Debug, Clone)]
pub enum Caller {
    /// Thread `tid` of the host's pid namespace gets the view of the container it is in.
    Thread(u32),
    /// The view of this owner, whoever asks.
    Of(Owner),
}

impl Caller {
    fn tid(&self) -> u32 {
        match self {
            Self::Thread(tid) => *tid,
            Self::Of(_) => 0,
        }
    }
}

/// A part of a rendered file.
#[derive(Debug, Clone)]
pub struct Part {
    text: Arc<Vec<u8>>,
    range: Range<usize>,
}

impl Part {
    fn new(text: Arc<Vec<u8>>, offset: u64, size: u32) -> Self {
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(text.len());
        let end = start.saturating_add(size as usize).min(text.len());
        Self {
            text,
            range: start..end,
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[self.range.clone()]
    }
}

/// The file system.
#[derive(Debug)]
pub struct Fs {
    view: View,
    nodes: Nodes,
    handles: Handles,
    budgets: Budgets,
    triggers: Triggers,
    metrics: Arc<Metrics>,
}

impl Fs {
    /// Serves `files` of `view`.
    ///
    /// # Errors
    /// If the thread that watches pressure triggers cannot be started.
    pub fn new(view: View, files: &[File]) -> io::Result<Self> {
        let host = view.host();
        let resources = Resource::ALL
            .into_iter()
            .filter(|resource| host.has(&format!("proc/pressure/{}", resource.name())))
            .collect();
        let offered = files
            .iter()
            .copied()
            .filter(|file| host.has(file.path()))
            .collect();
        let dirs = (CpuDir::new(host.cpu_dir()), NumaDir::new(host.node_dir()));
        let size = |file: File| {
            let text = host.text(file.path()).unwrap_or_default();
            u64::try_from(text.len()).unwrap_or(u64::MAX / 4)
        };
        Ok(Self {
            nodes: Nodes::new(
                offered,
                resources,
                dirs,
                host.pages().base,
                view.possible(),
                size,
            ),
            handles: Handles::new(clock::boottime()),
            budgets: Budgets::default(),
            triggers: Triggers::start()?,
            metrics: Arc::default(),
            view,
        })
    }

    /// What is counted here.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// A file that the kernel does not let anybody map.
    pub fn unmappable(&self) -> PathBuf {
        self.view.host().cpu_dir().join("online")
    }

    fn owner(&self, caller: &Caller) -> Result<Owner, FsError> {
        match caller {
            Caller::Thread(tid) => Ok(self.view.owner_of(*tid)?),
            Caller::Of(owner) => Ok(owner.clone()),
        }
    }

    /// The CPUs that `owner` is shown.
    fn cpus_of(&self, owner: &Owner) -> Shown {
        match owner {
            Owner::Container(container) => {
                let now = clock::boottime();
                Shown::Cpus(container.cpus(now, self.view.host()))
            }
            Owner::Host => Shown::All,
        }
    }

    fn sight<'a>(&'a self, caller: &'a Caller) -> SightOf<'a> {
        SightOf { fs: self, caller }
    }

    /// The entry called `name` in directory `parent`.
    ///
    /// # Errors
    /// ENOENT if there is none for this caller, ENOTDIR if `parent` is no directory.
    pub fn lookup(&self, caller: &Caller, parent: u64, name: &str) -> Result<Entry, FsError> {
        let parent = self.nodes.node(parent)?;
        self.nodes.child(&parent, name, &self.sight(caller))
    }

    /// Attributes of inode `ino`.
    ///
    /// # Errors
    /// ENOENT for a file that is not there, or not for this caller.
    pub fn attributes(&self, caller: &Caller, ino: u64) -> Result<Attributes, FsError> {
        let node = self.nodes.node(ino)?;
        self.nodes.attributes(&node, &self.sight(caller))
    }

    /// The entries of directory `ino`, without `.` and `..`.
    ///
    /// # Errors
    /// ENOTDIR if it is no directory, or the error of reading the host's.
    pub fn entries(&self, caller: &Caller, ino: u64) -> Result<Vec<(String, Entry)>, FsError> {
        let node = self.nodes.node(ino)?;
        self.nodes.children(&node, &self.sight(caller))
    }

    /// The target of symbolic link `ino`.
    ///
    /// # Errors
    /// EINVAL if it is none.
    pub fn link_target(&self, caller: &Caller, ino: u64) -> Result<Vec<u8>, FsError> {
        let node = self.nodes.node(ino)?;
        self.nodes.link_target(&node, &self.sight(caller))
    }

    /// Whether `ino` is a pressure file, which can be written.
    pub fn is_pressure(&self, ino: u64) -> bool {
        matches!(self.nodes.node(ino), Ok(Node::Pressure(_)))
    }

    /// Opens `ino` and returns its handle.
    ///
    /// # Errors
    /// EACCES for writing to anything but a pressure file, EISDIR for a directory, EMFILE for a container that
    /// has too many files open.
    pub fn open(&self, caller: &Caller, ino: u64, write: bool) -> Result<u64, FsError> {
        let node = self.nodes.node(ino)?;
        match &node {
            Node::Dir(_) => return Err(FsError::IsDirectory),
            Node::Pressure(_) => {}
            _ if write => return Err(FsError::ReadOnly),
            _ => {}
        }
        let owner = self.owner(caller)?;
        let budget = self.budgets.of(&owner);
        if let Some(file) = node.file() {
            self.metrics.opened(file);
        }
        let open = OpenFile::new(node, owner, budget)?;
        Ok(self.handles.insert(open))
    }

    /// At most `size` bytes of the open file `handle` from `offset`; none at or past its end. A
    /// read at offset 0 renders the file anew, as procfs does; all others belong to the last
    /// rendering. A handle that is not known here, since another process gave it out, renders
    /// anew as well. A container that has ended keeps its last text.
    ///
    /// # Errors
    /// Those of reading the host's own file, ENODEV if the container ended before the first reading.
    pub fn read(
        &self,
        caller: &Caller,
        ino: u64,
        handle: u64,
        offset: u64,
        size: u32,
    ) -> Result<Part, FsError> {
        let open = match self.handles.get(handle) {
            Some(open) => open,
            None => {
                let owner = self.owner(caller)?;
                let budget = self.budgets.of(&owner);
                Arc::new(OpenFile::passing(self.nodes.node(ino)?, owner, budget))
            }
        };
        let kept = open.snapshot();
        if let Some(text) = kept.as_ref().filter(|_| offset > 0) {
            return Ok(Part::new(Arc::clone(text), offset, size));
        }
        let text = match (self.render(open.node(), open.owner(), caller), kept) {
            (Ok(mut text), _) => {
                // It may be kept for long.
                text.shrink_to_fit();
                let text = Arc::new(text);
                open.keep(&text);
                text
            }
            (Err(FsError::Gone), Some(kept)) => kept,
            (Err(error), _) => return Err(error),
        };
        Ok(Part::new(text, offset, size))
    }

    fn render(&self, node: &Node, owner: &Owner, caller: &Caller) -> Result<Vec<u8>, FsError> {
        let now = clock::boottime();
        self.view.refresh();
        check_there(owner)?;
        let text = match node {
            Node::Dir(_) => Err(FsError::IsDirectory),
            Node::File(file) => {
                let text = self.view.render(*file, owner, caller.tid(), now);
                text.map_err(FsError::Host)
            }
            Node::Pressure(resource) => {
                let text = self.view.render_pressure(*resource, owner);
                text.map_err(FsError::Host)
            }
            Node::Cpu { .. } => {
                let online = self.view.host().online_cpus(now);
                self.nodes.cpu_text(node, &self.cpus_of(owner), &online)
            }
            Node::Numa(entry) => self.numa_text(*entry, owner, now),
        };
        // What was read of a cgroup while it went is nobody's.
        check_there(owner)?;
        text
    }

    fn numa_text(&self, entry: NumaEntry, owner: &Owner, now: u64) -> Result<Vec<u8>, FsError> {
        let (node, file) = match entry {
            NumaEntry::File(file) => (None, file),
            NumaEntry::NodeFile(node, file) => (Some(node), file),
            _ => return Err(FsError::IsDirectory),
        };
        let host = self.nodes.numa_text(node, file)?;
        let text = self.view.render_node(node, file, owner, host, now);
        text.ok_or(FsError::NotFound)
    }

    /// The host's own text of `ino`: the answer to a request whose rendering panicked.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn fallback(&self, ino: u64, offset: u64, size: u32) -> Result<Part, FsError> {
        let node = self.nodes.node(ino)?;
        let text = self.render(&node, &Owner::Host, &Caller::Of(Owner::Host))?;
        Ok(Part::new(Arc::new(text), offset, size))
    }

    /// Writes a trigger to the open pressure file `handle`, and tells `answer`, maybe later, what became of
    /// it. Grammar, limits and errors are the kernel's own: the text goes to the pressure file of the
    /// container's cgroup.
    ///
    /// EACCES for any other file, EOPNOTSUPP if the container has no pressure file of its own, ENOSPC if
    /// there are too many, and the errors of the kernel: EINVAL for a trigger it does not take, EBUSY for
    /// a second one, EPERM where it lets nobody without CAP_SYS_RESOURCE have one (before Linux 6.5).
    pub fn write(&self, caller: &Caller, ino: u64, handle: u64, text: &[u8], answer: Answer) {
        if let Err((error, answer)) = self.order(caller, ino, handle, text, answer) {
            answer(Err(error));
        }
    }

    fn order(
        &self,
        caller: &Caller,
        ino: u64,
        handle: u64,
        text: &[u8],
        answer: Answer,
    ) -> Result<(), (FsError, Answer)> {
        let prepared = (|| {
            let (file, resource) = match (self.handles.get(handle), self.nodes.node(ino)?) {
                (Some(open), Node::Pressure(resource)) => (open, resource),
                (None, Node::Pressure(_)) => return Err(FsError::StaleHandle),
                _ => return Err(FsError::ReadOnly),
            };
            let target = self.view.pressure_target(resource, file.owner());
            let target = target.ok_or(FsError::NoPressure)?;
            let place = file.budget().trigger().map_err(FsError::TooManyTriggers)?;
            if !file.ask() {
                return Err(FsError::Trigger(io::Error::from_raw_os_error(libc::EBUSY)));
            }
            Ok((file, target, place))
        })();
        let (file, target, place) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Err((error, answer)),
        };
        let order = Order {
            target,
            text: text.to_vec(),
            is_privileged: self.view.is_privileged(caller.tid()),
            file,
            place,
            answer,
        };
        self.triggers.order(order).map_err(|order| {
            order.file.answer(None);
            (FsError::Busy, order.answer)
        })
    }

    /// Whether the open file `handle` has something to tell. `wake` is called once when its
    /// trigger fires later.
    ///
    /// # Errors
    /// ENOENT for an inode number that no file has.
    pub fn poll(&self, ino: u64, handle: u64, wake: Option<Wake>) -> Result<Readiness, FsError> {
        if !matches!(self.nodes.node(ino)?, Node::Pressure(_)) {
            return Ok(Readiness::Always);
        }
        let open = self.handles.get(handle);
        let trigger = open.as_ref().and_then(|open| open.trigger());
        // As the kernel answers for a pressure file without a trigger.
        Ok(trigger.map_or(Readiness::NoTrigger, |trigger| trigger.poll(wake)))
    }

    /// Closes `handle`.
    pub fn release(&self, handle: u64) {
        self.handles.remove(handle);
    }
}

/// What a caller is shown of the host.
struct SightOf<'a> {
    fs: &'a Fs,
    caller: &'a Caller,
}

impl Sight for SightOf<'_> {
    fn cpus(&self) -> Result<Shown, FsError> {
        Ok(self.fs.cpus_of(&self.fs.owner(self.caller)?))
    }

    fn nodes(&self) -> Result<NumaNodes, FsError> {
        let owner = self.fs.owner(self.caller)?;
        Ok(self.fs.view.nodes_of(&owner, clock::boottime()))
    }
}

/// Fails for a container that has ended.
fn check_there(owner: &Owner) -> Result<(), FsError> {
    match owner {
        Owner::Container(container) if container.cgroup().is_gone() => Err(FsError::Gone),
        _ => Ok(()),
    }
}
