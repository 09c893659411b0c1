//! `/proc/stat`.

use super::column;
use crate::account::{CpuAccount, CpuCounters, MICROS_PER_TICK};
use crate::cpu::Cpus;
use crate::load::Threads;

/// What `/proc/stat` shows.
#[derive(Debug, Clone, Copy)]
pub struct StatView<'a> {
    /// CPU time.
    pub account: &'a CpuAccount,
    /// The CPUs the container has now.
    pub cpus: &'a Cpus,
    /// The host's boot time, seconds since the epoch; `btime` plus a process's start time must
    /// stay the time at which it started.
    pub boot_time: u64,
    /// The container's threads.
    pub threads: Threads,
    /// Forks since the start, as far as they are known.
    pub processes: u64,
}

/// Appends `/proc/stat`. The `cpu` line sums all CPUs the container ever had, as the kernel's
/// sums offline CPUs; without a change of n it is the sum of the lines below it.
///
/// Source: proc_stat(5).
pub fn stat(out: &mut Vec<u8>, view: &StatView<'_>) {
    let mut sum = [0; 4];
    for cpu in view.account.all() {
        for (sum, ticks) in sum.iter_mut().zip(ticks(*cpu)) {
            *sum += ticks;
        }
    }
    out.extend_from_slice(b"cpu ");
    times(out, sum);
    for number in view.cpus.numbers() {
        out.extend_from_slice(b"cpu");
        column::number(out, u64::from(*number));
        times(out, ticks(view.account.cpu(*number)));
    }
    out.extend_from_slice(b"intr 0\nctxt 0\nbtime ");
    column::number(out, view.boot_time);
    out.extend_from_slice(b"\nprocesses ");
    column::number(out, view.processes);
    // Whoever reads this is running, as in the kernel's own count.
    out.extend_from_slice(b"\nprocs_running ");
    column::number(out, view.threads.running.max(1));
    out.extend_from_slice(b"\nprocs_blocked ");
    column::number(out, view.threads.blocked);
    // The sum and each of the ten kinds: Prometheus' parser wants them all.
    out.extend_from_slice(b"\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n");
}

/// user, nice, system, idle in clock ticks.
fn ticks(cpu: CpuCounters) -> [u64; 4] {
    [cpu.used.user, cpu.used.nice, cpu.used.system, cpu.idle].map(|time| time / MICROS_PER_TICK)
}

fn times(out: &mut Vec<u8>, ticks: [u64; 4]) {
    for value in ticks {
        column::next(out, value);
    }
    // iowait irq softirq steal guest guest_nice
    out.extend_from_slice(b" 0 0 0 0 0 0\n");
}
