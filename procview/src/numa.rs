//! Memory nodes: which of the host's a container has a part of, and how much.
//!
//! A container has the nodes on which it has CPUs or memory, under the kernel's own numbers. Its memory is
//! spread over those on which it may have memory, in proportion to what the host has there.

use std::collections::BTreeMap;

use crate::cpu::Cpus;
use crate::memory::{HugePages, Memory, MemoryStat};
use crate::parse::CpuList;

/// A memory node of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostNode {
    /// The kernel's number.
    pub number: u32,
    /// Its CPUs.
    pub cpus: CpuList,
    /// Its memory in bytes.
    pub memory: u64,
}

/// A memory node of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The kernel's number.
    pub number: u32,
    /// The container's CPUs on it.
    pub cpus: CpuList,
    /// Bytes that the host has there, 0 where the container may have no memory.
    weight: u64,
}

impl Node {
    /// Whether the container may have memory on it.
    pub fn has_memory(&self) -> bool {
        self.weight > 0
    }
}

/// The memory nodes of a container, ascending; at least one where the host has any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nodes(Vec<Node>);

impl Nodes {
    /// Those of `host` that have CPUs of `cpus`, or are in `mems`, the nodes whose memory the container may
    /// use; without a cpuset it may use all.
    pub fn new(host: &[HostNode], cpus: &Cpus, mems: Option<&CpuList>) -> Self {
        let is_allowed = |node: &HostNode| {
            node.memory > 0 && mems.is_none_or(|mems| mems.is_empty() || mems.contains(node.number))
        };
        // Memory is somewhere in any case.
        let none_allowed = !host.iter().any(is_allowed);
        let nodes = host.iter().map(|node| Node {
            number: node.number,
            cpus: node.cpus.intersection(cpus.shown()),
            weight: if none_allowed || is_allowed(node) {
                node.memory
            } else {
                0
            },
        });
        Self(
            nodes
                .filter(|node| node.has_memory() || !node.cpus.is_empty())
                .collect(),
        )
    }

    /// The nodes.
    pub fn as_slice(&self) -> &[Node] {
        &self.0
    }

    /// The node with that number.
    pub fn get(&self, number: u32) -> Option<&Node> {
        self.0.iter().find(|node| node.number == number)
    }

    /// The numbers of the nodes that are as `wanted`.
    pub fn list(&self, wanted: impl Fn(&Node) -> bool) -> CpuList {
        let wanted = self.0.iter().filter(|node| wanted(node));
        wanted.map(|node| node.number).collect()
    }

    /// The part of `memory` that is on the node with that number; the parts of all nodes are the whole.
    /// `by_node` is what the container has where, of `memory.numa_stat`; without it that is spread, too.
    pub fn memory(
        &self,
        number: u32,
        memory: &Memory,
        by_node: &BTreeMap<u32, MemoryStat>,
    ) -> Memory {
        const KIB: u64 = 1024;
        let index = self.0.iter().position(|node| node.number == number);
        let weights: Vec<_> = self.0.iter().map(|node| node.weight).collect();
        let spread = |whole, weights: &[u64]| split(whole, weights, index);
        let totals: Vec<_> = (0..weights.len())
            .map(|node| split(memory.total / KIB, &weights, Some(node)))
            .collect();
        let stat_of = |number: u32| by_node.get(&number).cloned().unwrap_or_default();
        let left = self
            .0
            .iter()
            .zip(&totals)
            .map(|(node, total)| total.saturating_sub(stat_of(node.number).charged() / KIB));
        let left: Vec<_> = left.collect();
        // What is free lies where something is left.
        let free = if left.iter().any(|left| *left > 0) {
            &left
        } else {
            &totals
        };
        let stat = if by_node.is_empty() {
            let share = index.map_or(0, |index| weights[index]);
            memory.stat.scaled(share, weights.iter().sum())
        } else {
            stat_of(number)
        };
        let total = index.map_or(0, |index| totals[index]) * KIB;
        Memory {
            total,
            free: (spread(memory.free / KIB, free) * KIB).min(total),
            available: spread(memory.available / KIB, &weights) * KIB,
            stat,
            huge_pages: HugePages {
                total: spread(memory.huge_pages.total, &weights),
                free: spread(memory.huge_pages.free, &weights),
            },
            overcommit_ratio: memory.overcommit_ratio,
            ..Memory::default()
        }
    }
}

