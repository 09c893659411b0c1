//! Files that cannot be mapped, as those of procfs cannot.
//!
//! mmap(2) of a FUSE file goes through the page cache, which by caller must stay empty: it would succeed, and
//! the first access would kill by SIGBUS. A file that passes through to another is mapped as that one is, and
//! sysfs refuses with ENODEV. Reads do not pass through: FOPEN_DIRECT_IO comes before it. Since Linux 6.9,
//! with CONFIG_FUSE_PASSTHROUGH.

use std::fs::File;
use std::path::Path;
use std::sync::OnceLock;

use fuser::{BackingId, FileHandle, FopenFlags, InitFlags, KernelConfig, ReplyOpen};
use nix::sys::statfs::{SYSFS_MAGIC, fstatfs};

/// The file that is mapped instead.
#[derive(Debug)]
pub(super) struct Backing {
    file: Option<File>,
    /// How the kernel knows it: the same for all that is open at a time. `None` if it takes none.
    id: OnceLock<Option<BackingId>>,
}

impl Backing {
    /// `path` is one of sysfs; another is not used.
    pub(super) fn new(path: &Path) -> Self {
        let is_sysfs =
            |file: &File| fstatfs(file).is_ok_and(|found| found.filesystem_type() == SYSFS_MAGIC);
        Self {
            file: File::open(path).ok().filter(is_sysfs),
            id: OnceLock::new(),
        }
    }

    /// Asks the kernel for it; one that has no such thing goes on without.
    pub(super) fn ask(&self, config: &mut KernelConfig) {
        if self.file.is_some() && config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok() {
            // Of file systems that are not stacked on others.
            let _ = config.set_max_stack_depth(1);
        }
    }

    /// Answers that a file was opened. One that can be written, as the other cannot, can be mapped.
    pub(super) fn opened(&self, reply: ReplyOpen, handle: FileHandle, is_writable: bool) {
        // Each reader gets its own text: the page cache must stay out of it.
        let flags = FopenFlags::FOPEN_DIRECT_IO;
        let id = self.id.get_or_init(|| {
            let id = reply.open_backing(self.file.as_ref()?);
            id.inspect_err(|error| tracing::debug!(%error, "files of the view can be mapped"))
                .ok()
        });
        match id {
            Some(id) if !is_writable => reply.opened_passthrough(handle, flags, id),
            _ => reply.opened(handle, flags),
        }
    }
}
