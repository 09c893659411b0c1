//! A running webhook, and what a client of it needs.

pub mod certificate;
pub mod client;
pub mod review;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use tempfile::TempDir;

use crate::agent::pid_of;
use crate::machine::{PATIENCE, built, read, wait_for};
use certificate::{Authority, Secret};
use client::Trust;

/// A `procview-webhook serve` of its own on loopback. Dropping it ends it.
#[derive(Debug)]
pub struct Webhook {
    child: Child,
    address: SocketAddr,
    authority: Authority,
    secret: Secret,
    scratch: TempDir,
}

impl Webhook {
    /// Starts it with a certificate of its own, and waits until it is ready.
    ///
    /// # Errors
    /// If it ends or does not get ready; with its log.
    pub async fn start(arguments: &[&str]) -> Result<Self> {
        let mut command = vec![program()?.into_os_string()];
        command.push("serve".into());
        command.extend(arguments.iter().map(OsString::from));
        Self::start_as(&command).await
    }

    /// Starts it by a command line, to which its address and certificate are added.
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub async fn start_as(command: &[OsString]) -> Result<Self> {
        let (program, arguments) = command.split_first().context("no program")?;
        let scratch = tempfile::Builder::new()
            .prefix("procview-test-")
            .tempdir()?;
        let authority = Authority::new("one")?;
        let secret = Secret::new(&authority.leaf()?)?;
        let address = free_address()?;
        let child = Command::new(program)
            .args(arguments)
            .args([OsStr::new("--listen"), address.to_string().as_ref()])
            .args([OsStr::new("--cert"), secret.certificate().as_ref()])
            .args([OsStr::new("--key"), secret.key().as_ref()])
            .stdin(Stdio::null())
            .stderr(File::create(scratch.path().join("log"))?)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut webhook = Self {
            child,
            address,
            authority,
            secret,
            scratch,
        };
        webhook
            .wait_until_ready()
            .await
            .with_context(|| webhook.log())?;
        Ok(webhook)
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let trust = self.trust()?;
        let deadline = Instant::now() + PATIENCE;
        while !trust.is_ready(self.address).await {
            if let Some(status) = self.child.try_wait()? {
                bail!("the webhook ended with {status}");
            }
            if Instant::now() > deadline {
                bail!("the webhook did not get ready");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its clients trust.
    ///
    /// # Errors
    /// If the certificate is none.
    pub fn trust(&self) -> Result<Trust> {
        Trust::new(&[&self.authority])
    }

    /// Who signed its first certificate.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The mounted Secret with its certificate.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        read(self.scratch.path().join("log")).unwrap_or_else(|error| format!("{error:#}"))
    }

    /// How many files it has open, its connections among them.
    ///
    /// # Errors
    /// If it ended.
    pub fn open_files(&self) -> Result<usize> {
        let dir = format!("/proc/{}/fd", self.child.id());
        Ok(fs::read_dir(&dir).with_context(|| dir.clone())?.count())
    }

    /// A number of KiB in its `/proc/PID/status`, such as `VmRSS` or `VmHWM`.
    ///
    /// # Errors
    /// If it ended, or the kernel has no such line.
    pub fn kib(&self, key: &str) -> Result<u64> {
        kib(self.child.id(), key)
    }

    /// Asks it to end.
    ///
    /// # Errors
    /// If it ended.
    pub fn terminate(&self) -> Result<()> {
        Ok(kill(pid_of(&self.child), Signal::SIGTERM)?)
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    fn stop(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        self.terminate()?;
        wait_for("the webhook to end", || Ok(self.child.try_wait()?))
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        if self.stop().is_err() {
            // Nothing is left to do where these fail as well.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// An address on loopback that nothing listens on.
///
/// # Errors
/// If there is none.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// A number of KiB in `/proc/PID/status`.
///
/// # Errors
/// If there is no such process, or no such line.
pub fn kib(pid: u32, key: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = read(&path)?;
    text.lines()
        .find_map(|line| {
            let value = line.strip_prefix(key)?.strip_prefix(':')?;
            value.split_whitespace().next()?.parse().ok()
        })
        .with_context(|| format!("no {key} in {path}"))
}

/// The program under test: `PROCVIEW_WEBHOOK`, or what cargo built beside this program.
///
/// # Errors
/// If there is none.
pub fn program() -> Result<PathBuf> {
    built("procview-webhook", "PROCVIEW_WEBHOOK")
}
