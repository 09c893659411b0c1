//! `/sys/devices/system/node`: names, and the host's texts.

use std::fs;
use std::path::{Path, PathBuf};

use procview::numa::Nodes as NumaNodes;
use procview::render::NodeFile;

use super::{FsError, Kind};

/// Something in the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumaEntry {
    /// The directory itself.
    Top,
    /// A file in it.
    File(NodeFile),
    /// `nodeN`
    Node(u32),
    /// A file of `nodeN`.
    NodeFile(u32, NodeFile),
    /// `nodeN/cpuM`, a link to that CPU's directory.
    NodeCpu(u32, u32),
}

/// Bits of a code for what is in the directory of a node; those above tell the node.
const NODE_SHIFT: u32 = 24;
/// CPUs are told apart from files by this bit.
const CPU: u64 = 1 << 20;

impl NumaEntry {
    /// A number that is the same in every process.
    pub(super) fn code(self) -> u64 {
        let of = |node: u32| (u64::from(node) + 1) << NODE_SHIFT;
        match self {
            Self::Top => 0,
            Self::File(file) => 1 + file as u64,
            Self::Node(node) => of(node),
            Self::NodeFile(node, file) => of(node) | (1 + file as u64),
            Self::NodeCpu(node, cpu) => of(node) | CPU | u64::from(cpu),
        }
    }

    pub(super) fn from_code(code: u64) -> Option<Self> {
        let low = code & ((1 << NODE_SHIFT) - 1);
        let node = (code >> NODE_SHIFT).checked_sub(1);
        let node = node.map(u32::try_from).transpose().ok()?;
        let file = || {
            NodeFile::ALL
                .into_iter()
                .find(|file| 1 + *file as u64 == low)
        };
        match node {
            None if low == 0 => Some(Self::Top),
            None => file().map(Self::File),
            Some(node) if low == 0 => Some(Self::Node(node)),
            Some(node) if low & CPU != 0 => {
                Some(Self::NodeCpu(node, u32::try_from(low & (CPU - 1)).ok()?))
            }
            Some(node) => file().map(|file| Self::NodeFile(node, file)),
        }
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Top | Self::Node(_) => Kind::Directory,
            Self::File(_) | Self::NodeFile(..) => Kind::File,
            Self::NodeCpu(..) => Kind::Link,
        }
    }
}

/// The host's directory.
#[derive(Debug)]
pub struct NumaDir(PathBuf);

impl NumaDir {
    /// `root` is the host's `/sys/devices/system/node`.
    pub fn new(root: &Path) -> Self {
        Self(root.to_path_buf())
    }

    fn path(&self, node: Option<u32>, file: NodeFile) -> PathBuf {
        let mut path = self.0.clone();
        if let Some(node) = node {
            path.push(format!("node{node}"));
        }
        path.join(file.name())
    }

    /// The host's text of a file.
    pub(super) fn text(&self, node: Option<u32>, file: NodeFile) -> Result<Vec<u8>, FsError> {
        fs::read(self.path(node, file)).map_err(FsError::Kernel)
    }

    /// Whether the host has the entry, and a container with `nodes` too.
    pub(super) fn has(&self, entry: NumaEntry, nodes: &NumaNodes) -> bool {
        match entry {
            NumaEntry::Top => true,
            NumaEntry::File(file) => self.path(None, file).exists(),
            NumaEntry::Node(node) => nodes.get(node).is_some(),
            NumaEntry::NodeFile(node, file) => {
                nodes.get(node).is_some() && self.path(Some(node), file).exists()
            }
            NumaEntry::NodeCpu(node, cpu) => {
                nodes.get(node).is_some_and(|node| node.cpus.contains(cpu))
            }
        }
    }

    /// The names in a directory for a container with `nodes`, and what they are.
    pub(super) fn names(&self, dir: NumaEntry, nodes: &NumaNodes) -> Vec<(String, NumaEntry)> {
        let files = NodeFile::ALL.into_iter();
        let named = |file: NodeFile, entry| (file.name().to_owned(), entry);
        let mut names: Vec<_> = match dir {
            NumaEntry::Top => {
                let files = files.filter(|file| !file.is_of_a_node());
                let files = files.map(|file| named(file, NumaEntry::File(file)));
                let dirs = nodes
                    .as_slice()
                    .iter()
                    .map(|node| (format!("node{}", node.number), NumaEntry::Node(node.number)));
                files.chain(dirs).collect()
            }
            NumaEntry::Node(node) => {
                let files = files.filter(|file| file.is_of_a_node());
                let files = files.map(|file| named(file, NumaEntry::NodeFile(node, file)));
                let cpus = nodes
                    .get(node)
                    .map(|node| node.cpus.as_slice())
                    .unwrap_or_default();
                let cpus = cpus
                    .iter()
                    .map(|cpu| (format!("cpu{cpu}"), NumaEntry::NodeCpu(node, *cpu)));
                files.chain(cpus).collect()
            }
            _ => Vec::new(),
        };
        names.retain(|(_, entry)| self.has(*entry, nodes));
        names
    }
}

/// Where `nodeN/cpuM` leads to.
pub(super) fn cpu_link(cpu: u32) -> Vec<u8> {
    format!("../../cpu/cpu{cpu}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_stands_for_one_entry() {
        let entries = [
            NumaEntry::Top,
            NumaEntry::File(NodeFile::Online),
            NumaEntry::File(NodeFile::HasNormalMemory),
            NumaEntry::Node(0),
            NumaEntry::Node(1023),
            NumaEntry::NodeFile(3, NodeFile::Vmstat),
            NumaEntry::NodeCpu(3, 0),
            NumaEntry::NodeCpu(0, 8191),
        ];
        for entry in entries {
            assert_eq!(NumaEntry::from_code(entry.code()), Some(entry));
        }
        assert_eq!(NumaEntry::from_code(99), None);
    }
}
