//! The files of the view as files: what can be opened, read and written. Runs in guests too.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::fcntl::{SpliceFFlags, splice};
use nix::sys::sendfile::sendfile;
use procview_tests::agent::Agent;
use procview_tests::machine::{Machine, Need, read};

#[test]
fn nothing_can_be_written() -> Result<()> {
    let Some(_machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    for path in [
        "/proc/meminfo",
        "/proc/stat",
        "/sys/devices/system/cpu/online",
    ] {
        let error = fs::write(agent.file(path), "x").err();
        let number = error.and_then(|error| error.raw_os_error());
        assert_eq!(number, Some(libc::EACCES), "{path}");
    }
    for path in ["/new", "/proc/new"] {
        ensure!(fs::write(agent.file(path), "x").is_err(), "{path}");
        ensure!(fs::create_dir(agent.file(path)).is_err(), "{path}");
    }
    ensure!(fs::remove_file(agent.file("/proc/meminfo")).is_err());
    Ok(())
}

#[test]
fn one_open_file_is_one_snapshot() -> Result<()> {
    let Some(_machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let mut file = fs::File::open(agent.file("/proc/meminfo"))?;
    // At any offset, without an earlier read.
    let mut part = [0; 10];
    file.read_exact_at(&mut part, 40)?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    ensure!(text.starts_with("MemTotal:"), "{text}");
    assert_eq!(file.read_at(&mut part, u64::try_from(text.len())?)?, 0);
    assert_eq!(file.read_at(&mut part, 1 << 20)?, 0);
    // The start is rendered anew, and is whole.
    file.seek(SeekFrom::Start(0))?;
    let mut again = String::new();
    file.read_to_string(&mut again)?;
    assert_eq!(again.lines().count(), text.lines().count());
    Ok(())
}

#[test]
fn a_file_is_no_longer_than_its_size() -> Result<()> {
    let Some(_machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    for path in [
        "/proc/cpuinfo",
        "/proc/loadavg",
        "/proc/meminfo",
        "/proc/stat",
        "/proc/vmstat",
        "/sys/devices/system/cpu/online",
        "/sys/devices/system/cpu/cpu0/topology/core_id",
    ] {
        let file = agent.file(path);
        let size = usize::try_from(fs::metadata(&file)?.len())?;
        let length = read(&file)?.len();
        ensure!(
            length <= size && size % 4096 == 0,
            "{path}: {length} of {size}"
        );
        // Which is what wc and tail go by where a size is more than a block.
        ensure!(usize::try_from(fs::metadata(&file)?.blksize())? >= size);
    }
    Ok(())
}

#[test]
fn who_would_copy_from_the_page_cache_is_sent_to_read() -> Result<()> {
    let Some(_machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    for path in ["/proc/meminfo", "/sys/devices/system/cpu/online"] {
        let length = read(agent.file(path))?.len();
        let open = || fs::File::open(agent.file(path));
        let (_end, pipe) = nix::unistd::pipe()?;
        let (_other_end, other_pipe) = nix::unistd::pipe()?;
        let copied = [
            sendfile(&pipe, open()?, None, 65536),
            splice(
                open()?,
                None,
                &other_pipe,
                None,
                65536,
                SpliceFFlags::empty(),
            ),
        ];
        for result in copied {
            match result {
                // Before Linux 6.5 the kernel itself reads.
                Ok(copied) => ensure!(copied.abs_diff(length) < 64, "{path}: {copied} of {length}"),
                Err(errno) => {
                    ensure!(
                        [Errno::EINVAL, Errno::EIO].contains(&errno),
                        "{path}: {errno}"
                    );
                }
            }
        }
    }
    Ok(())
}

#[test]
fn what_is_listed_can_be_read() -> Result<()> {
    /// Reads all files below, and counts them.
    fn walk(view: &Path, dir: &Path) -> Result<usize> {
        let mut seen = 0;
        for entry in fs::read_dir(view.join(dir)).with_context(|| dir.display().to_string())? {
            let path = dir.join(entry?.file_name());
            let shown = view.join(&path);
            if shown.is_symlink() {
                continue;
            }
            if shown.is_dir() {
                seen += walk(view, &path)?;
                continue;
            }
            seen += 1;
            if let Err(error) = fs::read(&shown) {
                // The kernel itself has files in /sys that always fail, such as power/autosuspend_delay_ms.
                let host = fs::read(Path::new("/").join(&path)).err();
                let host = host.and_then(|error| error.raw_os_error());
                ensure!(error.raw_os_error() == host, "{}: {error}", path.display());
            }
        }
        Ok(seen)
    }
    let Some(_machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let seen = walk(&agent.view(), Path::new(""))?;
    ensure!(seen > 12, "{seen} files");
    let error = fs::read(agent.file("/proc/cmdline")).err();
    let number = error.and_then(|error| error.raw_os_error());
    assert_eq!(number, Some(libc::ENOENT));
    Ok(())
}

#[test]
fn the_agent_unmounts_when_it_ends() -> Result<()> {
    let Some(_machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let mut agent = Agent::start(&[])?;
    ensure!(agent.file("/proc/meminfo").exists());
    let status = agent.stop()?;
    ensure!(status.success(), "{status}");
    let mounts = read("/proc/self/mountinfo")?;
    ensure!(!mounts.contains(&*agent.view().to_string_lossy()));
    Ok(())
}