/// The part at `index` if `whole` is split by `weights` without a rest.
fn split(whole: u64, weights: &[u64], index: Option<usize>) -> u64 {
    let sum: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    let Some(index) = index.filter(|_| sum > 0) else {
        return 0;
    };
    let up_to = |end: usize| {
        let part: u128 = weights[..end]
            .iter()
            .map(|weight| u128::from(*weight))
            .sum();
        u128::from(whole) * part / sum
    };
    u64::try_from(up_to(index + 1) - up_to(index)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Rounding;
    use crate::host::HostMeminfo;
    use crate::memory::MemoryLevel;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    fn host() -> Vec<HostNode> {
        [("0-3", 3000), ("4-7", 1000), ("", 500)]
            .into_iter()
            .zip(0..)
            .map(|((cpus, memory), number)| HostNode {
                number,
                cpus: CpuList::parse(cpus.as_bytes()),
                memory: memory * MIB,
            })
            .collect()
    }

    fn on(set: &str) -> Cpus {
        let set = CpuList::parse(set.as_bytes());
        Cpus::new(None, Some(&set), &CpuList::first(8), Rounding::Ceil)
    }

    fn memory(total: u64, used: u64) -> Memory {
        let level = MemoryLevel {
            limit: Some(total),
            usage: used,
            ..MemoryLevel::default()
        };
        Memory::new(&[level], &HostMeminfo::parse(b"MemTotal: 99999999 kB\n"))
    }

    #[test]
    fn nodes_with_cpus_or_memory_of_the_container() {
        let numbers = |cpus: &str, mems: Option<&str>| {
            let mems = mems.map(|mems| CpuList::parse(mems.as_bytes()));
            let nodes = Nodes::new(&host(), &on(cpus), mems.as_ref());
            (
                nodes.list(|_| true),
                nodes.list(Node::has_memory),
                nodes.list(|node| !node.cpus.is_empty()),
            )
        };
        let list = |text: &str| CpuList::parse(text.as_bytes());
        assert_eq!(
            numbers("0-7", None),
            (list("0-2"), list("0-2"), list("0-1"))
        );
        assert_eq!(numbers("5", Some("0")), (list("0-1"), list("0"), list("1")));
        assert_eq!(numbers("5", Some("1")), (list("1"), list("1"), list("1")));
        // Of no use, and so no cpuset.
        assert_eq!(
            numbers("0", Some("9")),
            (list("0-2"), list("0-2"), list("0"))
        );
    }

    #[test]
    fn what_is_used_where_is_not_free_there() {
        let nodes = Nodes::new(&host(), &on("0-7"), Some(&CpuList::parse(b"0-1")));
        let stat = |anon| MemoryStat {
            anon,
            ..MemoryStat::default()
        };
        let by_node = BTreeMap::from([(0, stat(0)), (1, stat(100 * MIB))]);
        let whole = memory(400 * MIB, 100 * MIB);
        let [zero, one] = [0, 1].map(|node| nodes.memory(node, &whole, &by_node));
        assert_eq!((zero.total, one.total), (300 * MIB, 100 * MIB));
        assert_eq!((zero.free, one.free), (300 * MIB, 0));
        assert_eq!((zero.stat.anon, one.stat.anon), (0, 100 * MIB));
    }

    proptest! {
        #[test]
        fn the_parts_are_the_whole(weights in proptest::collection::vec(0_u64..1 << 40, 1..9), total in 4096_u64..1 << 45, used in 0_u64..1 << 45) {
            let host: Vec<_> = weights.into_iter().zip(0..).map(|(memory, number)| HostNode { number, cpus: CpuList::first(8), memory }).collect();
            let nodes = Nodes::new(&host, &on("0-7"), None);
            let whole = memory(total, used);
            let parts: Vec<_> = nodes.as_slice().iter().map(|node| nodes.memory(node.number, &whole, &BTreeMap::new())).collect();
            if nodes.as_slice().iter().any(Node::has_memory) {
                prop_assert_eq!(parts.iter().map(|part| part.total / 1024).sum::<u64>(), whole.total / 1024);
                prop_assert!(parts.iter().all(|part| part.free <= part.total));
            }
        }
    }
}
