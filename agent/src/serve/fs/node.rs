//! Names and inode numbers.
//!
//! An inode number is a fixed function of the file: another process that takes the mount over
//! knows every number that this one gave out.

use std::path::Path;
use std::time::Duration;

use procview::file::{File, Resource};
use procview::numa::Nodes as NumaNodes;
use procview::parse::CpuList;
use procview::render::{self, CpuEntry, NodeFile, Possible};

use super::FsError;
use super::cpu_dir::{CpuDir, Shown, cpu_number, policy_name};
use super::numa_dir::{NumaDir, NumaEntry, cpu_link};

/// A directory that is there whatever the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FixedDir {
    /// The mount's root.
    Root,
    /// `proc`
    Proc,
    /// `proc/pressure`
    Pressure,
    /// `sys`
    Sys,
    /// `sys/devices`
    Devices,
    /// `sys/devices/system`
    System,
}

/// What an inode number stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A fixed directory.
    Dir(FixedDir),
    /// A file of `/proc`.
    File(File),
    /// A file of `/proc/pressure`.
    Pressure(Resource),
    /// `/sys/devices/system/cpu` or something in it.
    Cpu {
        /// The number of the CPU it belongs to.
        cpu: Option<u32>,
        /// The path in the directory, or in that of the CPU; empty for the directory itself.
        path: Box<str>,
    },
    /// `/sys/devices/system/node` or something in it.
    Numa(NumaEntry),
}

impl Node {
    /// The file it is or is in.
    pub fn file(&self) -> Option<File> {
        match self {
            Self::Dir(_) => None,
            Self::File(file) => Some(*file),
            Self::Pressure(_) => Some(File::Pressure),
            Self::Cpu { .. } => Some(File::Cpu),
            Self::Numa(_) => Some(File::Node),
        }
    }
}

/// The type of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
}

/// Attributes, as stat(2) shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Inode number.
    pub ino: u64,
    /// Type.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u16,
    /// For a file, no less than its text is long, in whole pages, as files of sysfs have it. Not 0
    /// as in procfs: since Linux 6.5 sendfile(2) and splice(2) take that for the end of a file of
    /// FUSE, and a `cat` that uses them prints nothing.
    pub size: u64,
    /// How long the kernel may keep them, and the name with them.
    pub valid_for: Duration,
}

/// A name's inode with its attributes.
pub type Entry = Attributes;

/// What of the host a caller is shown: asked only where it decides.
pub trait Sight {
    /// The CPUs.
    ///
    /// # Errors
    /// If it cannot be told who the caller is.
    fn cpus(&self) -> Result<Shown, FsError>;

    /// The memory nodes.
    ///
    /// # Errors
    /// As for [`cpus`](Self::cpus).
    fn nodes(&self) -> Result<NumaNodes, FsError>;
}

/// For what is the same for every caller and never changes.
const FOREVER: Duration = Duration::from_secs(86_400);
/// For entries of sysfs, which hotplug changes.
const SHORT: Duration = Duration::from_secs(1);

const FIRST_FILE: u64 = 16;
const FIRST_RESOURCE: u64 = 48;
const NUMA_NODE: u64 = 1 << 61;
const CPU_NODE: u64 = 1 << 62;
const CPU_SHIFT: u32 = 40;
const HASH_MASK: u64 = (1 << CPU_SHIFT) - 1;

/// The tree.
#[derive(Debug)]
pub struct Nodes {
    files: Vec<File>,
    resources: Vec<Resource>,
    cpu_dir: CpuDir,
    numa_dir: NumaDir,
    /// By the file's place in [`File::ALL`].
    sizes: [u64; File::ALL.len()],
    /// The size of sysfs's files: one page of the kernel.
    page: u64,
    possible: Possible,
}

impl FixedDir {
    fn ino(self) -> u64 {
        self as u64 + 1
    }

    fn from_ino(ino: u64) -> Option<Self> {
        use FixedDir::{Devices, Pressure, Proc, Root, Sys, System};
        [Root, Proc, Pressure, Sys, Devices, System]
            .into_iter()
            .find(|dir| dir.ino() == ino)
    }
}

