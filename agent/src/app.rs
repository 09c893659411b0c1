//! Puts the parts together, in the order in which they start.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use procview::file::File;
use procview::load::TICK_MICROS;

use crate::args::{Cli, Command, LogFormat, Node, Render, Serve};
use crate::cgroup::Layout;
use crate::clock;
use crate::discover::Discovery;
use crate::fs::{Caller, Fs, Kind};
use crate::fuse::{ByCaller, Mount};
use crate::hostproc::HostProc;
use crate::mount;
use crate::namespace;
use crate::registry::Registry;
use crate::view::View;

/// No more cgroup files than this are kept open: 36 MiB of kernel memory.
const MOST_OPEN: usize = 8192;

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// With a text that names what is wrong and what helps.
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Serve(arguments) => serve(arguments),
            Command::Render(arguments) => render(arguments),
        }
    }
}

/// What ends `serve`.
enum End {
    Signal(Signal),
    Unmounted(std::io::Result<()>),
}

fn serve(arguments: Serve) -> Result<()> {
    let Serve {
        view,
        files,
        log_format,
        log,
        node,
    } = arguments;
    start_log(log_format, log);
    // Blocked before any thread starts, so that only the thread that waits for them gets them.
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
    signals.thread_block().context("cannot block signals")?;
    let (ends, ended) = mpsc::channel();
    let signalled = ends.clone();
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            if let Ok(signal) = signals.wait() {
                // Nobody listens any more once the process is ending.
                let _ = signalled.send(End::Signal(signal));
            }
        })?;

    let dir = mount::prepare(&view)?;
    let (registry, view) = open_node(&node)?;
    let files = if files.is_empty() {
        File::ALL.to_vec()
    } else {
        files
    };
    let fs = Fs::new(view, &files).context("cannot watch pressure triggers")?;
    tick_for_ever(Arc::clone(&registry))?;
    let mut mounted = Mount::new(&dir)?;
    let session = mounted
        .serve(ByCaller::new(fs), move |result| {
            let _ = ends.send(End::Unmounted(result));
        })
        .context("cannot serve the FUSE mount")?;
    tracing::info!(view = %dir.display(), cgroup = registry.layout().describe(), "serving");
    sd_notify::notify(&[sd_notify::NotifyState::Ready]).context("cannot tell NOTIFY_SOCKET")?;

    let end = ended.recv().context("all threads ended")?;
    // systemd may be gone by now.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    match end {
        End::Signal(signal) => {
            tracing::info!(%signal, view = %dir.display(), "unmounting");
            drop(mounted);
            drop(session);
            Ok(())
        }
        End::Unmounted(Ok(())) => bail!("somebody unmounted {}", dir.display()),
        End::Unmounted(Err(error)) => Err(error).context("the FUSE connection broke"),
    }
}

fn render(arguments: Render) -> Result<()> {
    let Render { file, pid, node } = arguments;
    start_log(LogFormat::Text, tracing::Level::WARN);
    let (_, view) = open_node(&node)?;
    if !node.proc.join(pid.to_string()).exists() {
        bail!(
            "no process {pid} in {}: give its number in the host's pid namespace",
            node.proc.display()
        );
    }
    let fs = Fs::new(view, &File::ALL)?;
    let caller = Caller::Thread(pid);
    let path = file
        .parse::<File>()
        .map_or_else(|_| file.clone(), |file| file.path().to_owned());
    let mut ino = 1;
    let mut kind = Kind::Directory;
    for name in Path::new(&path).iter().filter(|name| *name != "/") {
        let name = name.to_str().unwrap_or_default();
        let entry = fs.lookup(&caller, ino, name).with_context(|| {
            format!("the view has no file {file}; it has {}", names(&File::ALL))
        })?;
        (ino, kind) = (entry.ino, entry.kind);
    }
    let mut out = std::io::stdout().lock();
    match kind {
        Kind::Directory => {
            for (name, _) in fs.entries(&caller, ino)? {
                writeln!(out, "{name}")?;
            }
        }
        Kind::Link => out.write_all(&fs.link_target(&caller, ino)?)?,
        Kind::File => {
            let handle = fs.open(&caller, ino, false)?;
            out.write_all(fs.read(&caller, ino, handle, 0, u32::MAX)?.as_bytes())?;
        }
    }
    Ok(())
}

fn names(files: &[File]) -> String {
    let names: Vec<_> = files.iter().map(|file| file.path()).collect();
    names.join(" ")
}

/// Opens the node's kernel interfaces.
fn open_node(node: &Node) -> Result<(Arc<Registry>, View)> {
    let Node {
        proc,
        sys,
        cgroup,
        cpu_rounding,
        uptime_host_readers,
    } = node;
    namespace::enter_host_cgroup(proc)?;
    let most_open = raise_open_files().min(MOST_OPEN);
    let layout = Layout::detect(cgroup)?;
    let host = Arc::new(HostProc::new(proc, sys));
    mount::check_native(&proc.join("meminfo"))?;
    host.text("meminfo").with_context(|| {
        format!(
            "cannot read {}: name the host's procfs with --proc",
            proc.join("meminfo").display()
        )
    })?;
    let rounding = (*cpu_rounding).into();
    let registry = Registry::new(layout, proc, Arc::clone(&host), rounding, most_open);
    let registry = Arc::new(registry);
    let readers = uptime_host_readers
        .iter()
        .filter(|reader| !reader.is_empty());
    let view = View::new(Arc::clone(&registry), host, readers.cloned().collect());
    Ok((registry, view))
}

/// Three quarters of the open files this process may have, after raising that to the hard limit.
fn raise_open_files() -> usize {
    let most = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, hard)| {
        match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
            Ok(()) => hard,
            Err(_) => soft,
        }
    });
    usize::try_from(most / 4 * 3).unwrap_or(usize::MAX)
}

/// Starts the thread that finds containers and counts their load every 5 s.
fn tick_for_ever(registry: Arc<Registry>) -> std::io::Result<()> {
    let mut discovery = registry.layout().search_root().map(Discovery::new);
    let work = move || {
        let mut next = clock::boottime();
        loop {
            registry.sweep(clock::boottime());
            if let Some(discovery) = &mut discovery {
                discovery.search(|pid| drop(registry.owner_of(pid)));
            }
            registry.tick();
            // By the clock, not by the end of the last tick: ticks never lag.
            next += TICK_MICROS;
            let now = clock::boottime();
            next = next.max(now);
            thread::sleep(Duration::from_micros(next - now));
        }
    };
    thread::Builder::new()
        .name("tick".to_owned())
        .spawn(work)
        .map(drop)
}

fn start_log(format: LogFormat, level: tracing::Level) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        // A log that nobody reads any more must not end the agent: complaining goes to stderr too.
        .log_internal_errors(false)
        .with_target(false);
    match format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic)));
}
