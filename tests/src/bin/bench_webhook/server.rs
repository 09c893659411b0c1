//! The webhooks compared: start, CPU time, memory, end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use procview_tests::webhook::certificate::{Authority, Secret};
use procview_tests::webhook::client::Trust;
use procview_tests::webhook::{free_address, kib};

/// How long a server may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    /// kubeservice-stack/lxcfs-webhook.
    Peer,
}

/// A running webhook. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    trust: Trust,
    started: Duration,
    _secret: Secret,
}

impl Server {
    /// Starts one and waits until it is ready.
    pub(crate) async fn start(kind: Kind, program: &Path) -> Result<Self> {
        let authority = Authority::new("bench")?;
        let secret = Secret::new(&authority.leaf()?)?;
        let address = free_address()?;
        let mut command = command(kind, program, address, &secret);
        // The peer logs all that it gets: no file would be large enough.
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let trust = Trust::new(&[&authority])?;
        let begin = Instant::now();
        let child = command.spawn();
        let child = child.with_context(|| format!("cannot start {}", program.display()))?;
        let mut server = Self {
            child,
            address,
            trust,
            started: Duration::ZERO,
            _secret: secret,
        };
        while !server.trust.is_ready(address).await {
            if server.child.try_wait()?.is_some() || begin.elapsed() > PATIENCE {
                bail!("{} does not serve, start it by hand", program.display());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server.started = begin.elapsed();
        Ok(server)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn trust(&self) -> &Trust {
        &self.trust
    }

    /// From its start until it said over TLS that it is ready.
    pub(crate) fn started(&self) -> Duration {
        self.started
    }

    /// CPU time of all its threads, ended ones included.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?);
        time(clock_getcpuclockid(pid).context("the server ended")?)
    }

    /// A number of KiB in its status.
    pub(crate) fn kib(&self, key: &str) -> Result<u64> {
        kib(self.child.id(), key)
    }
}

/// CPU time of this program.
pub(crate) fn own_cpu() -> Result<Duration> {
    time(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

fn time(clock: ClockId) -> Result<Duration> {
    Ok(clock_gettime(clock)?.into())
}

fn command(kind: Kind, program: &Path, address: SocketAddr, secret: &Secret) -> Command {
    let option = |name: &str, path: PathBuf| format!("{name}={}", path.display());
    let mut command = Command::new(program);
    match kind {
        Kind::Ours => command
            .arg("serve")
            .arg(format!("--listen={address}"))
            .arg(option("--cert", secret.certificate()))
            .arg(option("--key", secret.key())),
        // Without -logtostderr it would write the same to files.
        Kind::Peer => command
            .arg("-logtostderr")
            .arg(format!("-port={}", address.port()))
            .arg(option("-tlsCertFile", secret.certificate()))
            .arg(option("-tlsKeyFile", secret.key())),
    };
    command
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // It may have ended already.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}
