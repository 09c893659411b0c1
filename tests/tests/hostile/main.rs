//! A hostile container beside a well-behaved one: whatever the first does, the second goes on reading, whole files
//! with its own numbers, about as fast as before.

mod attack;
mod bystander;

use std::env;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use attack::Attack;
use bystander::Slowest;
use procview_tests::agent::Agent;
use procview_tests::cgroup::{Group, Limits, Pod};
use procview_tests::machine::{Machine, Need, read, wait_for};
use procview_tests::process::{Process, run_in};

/// Names the attack, for the program that runs in the hostile container.
const ATTACK: &str = "PROCVIEW_TEST_ATTACK";
/// The directory of the view, for both.
const VIEW: &str = "PROCVIEW_TEST_VIEW";
/// The directory of the hostile container's cgroup in some hierarchy, which it may write.
const CGROUP: &str = "PROCVIEW_TEST_CGROUP";

/// The slowest read under attack takes no longer than so many times the slowest without.
const MOST_TIMES_SLOWER: u32 = 10;
/// Of so many rounds one has to be so: this machine has other users, who make reads wait as well.
const ROUNDS: usize = 4;

/// Both containers, and the agent that serves them. The fields end in this order.
struct Scene {
    hostile: Group,
    quiet: Group,
    _pod: Pod,
    agent: Agent,
}

impl Scene {
    fn new(machine: &Machine) -> Result<Self> {
        let agent = Agent::start(&[])?;
        let pod = Pod::new(machine.layout())?;
        // One CPU is left for the others.
        let hostile = pod.container(&Limits {
            cpus: Some(1.0),
            ..Limits::default()
        })?;
        let quiet = pod.container(&Limits {
            memory: Some(bystander::MEMORY),
            ..Limits::default()
        })?;
        Ok(Self {
            hostile,
            quiet,
            _pod: pod,
            agent,
        })
    }

    /// This program as `test`, with what it has to know.
    fn line(&self, test: &str, attack: &str) -> Result<Vec<String>> {
        let program = env::current_exe()?.display().to_string();
        let cgroup = self.hostile.file("cpu", "")?;
        let mut line = vec!["env".to_owned()];
        line.push(format!("{ATTACK}={attack}"));
        line.push(format!("{VIEW}={}", self.agent.view().display()));
        line.push(format!("{CGROUP}={}", cgroup.display()));
        line.extend([
            program,
            "--exact".to_owned(),
            test.to_owned(),
            "--nocapture".to_owned(),
        ]);
        Ok(line)
    }

    fn attacker(&self, attack: &str) -> Result<Process> {
        Process::start(
            &self.hostile,
            &self.line("inside_the_hostile_container", attack)?,
        )
    }

    /// What the well-behaved container finds.
    fn slowest(&self) -> Result<Slowest> {
        let output = run_in(&self.quiet, &self.line("inside_the_quiet_container", "")?)?;
        Slowest::parse(&output)
    }
}

/// The attack and what it makes of the neighbour.
fn stands(attack: &Attack) -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let _pids = attack.pids.map(PidMax::at_least).transpose()?;
    let mut scene = Scene::new(&machine)?;
    let mut seen = Vec::new();
    for _ in 0..ROUNDS {
        let without = scene.slowest()?;
        let attacker = scene.attacker(attack.name)?;
        thread::sleep(Duration::from_millis(attack.warm_up));
        let with = scene.slowest()?;
        // It was at it all the time, and not out of work.
        let threads: usize = scene.hostile.read("pids", "pids.current")?.trim().parse()?;
        ensure!(
            attack.pids.is_none() || threads >= attack::MANY,
            "{threads} threads"
        );
        ensure!(
            Path::new(&format!("/proc/{}", attacker.pid())).exists(),
            "the attacker ended"
        );
        drop(attacker);
        scene.agent.check()?;
        println!("{}: {with}; without it {without}", attack.name);
        let is_fine = with.view < without.view * MOST_TIMES_SLOWER;
        seen.push(format!("{with}; without it {without}"));
        if is_fine {
            let log = scene.agent.log();
            ensure!(!log.contains("panicked"), "{log}");
            ensure!(log.lines().count() < 20, "it fills the log:\n{log}");
            return Ok(());
        }
    }
    anyhow::bail!("{}: its neighbour waits: {seen:#?}", attack.name)
}

/// The machine's highest process number, raised while this lives.
struct PidMax(String);

impl PidMax {
    const FILE: &str = "/proc/sys/kernel/pid_max";

    fn at_least(wanted: u32) -> Result<Self> {
        let before = read(Self::FILE)?;
        if before.trim().parse::<u32>()? < wanted {
            fs::write(Self::FILE, wanted.to_string()).context("cannot raise pid_max")?;
        }
        Ok(Self(before))
    }
}

