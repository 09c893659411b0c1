//! `run` and `check`: the agent of a Kubernetes node.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};

use super::serve::{Serving, file_system};
use super::{Ends, node, start_log};
use crate::args::{Check, Place, Run, Service};
use crate::node::{placeholder, preflight, prepare};
use crate::report::health::Health;
use crate::report::{event, http};

pub(super) fn check(arguments: Check) -> Result<()> {
    let Check { place, proc, log } = arguments;
    let _log = start_log(&log);
    let Place { parent, node, pod } = place;
    told(
        node,
        pod,
        preflight::check(&proc, &parent).map_err(Into::into),
    )
}

pub(super) fn run(arguments: Run) -> Result<()> {
    let ends = Ends::new()?;
    let _log = start_log(&arguments.service.log);
    let Place { node, pod, .. } = arguments.place.clone();
    told(node, pod, run_view(arguments, ends))
}

/// Says what went wrong on the node, too, if it is known which one that is.
fn told(node: Option<String>, pod: Option<String>, result: Result<()>) -> Result<()> {
    if let (Err(error), Some(name)) = (&result, node.filter(|name| !name.is_empty())) {
        event::Node { name, pod }.warn_unavailable(&format!("{error:#}"));
    }
    result
}

fn run_view(arguments: Run, ends: Ends) -> Result<()> {
    let Run {
        place: Place { parent, .. },
        listen,
        service: Service { files, node, .. },
    } = arguments;
    preflight::process()?;
    let (containers, view) = node::open(&node)?;
    let cgroup = containers.registry.layout().describe();
    let fs = file_system(view, &files)?;
    let metrics = Arc::clone(fs.metrics());
    let listener =
        http::listen(listen).with_context(|| format!("cannot listen on {listen}: see --listen"))?;

    let parent = real_dir(&parent)?;
    preflight::sharing(&parent)?;
    let dir = prepare(&parent.join("view"))?;
    placeholder::write(&fs, &dir)?;
    containers.follow(Arc::clone(&metrics))?;
    let serving = Serving::start(&dir, fs, &node.proc, &ends)?;

    let health = Arc::new(Health::new(&dir));
    health.read()?;
    preflight::seen(&node.proc, &dir, &serving.device)?;
    Arc::clone(&health).watch()?;
    http::serve(
        listener,
        http::router(Arc::new(http::Shared { health, metrics })),
    )?;
    tracing::info!(view = %dir.display(), cgroup, %listen, "serving");
    serving.wait(ends)
}

/// Makes the directory and tells its path without links.
fn real_dir(parent: &Path) -> Result<PathBuf> {
    fs::create_dir_all(parent)
        .and_then(|()| fs::canonicalize(parent))
        .with_context(|| {
            format!(
                "cannot use {}: it has to be a directory that can be written, see --parent",
                parent.display()
            )
        })
}
