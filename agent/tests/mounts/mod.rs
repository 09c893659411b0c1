//! What tests with real mounts share.
#![allow(unreachable_pub, reason = "a module of test binaries")]

use std::path::Path;
use std::process::{Child, ExitStatus};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Whether the mounts can be tried. In CI they must.
pub fn can_mount() -> bool {
    let can = nix::unistd::geteuid().is_root() && Path::new("/dev/fuse").exists();
    if !can {
        eprintln!("NOT RUN: mounting a view takes root and /dev/fuse");
        assert!(std::env::var_os("CI").is_none(), "CI must be able to mount");
    }
    can
}

/// Sends a running agent a signal, and waits for its end.
pub fn end(agent: &mut Child, signal: Signal) -> ExitStatus {
    let pid = Pid::from_raw(i32::try_from(agent.id()).expect("a pid"));
    kill(pid, signal).expect("a running agent");
    agent.wait().expect("its exit status")
}
