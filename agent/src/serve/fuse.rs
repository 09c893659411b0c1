//! FUSE requests to calls of [`Fs`] and back. Nothing is decided here.

mod backing;
mod session;

use std::ffi::OsStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::SystemTime;

use backing::Backing;
use fuser::{
    Errno, FileAttr, FileHandle, FileType, Generation, INodeNo, InitFlags, KernelConfig, LockOwner,
    OpenAccMode, OpenFlags, PollEvents, PollFlags, PollNotifier, ReplyAttr, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, Request,
    WriteFlags,
};
pub use session::Session;

use super::fs::{Attributes, Caller, Fs, FsError, Kind, Readiness, Wake};
use crate::report::metrics::Metrics;

/// A view in which the reader's container decides what is shown.
#[derive(Debug)]
pub struct ByCaller {
    fs: Fs,
    started: SystemTime,
    backing: Backing,
}

/// The largest request: the kernel splits longer reads, and nobody writes more than a trigger.
const MAX_WRITE: u32 = 128 * 1024;

impl ByCaller {
    /// Serves `fs`.
    pub fn new(fs: Fs) -> Self {
        Self {
            backing: Backing::new(&fs.unmappable()),
            fs,
            started: SystemTime::now(),
        }
    }

    /// Runs `operation`. A panic costs this request, not the process.
    fn run<T>(
        &self,
        request: &Request,
        name: &'static str,
        ino: u64,
        operation: impl FnOnce(&Fs, &Caller) -> Result<T, FsError>,
    ) -> Result<T, Failure> {
        let caller = Caller::Thread(request.pid());
        let result = catch_unwind(AssertUnwindSafe(|| operation(&self.fs, &caller)));
        let Ok(result) = result else {
            let panics = self.fs.metrics().panics.inc() + 1;
            tracing::error!(operation = name, ino, panics, "a request panicked");
            return Err(Failure::Panic);
        };
        result.map_err(|error| Failure::Error(failed(self.fs.metrics(), name, ino, &error)))
    }

    fn attr(&self, attributes: &Attributes) -> FileAttr {
        FileAttr {
            ino: INodeNo(attributes.ino),
            size: attributes.size,
            blocks: 0,
            atime: self.started,
            mtime: self.started,
            ctime: self.started,
            crtime: self.started,
            kind: kind(attributes.kind),
            perm: attributes.mode,
            nlink: if attributes.kind == Kind::Directory {
                2
            } else {
                1
            },
            uid: 0,
            gid: 0,
            rdev: 0,
            // No less than the size: then tail and wc take the size for what it is, a bound, and
            // stdio reads the file at once.
            blksize: u32::try_from(attributes.size.next_power_of_two())
                .unwrap_or(u32::MAX)
                .max(4096),
            flags: 0,
        }
    }
}

/// Why a request has no answer.
#[derive(Debug, Clone, Copy)]
enum Failure {
    Error(Errno),
    Panic,
}

impl From<Failure> for Errno {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Error(errno) => errno,
            Failure::Panic => Self::EIO,
        }
    }
}

/// Counts what is our failure; the log hears of each only if it is asked for that much.
fn failed(metrics: &Metrics, operation: &'static str, ino: u64, error: &FsError) -> Errno {
    if error.is_ours() {
        metrics.failures.inc();
    }
    tracing::debug!(operation, ino, %error);
    Errno::from_i32(error.errno())
}

fn kind(kind: Kind) -> FileType {
    match kind {
        Kind::Directory => FileType::Directory,
        Kind::File => FileType::RegularFile,
        Kind::Link => FileType::Symlink,
    }
}