impl Nodes {
    /// A tree of `files` and, if [`File::Pressure`] is one of them, `resources`.
    /// `page` is the kernel's page size in bytes, `host_size` tells how long the host's text of a file is.
    pub fn new(
        files: Vec<File>,
        resources: Vec<Resource>,
        (cpu_dir, numa_dir): (CpuDir, NumaDir),
        page: u64,
        possible: Possible,
        host_size: impl Fn(File) -> u64,
    ) -> Self {
        Self {
            files,
            resources,
            cpu_dir,
            numa_dir,
            // Twice, since numbers grow and a container can have lines that the host has not.
            sizes: File::ALL.map(|file| (2 * host_size(file)).next_multiple_of(page).max(page)),
            page,
            possible,
        }
    }

    fn ino(&self, node: &Node) -> u64 {
        match node {
            Node::Dir(dir) => dir.ino(),
            Node::File(file) => FIRST_FILE + *file as u64,
            Node::Pressure(resource) => FIRST_RESOURCE + *resource as u64,
            Node::Cpu { cpu, path } => {
                let number = cpu.map_or(0, |cpu| u64::from(cpu) + 1) << CPU_SHIFT;
                CPU_NODE | number | self.cpu_dir.hash(path)
            }
            Node::Numa(entry) => NUMA_NODE | entry.code(),
        }
    }

    /// What `ino` stands for.
    ///
    /// # Errors
    /// ENOENT for a number that no file has.
    pub fn node(&self, ino: u64) -> Result<Node, FsError> {
        if let Some(dir) = FixedDir::from_ino(ino) {
            return Ok(Node::Dir(dir));
        }
        if ino & CPU_NODE != 0 {
            let number = (ino & !CPU_NODE) >> CPU_SHIFT;
            let cpu = number
                .checked_sub(1)
                .and_then(|cpu| u32::try_from(cpu).ok());
            let path = self.cpu_dir.path_of(cpu.is_some(), ino & HASH_MASK);
            let path = path.ok_or(FsError::NotFound)?;
            return Ok(Node::Cpu { cpu, path });
        }
        if ino & NUMA_NODE != 0 {
            let entry = NumaEntry::from_code(ino & !NUMA_NODE);
            return entry.map(Node::Numa).ok_or(FsError::NotFound);
        }
        let file = File::ALL
            .into_iter()
            .find(|file| FIRST_FILE + *file as u64 == ino);
        let resource = Resource::ALL
            .into_iter()
            .find(|resource| FIRST_RESOURCE + *resource as u64 == ino);
        file.map(Node::File)
            .or(resource.map(Node::Pressure))
            .ok_or(FsError::NotFound)
    }

    fn fixed_children(&self, dir: FixedDir) -> Vec<(&'static str, Node)> {
        let has = |file| self.files.contains(&file);
        let fixed = |name, dir| (name, Node::Dir(dir));
        match dir {
            FixedDir::Root => {
                let mut children = Vec::new();
                if self.files.iter().any(|file| !file.is_sysfs()) {
                    children.push(fixed("proc", FixedDir::Proc));
                }
                if self.files.iter().any(|file| file.is_sysfs()) {
                    children.push(fixed("sys", FixedDir::Sys));
                }
                children
            }
            FixedDir::Proc => self
                .files
                .iter()
                .filter_map(|file| match file {
                    File::Cpu | File::Node => None,
                    File::Pressure => Some(fixed("pressure", FixedDir::Pressure)),
                    file => Some((file.name(), Node::File(*file))),
                })
                .collect(),
            FixedDir::Pressure => self
                .resources
                .iter()
                .map(|resource| (resource.name(), Node::Pressure(*resource)))
                .collect(),
            FixedDir::Sys => vec![fixed("devices", FixedDir::Devices)],
            FixedDir::Devices => vec![fixed("system", FixedDir::System)],
            FixedDir::System => {
                let cpu = Node::Cpu {
                    cpu: None,
                    path: "".into(),
                };
                let cpu = has(File::Cpu).then_some(("cpu", cpu));
                let node = has(File::Node).then_some(("node", Node::Numa(NumaEntry::Top)));
                cpu.into_iter().chain(node).collect()
            }
        }
    }

