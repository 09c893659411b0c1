//! Kernel texts to numbers.
//!
//! Parsers take bytes, never fail on what they do not know and never panic: an unknown key is
//! skipped, a garbled value is `None`, a truncated text gives what was complete. A cgroup may
//! show files and keys that no kernel has today.

mod cpu_list;
mod disk;
mod keyed;
mod limit;
mod process;

pub use cpu_list::CpuList;
pub use disk::{DeviceNumber, DiskIo, DiskName, disk_names, io_stat, throttle_recursive};
pub use keyed::{flat_keyed, lines, number, words};
pub use limit::{MICROCPUS_PER_CPU, Quota, cpu_max, memory_max, microcpus};
pub use process::{CgroupLine, ThreadStat, cgroup_lines, innermost_pid, thread_stat};