impl fuser::Filesystem for ByCaller {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // The nearest value the kernel takes is as good.
        let _ = config.set_max_write(MAX_WRITE);
        // Without it io_uring does not learn where a file ends. All kernels have it since Linux 3.10.
        let _ = config.add_capabilities(InitFlags::FUSE_ASYNC_DIO);
        self.backing.ask(config);
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.run(request, "lookup", parent.0, |fs, caller| {
            let name = name.to_str().ok_or(FsError::NotFound)?;
            fs.lookup(caller, parent.0, name)
        });
        match found {
            Ok(entry) => reply.entry(&entry.valid_for, &self.attr(&entry), Generation(0)),
            Err(failure) => reply.error(failure.into()),
        }
    }

    fn getattr(&self, request: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.run(request, "getattr", ino.0, |fs, caller| {
            fs.attributes(caller, ino.0)
        }) {
            Ok(attributes) => reply.attr(&attributes.valid_for, &self.attr(&attributes)),
            Err(failure) => reply.error(failure.into()),
        }
    }

    /// Truncation is part of opening a pressure file for writing in a shell; nothing changes.
    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<fuser::TimeOrNow>,
        _mtime: Option<fuser::TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        if size.is_none() || mode.is_some() || uid.is_some() || gid.is_some() {
            return reply.error(Errno::EPERM);
        }
        match self.run(request, "setattr", ino.0, |fs, caller| {
            fs.attributes(caller, ino.0)
        }) {
            Ok(attributes) => reply.attr(&attributes.valid_for, &self.attr(&attributes)),
            Err(failure) => reply.error(failure.into()),
        }
    }

    fn readlink(&self, request: &Request, ino: INodeNo, reply: ReplyData) {
        match self.run(request, "readlink", ino.0, |fs, caller| {
            fs.link_target(caller, ino.0)
        }) {
            Ok(target) => reply.data(&target),
            Err(failure) => reply.error(failure.into()),
        }
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let write = flags.acc_mode() != OpenAccMode::O_RDONLY;
        match self.run(request, "open", ino.0, |fs, caller| {
            fs.open(caller, ino.0, write)
        }) {
            Ok(handle) => {
                let is_writable = self.fs.is_pressure(ino.0);
                self.backing.opened(reply, FileHandle(handle), is_writable);
            }
            Err(failure) => reply.error(failure.into()),
        }
    }

    fn read(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        // Only the page cache reads for nobody: for sendfile(2) and splice(2), since Linux 6.5.
        // What it keeps for one container it would show another; told so, callers use read(2).
        if lock_owner.is_none() {
            return reply.error(Errno::EINVAL);
        }
        let read = self.run(request, "read", ino.0, |fs, caller| {
            fs.read(caller, ino.0, handle.0, offset, size)
        });
        let part = match read {
            // What cannot be rendered for a mistake of ours is answered from the host's own file.
            Err(Failure::Panic) => self.run(request, "fallback", ino.0, |fs, _| {
                fs.metrics().fallbacks.inc();
                fs.fallback(ino.0, offset, size)
            }),
            read => read,
        };
        match part {
            Ok(part) => reply.data(part.as_bytes()),
            Err(failure) => reply.error(failure.into()),
        }
    }

    fn write(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let metrics = Arc::clone(self.fs.metrics());
        let answer = Box::new(move |result: Result<(), FsError>| match result {
            Ok(()) => reply.written(length),
            Err(error) => reply.error(failed(&metrics, "write", ino.0, &error)),
        });
        // A panic drops the reply, which is an answer, too.
        let _ = self.run(request, "write", ino.0, |fs, caller| {
            fs.write(caller, ino.0, handle.0, data, answer);
            Ok(())
        });
    }

    fn poll(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        notifier: PollNotifier,
        _events: PollEvents,
        flags: PollFlags,
        reply: ReplyPoll,
    ) {
        let always = PollEvents::POLLIN
            | PollEvents::POLLOUT
            | PollEvents::POLLRDNORM
            | PollEvents::POLLWRNORM;
        let wake: Option<Wake> = flags
            .contains(PollFlags::FUSE_POLL_SCHEDULE_NOTIFY)
            .then(|| {
                let wake = move || {
                    if let Err(error) = notifier.notify() {
                        tracing::debug!(%error, "nobody waits for this trigger any more");
                    }
                };
                Box::new(wake) as Wake
            });
        match self.run(request, "poll", ino.0, |fs, _| {
            fs.poll(ino.0, handle.0, wake)
        }) {
            Ok(Readiness::Always) => reply.poll(always),
            Ok(Readiness::NoTrigger) => {
                reply.poll(always | PollEvents::POLLERR | PollEvents::POLLPRI)
            }
            Ok(Readiness::Quiet) => reply.poll(always),
            Ok(Readiness::Fired) => reply.poll(always | PollEvents::POLLPRI),
            Ok(Readiness::Gone) => reply.poll(always | PollEvents::POLLERR | PollEvents::POLLPRI),
            Err(failure) => reply.error(failure.into()),
        }
    }

    fn release(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        let released = self.run(request, "release", ino.0, |fs, _| {
            fs.release(handle.0);
            Ok(())
        });
        match released {
            Ok(()) => reply.ok(),
            Err(failure) => reply.error(failure.into()),
        }
    }

    fn readdir(
        &self,
        request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let entries = match self.run(request, "readdir", ino.0, |fs, caller| {
            fs.entries(caller, ino.0)
        }) {
            Ok(entries) => entries,
            Err(failure) => return reply.error(failure.into()),
        };
        let dots = [".", ".."].map(|name| (name.to_owned(), ino.0, FileType::Directory));
        let entries = entries
            .into_iter()
            .map(|(name, entry)| (name, entry.ino, kind(entry.kind)));
        let all = dots.into_iter().chain(entries).enumerate();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        for (index, (name, ino, kind)) in all.skip(start) {
            if reply.add(INodeNo(ino), index as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        reply.statfs(0, 0, 0, 0, 0, 4096, 255, 4096);
    }
}
