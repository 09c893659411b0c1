//! `/sys/devices/system/cpu`.
//!
//! Source: Documentation/ABI/testing/sysfs-devices-system-cpu and
//! Documentation/admin-guide/cputopology.rst.

use super::cpu_list;
use crate::cpu::Cpus;
use crate::parse::{CpuList, lines, number, words};

/// What an entry of the directory is in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CpuEntry {
    /// A file with this text.
    Text(Vec<u8>),
    /// A file with the host's text, in which something is the container's.
    Edited(CpuEdit),
    /// The list of CPUs that are offline, see [`cpu_offline`].
    Offline,
    /// As on the host.
    Host,
}

/// What is done to the host's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuEdit {
    /// It is a CPU list: those of its CPUs that are shown.
    List,
    /// As [`CpuEdit::List`], separated by blanks as in cpufreq.
    Words,
    /// It is a mask: those of its CPUs that are shown.
    Mask,
    /// It is a mask, and this CPU alone is in it.
    MaskOf(u32),
    /// It is a mask, and all CPUs shown are in it.
    MaskOfAll,
    /// It counts what the host does: the numbers are 0.
    Zeroed,
}

/// The CPUs that `possible` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Possible {
    /// The host's: the kernel writes a value for each of them to per-CPU maps, and what getcpu(2) tells is
    /// one of them.
    #[default]
    Host,
    /// Those shown.
    Shown,
}

/// What the entry at `path` is. `path` is relative to the directory, or to `cpuN` if `cpu` gives N.
pub fn cpu_entry(cpu: Option<u32>, path: &str, cpus: &Cpus, possible: Possible) -> CpuEntry {
    match cpu {
        None => match path {
            "online" | "present" | "enabled" => CpuEntry::Text(cpu_list::line(cpus.shown())),
            "possible" if possible == Possible::Shown => {
                CpuEntry::Text(cpu_list::line(cpus.shown()))
            }
            "offline" => CpuEntry::Offline,
            "isolated" | "nohz_full" | "aarch32_el0" => CpuEntry::Edited(CpuEdit::List),
            // Every CPU shown is a core of its own.
            "smt/active" => CpuEntry::Text(b"0\n".to_vec()),
            _ => shared(path),
        },
        Some(cpu) => match path.strip_prefix("topology/") {
            Some(file) => topology(file, cpu, cpus),
            None if path == "online" => CpuEntry::Text(b"1\n".to_vec()),
            None => shared(path),
        },
    }
}

fn shared(path: &str) -> CpuEntry {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name {
        "shared_cpu_list" => CpuEntry::Edited(CpuEdit::List),
        "affected_cpus" | "related_cpus" | "freqdomain_cpus" => CpuEntry::Edited(CpuEdit::Words),
        "shared_cpu_map" => CpuEntry::Edited(CpuEdit::Mask),
        _ if is_activity(path) => CpuEntry::Edited(CpuEdit::Zeroed),
        _ => CpuEntry::Host,
    }
}

/// Whether the file at `path` counts what the host does.
fn is_activity(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    let name = parts.next().unwrap_or(path);
    let directory = parts.next().unwrap_or("");
    match (directory, name) {
        ("thermal_throttle" | "stats" | "s2idle", _) => true,
        ("acpi_cppc", "feedback_ctrs") => true,
        // s390x
        ("", "idle_count" | "idle_time_us") => true,
        ("power", _) => {
            name.ends_with("_time") || name.ends_with("_count") || name == "runtime_usage"
        }
        _ if directory.starts_with("state") => matches!(
            name,
            "usage" | "time" | "above" | "below" | "rejected" | "s2idle"
        ),
        _ => false,
    }
}

/// Topology of a machine with one package of n cores with one thread each, as cpuinfo shows it.
fn topology(file: &str, cpu: u32, cpus: &Cpus) -> CpuEntry {
    let text = match file {
        "core_id" => {
            let core = cpus.numbers().iter().position(|shown| *shown == cpu);
            format!("{}\n", core.unwrap_or(0)).into_bytes()
        }
        "physical_package_id" | "die_id" | "book_id" | "drawer_id" => b"0\n".to_vec(),
        // What the kernel says of a CPU without clusters.
        "cluster_id" => b"65535\n".to_vec(),
        "thread_siblings_list" | "core_cpus_list" | "cluster_cpus_list" => {
            cpu_list::line(&CpuList::from_iter([cpu]))
        }
        "core_siblings_list"
        | "package_cpus_list"
        | "die_cpus_list"
        | "book_siblings_list"
        | "drawer_siblings_list" => cpu_list::line(cpus.shown()),
        "thread_siblings" | "core_cpus" | "cluster_cpus" => {
            return CpuEntry::Edited(CpuEdit::MaskOf(cpu));
        }
        "core_siblings" | "package_cpus" | "die_cpus" | "book_siblings" | "drawer_siblings" => {
            return CpuEntry::Edited(CpuEdit::MaskOfAll);
        }
        _ => return CpuEntry::Host,
    };
    CpuEntry::Text(text)
}

impl CpuEdit {
    /// The text of the file for a container with `cpus`, from the `host`'s.
    pub fn apply(self, host: &[u8], cpus: &Cpus) -> Vec<u8> {
        let shown = cpus.shown();
        match self {
            Self::List => cpu_list::line(&CpuList::parse(host).intersection(shown)),
            Self::Words => cpu_list::words(&CpuList::parse(host).intersection(shown)),
            Self::Mask => cpu_list::mask(&CpuList::parse_mask(host).intersection(shown), host),
            Self::MaskOf(cpu) => cpu_list::mask(&CpuList::from_iter([cpu]), host),
            Self::MaskOfAll => cpu_list::mask(shown, host),
            Self::Zeroed => zeroed(host),
        }
    }
}

