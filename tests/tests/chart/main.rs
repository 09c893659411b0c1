//! The chart, what is rendered from it, and the Dockerfile.

mod cluster;
mod helm;
mod render;
mod schemas;
mod values;

use std::process::Command;

use anyhow::Result;
use procview_tests::machine::{Machine, Need};
use procview_tests::manifest::{output, repository, tool};

#[test]
fn hadolint_has_nothing_to_say_about_the_dockerfile() -> Result<()> {
    if Machine::with(&[Need::Tools]).is_none() {
        return Ok(());
    }
    output(Command::new(tool("hadolint")?).arg(repository("Dockerfile"))).map(drop)
}