    /// The entry called `name` in `parent`. The CPUs shown are asked for only if they decide.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR.
    pub fn child(&self, parent: &Node, name: &str, sight: &dyn Sight) -> Result<Entry, FsError> {
        match parent {
            Node::Dir(dir) => self
                .fixed_children(*dir)
                .into_iter()
                .find(|(child, _)| *child == name)
                .ok_or(FsError::NotFound)
                .and_then(|(_, node)| self.attributes(&node, sight)),
            Node::Cpu { cpu, path } => {
                let node = match cpu_number(name) {
                    Some(number) if cpu.is_none() && path.is_empty() => Node::Cpu {
                        cpu: Some(number),
                        path: "".into(),
                    },
                    _ => Node::Cpu {
                        cpu: *cpu,
                        path: join(path, name),
                    },
                };
                self.attributes(&node, sight)
            }
            Node::Numa(entry) => {
                let nodes = sight.nodes()?;
                let mut names = self.numa_dir.names(*entry, &nodes).into_iter();
                let found = names.find(|(child, _)| child == name);
                let (_, found) = found.ok_or(FsError::NotFound)?;
                self.attributes(&Node::Numa(found), &Known::Nodes(nodes))
            }
            Node::File(_) | Node::Pressure(_) => Err(FsError::NotDirectory),
        }
    }

    /// The attributes of `node`.
    ///
    /// # Errors
    /// ENOENT for a CPU that the caller does not have, or an entry that the host does not have.
    pub fn attributes(&self, node: &Node, sight: &dyn Sight) -> Result<Attributes, FsError> {
        let (kind, mode, valid_for) = match node {
            Node::Dir(_) => (Kind::Directory, 0o555, FOREVER),
            Node::File(File::Slabinfo) => (Kind::File, 0o400, FOREVER),
            Node::File(_) => (Kind::File, 0o444, FOREVER),
            Node::Pressure(_) => (Kind::File, 0o666, FOREVER),
            Node::Cpu { cpu: None, path } if path.is_empty() => (Kind::Directory, 0o555, FOREVER),
            Node::Cpu { cpu: None, path } if policy_name(path).is_none() => {
                let (kind, mode) = self.cpu_dir.stat(None, path)?;
                let fixed = matches!(&**path, "online" | "present" | "possible");
                (kind, mode, if fixed { FOREVER } else { SHORT })
            }
            Node::Cpu { cpu, path } => {
                // Another container may have other CPUs: the kernel must ask each time.
                if !sight.cpus()?.has(&self.cpu_dir, *cpu, path) {
                    return Err(FsError::NotFound);
                }
                let (kind, mode) = self.cpu_dir.stat(*cpu, path)?;
                (kind, mode, Duration::ZERO)
            }
            Node::Numa(entry) => {
                let is_fixed = matches!(entry, NumaEntry::Top | NumaEntry::File(_));
                let nodes = if is_fixed {
                    NumaNodes::default()
                } else {
                    sight.nodes()?
                };
                if !self.numa_dir.has(*entry, &nodes) {
                    return Err(FsError::NotFound);
                }
                let valid_for = if is_fixed { FOREVER } else { Duration::ZERO };
                match entry.kind() {
                    Kind::Directory => (Kind::Directory, 0o555, valid_for),
                    Kind::Link => (Kind::Link, 0o777, valid_for),
                    Kind::File => (Kind::File, 0o444, valid_for),
                }
            }
        };
        let size = match (kind, node) {
            (Kind::File, Node::File(file)) => self.sizes[*file as usize],
            (Kind::File, _) => self.page,
            _ => 0,
        };
        Ok(Attributes {
            ino: self.ino(node),
            kind,
            mode,
            size,
            valid_for,
        })
    }

