//! Views to kernel texts: one module a file, each appends to a buffer that its caller reuses.

mod column;
mod cpu_dir;
mod cpu_list;
mod cpuinfo;
mod diskstats;
mod loadavg;
mod meminfo;
mod node_dir;
mod pressure;
mod stat;
mod swaps;
mod uptime;
mod vmstat;

pub use cpu_dir::{CpuEdit, CpuEntry, Possible, cpu_entry, cpu_offline};
pub use cpuinfo::cpuinfo;
pub use diskstats::diskstats;
pub use loadavg::loadavg;
pub use meminfo::meminfo;
pub use node_dir::{NodeFile, NodeSource, node_dir, node_file};
pub use pressure::{no_pressure, no_pressure_irq};
pub use stat::{StatView, stat};
pub use swaps::swaps;
pub use uptime::uptime;
pub use vmstat::{PageSizes, VmstatSource, vmstat};
