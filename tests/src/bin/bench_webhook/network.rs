//! A network of its own: the peer listens on all addresses and cannot be told otherwise, and
//! nothing from outside disturbs the measurement.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

/// Moves this process into a network that has loopback alone. To be called before any thread is
/// started.
pub(crate) fn enter_own() -> Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    if uid.is_root() {
        unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
    } else {
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
            .context("cannot make a network namespace; run as root")?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
        fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    }
    let status = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    if !status.context("cannot run ip, of iproute2")?.success() {
        bail!("cannot bring loopback up");
    }
    Ok(())
}
