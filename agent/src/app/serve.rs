//! `serve`: a view at a directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use procview::file::File;
use sd_notify::NotifyState;

use super::{End, Ends, node, start_log};
use crate::args::{Serve, Service};
use crate::attach::release::{Released, release};
use crate::node::{Mount, prepare};
use crate::serve::fs::Fs;
use crate::serve::{ByCaller, Session};
use crate::view::View;

pub(super) fn serve(arguments: Serve) -> Result<()> {
    let Serve {
        view: dir,
        service: Service { files, log, node },
    } = arguments;
    let ends = Ends::new()?;
    let _log = start_log(&log);
    let dir = prepare(&dir)?;
    let (containers, view) = node::open(&node)?;
    let cgroup = containers.registry.layout().describe();
    let fs = file_system(view, &files)?;
    containers.follow(Arc::clone(fs.metrics()))?;
    let serving = Serving::start(&dir, fs, &node.proc, &ends)?;
    tracing::info!(view = %dir.display(), cgroup, "serving");
    serving.wait(ends)
}

/// Serves `files` of `view`, all if there are none.
pub(super) fn file_system(view: View, files: &[File]) -> Result<Fs> {
    let files = if files.is_empty() { &File::ALL } else { files };
    Fs::new(view, files).context("cannot watch pressure triggers")
}

/// A mounted view that is served.
pub(super) struct Serving {
    dir: PathBuf,
    /// The host's procfs.
    proc: PathBuf,
    /// The file system's in mount tables.
    pub(super) device: String,
    mounted: Mount,
    session: Session,
}

impl Serving {
    pub(super) fn start(dir: &Path, fs: Fs, proc: &Path, ends: &Ends) -> Result<Self> {
        let mounted = Mount::new(dir)?;
        let device = mounted.device_number().context("the mount is gone")?;
        let ended = ends.sender.clone();
        let ended = move |result| {
            let _ = ended.send(End::Unmounted(result));
        };
        let session = mounted
            .device()
            .and_then(|device| Session::start(device, ByCaller::new(fs), ended))
            .context("cannot serve the FUSE mount")?;
        Ok(Self {
            dir: dir.to_path_buf(),
            proc: proc.to_path_buf(),
            device,
            mounted,
            session,
        })
    }

    /// Tells systemd that it is ready, and unmounts when the agent is told to end.
    pub(super) fn wait(self, ends: Ends) -> Result<()> {
        sd_notify::notify(&[NotifyState::Ready]).context("cannot tell NOTIFY_SOCKET")?;
        let end = ends.receiver.recv().context("all threads ended")?;
        // systemd may be gone by now.
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        let view = self.dir.display();
        match end {
            End::Signal(signal) => {
                tracing::info!(%signal, %view, "unmounting");
                // First, so that containers that start from now on find what is beneath.
                drop(self.mounted);
                let Released { namespaces, mounts } = release(&self.proc, &self.device);
                tracing::info!(
                    containers = namespaces,
                    mounts,
                    "put running containers back on the node's own files"
                );
                drop(self.session);
                Ok(())
            }
            End::Unmounted(Ok(())) => bail!("somebody unmounted {view}"),
            End::Unmounted(Err(error)) => Err(error).context("the FUSE connection broke"),
        }
    }
}
