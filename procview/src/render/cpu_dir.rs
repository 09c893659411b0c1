//! `/sys/devices/system/cpu`.
//!
//! Source: Documentation/ABI/testing/sysfs-devices-system-cpu and
//! Documentation/admin-guide/cputopology.rst.

use std::io::Write;

use crate::cpu::Cpus;
use crate::parse::CpuList;

/// What an entry of the directory is in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CpuEntry {
    /// A file with this text.
    Text(Vec<u8>),
    /// A file with the host's text, in which a CPU list or mask stands: what it names is shown
    /// in the container's numbering.
    List,
    /// As [`CpuEntry::List`], written as a hexadecimal mask.
    Mask,
    /// A counter of what the host does: 0.
    Activity,
    /// As on the host.
    Host,
}

/// What the entry at `path` is. `path` is relative to the directory, or to `cpuN` if `cpu` gives
/// the container's number of that CPU.
pub fn cpu_entry(cpu: Option<u32>, path: &str, cpus: &Cpus) -> CpuEntry {
    match cpu {
        None => match path {
            "online" | "present" | "possible" => CpuEntry::Text(cpu_list_line(cpus.count())),
            "offline" | "isolated" | "nohz_full" => CpuEntry::Text(b"\n".to_vec()),
            // Every CPU shown is a core of its own.
            "smt/active" => CpuEntry::Text(b"0\n".to_vec()),
            _ => shared(path),
        },
        Some(cpu) => match path.strip_prefix("topology/") {
            Some(file) => topology(file, cpu, cpus.count()),
            None if path == "online" => CpuEntry::Text(b"1\n".to_vec()),
            None => shared(path),
        },
    }
}

fn shared(path: &str) -> CpuEntry {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name {
        "shared_cpu_list" | "affected_cpus" | "related_cpus" | "freqdomain_cpus" => CpuEntry::List,
        "shared_cpu_map" => CpuEntry::Mask,
        _ if is_activity(path) => CpuEntry::Activity,
        _ => CpuEntry::Host,
    }
}

/// Whether the file at `path` counts what the host does.
fn is_activity(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    let name = parts.next().unwrap_or(path);
    let directory = parts.next().unwrap_or("");
    match directory {
        "thermal_throttle" => true,
        "stats" => true,
        "s2idle" => true,
        _ if directory.starts_with("state") => matches!(
            name,
            "usage" | "time" | "above" | "below" | "rejected" | "s2idle"
        ),
        "power" => name.ends_with("_time") || name.ends_with("_count"),
        _ => false,
    }
}

/// Topology of a machine with one package of n cores with one thread each, as cpuinfo shows it.
fn topology(file: &str, cpu: u32, count: usize) -> CpuEntry {
    let own = CpuList::parse(cpu.to_string().as_bytes());
    let all = CpuList::first(u32::try_from(count).unwrap_or(u32::MAX));
    let text = match file {
        "core_id" => format!("{cpu}\n").into_bytes(),
        "physical_package_id" | "die_id" | "book_id" | "drawer_id" => b"0\n".to_vec(),
        "thread_siblings_list" | "core_cpus_list" => list_line(&own),
        "thread_siblings" | "core_cpus" => mask_line(&own, count),
        "cluster_id" => b"65535\n".to_vec(),
        "cluster_cpus_list" => list_line(&own),
        "cluster_cpus" => mask_line(&own, count),
        "core_siblings_list"
        | "package_cpus_list"
        | "die_cpus_list"
        | "book_siblings_list"
        | "drawer_siblings_list" => list_line(&all),
        "core_siblings" | "package_cpus" | "die_cpus" | "book_siblings" | "drawer_siblings" => {
            mask_line(&all, count)
        }
        _ => return CpuEntry::Host,
    };
    CpuEntry::Text(text)
}

/// The list `0-(n-1)` as a line.
fn cpu_list_line(count: usize) -> Vec<u8> {
    list_line(&CpuList::first(u32::try_from(count).unwrap_or(u32::MAX)))
}

/// The host's CPU list `text` in the container's numbering, as a list or a mask.
pub(crate) fn renumbered(text: &[u8], cpus: &Cpus) -> CpuList {
    let named = CpuList::parse(text);
    let mut list = String::new();
    for (index, host) in cpus.host().iter().enumerate() {
        if named.as_slice().binary_search(host).is_ok() {
            list.push_str(&format!("{index},"));
        }
    }
    CpuList::parse(list.as_bytes())
}

fn list_line(list: &CpuList) -> Vec<u8> {
    let mut out = Vec::new();
    let mut cpus = list.as_slice().iter().copied().peekable();
    while let Some(first) = cpus.next() {
        let mut last = first;
        while cpus.next_if_eq(&(last + 1)).is_some() {
            last += 1;
        }
        let comma = if out.is_empty() { "" } else { "," };
        let written = if first == last {
            write!(out, "{comma}{first}")
        } else {
            write!(out, "{comma}{first}-{last}")
        };
        debug_assert!(written.is_ok(), "a vector takes every write");
    }
    out.push(b'\n');
    out
}

/// A mask of `count` bits in groups of 32, the highest first: `ffffffff,00000003`.
fn mask_line(list: &CpuList, count: usize) -> Vec<u8> {
    let mut words = vec![0_u32; count.div_ceil(32).max(1)];
    for cpu in list.as_slice() {
        if let Some(word) = words.get_mut(*cpu as usize / 32) {
            *word |= 1 << (cpu % 32);
        }
    }
    let digits = |bits: usize| bits.div_ceil(4).max(1);
    let mut out = Vec::new();
    for (index, word) in words.iter().enumerate().rev() {
        let width = digits((count - index * 32).min(32));
        let comma = if out.is_empty() { "" } else { "," };
        let written = write!(out, "{comma}{word:0width$x}");
        debug_assert!(written.is_ok(), "a vector takes every write");
    }
    out.push(b'\n');
    out
}

/// The text of a [`CpuEntry::List`] or [`CpuEntry::Mask`] entry. `host` is the host's text of it,
/// for a mask that of the list beside it.
pub fn translated(host: &[u8], cpus: &Cpus, as_mask: bool) -> Vec<u8> {
    let list = renumbered(host, cpus);
    if as_mask {
        mask_line(&list, cpus.count())
    } else {
        list_line(&list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Rounding;

    #[test]
    fn lists_and_masks() {
        assert_eq!(list_line(&CpuList::parse(b"0,1,2,5")), b"0-2,5\n");
        assert_eq!(list_line(&CpuList::default()), b"\n");
        assert_eq!(mask_line(&CpuList::parse(b"0,1"), 2), b"3\n");
        assert_eq!(mask_line(&CpuList::parse(b"32"), 40), b"01,00000000\n");
    }

    #[test]
    fn a_shared_cache_names_the_containers_cpus() {
        let cpus = Cpus::new(
            None,
            Some(&CpuList::parse(b"4,6,9")),
            &CpuList::first(16),
            Rounding::Ceil,
        );
        assert_eq!(translated(b"0-6\n", &cpus, false), b"0-1\n");
        assert_eq!(translated(b"9\n", &cpus, true), b"4\n");
    }

    #[test]
    fn the_hosts_activity_is_not_shown() {
        assert!(is_activity("cpuidle/state1/usage"));
        assert!(is_activity("thermal_throttle/core_throttle_count"));
        assert!(!is_activity("cpuidle/state1/name"));
        assert!(!is_activity("cache/index0/size"));
    }
}
