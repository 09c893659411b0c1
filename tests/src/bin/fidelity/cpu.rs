//! CPU time: what `top` shows in a container against what its cgroup used.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use procview_tests::cgroup::Tree;
use procview_tests::facts;

use crate::containers;
use crate::report::{Table, Verdict};
use crate::worker::Worker;

/// How far the percentages may be apart.
const MOST: f64 = 2.0;
/// Time for throttling and debts of the last case to pass.
const SETTLE: Duration = Duration::from_millis(600);
const WINDOW: Duration = Duration::from_millis(4500);

/// Measures all quotas and loads, with and without a neighbour.
pub(crate) fn measure(tree: &Tree, view: &Path, quick: bool) -> Result<Table> {
    let mut table = Table::new(
        "CPU usage",
        &format!(
            "`shown` is what top computes in the container, 100 * (1 - idle / total) of the line `cpu` of /proc/stat over \
             {:.1} s. `used` is the CPU time that the kernel counted for the cgroup, in percent of the container's CPU time. \
             At most {MOST} points apart. Busy threads use the part `load` of the quota, all they can at 100 %; the neighbour \
             is a busy thread outside of the cgroup for each of the host's CPUs. Beside it a container does not get all of a \
             large quota.",
            WINDOW.as_secs_f64()
        ),
        &["CPUs", "Load", "Neighbour", "used", "shown", "apart"],
    );
    let container = containers::container(tree, 1)?;
    let usage = container.cpu_usage_file()?;
    let mut worker = Worker::start(&container)?;
    let outside = containers::group(tree, "neighbour")?;
    let mut neighbour = Worker::start(&outside)?;
    let stat = view.join("proc/stat");
    let quotas: &[f64] = if quick {
        &[0.5, 1.5]
    } else {
        &[0.5, 1.0, 1.5, 2.0]
    };
    let host = facts::cpus();
    for noisy in [false, true] {
        neighbour.load(if noisy { host } else { 0 }, 100)?;
        for &quota in quotas {
            containers::set_quota(&container, quota)?;
            let capacity = quota.min(f64::from(host));
            for load in [0, 50, 100] {
                let threads = capacity.ceil();
                match load {
                    0 => worker.load(0, 0)?,
                    // One more than there is time for.
                    100 => worker.load(threads as u32 + 1, 100)?,
                    _ => {
                        let duty = capacity / threads * f64::from(load);
                        worker.load(threads as u32, duty as u32)?;
                    }
                }
                thread::sleep(SETTLE);
                let before = worker.sample(&stat, &usage)?;
                thread::sleep(WINDOW);
                let after = worker.sample(&stat, &usage)?;
                let elapsed = (after.at - before.at) as f64;
                let used = 100.0 * (after.used - before.used) as f64 / (elapsed * capacity);
                let total = after.total.saturating_sub(before.total) as f64;
                let idle = after.idle.saturating_sub(before.idle) as f64;
                let shown = 100.0 * (1.0 - idle / total);
                // A burst may use a little more than there is; a CPU cannot show more than 100 %.
                let apart = (shown - used.min(100.0)).abs();
                table.row(
                    vec![
                        quota.to_string(),
                        format!("{load} %"),
                        if noisy { "busy" } else { "" }.to_owned(),
                        format!("{used:.1} %"),
                        format!("{shown:.1} %"),
                        format!("{apart:.1}"),
                    ],
                    // Not a number if nothing moved.
                    Verdict::of(apart <= MOST),
                );
            }
        }
    }
    Ok(table)
}
