//! The tests of `view.rs` on other kernels, with cgroup v2.

use anyhow::Result;
use procview_tests::guest::Guest;
use procview_tests::machine::{Machine, Need};

fn view_on(kernel: &str) -> Result<()> {
    let needs = [Need::Root, Need::Program("qemu-system-x86_64")];
    if Machine::with(&needs).is_none() {
        return Ok(());
    }
    let guest = Guest {
        kernel,
        cpus: 2,
        swap: Some(64),
        seconds: 600,
    };
    guest.run_test("view")
}

#[test]
fn the_view_is_right_on_linux_6_1() -> Result<()> {
    view_on("6.1")
}

#[test]
fn the_view_is_right_on_linux_6_12() -> Result<()> {
    view_on("6.12")
}

#[test]
fn the_view_is_right_on_linux_7() -> Result<()> {
    view_on("7")
}