impl Drop for PidMax {
    fn drop(&mut self) {
        // The machine's next start sets it anew.
        let _ = fs::write(Self::FILE, &self.0);
    }
}

/// Run by the others in the hostile container; by itself it has nothing to do.
#[test]
fn inside_the_hostile_container() -> Result<()> {
    let Some(name) = env::var_os(ATTACK).filter(|name| !name.is_empty()) else {
        return Ok(());
    };
    let name = name.to_string_lossy();
    // Whoever started it looks whether it is in its group; it may leave it soon.
    thread::sleep(Duration::from_millis(300));
    let attack = attack::ALL
        .iter()
        .find(|attack| attack.name == name)
        .context("an unknown attack")?;
    let [view, cgroup] = [VIEW, CGROUP].map(|name| env::var_os(name).unwrap_or_default());
    (attack.run)(Path::new(&view), Path::new(&cgroup))
}

/// Run by the others in the well-behaved container.
#[test]
fn inside_the_quiet_container() -> Result<()> {
    match env::var_os(VIEW) {
        Some(view) if env::var_os(ATTACK).is_some_and(|name| name.is_empty()) => {
            println!("{}", Slowest::measure(Path::new(&view))?);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Microseconds of CPU time that the agent's thread of that name used.
fn cpu_time(agent: &Agent, thread: &str) -> Result<u64> {
    for entry in fs::read_dir(format!("/proc/{}/task", agent.pid()))? {
        let task = entry?.path();
        if read(task.join("comm"))?.trim() == thread {
            let stat = read(task.join("schedstat"))?;
            let nanos: u64 = stat.split(' ').next().unwrap_or_default().parse()?;
            return Ok(nanos / 1000);
        }
    }
    anyhow::bail!("no thread {thread}")
}

#[test]
fn fifty_thousand_threads_are_counted_in_a_second() -> Result<()> {
    const TICK: Duration = Duration::from_secs(5);
    let Some(machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let _pids = attack::THREADS.pids.map(PidMax::at_least).transpose()?;
    let scene = Scene::new(&machine)?;
    let _attacker = scene.attacker(attack::THREADS_ALONE.name)?;
    wait_for("all threads to be there", || {
        let count: usize = scene.hostile.read("pids", "pids.current")?.trim().parse()?;
        Ok((count >= attack::MANY).then_some(()))
    })?;
    // One of them runs now and then, so each tick walks over all.
    let mut least = u64::MAX;
    for _ in 0..4 {
        let before = cpu_time(&scene.agent, "count")?;
        thread::sleep(TICK);
        least = least.min(cpu_time(&scene.agent, "count")? - before);
    }
    println!(
        "a tick over {} threads takes {least} us of CPU time",
        attack::MANY
    );
    ensure!((100_000..1_000_000).contains(&least), "{least} us");
    Ok(())
}

/// Every attack has a test of its own.
macro_rules! attacks {
    ($($test:ident: $attack:ident;)*) => {
        $(
            #[test]
            fn $test() -> Result<()> {
                stands(&attack::$attack)
            }
        )*

        #[test]
        fn every_attack_is_tried() {
            let tried = [attack::THREADS_ALONE.name, $(attack::$attack.name),*];
            assert!(attack::ALL.iter().all(|attack| tried.contains(&attack.name)));
        }
    };
}

attacks! {
    who_arms_triggers_and_leaves: ARM_AND_LEAVE;
    who_arms_and_closes_triggers: ARM_AND_CLOSE;
    who_writes_rubbish_to_pressure: RUBBISH;
    who_polls_pressure: POLL;
    who_has_fifty_thousand_threads: THREADS;
    who_reads_what_fails: ERRORS;
    who_opens_without_end: OPEN_FILES;
    who_reads_with_64_threads: READERS;
    who_reads_byte_by_byte: BYTES;
    who_reads_the_load_all_the_time: LOAD;
    who_lists_directories: LIST;
    who_looks_for_what_is_not_there: UNKNOWN;
    who_asks_for_attributes: ATTRIBUTES;
    who_writes_what_cannot_be_written: WRITES;
    who_copies_and_maps: COPIES;
    who_ends_while_he_reads: KILLED;
    who_forks_readers: FORKS;
    who_makes_cgroups: CGROUPS;
    who_reads_from_a_thousand_cgroups: WANDERER;
    who_changes_his_limits: LIMITS;
    who_nests_cgroups: NESTED;
    who_has_odd_names: NAMES;
    who_holds_directories_open: DIRECTORIES;
    who_hits_his_memory_limit: MEMORY;
}
