//! The file system of a view, without FUSE: names, attributes, open files.
//!
//! Whose view it is is a parameter of every operation ([`Caller`]), so the same file system
//! serves a view by caller and one by container.

mod cpu_dir;
mod error;
mod handle;
mod node;
mod trigger;

use std::io;
use std::ops::Range;
use std::sync::Arc;

pub(crate) use cpu_dir::is_cpu;
pub use cpu_dir::{CpuDir, CpuNumbers};
pub use error::FsError;
pub use handle::Handles;
pub use node::{Attributes, Entry, FixedDir, Kind, Node, Nodes};
use procview::file::{File, Resource};

use crate::clock;
use crate::report::metrics::Metrics;
use crate::view::cgroup::pressure_file;
use crate::view::{Owner, View};
use handle::OpenFile;
use trigger::Triggers;
pub use trigger::{Readiness, Wake};

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
            .filter(|file| *file == File::Cpu || host.has(file.path()))
            .collect();
        let cpu_dir = CpuDir::new(host.cpu_dir());
        let size = |file: File| {
            let text = host.text(file.path()).unwrap_or_default();
            u64::try_from(text.len()).unwrap_or(u64::MAX / 4)
        };
        Ok(Self {
            nodes: Nodes::new(offered, resources, cpu_dir, size),
            handles: Handles::new(clock::boottime()),
            triggers: Triggers::start()?,
            metrics: Arc::default(),
            view,
        })
    }

    /// What is counted here.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    fn owner(&self, caller: &Caller) -> Owner {
        match caller {
            Caller::Thread(tid) => self.view.owner_of(*tid),
            Caller::Of(owner) => owner.clone(),
        }
    }

    /// How `owner` numbers the CPUs of `/sys/devices/system/cpu`.
    fn cpus_of(&self, owner: &Owner) -> CpuNumbers {
        match owner {
            Owner::Container(container) => {
                let now = clock::boottime();
                CpuNumbers::Container(container.cpus(now, self.view.host()))
            }
            Owner::Host => CpuNumbers::Host,
        }
    }

    fn cpus(&self, caller: &Caller) -> CpuNumbers {
        self.cpus_of(&self.owner(caller))
    }

    /// The entry called `name` in directory `parent`.
    ///
    /// # Errors
    /// ENOENT if there is none for this caller, ENOTDIR if `parent` is no directory.
    pub fn lookup(&self, caller: &Caller, parent: u64, name: &str) -> Result<Entry, FsError> {
        let parent = self.nodes.node(parent)?;
        self.nodes.child(&parent, name, || self.cpus(caller))
    }

    /// Attributes of inode `ino`.
    ///
    /// # Errors
    /// ENOENT for a file that is not there, or not for this caller.
    pub fn attributes(&self, caller: &Caller, ino: u64) -> Result<Attributes, FsError> {
        let node = self.nodes.node(ino)?;
        self.nodes.attributes(&node, || self.cpus(caller))
    }

    /// The entries of directory `ino`, without `.` and `..`.
    ///
    /// # Errors
    /// ENOTDIR if it is no directory, or the error of reading the host's.
    pub fn entries(&self, caller: &Caller, ino: u64) -> Result<Vec<(String, Entry)>, FsError> {
        let node = self.nodes.node(ino)?;
        self.nodes.children(&node, || self.cpus(caller))
    }

    /// The target of symbolic link `ino`.
    ///
    /// # Errors
    /// EINVAL if it is none.
    pub fn link_target(&self, caller: &Caller, ino: u64) -> Result<Vec<u8>, FsError> {
        let node = self.nodes.node(ino)?;
        self.nodes.link_target(&node, || self.cpus(caller))
    }

    /// Opens `ino` and returns its handle.
    ///
    /// # Errors
    /// EACCES for writing to anything but a pressure file, EISDIR for a directory.
    pub fn open(&self, caller: &Caller, ino: u64, write: bool) -> Result<u64, FsError> {
        let node = self.nodes.node(ino)?;
        match &node {
            Node::Dir(_) => return Err(FsError::IsDirectory),
            Node::Pressure(_) => {}
            _ if write => return Err(FsError::ReadOnly),
            _ => {}
        }
        let owner = self.owner(caller);
        if let Some(file) = node.file() {
            self.metrics.opened(file);
        }
        Ok(self.handles.insert(OpenFile::new(node, owner)))
    }

    /// At most `size` bytes of the open file `handle` from `offset`; none at or past its end. A
    /// read at offset 0 renders the file anew, as procfs does; all others belong to the last
    /// rendering. A handle that is not known here, since another process gave it out, renders
    /// anew as well.
    ///
    /// # Errors
    /// Those of reading the host's own file.
    pub fn read(
        &self,
        caller: &Caller,
        ino: u64,
        handle: u64,
        offset: u64,
        size: u32,
    ) -> Result<Part, FsError> {
        let known = self.handles.get(handle);
        let open = match &known {
            Some(open) => Arc::clone(open),
            None => Arc::new(OpenFile::new(self.nodes.node(ino)?, self.owner(caller))),
        };
        let text = match open.snapshot().filter(|_| offset > 0) {
            Some(text) => text,
            None => {
                let text = Arc::new(self.render(open.node(), open.owner(), caller)?);
                if let Some(open) = known {
                    self.handles.keep(&open, Arc::clone(&text));
                }
                text
            }
        };
        Ok(Part::new(text, offset, size))
    }

    fn render(&self, node: &Node, owner: &Owner, caller: &Caller) -> Result<Vec<u8>, FsError> {
        let now = clock::boottime();
        let text = match node {
            Node::Dir(_) => return Err(FsError::IsDirectory),
            Node::File(file) => self.view.render(*file, owner, caller.tid(), now),
            Node::Pressure(resource) => self.view.render_pressure(*resource, owner),
            Node::Cpu { .. } => {
                return self.nodes.cpu_text(node, &self.cpus_of(owner));
            }
        };
        text.map_err(FsError::Host)
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

    /// Writes a trigger to the open pressure file `handle`. Grammar, limits and errors are the
    /// kernel's own: the text goes to the pressure file of the container's cgroup.
    ///
    /// # Errors
    /// EACCES for any other file, EOPNOTSUPP if the container has no pressure file of its own,
    /// and those of the kernel: EINVAL for a trigger it does not take, EBUSY for a second one.
    pub fn write(
        &self,
        caller: &Caller,
        ino: u64,
        handle: u64,
        text: &[u8],
    ) -> Result<(), FsError> {
        let (known, resource) = match (self.handles.get(handle), self.nodes.node(ino)?) {
            (Some(open), Node::Pressure(resource)) => (open, resource),
            (None, Node::Pressure(_)) => return Err(FsError::StaleHandle),
            _ => return Err(FsError::ReadOnly),
        };
        let path = match known.owner() {
            Owner::Container(container) => container
                .cgroup()
                .pressure()
                .map(|dir| dir.path().join(pressure_file(resource)))
                .ok_or(FsError::NoPressure)?,
            Owner::Host => self.view.host().pressure_path(resource),
        };
        if !self.view.may_set_window(caller.tid(), text) {
            return Err(FsError::Trigger(io::Error::from_raw_os_error(libc::EINVAL)));
        }
        if known.has_trigger() {
            return Err(FsError::Trigger(io::Error::from_raw_os_error(libc::EBUSY)));
        }
        let trigger = self.triggers.arm(&path, text).map_err(FsError::Trigger)?;
        known.set_trigger(trigger)
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
        let trigger = self.handles.get(handle).and_then(|open| open.trigger());
        // As the kernel answers for a pressure file without a trigger.
        Ok(trigger.map_or(Readiness::NoTrigger, |trigger| trigger.poll(wake)))
    }

    /// Closes `handle`.
    pub fn release(&self, handle: u64) {
        self.handles.remove(handle);
    }
}
