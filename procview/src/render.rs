//! Views to kernel texts: one module a file, each appends to a buffer that its caller reuses.

mod column;
mod cpu_dir;
mod cpuinfo;
mod diskstats;
mod loadavg;
mod meminfo;
mod pressure;
mod stat;
mod swaps;
mod uptime;
mod vmstat;

pub use cpu_dir::{CpuEntry, cpu_entry, translated};
pub use cpuinfo::cpuinfo;
pub use diskstats::diskstats;
pub use loadavg::loadavg;
pub use meminfo::meminfo;
pub use pressure::{no_pressure, no_pressure_irq};
pub use stat::{StatView, stat};
pub use swaps::swaps;
pub use uptime::uptime;
pub use vmstat::{VmstatSource, vmstat};
