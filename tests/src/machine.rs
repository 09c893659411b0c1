//! What this machine has.

use std::env;
use std::fmt::Debug;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cgroup::Layout;

/// How long anything may take. Emulated guests and busy machines are slow; nothing that works
/// takes this long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Major and minor number of the running kernel.
///
/// # Errors
/// If it does not tell.
pub fn kernel() -> Result<(u32, u32)> {
    let release = read("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split(['.', '-']).map(str::parse);
    let mut next = || {
        numbers
            .next()
            .context("no kernel release")?
            .context("a kernel release")
    };
    Ok((next()?, next()?))
}

/// What a test cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need<'a> {
    /// To be root, with /dev/fuse.
    Root,
    /// A program that `tests/rig/install.sh` installs.
    Program(&'a str),
    /// A Go toolchain, for the programs of a cluster.
    Go,
    /// What `tests/rig/tools.sh` gets.
    Tools,
}

/// This machine, or the guest that the test runs in.
#[derive(Debug, Clone)]
pub struct Machine {
    layout: Layout,
}

impl Machine {
    /// The machine, if it has all that a test needs. If not, it says so on standard error; where
    /// `CI` is `true` nothing may be left out, and it panics.
    ///
    /// # Panics
    /// If the test cannot run and `CI` is `true`.
    #[must_use]
    pub fn with(needs: &[Need<'_>]) -> Option<Self> {
        let missing = needs.iter().find_map(|need| need.missing());
        let missing = match (missing, Layout::detect()) {
            (None, Ok(layout)) => return Some(Self { layout }),
            (Some(missing), _) => missing,
            (None, Err(error)) => format!("{error:#}"),
        };
        let name = thread::current().name().unwrap_or("test").to_owned();
        assert!(
            env::var("CI").as_deref() != Ok("true"),
            "{name} cannot run: {missing}"
        );
        // Not `eprintln`, which the test harness hides when the test passes.
        let _ = writeln!(std::io::stderr(), "NOT RUN: {name}: {missing}");
        None
    }

    /// The cgroup layout.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether it is an emulated one, of which the tests know what it has.
    #[must_use]
    pub fn is_guest(&self) -> bool {
        Path::new("/payload").exists()
    }

    /// The number of CPUs of the machine.
    ///
    /// # Errors
    /// If /proc/stat cannot be read.
    pub fn cpus(&self) -> Result<usize> {
        let stat = read("/proc/stat")?;
        Ok(stat
            .lines()
            .filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "))
            .count())
    }

    /// The root file system for containers: in a guest the guest's own (`PROCVIEW_ROOTFS`), else
    /// the one that `tests/rig/rootfs.sh clients` makes.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn rootfs(&self) -> Result<PathBuf> {
        if let Some(rootfs) = env::var_os("PROCVIEW_ROOTFS") {
            return Ok(rootfs.into());
        }
        let made = Command::new(rig("rootfs.sh")).arg("clients").output();
        let made = made.context("cannot run rootfs.sh")?;
        if !made.status.success() {
            bail!("rootfs.sh: {}", String::from_utf8_lossy(&made.stderr));
        }
        Ok(String::from_utf8(made.stdout)?.trim().into())
    }
}

impl Need<'_> {
    fn missing(&self) -> Option<String> {
        match self {
            Self::Root if !nix::unistd::geteuid().is_root() => Some("needs root".to_owned()),
            Self::Root if !Path::new("/dev/fuse").exists() => Some("needs /dev/fuse".to_owned()),
            Self::Root => None,
            Self::Program(name) => {
                (!on_path(name)).then(|| format!("needs {name} (tests/rig/install.sh installs it)"))
            }
            Self::Tools => crate::manifest::tool("")
                .err()
                .map(|error| format!("needs tests/rig/tools.sh: {error:#}")),
            Self::Go => (!on_path("go")).then(|| "needs Go (CONTRIBUTING.md)".to_owned()),
        }
    }
}

fn on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|dir| dir.join(program).exists())
}

/// A script of the rig.
pub(crate) fn rig(script: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("rig")
        .join(script)
}

/// A program of this workspace: the one that `variable` names, or what cargo built beside the
/// running program.
///
/// # Errors
/// If there is none.
pub fn built(name: &str, variable: &str) -> Result<PathBuf> {
    if let Some(program) = env::var_os(variable) {
        return Ok(program.into());
    }
    let own = env::current_exe()?;
    // target/<triple>/<profile>/<program> or target/<triple>/<profile>/deps/<test>
    let dirs = own.ancestors().skip(1).take(2);
    let mut programs = dirs.map(|dir| dir.join(name));
    programs
        .find(|program| program.exists())
        .with_context(|| format!("no {name}: `cargo build --bin {name}`, or set {variable}"))
}

/// A file's text, or an error that names the file.
///
/// # Errors
/// If it cannot be read.
pub fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Asks again and again until there is an answer.
///
/// # Errors
/// If there is none within [`PATIENCE`], or as soon as asking fails.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            bail!("waited {PATIENCE:?} in vain for {what}");
        }
        thread::sleep(Duration::from_millis(20));
    }
}
