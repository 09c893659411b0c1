//! `/sys/devices/system/node`.
//!
//! Source: Documentation/ABI/stable/sysfs-devices-node.

use super::column;
use super::cpu_list;
use super::meminfo::node_value;
use super::vmstat::{VmstatSource, vmstat};
use crate::host::{HostMeminfo, keys};
use crate::memory::Memory;
use crate::numa::{Node, Nodes};
use crate::parse::{CpuList, lines, words};

/// A file of the directory, or of `nodeN` in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeFile {
    /// `online`
    Online,
    /// `possible`
    Possible,
    /// `has_cpu`
    HasCpu,
    /// `has_memory` (since Linux 3.9)
    HasMemory,
    /// `has_normal_memory`
    HasNormalMemory,
    /// `nodeN/cpulist`
    Cpulist,
    /// `nodeN/cpumap`
    Cpumap,
    /// `nodeN/distance`
    Distance,
    /// `nodeN/meminfo`
    Meminfo,
    /// `nodeN/numastat`
    Numastat,
    /// `nodeN/vmstat`
    Vmstat,
}

impl NodeFile {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Online,
        Self::Possible,
        Self::HasCpu,
        Self::HasMemory,
        Self::HasNormalMemory,
        Self::Cpulist,
        Self::Cpumap,
        Self::Distance,
        Self::Meminfo,
        Self::Numastat,
        Self::Vmstat,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Possible => "possible",
            Self::HasCpu => "has_cpu",
            Self::HasMemory => "has_memory",
            Self::HasNormalMemory => "has_normal_memory",
            Self::Cpulist => "cpulist",
            Self::Cpumap => "cpumap",
            Self::Distance => "distance",
            Self::Meminfo => "meminfo",
            Self::Numastat => "numastat",
            Self::Vmstat => "vmstat",
        }
    }

    /// Whether it is in each `nodeN`.
    pub fn is_of_a_node(self) -> bool {
        use NodeFile::{Cpulist, Cpumap, Distance, Meminfo, Numastat, Vmstat};
        matches!(
            self,
            Cpulist | Cpumap | Distance | Meminfo | Numastat | Vmstat
        )
    }
}

/// The text of `file`, one of the directory itself, from the `host`'s.
pub fn node_dir(file: NodeFile, nodes: &Nodes, host: &[u8]) -> Vec<u8> {
    let list = match file {
        NodeFile::Online => nodes.list(|_| true),
        NodeFile::HasCpu => nodes.list(|node| !node.cpus.is_empty()),
        NodeFile::HasMemory => nodes.list(Node::has_memory),
        NodeFile::HasNormalMemory => {
            CpuList::parse(host).intersection(&nodes.list(Node::has_memory))
        }
        // What arrays are sized by must not be smaller than the kernel's.
        _ => return host.to_vec(),
    };
    cpu_list::line(&list)
}

/// What a file of `nodeN` is made of.
#[derive(Debug, Clone, Copy)]
pub struct NodeSource<'a> {
    /// The node.
    pub node: &'a Node,
    /// All of them.
    pub nodes: &'a Nodes,
    /// The numbers of the host's nodes.
    pub online: &'a CpuList,
    /// The node's part of the container's memory.
    pub memory: &'a Memory,
    /// The kernel's sizes of pages.
    pub pages: super::PageSizes,
    /// The host's `/proc/meminfo`.
    pub meminfo: &'a HostMeminfo,
}

/// The text of `file`, one of `nodeN`, from the `host`'s.
pub fn node_file(file: NodeFile, source: &NodeSource<'_>, host: &[u8]) -> Vec<u8> {
    match file {
        NodeFile::Cpulist => cpu_list::line(&source.node.cpus),
        NodeFile::Cpumap => cpu_list::mask(&source.node.cpus, host),
        NodeFile::Distance => distance(source, host),
        NodeFile::Meminfo => meminfo(source, host),
        NodeFile::Vmstat => {
            let mut out = Vec::with_capacity(host.len());
            let source = VmstatSource {
                memory: source.memory,
                memory_stat: &[],
                disks: &[],
                pages: source.pages,
            };
            vmstat(&mut out, &source, host);
            out
        }
        // Hits and misses of everybody's allocations.
        _ => zeros(host),
    }
}