/// The text of `offline` from the host's: to a container, CPUs of the host's `online` ones that it is
/// not shown are offline as well.
pub fn cpu_offline(host: &[u8], online: &CpuList, cpus: &Cpus) -> Vec<u8> {
    cpu_list::line(&CpuList::parse(host).union(&online.without(cpus.shown())))
}

/// Counters as 0. What names them stays: the frequency that begins a line of `stats/time_in_state`,
/// `ref:` in `feedback_ctrs`, the columns of `stats/trans_table`.
fn zeroed(host: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(host.len());
    let is_number = |word: &[u8]| number(word).is_some();
    for line in lines(host) {
        let has_others = words(line).count() > 1;
        // The heading of a table has nothing but names behind its colon.
        let is_heading = words(line).next() == Some(b":") || words(line).next() == Some(b"From");
        for (place, word) in words(line).enumerate() {
            if place > 0 {
                out.push(b' ');
            }
            let end = word
                .iter()
                .position(|byte| *byte == b':')
                .map_or(0, |colon| colon + 1);
            let (name, value) = word.split_at(end);
            let is_name = is_heading || place == 0 && has_others && name.is_empty();
            out.extend_from_slice(name);
            if is_number(value) && !is_name {
                out.push(b'0');
            } else {
                out.extend_from_slice(value);
            }
        }
        out.push(b'\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Rounding;

    fn on(set: &str) -> Cpus {
        let set = CpuList::parse(set.as_bytes());
        Cpus::new(None, Some(&set), &CpuList::first(16), Rounding::Ceil)
    }

    fn text(cpu: Option<u32>, path: &str, cpus: &Cpus, host: &str) -> String {
        let text = match cpu_entry(cpu, path, cpus, Possible::Host) {
            CpuEntry::Text(text) => text,
            CpuEntry::Edited(edit) => edit.apply(host.as_bytes(), cpus),
            CpuEntry::Offline => cpu_offline(host.as_bytes(), &CpuList::first(16), cpus),
            CpuEntry::Host => host.into(),
        };
        String::from_utf8(text).expect("text")
    }

    #[test]
    fn lists_are_cut_to_the_cpus_shown() {
        let cpus = on("4,6,9");
        for (path, host, shown) in [
            ("online", "0-15\n", "4,6,9\n"),
            ("enabled", "0-15\n", "4,6,9\n"),
            ("possible", "0-31\n", "0-31\n"),
            ("kernel_max", "8191\n", "8191\n"),
            ("offline", "16-31\n", "0-3,5,7-8,10-31\n"),
            ("isolated", "5-6\n", "6\n"),
            ("nohz_full", " (null)\n", "\n"),
            ("cpufreq/policy4/affected_cpus", "4 5 6 7\n", "4 6\n"),
        ] {
            assert_eq!(text(None, path, &cpus, host), shown, "{path}");
        }
        for (path, host, shown) in [
            ("cache/index3/shared_cpu_list", "0-6\n", "4,6\n"),
            ("cache/index3/shared_cpu_map", "0000007f\n", "00000050\n"),
            ("topology/core_id", "77\n", "1\n"),
            ("topology/core_cpus", "00000060\n", "00000040\n"),
            ("topology/package_cpus", "0000ffff\n", "00000250\n"),
            ("topology/package_cpus_list", "0-15\n", "4,6,9\n"),
        ] {
            assert_eq!(text(Some(6), path, &cpus, host), shown, "{path}");
        }
    }

    #[test]
    fn possible_is_a_choice() {
        let entry = |possible| cpu_entry(None, "possible", &on("4,6"), possible);
        assert_eq!(entry(Possible::Host), CpuEntry::Host);
        assert_eq!(entry(Possible::Shown), CpuEntry::Text(b"4,6\n".to_vec()));
    }

    #[test]
    fn the_hosts_activity_is_not_shown() {
        let cpus = on("0");
        for (path, host, shown) in [
            ("cpuidle/state1/usage", "4711\n", "0\n"),
            ("cpuidle/state1/name", "C1\n", "C1\n"),
            ("cpuidle/state1/s2idle/time", "12\n", "0\n"),
            ("thermal_throttle/core_throttle_count", "3\n", "0\n"),
            ("power/runtime_active_time", "99\n", "0\n"),
            (
                "acpi_cppc/feedback_ctrs",
                "ref:123 del:456\n",
                "ref:0 del:0\n",
            ),
            ("acpi_cppc/highest_perf", "255\n", "255\n"),
            ("idle_count", "123\n", "0\n"),
            ("idle_time_us", "123\n", "0\n"),
            ("cache/index0/size", "32K\n", "32K\n"),
            (
                "cpufreq/stats/time_in_state",
                "2600000 123\n2200000 456\n",
                "2600000 0\n2200000 0\n",
            ),
            (
                "cpufreq/stats/trans_table",
                "   From  :    To\n         :   2600000   2200000 \n  2600000:         0       123 \n",
                "From : To\n: 2600000 2200000\n2600000: 0 0\n",
            ),
        ] {
            assert_eq!(text(Some(0), path, &cpus, host), shown, "{path}");
        }
    }
}
