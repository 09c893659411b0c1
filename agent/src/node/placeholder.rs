//! Files that lie beneath the mount, where they are found while nothing is mounted.
//!
//! A container can start before the agent does, after a reboot or while the agent is exchanged.
//! Its runtime has to find a file to mount, and what it mounts has to parse: each file is a
//! snapshot of the host's own. A directory that the runtime makes instead could never be mounted
//! over a file again.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::serve::fs::{Caller, Fs, FsError, Kind, ROOT, is_cpu};
use crate::view::Owner;

/// Of the directory of one CPU, what tools need to count it: the rest is hundreds of files.
const OF_A_CPU: [&str; 2] = ["online", "topology"];

/// Who reads a placeholder finds what the host's own file says.
const HOST: Caller = Caller::Of(Owner::Host);

/// Why a placeholder could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the placeholder {path}: {source}; the directory has to be writable")]
pub struct PlaceholderError {
    /// The file or directory.
    path: PathBuf,
    /// Why.
    source: io::Error,
}

/// Writes the files of `fs` below `dir`, with what the host's own say now. A file of an earlier
/// time is replaced at once and in whole; one that some container has mounted stays as it is for
/// that container.
///
/// # Errors
/// If `dir` cannot be written.
pub fn write(fs: &Fs, dir: &Path) -> Result<(), PlaceholderError> {
    write_dir(fs, ROOT, dir)
}

fn write_dir(fs: &Fs, ino: u64, dir: &Path) -> Result<(), PlaceholderError> {
    // What the host does not let anybody read is no placeholder either.
    for (name, entry) in fs.entries(&HOST, ino).unwrap_or_default() {
        let path = dir.join(&name);
        let failed = |source| PlaceholderError {
            path: path.clone(),
            source,
        };
        match entry.kind {
            Kind::Directory if is_wanted(dir, &name) => {
                make_dir(&path).map_err(failed)?;
                write_dir(fs, entry.ino, &path)?;
            }
            Kind::File if is_wanted(dir, &name) => {
                if let Ok(text) = text(fs, entry.ino) {
                    write_file(&path, &text, entry.mode).map_err(failed)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether `name` in `dir` is worth a placeholder.
fn is_wanted(dir: &Path, name: &str) -> bool {
    let dir = dir.file_name().and_then(|name| name.to_str());
    !dir.is_some_and(is_cpu) || OF_A_CPU.contains(&name)
}

fn text(fs: &Fs, ino: u64) -> Result<Vec<u8>, FsError> {
    Ok(fs.fallback(ino, 0, u32::MAX)?.as_bytes().to_vec())
}

fn make_dir(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::symlink_metadata(path)?.is_dir() {
                return Ok(());
            }
            fs::remove_file(path)?;
            fs::create_dir(path)
        }
        made => made,
    }
}

fn write_file(path: &Path, text: &[u8], mode: u16) -> io::Result<()> {
    // A runtime that found no source has made a directory of it.
    if fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
        tracing::warn!(path = %path.display(), "a directory is where a file belongs: replacing it");
        fs::remove_dir_all(path)?;
    } else if fs::read(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(u32::from(mode) & 0o444))?;
    fs::rename(&new, path)
}
