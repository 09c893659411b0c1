//! What programs of the base system make of the view, in a container with limits. Runs in guests too.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use procview::parse::CpuList;
use procview_tests::container::Shown;
use procview_tests::machine::read;

/// 300 MiB and one CPU.
const KIB: u64 = 300 * 1024;

fn shown() -> Result<Option<Shown>> {
    Shown::new(KIB * 1024, 1.0)
}

/// The word in a column of the first line that starts so.
fn word<'a>(text: &'a str, start: &str, column: usize) -> Result<&'a str> {
    let line = text
        .lines()
        .find(|line| line.trim_start().starts_with(start));
    let line = line.with_context(|| format!("no {start} in {text}"))?;
    let word = line.split_whitespace().nth(column);
    word.with_context(|| line.to_owned())
}

#[test]
fn free_and_vmstat_show_the_memory() -> Result<()> {
    let Some(container) = shown()? else {
        return Ok(());
    };
    let free = container.exec("free -k")?;
    assert_eq!(word(&free, "Mem:", 1)?.parse::<u64>()?, KIB, "{free}");
    let available: u64 = word(&free, "Mem:", 6)?.parse()?;
    ensure!(available > KIB / 2 && available <= KIB, "{free}");
    let vmstat = container.exec("vmstat -s -S k")?;
    let total: u64 = word(&vmstat, "", 0)?.parse()?;
    assert_eq!(total, KIB * 1024 / 1000, "{vmstat}");
    let vmstat = container.exec("vmstat | tail -1")?;
    let idle: u32 = word(&vmstat, "", 14)?.parse()?;
    ensure!(idle <= 100, "{vmstat}");
    Ok(())
}

#[test]
fn top_shows_the_container() -> Result<()> {
    let Some(container) = shown()? else {
        return Ok(());
    };
    let top = container.exec("top -b -n 1 -E k")?;
    ensure!(top.contains("up 0 min"), "{top}");
    let total = format!("{KIB}.0 total");
    ensure!(
        top.contains(&total) || top.contains(&format!("{KIB} total")),
        "{top}"
    );
    // Its first process is not older than it, and has a time.
    let first = top.lines().find(|line| line.trim_start().starts_with("1 "));
    ensure!(first.is_some_and(|line| line.contains(" 0:0")), "{top}");
    Ok(())
}

#[test]
fn uptime_is_the_containers_and_ps_is_right() -> Result<()> {
    let Some(container) = shown()? else {
        return Ok(());
    };
    let uptime = container.exec("uptime")?;
    ensure!(uptime.contains("up 0 min"), "{uptime}");
    ensure!(uptime.contains("load average: 0.0"), "{uptime}");
    let ps = container.exec("ps -o etimes=,pcpu= -p 1")?;
    let seconds: u64 = word(&ps, "", 0)?.parse()?;
    let share: f64 = word(&ps, "", 1)?.parse()?;
    ensure!(seconds < 60 && share <= 100.0, "{ps}");
    Ok(())
}

#[test]
fn programs_count_one_cpu() -> Result<()> {
    let Some(container) = shown()? else {
        return Ok(());
    };
    for command in [
        "getconf _NPROCESSORS_ONLN",
        "grep -c ^processor /proc/cpuinfo",
        "grep -c '^cpu[0-9]' /proc/stat",
        "lscpu --parse=CPU | grep -vc '#'",
        "python3 -c 'import os; print(os.cpu_count())'",
    ] {
        assert_eq!(container.exec(command)?.trim(), "1", "{command}");
    }
    // By these programs size arrays that the kernel indexes: they tell the kernel's number.
    let machine = read("/sys/devices/system/cpu/possible")?;
    let possible = CpuList::parse(machine.as_bytes()).len().to_string();
    for command in ["getconf _NPROCESSORS_CONF", "nproc --all"] {
        assert_eq!(container.exec(command)?.trim(), possible, "{command}");
    }
    let lscpu = container.exec("lscpu")?;
    assert_eq!(word(&lscpu, "Socket(s):", 1)?, "1", "{lscpu}");
    assert_eq!(word(&lscpu, "On-line CPU(s) list:", 3)?, "0", "{lscpu}");
    assert_eq!(word(&lscpu, "NUMA node0 CPU(s):", 3)?, "0", "{lscpu}");
    Ok(())
}

