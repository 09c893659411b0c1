//! What runs on this machine, on other kernels with cgroup v2: the view, containers, and the programs
//! of the base system in them.

use anyhow::Result;
use procview_tests::guest::Guest;
use procview_tests::machine::{Machine, Need};

fn runs_on(kernel: &str) -> Result<()> {
    let needs = [Need::Root, Need::Program("qemu-system-x86_64")];
    if Machine::with(&needs).is_none() {
        return Ok(());
    }
    let guest = Guest {
        kernel,
        cpus: 2,
        swap: Some(64),
        seconds: 900,
    };
    guest.run_tests(&[
        "view",
        "files",
        "reading",
        "pressure",
        "containers",
        "clients",
        "stress",
    ])
}

#[test]
fn all_is_right_on_linux_6_1() -> Result<()> {
    runs_on("6.1")
}

#[test]
fn all_is_right_on_linux_6_12() -> Result<()> {
    runs_on("6.12")
}

#[test]
fn all_is_right_on_linux_7() -> Result<()> {
    runs_on("7")
}
