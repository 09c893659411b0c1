//! FUSE requests to calls of [`Fs`] and back. Nothing is decided here.

mod session;

use std::ffi::OsStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::SystemTime;

use fuser::{
    Errno, FileAttr, FileHandle, FileType, FopenFlags, Generation, INodeNo, KernelConfig,
    LockOwner, OpenAccMode, OpenFlags, PollEvents, PollFlags, PollNotifier, ReplyAttr, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, Request,
    WriteFlags,
};
pub use session::Session;

use super::fs::{Attributes, Caller, Fs, FsError, Kind, Readiness, Wake};

/// A view in which the reader's container decides what is shown.
#[derive(Debug)]
pub struct ByCaller {
    fs: Fs,
    started: SystemTime,
}

/// The largest request: the kernel splits longer reads, and nobody writes more than a trigger.
const MAX_WRITE: u32 = 128 * 1024;

impl ByCaller {
    /// Serves `fs`.
    pub fn new(fs: Fs) -> Self {
        Self {
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
    ) -> Result<T, Errno> {
        let caller = Caller::Thread(request.pid());
        let result = catch_unwind(AssertUnwindSafe(|| operation(&self.fs, &caller)));
        let error = match result {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error,
            Err(_) => {
                let panics = self.fs.metrics().panics.inc() + 1;
                tracing::error!(operation = name, ino, panics, "a request panicked");
                return Err(Errno::EIO);
            }
        };
        match error.level() {
            tracing::Level::WARN => {
                self.fs.metrics().failures.inc();
                tracing::warn!(operation = name, ino, %error);
            }
            _ => tracing::debug!(operation = name, ino, %error),
        }
        Err(Errno::from_i32(error.errno()))
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
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.run(request, "lookup", parent.0, |fs, caller| {
            let name = name.to_str().ok_or(FsError::NotFound)?;
            fs.lookup(caller, parent.0, name)
        });
        match found {
            Ok(entry) => reply.entry(&entry.valid_for, &self.attr(&entry), Generation(0)),
            Err(errno) => reply.error(errno),
        }
    }

    fn getattr(&self, request: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.run(request, "getattr", ino.0, |fs, caller| {
            fs.attributes(caller, ino.0)
        }) {
            Ok(attributes) => reply.attr(&attributes.valid_for, &self.attr(&attributes)),
            Err(errno) => reply.error(errno),
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
            Err(errno) => reply.error(errno),
        }
    }

    fn readlink(&self, request: &Request, ino: INodeNo, reply: ReplyData) {
        match self.run(request, "readlink", ino.0, |fs, caller| {
            fs.link_target(caller, ino.0)
        }) {
            Ok(target) => reply.data(&target),
            Err(errno) => reply.error(errno),
        }
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let write = flags.acc_mode() != OpenAccMode::O_RDONLY;
        match self.run(request, "open", ino.0, |fs, caller| {
            fs.open(caller, ino.0, write)
        }) {
            // Each reader gets its own text: the page cache must stay out of it.
            Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::FOPEN_DIRECT_IO),
            Err(errno) => reply.error(errno),
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
        let part = self
            .run(request, "read", ino.0, |fs, caller| {
                fs.read(caller, ino.0, handle.0, offset, size)
            })
            // What cannot be rendered is answered from the host's own file.
            .or_else(|_| {
                self.run(request, "fallback", ino.0, |fs, _| {
                    fs.metrics().fallbacks.inc();
                    fs.fallback(ino.0, offset, size)
                })
            });
        match part {
            Ok(part) => reply.data(part.as_bytes()),
            Err(errno) => reply.error(errno),
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
        match self.run(request, "write", ino.0, |fs, caller| {
            fs.write(caller, ino.0, handle.0, data)
        }) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(errno) => reply.error(errno),
        }
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
            Err(errno) => reply.error(errno),
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
            Err(errno) => reply.error(errno),
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
            Err(errno) => return reply.error(errno),
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
