//! What language runtimes, htop and the node exporter make of the view, in a container with limits.

use anyhow::{Context, Result, ensure};
use procview_tests::container::Shown;

const MIB: u64 = 1 << 20;

/// 300 MiB and one CPU.
fn shown() -> Result<Option<Shown>> {
    Shown::new(300 * MIB, 1.0)
}

#[test]
fn node_has_the_containers_memory_and_cpus() -> Result<()> {
    let Some(container) = shown()? else {
        return Ok(());
    };
    let script = "const o = require(\"os\");
console.log(o.totalmem(), o.freemem(), o.cpus().length, o.uptime(), o.cpus()[0].times.idle)";
    let text = container.exec(&format!("node -e '{script}'"))?;
    let numbers: Vec<f64> = text
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let &[total, free, cpus, uptime, idle] = numbers.as_slice() else {
        anyhow::bail!("{text}");
    };
    assert_eq!((total, cpus), (300.0 * MIB as f64, 1.0), "{text}");
    ensure!(free > 0.0 && free < total, "{text}");
    ensure!((0.0..60.0).contains(&uptime), "{text}");
    // Milliseconds of an age of seconds.
    ensure!((0.0..60_000.0).contains(&idle), "{text}");
    Ok(())
}

#[test]
fn the_jvm_has_the_containers_memory_and_cpus() -> Result<()> {
    let Some(container) = shown()? else {
        return Ok(());
    };
    let source = "import java.lang.management.*;
class A { public static void main(String[] a) {
  var o = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
  System.out.println(o.getTotalMemorySize() + \" \" + o.getFreeMemorySize() + \" \"
    + o.getAvailableProcessors());
}}";
    let text = container.exec(&format!("echo '{source}' > /tmp/A.java; java /tmp/A.java"))?;
    let numbers: Vec<u64> = text
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let &[total, free, cpus] = numbers.as_slice() else {
        anyhow::bail!("{text}");
    };
    assert_eq!((total, cpus), (300 * MIB, 1), "{text}");
    ensure!(free < total, "{text}");
    Ok(())
}

#[test]
fn htop_draws_the_containers_meters() -> Result<()> {
    let Some(container) = shown()? else {
        return Ok(());
    };
    // It wants a terminal, which `script` makes; it draws once, then is ended.
    let screen = container.exec(
        "TERM=xterm timeout 3 script -qec 'stty cols 120 rows 30; htop -d 10' /dev/null < /dev/null || true",
    )?;
    ensure!(screen.contains("/300M"), "{screen:?}");
    ensure!(screen.contains("Load average"), "{screen:?}");
    // One meter, named CPU; with more they are numbers and an average.
    ensure!(screen.contains("CPU"), "{screen:?}");
    ensure!(screen.contains("00:00:"), "its uptime: {screen:?}");
    Ok(())
}

#[test]
fn the_node_exporter_exports_the_container() -> Result<()> {
    let Some(container) = shown()? else {
        return Ok(());
    };
    let metrics = container.exec(
        "prometheus-node-exporter --web.listen-address=127.0.0.1:9100 > /tmp/log 2>&1 & p=$!
python3 - <<'E'
import time, urllib.request
for _ in range(200):
    try:
        print(urllib.request.urlopen('http://127.0.0.1:9100/metrics').read().decode()); break
    except OSError: time.sleep(0.1)
E
kill $p; grep -E 'err=' /tmp/log | sed 's/^/#/' || true",
    )?;
    let value = |name: &str| -> Result<f64> {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        let line = line.with_context(|| format!("no {name}"))?;
        Ok(line.trim().parse()?)
    };
    let errors: Vec<_> = metrics
        .lines()
        .filter(|line| line.starts_with("#ts="))
        .collect();
    let errors = errors.join("\n");
    for collector in ["cpu", "diskstats", "loadavg", "meminfo", "stat"] {
        let name = format!("node_scrape_collector_success{{collector=\"{collector}\"}}");
        ensure!(value(&name)? == 1.0, "{collector} fails:\n{errors}");
    }
    assert_eq!(value("node_memory_MemTotal_bytes")?, 300.0 * MIB as f64);
    let cpus = metrics.matches("mode=\"idle\"} ").count();
    assert_eq!(cpus, 1);
    ensure!((0.0..60.0).contains(&value("node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"}")?));
    ensure!((0.0..1.0).contains(&value("node_load1")?));
    ensure!(value("node_procs_running")? >= 1.0);
    Ok(())
}
