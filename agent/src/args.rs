//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use procview::cpu::Rounding;
use procview::file::File;
use procview::render;

/// Shows each container its own size in /proc and /sys/devices/system/cpu.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Be a Kubernetes node's agent: mount the view where the kubelet and all containers find it.
    ///
    /// Mounts it at PARENT/view, above placeholders for the time when no agent runs, takes the dead
    /// mount of an earlier agent away, and answers GET /healthz, /readyz and /metrics. What the
    /// node lacks is said in an Event on it. SIGTERM and SIGINT unmount.
    Run(Run),
    /// Look whether this node has what `run` needs, and say what it lacks.
    ///
    /// For an init container: a node whose mounts are not shared refuses the agent's own container,
    /// in words that name neither the reason nor the remedy.
    Check(Check),
    /// Mount the view and serve it in the foreground.
    ///
    /// Every reader below DIR gets the numbers of the container it is in. Bind DIR/proc/meminfo
    /// and the other files over those of a container to show it its own size. Needs root and
    /// /dev/fuse. Tells systemd when it is ready; SIGTERM and SIGINT unmount.
    Serve(Serve),
    /// Print a file as a process would see it, without a mount.
    ///
    /// For a directory such as /sys/devices/system/cpu it prints the names in it. Load averages
    /// need history and are 0 here.
    Render(Render),
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    pub place: Place,
    /// The address for health and metrics.
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "[::]:8080",
        env = "PROCVIEW_LISTEN"
    )]
    pub listen: SocketAddr,
    #[command(flatten)]
    pub service: Service,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    pub place: Place,
    /// The host's procfs, that of the host's pid namespace.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/proc",
        env = "PROCVIEW_PROC"
    )]
    pub proc: PathBuf,
    #[command(flatten)]
    pub log: Log,
}

/// Where the view belongs in a cluster.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// The directory on the node that the view is mounted in, at `view`; at the same path here.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/var/lib/procview",
        env = "PROCVIEW_PARENT"
    )]
    pub parent: PathBuf,
    /// The node's name, for Events on it. None are written without.
    #[arg(long = "node-name", value_name = "NAME", env = "NODE_NAME")]
    pub node: Option<String>,
    /// The agent's pod, who writes the Events.
    #[arg(long = "pod-name", value_name = "NAME", env = "POD_NAME")]
    pub pod: Option<String>,
}

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Where to mount the view; made if it is not there, and else empty.
    #[arg(long, value_name = "DIR", env = "PROCVIEW_VIEW")]
    pub view: PathBuf,
    #[command(flatten)]
    pub service: Service,
}

/// What is served, how, and what of it is logged.
#[derive(Debug, Args)]
pub struct Service {
    /// The files to serve, by name or path. All by default.
    #[arg(
        long,
        value_name = "FILE,...",
        env = "PROCVIEW_FILES",
        value_delimiter = ','
    )]
    pub files: Vec<File>,
    #[command(flatten)]
    pub log: Log,
    #[command(flatten)]
    pub node: Node,
}

/// Arguments of `render`.
#[derive(Debug, Args)]
pub struct Render {
    /// The file, by name (meminfo) or path (/proc/meminfo, /sys/devices/system/cpu/online).
    pub file: String,
    /// The process, by its number in the host's pid namespace.
    #[arg(long)]
    pub pid: u32,
    #[command(flatten)]
    pub node: Node,
}

/// Where things are on the node, and how to show them.
#[derive(Debug, Args)]
pub struct Node {
    /// The host's procfs, that of the host's pid namespace.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/proc",
        env = "PROCVIEW_PROC"
    )]
    pub proc: PathBuf,
    /// The host's sysfs.
    #[arg(long, value_name = "DIR", default_value = "/sys", env = "PROCVIEW_SYS")]
    pub sys: PathBuf,
    /// The host's cgroup file system: v2, or a directory of v1 hierarchies.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/sys/fs/cgroup",
        env = "PROCVIEW_CGROUP"
    )]
    pub cgroup: PathBuf,
    /// How many CPUs a fractional limit is: 1.5 CPUs are 2 with ceil, 1 with floor, 2 with round.
    #[arg(long, value_enum, default_value_t = CpuRounding::Ceil, env = "PROCVIEW_CPU_ROUNDING")]
    pub cpu_rounding: CpuRounding,
    /// The CPUs that `possible` lists: the host's, by which allocators and per-CPU maps size arrays that
    /// the kernel indexes, or only those shown, for programs that start a thread for each.
    #[arg(long, value_enum, default_value_t = Possible::Host, env = "PROCVIEW_POSSIBLE")]
    pub possible: Possible,
    /// Commands that get the host's uptime, since they take process start times, which count
    /// from the host's boot, from it. With `*` all get it.
    #[arg(
        long,
        value_name = "COMMAND,...",
        default_value = "ps,pgrep,pkill,pidwait,skill,snice",
        env = "PROCVIEW_UPTIME_HOST_READERS",
        value_delimiter = ','
    )]
    pub uptime_host_readers: Vec<String>,
}

/// What to log and how.
#[derive(Debug, Clone, Args)]
pub struct Log {
    /// How to write the log.
    #[arg(id = "log_format", long = "log-format", value_enum, default_value_t = LogFormat::Text, env = "PROCVIEW_LOG_FORMAT")]
    pub format: LogFormat,
    /// What to log: error, warn, info, debug or trace.
    #[arg(
        id = "log",
        long = "log",
        value_name = "LEVEL",
        default_value = "info",
        env = "PROCVIEW_LOG"
    )]
    pub level: tracing::Level,
}

impl Log {
    /// Warnings for a person.
    pub fn warnings() -> Self {
        Self {
            format: LogFormat::Text,
            level: tracing::Level::WARN,
        }
    }
}

/// How to write the log.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// JSON, one object a line.
    Json,
}

/// The CPUs that `possible` lists.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Possible {
    /// The host's.
    Host,
    /// Those that a container is shown.
    Shown,
}

impl From<Possible> for render::Possible {
    fn from(possible: Possible) -> Self {
        match possible {
            Possible::Host => Self::Host,
            Possible::Shown => Self::Shown,
        }
    }
}

/// How a fractional quota becomes a whole number of CPUs.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum CpuRounding {
    /// Up.
    Ceil,
    /// Down, but not to 0.
    Floor,
    /// To the nearest.
    Round,
}

impl From<CpuRounding> for Rounding {
    fn from(rounding: CpuRounding) -> Self {
        match rounding {
            CpuRounding::Ceil => Self::Ceil,
            CpuRounding::Floor => Self::Floor,
            CpuRounding::Round => Self::Round,
        }
    }
}