    /// The entries of `node`, without `.` and `..`.
    ///
    /// # Errors
    /// ENOTDIR, or the error of reading the host's directory.
    pub fn children(
        &self,
        node: &Node,
        sight: &dyn Sight,
    ) -> Result<Vec<(String, Entry)>, FsError> {
        let (cpu, path) = match node {
            Node::Dir(dir) => {
                let children = self.fixed_children(*dir).into_iter();
                return children
                    .map(|(name, node)| {
                        let attributes = self.attributes(&node, sight)?;
                        Ok((name.to_owned(), attributes))
                    })
                    .collect();
            }
            Node::Cpu { cpu, path } => (*cpu, path),
            Node::Numa(entry) => {
                let nodes = sight.nodes()?;
                let names = self.numa_dir.names(*entry, &nodes);
                let known = Known::Nodes(nodes);
                let attributes = |entry| self.attributes(&Node::Numa(entry), &known);
                let with = |(name, entry)| Ok((name, attributes(entry)?));
                return names.into_iter().map(with).collect();
            }
            Node::File(_) | Node::Pressure(_) => return Err(FsError::NotDirectory),
        };
        let shown = sight.cpus()?;
        if !shown.has(&self.cpu_dir, cpu, path) {
            return Err(FsError::NotFound);
        }
        let top = cpu.is_none() && path.is_empty();
        let mut names = self.cpu_dir.names(cpu, path)?;
        if let (true, Shown::Cpus(cpus)) = (top, &shown) {
            names.retain(|name| cpu_number(name).is_none());
            names.extend(cpus.numbers().iter().map(|cpu| format!("cpu{cpu}")));
        }
        let known = Known::Cpus(shown);
        let entry = |name: String| {
            // What cannot be opened is not listed.
            let entry = self.child(node, &name, &known).ok()?;
            Some((name, entry))
        };
        Ok(names.into_iter().filter_map(entry).collect())
    }

    /// The target of the symbolic link `node`.
    ///
    /// # Errors
    /// EINVAL if it is none.
    pub fn link_target(&self, node: &Node, sight: &dyn Sight) -> Result<Vec<u8>, FsError> {
        let (cpu, path) = match node {
            Node::Cpu { cpu, path } => (cpu, path),
            Node::Numa(NumaEntry::NodeCpu(_, cpu)) => return Ok(cpu_link(*cpu)),
            _ => return Err(FsError::NotLink),
        };
        if !sight.cpus()?.has(&self.cpu_dir, *cpu, path) {
            return Err(FsError::NotFound);
        }
        self.cpu_dir.link_target(*cpu, path)
    }

    /// The host's text of a file in `/sys/devices/system/node`, or of `node` in it.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn numa_text(&self, node: Option<u32>, file: NodeFile) -> Result<Vec<u8>, FsError> {
        self.numa_dir.text(node, file)
    }

    /// The text of `node` in `/sys/devices/system/cpu`, where the host has `online` CPUs.
    ///
    /// # Errors
    /// Those of reading the host's file, ENOENT for a CPU that the owner does not have.
    pub fn cpu_text(
        &self,
        node: &Node,
        shown: &Shown,
        online: &CpuList,
    ) -> Result<Vec<u8>, FsError> {
        let Node::Cpu { cpu, path } = node else {
            return Err(FsError::NotFound);
        };
        if !shown.has(&self.cpu_dir, *cpu, path) {
            return Err(FsError::NotFound);
        }
        let host = || self.cpu_dir.text(*cpu, path);
        let Shown::Cpus(cpus) = shown else {
            return host();
        };
        Ok(match render::cpu_entry(*cpu, path, cpus, self.possible) {
            CpuEntry::Text(text) => text,
            CpuEntry::Edited(edit) => edit.apply(&host()?, cpus),
            CpuEntry::Offline => render::cpu_offline(&host()?, online, cpus),
            CpuEntry::Host => host()?,
        })
    }
}

/// What is found out already.
enum Known {
    Cpus(Shown),
    Nodes(NumaNodes),
}

impl Sight for Known {
    fn cpus(&self) -> Result<Shown, FsError> {
        match self {
            Self::Cpus(shown) => Ok(shown.clone()),
            Self::Nodes(_) => Err(FsError::NotFound),
        }
    }

    fn nodes(&self) -> Result<NumaNodes, FsError> {
        match self {
            Self::Cpus(_) => Err(FsError::NotFound),
            Self::Nodes(nodes) => Ok(nodes.clone()),
        }
    }
}

fn join(path: &str, name: &str) -> Box<str> {
    let path = Path::new(path).join(name);
    path.to_string_lossy().into()
}