#[test]
fn programs_find_the_cpu_that_a_container_is_pinned_to() -> Result<()> {
    let Some(container) = Shown::new_on_last_cpu(KIB * 1024)? else {
        return Ok(());
    };
    let online = CpuList::parse(read("/sys/devices/system/cpu/online")?.as_bytes());
    let last = online.as_slice().last().context("no CPU")?.to_string();
    for (command, said) in [
        ("nproc", "1"),
        ("getconf _NPROCESSORS_ONLN", "1"),
        ("cat /sys/devices/system/cpu/online", last.as_str()),
        ("lscpu --parse=CPU | grep -v '#'", &last),
        (
            "taskset -c $(cat /sys/devices/system/cpu/online) nproc",
            "1",
        ),
        (
            "python3 -c 'import os; print(*os.sched_getaffinity(0))'",
            &last,
        ),
    ] {
        assert_eq!(container.exec(command)?.trim(), said, "{command}");
    }
    Ok(())
}

#[test]
fn sysstat_shows_one_idle_cpu() -> Result<()> {
    let Some(container) = shown()? else {
        return Ok(());
    };
    let mpstat = container.exec("mpstat -P ALL 1 1")?;
    ensure!(mpstat.contains("(1 CPU)"), "{mpstat}");
    let idle = |line: &str| -> Result<f64> {
        Ok(line.split_whitespace().last().unwrap_or_default().parse()?)
    };
    let averages: Vec<_> = mpstat
        .lines()
        .filter(|line| line.starts_with("Average"))
        .collect();
    // A title, all CPUs, and one.
    assert_eq!(averages.len(), 3, "{mpstat}");
    for line in averages.iter().skip(1) {
        ensure!((50.0..=100.0).contains(&idle(line)?), "{mpstat}");
    }
    let iostat = container.exec("iostat -c")?;
    ensure!(iostat.contains("(1 CPU)"), "{iostat}");
    let values = iostat.lines().rfind(|line| !line.trim().is_empty());
    ensure!(
        (0.0..=100.0).contains(&idle(values.unwrap_or_default())?),
        "{iostat}"
    );
    let pidstat = container.exec("pidstat -p 1")?;
    let share = pidstat.lines().find(|line| line.contains("sleep"));
    let share = share.with_context(|| pidstat.clone())?;
    // Sums of columns that add up: no time before it was born.
    let busy: f64 = share
        .split_whitespace()
        .nth(7)
        .unwrap_or_default()
        .parse()?;
    ensure!((0.0..=100.0).contains(&busy), "{pidstat}");
    Ok(())
}

#[test]
fn psutil_reads_all_of_it() -> Result<()> {
    let Some(container) = shown()? else {
        return Ok(());
    };
    let script = "import psutil as p, os, time
m = p.virtual_memory(); s = p.swap_memory(); t = p.cpu_times(percpu=True)
age = time.time() - p.Process(1).create_time()
print(m.total, m.available, p.cpu_count(), p.cpu_count(logical=False), len(t), s.total, int(age))
p.disk_io_counters(); p.cpu_stats(); p.cpu_freq()";
    let text = container.exec(&format!("python3 -c '{script}'"))?;
    let numbers: Vec<i64> = text
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .with_context(|| text.clone())?;
    let &[total, available, cpus, cores, times, swap, age] = numbers.as_slice() else {
        anyhow::bail!("{text}");
    };
    assert_eq!(total, i64::try_from(KIB * 1024)?);
    ensure!(available > 0 && available <= total, "{text}");
    assert_eq!((cpus, cores, times), (1, 1, 1));
    ensure!(swap >= 0, "{text}");
    ensure!((0..60).contains(&age), "create_time is right: {text}");
    Ok(())
}

#[test]
fn busy_time_shows() -> Result<()> {
    let Some(container) = shown()? else {
        return Ok(());
    };
    let script = "(while :; do :; done) & p=$!; mpstat 3 1 | tail -1; kill $p";
    let (before, start) = (container.group().cpu_usage()?, Instant::now());
    let mpstat = container.exec(script)?;
    let used = Duration::from_micros(container.group().cpu_usage()? - before);
    let share = used.as_secs_f64() / start.elapsed().as_secs_f64() * 100.0;
    let idle: f64 = mpstat
        .split_whitespace()
        .last()
        .unwrap_or_default()
        .parse()?;
    // The machine may be busy with other things: what counts is the share that it got. The start of
    // mpstat is in that as well, but not in what mpstat shows.
    ensure!(
        (100.0 - idle - share).abs() < 20.0 + share / 3.0 && idle < 100.0,
        "{share} % by the kernel's counter, {mpstat}"
    );
    Ok(())
}
