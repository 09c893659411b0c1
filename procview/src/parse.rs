//! Kernel texts to numbers.
//!
//! Parsers take bytes, never fail on what they do not know and never panic: an unknown key is
//! skipped, a garbled value is `None`, a truncated text gives what was complete. A cgroup may
//! show files and keys that no kernel has today.

mod container;
mod cpu_list;
mod disk;
mod keyed;
mod limit;
mod process;

pub use container::{
    ContainerPath, account_path, container_id, container_path, container_path_of,
    outermost_container_path, own_path,
};
pub use cpu_list::CpuList;
pub use disk::{DeviceNumber, DiskIo, io_stat, throttle_recursive};
pub use keyed::{flat_keyed, lines, number, words};
pub use limit::{MICROCPUS_PER_CPU, Quota, cpu_max, memory_max, microcpus};
pub use process::{CgroupLine, ThreadStat, cgroup_lines, innermost_pid, thread_stat};