/// The host's distances, one for each of its nodes in order, of those that the container has.
fn distance(source: &NodeSource<'_>, host: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (distance, number) in words(host.trim_ascii()).zip(source.online.as_slice()) {
        if source.nodes.get(*number).is_some() {
            if !out.is_empty() {
                out.push(b' ');
            }
            out.extend_from_slice(distance);
        }
    }
    out.push(b'\n');
    out
}

/// `Node 0 MemTotal:       24684092 kB` a line.
fn meminfo(source: &NodeSource<'_>, host: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(host.len());
    for line in lines(host) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (label, rest) = line.split_at(colon + 1);
        let key = words(&label[..colon]).nth(2).unwrap_or_default();
        let key = std::str::from_utf8(key).unwrap_or_default();
        let unit: &[u8] = if rest.ends_with(b" kB") {
            b" kB\n"
        } else {
            b"\n"
        };
        let value = node_value(key, source.memory, source.meminfo);
        let start = out.len();
        out.extend_from_slice(label);
        column::right(&mut out, start, line.len() + 1 - unit.len(), value);
        out.extend_from_slice(unit);
    }
    out
}

fn zeros(host: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(host.len());
    for key in keys(host) {
        out.extend_from_slice(key);
        out.extend_from_slice(b" 0\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cpu::{Cpus, Rounding};
    use crate::memory::MemoryLevel;
    use crate::numa::HostNode;

    #[test]
    fn files_of_a_node() {
        let host: Vec<_> = [("0-3", 2 << 30), ("4-7", 2 << 30)]
            .into_iter()
            .zip(0..)
            .map(|((cpus, memory), number)| HostNode {
                number,
                cpus: CpuList::parse(cpus.as_bytes()),
                memory,
            })
            .collect();
        let cpus = CpuList::parse(b"5,6");
        let cpus = Cpus::new(None, Some(&cpus), &CpuList::first(8), Rounding::Ceil);
        let mems = CpuList::parse(b"1");
        let nodes = Nodes::new(&host, &cpus, Some(&mems));
        let level = MemoryLevel {
            limit: Some(512 << 20),
            usage: 12 << 20,
            ..MemoryLevel::default()
        };
        let meminfo = HostMeminfo::parse(b"MemTotal: 4194304 kB\n");
        let memory = nodes.memory(1, &Memory::new(&[level], &meminfo), &BTreeMap::new());
        let online = CpuList::first(2);
        let source = NodeSource {
            node: nodes.get(1).expect("a node"),
            nodes: &nodes,
            online: &online,
            memory: &memory,
            pages: crate::render::PageSizes {
                base: 4096,
                huge: 2 << 20,
            },
            meminfo: &meminfo,
        };
        for (file, host, shown) in [
            (NodeFile::Cpulist, "4-7\n", "5-6\n"),
            (NodeFile::Cpumap, "f0\n", "60\n"),
            (NodeFile::Distance, "21 10\n", "10\n"),
            (
                NodeFile::Numastat,
                "numa_hit 5\nother_node 7\n",
                "numa_hit 0\nother_node 0\n",
            ),
            (
                NodeFile::Vmstat,
                "nr_free_pages 5\nnuma_hit 7\n",
                "nr_free_pages 128000\nnuma_hit 0\n",
            ),
            (
                NodeFile::Meminfo,
                "Node 1 MemTotal:        2097152 kB\nNode 1 MemUsed:         1000000 kB\nNode 1 FilePages:        999999 kB\nNode 1 HugePages_Total:     3\n",
                "Node 1 MemTotal:         524288 kB\nNode 1 MemUsed:           12288 kB\nNode 1 FilePages:             0 kB\nNode 1 HugePages_Total:     0\n",
            ),
        ] {
            let text = node_file(file, &source, host.as_bytes());
            assert_eq!(String::from_utf8_lossy(&text), shown, "{}", file.name());
        }
        for (file, shown) in [
            (NodeFile::Online, "1\n"),
            (NodeFile::HasCpu, "1\n"),
            (NodeFile::HasMemory, "1\n"),
            (NodeFile::HasNormalMemory, "1\n"),
            (NodeFile::Possible, "0-1\n"),
        ] {
            let text = node_dir(file, &nodes, b"0-1\n");
            assert_eq!(String::from_utf8_lossy(&text), shown, "{}", file.name());
        }
    }
}
